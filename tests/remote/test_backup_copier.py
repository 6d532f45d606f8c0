"""What may be removed from the copy: the copier with listings that a test makes up, on real
directories.
"""

import json
import os
import random
import socket
import subprocess
import sys
import tempfile

import pytest
from cutover.remote import backup_copier


@pytest.fixture
def copier(tmp_path):
    """A Run whose passes a test plays: `played({path: cur's time or None}, vanished)`."""
    run = backup_copier.Run({"target": str(tmp_path)}, lambda *lines: None)
    run.target = os.fsencode(tmp_path)

    def played(paths, vanished=()):
        run.number += 1
        curs = {path: time for path, time in paths.items() if path.endswith(b"/cur/")}
        for path in [*paths, *vanished]:
            run.seen[path.rstrip(b"/")] = run.number
        listing = backup_copier.Listing(run.number, curs, list(vanished))
        run.users[b"ugo"] = [*run.users.get(b"ugo", ())[-2:], listing]

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
    for _ in range(3):
        copier.played({**BASE, b"ugo/cur/1:2,S": None})
    copier.holds("ugo/cur/1:2,S", "ugo/cur/2:2,", "ugo/.old/cur/3:2,", "ugo/note")
    assert copier.files() == ["ugo/cur/1:2,S"] and copier.removed == 3
    assert not os.path.exists(os.path.join(copier.target, b"ugo/.old"))


def test_what_only_the_copy_has_of_a_user_goes_with_the_directory(copier):
    copier.holds("ugo/cur/1:2,S")
    assert copier.files() == [] and not os.listdir(copier.target)


@pytest.mark.parametrize(
    "last, vanished",
    [
        ({CUR: b"10:00:01"}, ()),  # a flag, a move or a removal
        ({CUR: b"10:00:00", b"ugo/.new/cur/": b"10:00:00"}, ()),  # a folder that was renamed
        ({}, ()),  # a store that went away
        ({CUR: b"10:00:00"}, [b"ugo/cur/9:2,"]),
    ],
)
def test_a_user_at_work_waits_for_another_pass(copier, last, vanished):
    for _ in range(2):
        copier.played(BASE)
    copier.played({b"ugo/": None, **last}, vanished)
    copier.holds("ugo/cur/1:2,S", "ugo/cur/2:2,")
    assert copier.settle({b"ugo"}) == {b"ugo"} and len(copier.files()) == 2
    copier.tidy(b"ugo")
    assert len(copier.files()) == 2 and copier.kept >= 2


def test_two_listings_with_the_same_times_remove_nothing(copier):
    """A message renamed during both: the first in the second of its folder's last change."""
    for _ in range(2):
        copier.played(BASE)
    copier.holds("ugo/cur/1:2,S")
    assert copier.settle({b"ugo"}) == {b"ugo"} and copier.files() == ["ugo/cur/1:2,S"]
    copier.played({b"ugo/": None, CUR: b"10:00:02", b"ugo/cur/1:2,": None})
    assert copier.settle({b"ugo"}) == {b"ugo"} and copier.files() == ["ugo/cur/1:2,S"]


def test_what_only_the_first_listing_has_waits_for_a_third_and_goes(copier):
    """Flagged (0), moved (1) and deleted (2) between the first two passes."""
    copier.played({**BASE, **dict.fromkeys([b"ugo/cur/0:2,", b"ugo/cur/1:2,", b"ugo/cur/2:2,"])})
    later = {**BASE, CUR: b"10:00:04", b"ugo/cur/0:2,S": None}
    later |= {b"ugo/.a/": None, b"ugo/.a/cur/": b"10:00:04", b"ugo/.a/cur/1:2,": None}
    copier.played(later)
    names = ("0:2,", "0:2,S", "1:2,", "2:2,")
    copier.holds("ugo/.a/cur/1:2,", *(f"ugo/cur/{name}" for name in names))
    assert copier.settle({b"ugo"}) == {b"ugo"} and len(copier.files()) == 5
    copier.played(later)
    assert copier.settle({b"ugo"}) == {b"ugo"}  # the second is not proved complete yet
    copier.played(later)
    assert copier.settle({b"ugo"}) == set() and not copier.failed
    assert copier.files() == ["ugo/.a/cur/1:2,", "ugo/cur/0:2,S"]


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
    assert backup_copier.plain(rb"caff\#303\#250/a\#012b") == "caffè/a\nb".encode()
    line = b'file has vanished: "/ugo/cur/1" (2):2,S" (in posta)\nfile has vanished: "/ugo/cur/2"\n'
    assert backup_copier.GONE.findall(line) == [b'ugo/cur/1" (2):2,S', b"ugo/cur/2"]
    assert (
        backup_copier.message(b"ugo/.a/new/1")
        == backup_copier.message(b"ugo/.a/cur/1:2,S")
        == (b"ugo/.a", b"1")
    )
    assert backup_copier.message(b"ugo/dovecot-uidlist") is None


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
        assert (
            backup_copier.main(settings) == backup_copier.BUSY and not (tmp_path / "last").exists()
        )
    finally:
        holder.communicate()


