"""A site of plain files, below directories that its users can pass."""

import sys

import pytest
from hypothesis import settings

from mbx2maildir import switch
from mbx2maildir.tests import build

# a busy machine is no failure
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def site():
    """A site of plain files: site.user("alice") makes homes, site.plan() the plan."""
    with build.open_site() as made:
        yield made


@pytest.fixture(autouse=True)
def no_import_after_the_switch(monkeypatch):
    """Nothing may be imported by a process that became a user: it may not read the program."""
    become = switch.become

    def become_and_import_nothing(user):
        become(user)
        sys.path.clear()
        sys.path_importer_cache.clear()

    monkeypatch.setattr(switch, "become", become_and_import_nothing)
