"""What changes a folder's signature: all that is done to it, but not being read, listed, moved or
staged again with what it has."""

import os
import pathlib
import time

import pytest

from mbx2maildir import signatures


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree/.work"
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True)
    for name in ("cur/1:2,S", "cur/2:2,", "new/3", "dovecot-uidlist", "maildirfolder"):
        (folder / name).write_bytes(b"some text")
    return tmp_path / "tree"


def rewrite(folder):
    """Another text of the same size, and the mtime of before."""
    path = folder / "cur/1:2,S"
    before = path.stat()
    time.sleep(0.02)
    path.write_bytes(b"Some text")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(folder):
    other = folder.parent / "other"
    other.write_bytes(b"some text")
    other.rename(folder / "cur/1:2,S")


def inbox(tree):
    """The tree's INBOX: what lies beside the folders."""
    for part in ("cur", "new", "tmp"):
        (tree / part).mkdir()
    (tree / "cur/1:2,S").write_bytes(b"some text")
    for name in ("subscriptions", "dovecot-uidlist"):
        (tree / name).write_bytes(b"work\n")


CHANGES = {
    "a text with its time set back": rewrite,
    "another file under the same name": replace,
    "flags": lambda folder: (folder / "cur/2:2,").rename(folder / "cur/2:2,S"),
    "a message more": lambda folder: (folder / "new/4").write_bytes(b""),
    "a message less": lambda folder: (folder / "new/3").unlink(),
    "the uidlist": lambda folder: (folder / "dovecot-uidlist").write_bytes(b"other"),
    "a keyword": lambda folder: (folder / "dovecot-keywords").write_bytes(b"0 Work\n"),
    "another file of Dovecot": lambda folder: (folder / "dovecot-acl").write_bytes(b""),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_gives_another_signature(tree, change):
    before = signatures.signature(os.fsencode(tree / ".work"))
    time.sleep(0.02)
    CHANGES[change](tree / ".work")
    assert signatures.signature(os.fsencode(tree / ".work"))[0] != before[0]


def test_a_tree_that_is_read_listed_moved_and_staged_again_keeps_its_signatures(tree):
    at = time.time()
    before = signatures.task_signatures(os.fsencode(tree), lambda *_: None)
    for path in tree.rglob("*"):
        path.is_file() and path.read_bytes()
    for name in ("dovecot-uidlist", "maildirfolder"):
        (tree / "other").write_bytes((tree / ".work" / name).read_bytes())
        (tree / "other").rename(tree / ".work" / name)
    (tree / ".work/dovecot.index.log").write_bytes(b"")
    moved = tree.rename(tree.parent / "moved")
    after = signatures.task_signatures(os.fsencode(moved), lambda *_: None)
    assert before["folders"] == after["folders"] and at <= before["at"] <= after["at"]
    assert abs(before["folders"]["work"][1] - at) < 5, "of the last change"


def test_inbox_has_one_of_its_own_with_the_subscriptions(tree):
    inbox(tree)

    def known():
        time.sleep(0.02)
        return signatures.task_signatures(os.fsencode(tree), lambda *_: None)["folders"]

    before = known()
    assert sorted(before) == ["", "work"]
    for name in ("dovecot.list.index.log", "dovecot-uidvalidity", "dovecot.index"):
        (tree / name).write_bytes(b"")
    (tree / "other").write_bytes(b"work\n")  # staged again with what it had
    (tree / "other").rename(tree / "subscriptions")
    (tree / ".work/cur/3:2,").write_bytes(b"")
    assert known()[""] == before[""] and known()["work"] != before["work"]
    for change in (
        lambda: (tree / "subscriptions").write_bytes(b""),
        lambda: (tree / "cur/1:2,S").rename(tree / "cur/1:2,"),
        lambda: (tree / "dovecot-uidlist").write_bytes(b"other"),
        lambda: (tree / "new/2").write_bytes(b""),
    ):
        last = known()[""][0]
        change()
        assert known()[""][0] != last
    (tree / "tmp").rmdir()
    (tree / "cur").rename(tree / "other")
    assert "" not in known()


@pytest.mark.parametrize(
    "entry, make",
    [
        ("cur/link", lambda path: path.symlink_to("1:2,S")),
        ("dovecot-keywords", lambda path: path.symlink_to("/etc/passwd")),
        ("cur/pipe", os.mkfifo),
        ("more", pathlib.Path.mkdir),
    ],
)
def test_a_folder_with_anything_but_files_has_none(tree, entry, make):
    make(tree / ".work" / entry)
    assert signatures.task_signatures(os.fsencode(tree), lambda *_: None)["folders"] == {}


def test_a_link_in_a_folders_place_has_none(tree):
    os.rename(tree / ".work", tree / "work")
    os.symlink("work", tree / ".work")
    assert signatures.task_signatures(os.fsencode(tree), lambda *_: None)["folders"] == {}


def test_of_a_user_without_a_tree_there_are_none(tree):
    user = {"user": "ada", "uid": os.getuid(), "gid": os.getgid(), "maildir": str(tree)}
    plan = {"run": "night", "work": str(tree.parent / "work"), "jobs": 1, "users": [user]}
    (live,) = signatures.signatures(plan, "live")["users"]
    assert list(live["folders"]) == ["work"] and live["user"] == "ada"
    (staged,) = signatures.signatures(plan, "staging")["users"]
    assert staged["folders"] == {}
