"""A tree beside its copy: what makes them differ, whose contents are read, and what rsync may not
touch."""

import os
import shutil
import subprocess
import sys
import time
import types

import pytest
from cutover.remote import store_copies, store_mover, store_use, trees
from mbx2maildir import errors


@pytest.fixture
def pair(tmp_path):
    """A small store, and a copy that is the same."""
    place = tmp_path / "store/alice/cur"
    place.mkdir(parents=True)
    for number in range(3):
        (place / f"{number}.M1P1.host,S=5:2,S").write_bytes(b"text%d" % number)
    (tmp_path / "store/alice/dovecot-uidlist").write_bytes(b"3 V1 N4 G0\n")
    (tmp_path / "store/alice/link").symlink_to("cur")
    shutil.copytree(tmp_path / "store", tmp_path / "copy", symlinks=True)
    for name, *_ in trees.entries(tmp_path / "store", tmp_path / "copy"):
        source = os.path.join(os.fsencode(tmp_path / "store"), name)
        status = os.lstat(source)
        os.utime(
            os.path.join(os.fsencode(tmp_path / "copy"), name),
            ns=(status.st_atime_ns, status.st_mtime_ns),
            follow_symlinks=False,
        )
    return tmp_path / "store", tmp_path / "copy"


def message(top):
    return next((top / "alice/cur").glob("0.*"))


def rewrite(path, data):
    """Other contents that nothing but ctime tells."""
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_true_copy_is_the_same(pair):
    result = trees.compare(*pair)
    assert (result.different, result.read, result.bytes, result.entries) == (0, 4, 26, 8)


@pytest.mark.parametrize(
    "harm, words",
    [
        (lambda copy: message(copy).unlink(), "only in the store"),
        (lambda copy: (copy / "alice/cur/more").write_bytes(b""), "only in the copy"),
        (lambda copy: message(copy).chmod(0o600), "mode"),
        (lambda copy: message(copy).write_bytes(b"longer text"), "size"),
        (lambda copy: os.utime(message(copy), (1, 1)), "mtime"),
        (lambda copy: rewrite(message(copy), b"tex?0"), "other contents"),
        (lambda copy: rewrite(copy / "alice/dovecot-uidlist", b"3 V1 N5 G0\n"), "other contents"),
        (lambda copy: os.link(message(copy), copy.parent / "elsewhere"), "number of links"),
        (
            lambda copy: ((copy / "alice/link").unlink(), (copy / "alice/link").mkdir()),
            "another kind",
        ),
    ],
)
def test_each_difference_is_found(pair, harm, words):
    harm(pair[1])
    result = trees.compare(*pair)
    assert result.different and any(words in text for text in result.first), result.first


def test_contents_known_to_be_the_same_are_not_read_until_they_are_touched(pair, monkeypatch):
    monkeypatch.setattr(trees, "MARGIN", 0)
    time.sleep(0.02)
    since = time.time_ns()
    result = trees.compare(*pair, since=since)
    assert (result.read, result.known) == (1, 3)  # what is no message is read each time
    rewrite(message(pair[1]), b"tex?0")
    result = trees.compare(*pair, since=since)
    assert (result.different, result.known) == (1, 2)


def test_what_there_is_no_time_for_is_told(pair):
    assert trees.compare(*pair, deadline=0).unread == 4


def test_while_users_work_a_change_is_no_difference_and_rot_is(pair):
    message(pair[0]).rename(pair[0] / "alice/cur/0.M1P1.host,S=5:2,FS")
    assert trees.compare(*pair, live=True).different == 0
    rewrite(next((pair[1] / "alice/cur").glob("1.*")), b"rot!!")
    assert trees.compare(*pair, live=True).different == 1


def test_what_the_new_storage_cannot_hold_is_found_while_users_work(pair, monkeypatch):
    monkeypatch.setattr(trees, "MARGIN", 0)
    os.utime(message(pair[1]), (1, 1))  # as a file system with coarser times has it
    before = message(pair[0]).stat().st_ctime_ns
    assert (
        trees.compare(*pair, live=True, copied=before).different == 0
    )  # touched since: the next pass brings it
    result = trees.compare(*pair, live=True, copied=before + 1)
    assert result.different == 1 and "mtime" in result.first[0]


@pytest.fixture
def values(pair, tmp_path):
    shutil.rmtree(pair[1])
    pair[1].mkdir()
    (tmp_path / "place").mkdir()
    return {
        "store": str(pair[0]),
        "to": str(pair[1]),
        "place": str(tmp_path / "place"),
        "passed": [],
        "minutes": 1,
    }


def test_only_an_empty_directory_or_our_own_is_written_to(values):
    other = os.path.join(values["to"], "somebody")
    with open(other, "w"):
        pass
    with pytest.raises(store_copies.NotOurs, match="somebody"):
        store_copies.claim(values)
    os.unlink(other)
    os.mkdir(os.path.join(values["to"], "lost+found"))
    store_copies.claim(values)
    with open(other, "w"):
        pass
    store_copies.claim(values)
    with open(os.path.join(values["to"], store_copies.MARK), "w") as mark:
        mark.write("/elsewhere\n")
    with pytest.raises(store_copies.NotOurs, match="another store"):
        store_copies.claim(values)
    with pytest.raises(store_copies.NotOurs, match="the store itself"):
        store_copies.claim(dict(values, to=values["store"]))


