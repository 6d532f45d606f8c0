"""What a restore by Bacula leaves on the backup host, and what is never removed there."""

from types import SimpleNamespace

import pytest
from cutover.changes import bacula_restore
from cutover.facts import bacula, bacula_files

HOSTS = SimpleNamespace(
    site=SimpleNamespace(
        store="",
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


def test_no_store_sees_or_removes_what_is_restored_for_another():
    """One would take the other's restore for an interrupted one and cancel it."""
    sites = [SimpleNamespace(**{**vars(HOSTS.site), "store": name}) for name in ("", "a", "b")]
    asked = []

    class Hosts(SimpleNamespace):
        def run(self, host, argv, **options):
            asked.append(argv[1])
            return SimpleNamespace(out=b"")

    for own in sites:
        bacula_files.scratches(Hosts(site=own))
        for other in sites:
            if other is not own:
                where = bacula_files.scratch(other, "run", "user")
                with pytest.raises(bacula.BaculaRefused, match="was not removed"):
                    bacula_restore.remove_scratch(Hosts(site=own), where)
    assert asked == ["/var/lib/r", "/var/lib/r/a", "/var/lib/r/b"]