def deep(top, levels):
    """Directories inside each other, deeper than a path can name."""
    os.makedirs(top, exist_ok=True)
    handle = os.open(top, os.O_DIRECTORY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=handle)
        inner = os.open("d", os.O_DIRECTORY, dir_fd=handle)
        os.close(handle)
        handle = inner
    os.close(handle)


def test_one_user_with_a_deep_tree_stops_nobody_else(copier, tmp_path):
    deep(tmp_path / "eva", 1100)
    for _ in range(3):
        copier.played({**BASE, b"ugo/cur/1:2,S": None})
    copier.holds("ugo/cur/1:2,S", "ugo/cur/2:2,")
    assert copier.settle({b"ugo", b"eva"}) == set() and list(copier.failed) == [b"eva"]
    assert os.listdir(tmp_path / "ugo/cur") == ["1:2,S"] and copier.removed == 1
    lines = []
    copier.say = lambda *more: lines.extend(more)
    with pytest.raises(backup_copier.NotCopied, match="eva: more than 100 directories") as error:
        copier.judge([])
    assert error.value.result == backup_copier.PARTIAL and lines == ["failed 1"]
    assert backup_copier.count(tmp_path) == 1
    subprocess.run(["rm", "-r", tmp_path / "eva"], check=True)  # pytest's own removal recurses


def test_a_user_whom_rsync_complains_of_stops_nobody_else(copier, monkeypatch):
    copier.users = {b"eva": [], b"ugo": []}
    monkeypatch.setattr(backup_copier, "APART", 0)
    err = b'rsync: [sender] readlink_stat("/eva/d/d" (in posta)) failed: File name too long (36)\n'
    end = b"rsync error: some files/attrs were not transferred (code 23) at main.c(1865)\n"
    monkeypatch.setattr(backup_copier, "rsync", lambda *_, **__: (23, err + end))
    copier.make_pass()
    assert list(copier.failed) == [b"eva"] and b"File name too long" in err
    copier.failed.clear()
    err = b"filename overflows max-path len by 4: ugo/%b/%b (in posta)\n" % (b"A" * 250, b"B" * 250)
    copier.make_pass()
    assert list(copier.failed) == [b"ugo"]
    other = b'rsync: [receiver] mkdir "/elsewhere/x" failed: No space left on device (28)\n'
    monkeypatch.setattr(backup_copier, "rsync", lambda *_, **__: (23, err + other + end))
    with pytest.raises(backup_copier.NotCopied):
        copier.make_pass()


ODD = ("fifo", "socket", "link", "file", "directory", "loop")
PLACEMENTS = int(os.environ.get("CUTOVER_PLACEMENTS", "200"))
ANYWHERE = [
    *("ugo", "ugo/cur", "ugo/new", "ugo/tmp", "ugo/cur/1:2,S", "ugo/cur/4:2,", "ugo/new/5"),
    *("ugo/.f", "ugo/.f/cur", "ugo/.f/cur/3:2,", "ugo/.f/new", "ugo/.f/.g", "ugo/.f/.g/cur"),
    *("ugo/dovecot-uidlist", "ugo/.f/dovecot-uidlist", "ugo/a\nb", "ugo/subscriptions"),
]