def test_what_mail_was_not_served_from_last_is_copied_nowhere(values):
    """Neither over the one place that has what came since, nor over a copy that is to take its
    place."""
    store_copies.claim(values)
    store_copies.write_notes(values, {"alone": values["to"], "copies": {}})
    with pytest.raises(store_copies.NotTheStore, match="last, which is not in its place"):
        store_copies.claim(values)
    with open(os.path.join(values["store"], store_copies.MARK), "w") as mark:
        mark.write("{store}\n/srv/former\n".format(**values))
    with pytest.raises(store_copies.NotTheStore):
        store_copies.claim(values)
    store_copies.write_notes(values, {"alone": "/srv/former", "copies": {}})
    store_copies.claim(values)


def test_each_copy_has_notes_of_its_own_and_a_mark_that_says_where_it_was_made(values):
    store_copies.claim(values)
    store_copies.write_state(values, checked=7)
    assert store_copies.read_state(dict(values, to="/srv/other")) == {}
    assert store_copies.mark(values["to"]) == (values["store"], values["to"])
    with open(
        os.path.join(values["to"], store_copies.MARK), "w"
    ) as mark:  # mounted elsewhere since
        mark.write("{store}\n/srv/other\n".format(**values))
    store_copies.claim(values)
    assert (
        store_copies.mark(values["to"])[1] == values["to"]
        and store_copies.read_state(values)["checked"] is None
    )


def test_without_room_nothing_is_begun(values, monkeypatch):
    full = os.statvfs(values["to"])
    monkeypatch.setattr(
        os,
        "statvfs",
        lambda path: type(
            "full", (), {"f_bavail": 0, "f_frsize": full.f_frsize, "f_favail": 0, "f_files": 1}
        )(),
    )
    with pytest.raises(errors.NoSpace, match="bytes"):
        store_copies.claim(values)
    assert os.listdir(values["to"]) == []


def test_a_pass_copies_what_changed_and_removes_in_the_copy_alone(rsync, pair, values):
    store_copies.claim(values)
    os.mkdir(os.path.join(values["to"], "lost+found"))
    assert store_mover.rsync(*pair_of(values))["copied"] == 4
    message(pair[0]).rename(pair[0] / "alice/cur/0.M1P1.host,S=5:2,FS")
    rewrite(pair[0] / "alice/dovecot-uidlist", b"3 V1 N5 G0\n")
    os.utime(
        pair[0] / "alice/dovecot-uidlist",
        ns=(1, os.stat(pair[0] / "alice/dovecot-uidlist").st_mtime_ns + 1000),
    )
    figures = store_mover.rsync(*pair_of(values))
    assert (figures["copied"], figures["deleted"]) == (
        2,
        1,
    )  # the list was written within a second, and is as long
    assert trees.compare(*pair, [store_copies.MARK, store_copies.FOUND]).different == 0
    assert sorted(os.listdir(values["to"])) == [store_copies.MARK, "alice", "lost+found"]
    with pytest.raises(store_mover.CopyFailed, match="rsync ended with"):
        store_mover.rsync(values["store"], values["to"] + "/none/there")


def pair_of(values):
    return values["store"], values["to"]


def test_a_file_without_data_costs_no_room(rsync, pair):
    store, copy = pair
    os.truncate(next((store / "alice/cur").iterdir()), 1 << 30)
    store_mover.rsync(str(store), str(copy))
    (copied,) = [path.stat() for path in copy.rglob("*") if path.stat().st_size == 1 << 30]
    assert copied.st_blocks < 100


def test_who_writes_is_named(pair):
    with open(message(pair[0]), "rb"):
        assert (
            store_use.writers(str(pair[0])) == []
        )  # who reads keeps nobody from anything; nor do we ourselves
    program = (
        "import sys; file = open(sys.argv[1], 'a'); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, message(pair[0])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        other.stdout.readline()
        (named,) = store_use.writers(str(pair[0]))
        assert str(other.pid) in named
        other.stdin.close()


def test_a_link_or_fifo_in_the_place_of_a_message_is_not_read(tmp_path):
    plain, link, fifo = (tmp_path / name for name in ("plain", "link", "fifo"))
    plain.write_text("1")
    link.symlink_to(plain)
    os.mkfifo(fifo)
    with pytest.raises(OSError, match="symbolic links"):
        trees.same_contents(link, plain)
    assert not trees.same_contents(fifo, plain)


def test_directories_inside_each_other_stop_no_move(tmp_path, monkeypatch):
    place = tmp_path / "store"
    subprocess.run(["mkdir", "-p", str(place / ("d/" * 1100))], check=True)
    full = types.SimpleNamespace(f_bavail=0, f_frsize=1, f_favail=1100, f_files=1)
    monkeypatch.setattr(os, "statvfs", lambda path: full)
    with pytest.raises(errors.NoSpace, match="bytes"):
        store_copies.room({"store": str(place), "to": str(tmp_path)})
    full.f_bavail = 1 << 40
    store_copies.room({"store": str(place), "to": str(tmp_path)})
    full.f_favail = 1099
    with pytest.raises(errors.NoSpace, match="1100 inodes"):
        store_copies.room({"store": str(place), "to": str(tmp_path)})
    subprocess.run(["rm", "-r", str(place)], check=True)
