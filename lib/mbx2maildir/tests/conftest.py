"""A site of plain files."""

import pytest

from mbx2maildir.tests import build


@pytest.fixture
def site(tmp_path):
    """A site of plain files: site.user("alice") makes homes, site.plan() the plan."""
    return build.Site(tmp_path)