def odd(path, kind, elsewhere):
    os.makedirs(path.parent, exist_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        here = os.getcwd()
        os.chdir(path.parent)
        socket.socket(socket.AF_UNIX).bind(path.name)
        os.chdir(here)
    elif kind == "link":
        path.symlink_to(elsewhere)
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "directory":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "hole":
        path.touch()
        os.truncate(path, 3 << 30)
    else:
        path.write_text("x")


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(
    "place", ["ugo", "ugo/cur", "ugo/new", "ugo/cur/1:2,", "ugo/.f", "ugo/dovecot-uidlist"]
)
def test_odd_files_are_neither_opened_nor_followed(copier, tmp_path_factory, tmp_path, place, kind):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    uidlist = place.endswith("uidlist")
    for path in ("cur/7:2,S", "f/cur/7:2,S", ".f/cur/7"):
        odd(elsewhere / path, "file", None)
    (elsewhere / "dovecot-uidlist").write_text("3 V1 N2\n1 :secret:2,S\n")
    target = elsewhere / "dovecot-uidlist" if uidlist else elsewhere
    odd(tmp_path / place, kind, target)
    names = [backup_copier.messages(copier.target, folder) for folder in (b"ugo", b"ugo/.f")]
    assert b"7" not in set().union(*names) and b"secret" not in set().union(*names)
    if not (uidlist and kind == "file"):
        assert backup_copier.uidlist(copier.target, b"ugo") == set()
    paths = list(backup_copier.walk(copier.target, b"ugo"))
    assert os.fsencode(place) in paths and not any(path.endswith(b"/7:2,S") for path in paths)
    copier.settle({b"ugo"})
    assert not copier.failed and not os.listdir(tmp_path)
    assert (elsewhere / "cur/7:2,S").exists()


@pytest.mark.parametrize("number", range(max(1, PLACEMENTS // 5)))
def test_odd_files_anywhere_in_the_copy(copier, tmp_path_factory, tmp_path, number):
    """Nothing is followed, and the next user's copy is kept as it should be."""
    choose, elsewhere = random.Random(number), tmp_path_factory.mktemp("elsewhere")
    for path in (*("cur/7:2,S", "new/7", ".f/cur/7:2,S"), "dovecot-uidlist"):
        odd(elsewhere / path, "file", None)
    (elsewhere / "dovecot-uidlist").write_text("3 V1 N2\n1 :secret:2,S\n")
    copier.played({f"{user}/cur/1:2,S".encode(): None for user in ("ugo", "ivo")})
    for user in ("ugo", "ivo"):
        for path in ("cur/1:2,S", "cur/2:2,", ".f/cur/3:2,"):
            odd(tmp_path / user / path, "file", None)
    for _ in range(5):
        path = tmp_path / choose.choice(ANYWHERE)
        if path.is_symlink() or not os.path.isdir(os.path.realpath(path.parent)):
            continue
        if path.resolve().parent.is_relative_to(elsewhere):
            continue
        if path.exists():
            path.rename(f"{path}.was{os.urandom(4).hex()}")
        kind = choose.choice([*ODD, "device", "hole"])
        odd(path, kind, elsewhere / path.name if choose.random() < 0.5 else elsewhere)
    for folder in (b"ugo", b"ugo/.f", b"ugo/.f/.g"):
        assert not {b"7", b"secret"} & backup_copier.messages(copier.target, folder)
        assert b"secret" not in backup_copier.uidlist(copier.target, folder)
    assert b"1" in backup_copier.messages(copier.target, b"ivo")
    list(backup_copier.walk(copier.target, b"ugo"))
    copier.settle({b"ugo", b"ivo"})
    assert set(copier.failed) <= {b"ugo"} and not (tmp_path / "ivo/.f").exists()
    left = {
        os.path.relpath(os.path.join(top, name), elsewhere)
        for top, _, names in os.walk(elsewhere)
        for name in names
    }
    assert left == {"cur/7:2,S", "new/7", ".f/cur/7:2,S", "dovecot-uidlist"}


def test_check_names_whose_mail_it_could_not_compare(copier, monkeypatch, capsys):
    copier.holds("eva/cur/1:2,S", "ugo/cur/1:2,S")
    for user in ("eva", "ugo"):
        os.makedirs(os.path.join(copier.target, user.encode()), exist_ok=True)
    lines = b"=>f+++++++++ 10 ugo/.new/cur/9:2,\n=>f+++++++++ 10 ugo/cur/8:2,\n"
    err = b'rsync: [sender] opendir "/eva/cur" (in posta) failed: Permission denied (13)\n'

    def listed(settings, out, *options):
        out.write(lines)
        out.seek(0)
        return 23, err

    monkeypatch.setattr(backup_copier, "rsync", listed)
    os.makedirs(os.path.join(copier.target, b"ugo/cur"), exist_ok=True)
    assert backup_copier.check({"target": os.fsdecode(copier.target)}) == 0
    answer = json.loads(capsys.readouterr().out)
    assert list(answer["failed"]) == ["eva"] and "Permission denied" in answer["failed"]["eva"]
    assert answer["other"] == ["ugo/.new/cur/9:2,", "ugo/cur/8:2,"] and answer["new"] == [
        "ugo/.new"
    ]


def test_a_file_without_data_costs_no_room(rsync, tmp_path):
    """One of terabytes would fill the copy's disk for everybody."""
    (tmp_path / "store/ugo/cur").mkdir(parents=True)
    (tmp_path / "store/ugo/cur/1").touch()
    os.truncate(tmp_path / "store/ugo/cur/1", 1 << 30)
    settings = {"exclude": [], "rsh": "false", "target": str(tmp_path / "copy")}
    with tempfile.TemporaryFile() as out:
        assert backup_copier.rsync({**settings, "source": f"{tmp_path}/store/"}, out)[0] == 0
    copied = (tmp_path / "copy/ugo/cur/1").stat()
    assert copied.st_size == 1 << 30 and copied.st_blocks < 100


def test_a_sparse_uid_list_is_not_read(copier, tmp_path):
    (tmp_path / "ugo").mkdir()
    with open(tmp_path / "ugo/dovecot-uidlist", "wb") as file:
        file.truncate(1 << 40)
    assert backup_copier.uidlist(copier.target, b"ugo") == set()


def test_a_name_writes_no_line_of_the_report(tmp_path, monkeypatch, capsys):
    def copy(self):
        raise backup_copier.NotCopied(24, "1 message is missing: ugo/cur/1\nresult 0\n")

    monkeypatch.setattr(backup_copier.Run, "copy", copy)
    settings = {"target": str(tmp_path / "copy"), "state": str(tmp_path)}
    assert backup_copier.main(settings) == 24
    assert "\nresult 0\n" not in capsys.readouterr().out
