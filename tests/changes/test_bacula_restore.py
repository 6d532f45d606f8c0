"""What a restore by Bacula leaves on the backup host, and what is never removed there."""

from types import SimpleNamespace

import pytest
from cutover.changes import bacula_restore
from cutover.facts import bacula

HOSTS = SimpleNamespace(
    site=SimpleNamespace(
        roles=SimpleNamespace(backup="sanbackup"),
        backup=SimpleNamespace(bacula=SimpleNamespace(work="/var/lib/r")),
    )
)


@pytest.mark.parametrize(
    "where",
    ["/var/lib/r", "/var/lib/r/", "/var/lib/r/run", "/var/lib/r/../x", "/var/lib/r/x/..", "/x/y/z"],
)
def test_only_what_is_our_own_is_ever_removed(where):
    with pytest.raises(bacula.BaculaRefused, match="was not removed"):
        bacula_restore.remove_scratch(HOSTS, where)
