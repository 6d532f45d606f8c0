"""A site of plain files, below directories that its users can pass."""

import os
import pathlib
import sys

import pytest

from mbx2maildir import switch
from mbx2maildir.tests import build


@pytest.fixture
def site(tmp_path):
    """A site of plain files: site.user("alice") makes homes, site.plan() the plan."""
    for place in (tmp_path, *tmp_path.parents):
        if place == pathlib.Path("/tmp") or place.stat().st_uid != os.geteuid():
            break
        if place.stat().st_mode & 0o055 != 0o055:
            place.chmod(0o755)
    return build.Site(tmp_path)


@pytest.fixture(autouse=True)
def no_import_after_the_switch(monkeypatch):
    """Nothing may be imported by a process that became a user: it may not read the program."""
    become = switch.become

    def become_and_import_nothing(user):
        become(user)
        sys.path.clear()
        sys.path_importer_cache.clear()

    monkeypatch.setattr(switch, "become", become_and_import_nothing)
