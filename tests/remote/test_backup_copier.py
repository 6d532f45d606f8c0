"""What may be removed from the copy: the copier with listings that a test makes up, on real
directories.
"""

import os
import subprocess
import sys

import pytest
from cutover.remote import backup_copier as mailbackup


@pytest.fixture
def copier(tmp_path):
    """A Run whose passes a test plays: `played({path: cur's time or None}, vanished)`."""
    run = mailbackup.Run({"target": str(tmp_path)}, lambda *lines: None)
    run.target = os.fsencode(tmp_path)

    def played(paths, vanished=(), apart=2.0):
        run.number, run.began = run.number + 1, run.began + apart
        curs = {path: time for path, time in paths.items() if path.endswith(b"/cur/")}
        for path in [*paths, *vanished]:
            run.seen[path.rstrip(b"/")] = run.number
        listing = mailbackup.Listing(run.number, run.began, curs, list(vanished))
        run.users[b"ugo"] = [*run.users.get(b"ugo", ())[-1:], listing]

    def holds(*paths):
        for path in paths:
            os.makedirs(os.path.dirname(tmp_path / path), exist_ok=True)
            (tmp_path / path).write_text("x")
        run.settle({b"ugo"})

    run.played, run.holds = played, holds
    run.files = lambda: sorted(
        str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()
    )
    return run


CUR = b"ugo/cur/"
BASE = {b"ugo/": None, CUR: b"10:00:00"}


def test_what_neither_listing_has_goes_when_the_user_stood_still(copier):
    for _ in range(2):
        copier.played({**BASE, b"ugo/cur/1:2,S": None})
    copier.holds("ugo/cur/1:2,S", "ugo/cur/2:2,", "ugo/.old/cur/3:2,", "ugo/note")
    assert copier.files() == ["ugo/cur/1:2,S"] and copier.removed == 3
    assert not os.path.exists(os.path.join(copier.target, b"ugo/.old"))


def test_what_only_the_copy_has_of_a_user_goes_with_the_directory(copier):
    copier.holds("ugo/cur/1:2,S")
    assert copier.files() == [] and not os.listdir(copier.target)


@pytest.mark.parametrize(
    "second, vanished, apart",
    [
        ({CUR: b"10:00:01"}, (), 2.0),  # a flag, a move or a removal
        ({CUR: b"10:00:00", b"ugo/.new/cur/": b"10:00:00"}, (), 2.0),  # a folder that was renamed
        ({}, (), 2.0),  # a store that went away
        ({CUR: b"10:00:00"}, [b"ugo/cur/9:2,"], 2.0),
        ({CUR: b"10:00:00"}, (), 0.5),  # times of a second tell nothing so soon
    ],
)
def test_a_user_at_work_waits_for_another_pass(copier, second, vanished, apart):
    copier.played(BASE)
    copier.played({b"ugo/": None, **second}, vanished, apart)
    copier.holds("ugo/cur/1:2,S", "ugo/cur/2:2,")
    assert copier.settle({b"ugo"}) == {b"ugo"} and len(copier.files()) == 2
    copier.tidy(b"ugo")
    assert len(copier.files()) == 2 and copier.kept >= 2


def test_a_user_at_work_keeps_one_name_of_each_message_the_one_seen_last(copier):
    copier.played({**BASE, b"ugo/cur/1:2,S": None, b"ugo/cur/2:2,": None})
    copier.played({**BASE, CUR: b"10:00:05", b"ugo/cur/1:2,FS": None})
    copier.played({**BASE, CUR: b"10:00:07", b"ugo/cur/5:2,": None})
    copier.holds(
        "ugo/new/1",
        "ugo/cur/1:2,S",
        "ugo/cur/1:2,FS",
        "ugo/cur/2:2,",
        "ugo/new/3",
        "ugo/cur/3:2,",
        "ugo/cur/5:2,",
        "ugo/.f/cur/1:2,",
    )
    copier.tidy(b"ugo")
    left = copier.files()
    # of 3 neither was ever seen: perhaps it was renamed each time
    assert left == [
        "ugo/.f/cur/1:2,",
        "ugo/cur/1:2,FS",
        "ugo/cur/2:2,",
        "ugo/cur/3:2,",
        "ugo/cur/5:2,",
        "ugo/new/3",
    ]
    copier.played(
        {
            **BASE,
            CUR: b"10:00:08",
            b"ugo/cur/2:2,T": None,
            b"ugo/new/7": None,
            b"ugo/cur/7:2,": None,
        }
    )
    copier.holds("ugo/cur/2:2,T", "ugo/new/7", "ugo/cur/7:2,")
    copier.tidy(b"ugo")
    left = copier.files()
    assert (
        "ugo/cur/2:2,T" in left and "ugo/cur/2:2," not in left
    )  # though it stood in the listing before
    assert {"ugo/new/7", "ugo/cur/7:2,"} <= set(left)  # both at the same time: two files


def test_a_message_that_vanished_is_lacking_until_it_is_there_under_some_name(copier):
    copier.played(BASE, [b"ugo/cur/1:2,S", b"ugo/dovecot-keywords"])
    copier.played({**BASE, CUR: b"10:00:03", b"ugo/cur/2:2,": None})
    copier.holds("ugo/cur/2:2,")
    assert copier.lacking(b"ugo") == [b"ugo/cur/1:2,S"] and copier.settle({b"ugo"}) == {b"ugo"}
    copier.holds("ugo/cur/1:2,FS")
    assert copier.lacking(b"ugo") == []
    os.unlink(os.path.join(copier.target, b"ugo/cur/1:2,FS"))
    copier.played({**BASE, b"ugo/cur/2:2,": None})
    assert copier.lacking(b"ugo") == []  # two listings without it: it was deleted


def test_names_that_rsync_writes_otherwise():
    assert mailbackup.plain(rb"caff\#303\#250/a\#012b") == "caffè/a\nb".encode()
    line = b'file has vanished: "/ugo/cur/1" (2):2,S" (in posta)\nfile has vanished: "/ugo/cur/2"\n'
    assert mailbackup.GONE.findall(line) == [b'ugo/cur/1" (2):2,S', b"ugo/cur/2"]
    assert (
        mailbackup.message(b"ugo/.a/new/1")
        == mailbackup.message(b"ugo/.a/cur/1:2,S")
        == (b"ugo/.a", b"1")
    )
    assert mailbackup.message(b"ugo/dovecot-uidlist") is None


def test_a_second_run_at_the_same_time_ends(tmp_path):
    settings = {"target": str(tmp_path / "copy"), "state": str(tmp_path)}
    (tmp_path / "lock").touch()
    program = "import fcntl, sys; held = open(sys.argv[1]); fcntl.flock(held, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path / "lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        holder.stdout.readline()
        assert mailbackup.main(settings) == mailbackup.BUSY and not (tmp_path / "last").exists()
    finally:
        holder.communicate()
