"""Mail outside the folders' root: found by the survey, converted where a further root covers it."""

import os
import struct

import pytest

from mbx2maildir import batch, home, plan_file, survey
from mbx2maildir.tests import build

MBOX = b"From a@b Mon Jan  1 00:00:00 2024\nSubject: x\n\nhello\n\n"
MTX = b" 3-Feb-2009 01:02:03 +0100,9;000000000001\r\nA: b\r\n\r\nc\r\n"


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def odd(site):
    """(home, plan's entry) of a user with mail in every wrong place."""
    place = site.user("alice", build.simple(2), {"work": build.simple(1), "mtx": MTX})
    mail = build.simple(3)
    put(place / "oldmail", mail)
    put(place / "Mail/list/debian", MBOX)
    put(place / "Mail/work", mail)
    put(place / "tenexbox", MTX.replace(b"\r\n", b"\n"))
    put(place / "mmdfbox", b"\1\1\1\1\nA: b\n\nc\n\1\1\1\1\n")
    put(place / "mhbox/1", b"Subject: x\n\nhi\n")
    put(place / "mxbox/.mxindex", b"")
    put(place / "mixbox/.mixmeta", b"")
    put(place / "mixbox/.mix1", b"12345")
    for name in ("cur", "new", "tmp"):
        (place / "Maildir" / name).mkdir(parents=True)
    put(place / "Maildir/cur/1:2,S", b"Subject: x\n\nhi\n")
    put(place / "notes.txt", b"no mail\n")
    put(place / "empty", b"")
    put(place / ".snapshot/daily/oldmail", mail)
    put(site.root / "elsewhere/linked", mail)
    for target, name in (
        ("../../elsewhere", "link"),
        ("..", "Mail/loop"),
        ("/home/alice", "Mail/home"),
        ("/home/alice/Mail", "aside"),
        ("oldmail", "again"),
        ("/data/alice/mail", "away"),
        ("../../../data/mail", "mail/away"),
        ("alice@host.123", ".#lock"),
    ):
        os.symlink(target, place / name)
    put(site.root / "home/bruno/mail/shared", MBOX)
    (place / ".mailboxlist").write_bytes(
        b"mail/work\noldmail\nTrash\nwork\n#news.comp.mail\n~bruno/mail/shared\n/home/bruno/x\n"
    )
    user = dict(site.users[0], home="/home/alice", old_home=str(place))
    return place, user


def survey_of(user):
    return survey.survey_user(user, lambda *_: None)


def test_every_mailbox_of_the_home_is_found_with_its_format_and_size(odd):
    place, user = odd
    result = survey_of(user)
    size = len(build.simple(3))
    bruno = place.parent / "bruno"
    at = {item["file"]: (item["format"], item["bytes"]) for item in result["outside"]}
    assert at == {
        str(place / "oldmail"): ("mbx", size),
        str(place / "Mail/list/debian"): ("mbox", len(MBOX)),
        str(place / "Mail/work"): ("mbx", size),
        str(place / "tenexbox"): ("tenex", len(MTX) - MTX.count(b"\r\n")),
        str(place / "mmdfbox"): ("mmdf", 18),
        str(place / "mhbox"): ("mh", 15),
        str(place / "mxbox"): ("mx", 0),
        str(place / "mixbox"): ("mix", 5),
        str(place / "Maildir"): ("maildir", 15),
        str(place / "link/linked"): ("mbx", size),
        str(bruno / "mail/shared"): ("mbox", len(MBOX)),
        "#news.comp.mail": ("", 0),
    }
    assert {item["file"] for item in result["outside"] if item["link"]} == {
        str(place / "link/linked")
    }
    assert {item["file"] for item in result["outside"] if item["subscribed"]} == {
        str(place / "oldmail"),
        str(bruno / "mail/shared"),
        "#news.comp.mail",
    }
    assert {item["file"]: item["why"] for item in result["unsearched"]} == {
        str(place / "mail/away"): home.OUT,
        str(place / ".snapshot"): "snapshots",
        str(place / "away"): home.OUT,
        str(place / "Mail/home"): home.LOOP,
        str(place / "Mail/loop"): home.LOOP,
    }
    # the old server would open ~/work and ~/Trash, which do not exist
    assert result["meant"] == [{"line": "work", "folder": str(place / "mail/work")}]
    assert {folder["folder"] for folder in result["folders"]} == {"INBOX", "mtx", "work"}


def test_who_can_read_a_folder_by_its_acl(odd):
    """Raw, as setfacl writes `user::rw- user:2003:r-- group::--- group:100:rw- mask::r--
    other::---`, and a second one whose mask takes the rights away."""
    place, user = odd
    kinds = {"u": 1, "U": 2, "g": 4, "G": 8, "m": 16, "o": 32}

    def acl(path, *entries):
        packed = (struct.pack("<HHI", kinds[kind], rights, who) for kind, rights, who in entries)
        value = struct.pack("<I", 2) + b"".join(packed)
        try:
            os.setxattr(path, "system.posix_acl_access", value)
        except OSError:
            pytest.skip("this file system has no ACLs")

    none = 0xFFFFFFFF
    named = (("u", 6, none), ("U", 4, 2003), ("g", 0, none), ("G", 6, 100))
    acl(place / "mail/work", *named, ("m", 4, none), ("o", 0, none))
    acl(place / "mail/mtx", *named, ("m", 2, none), ("o", 0, none))
    assert survey_of(user)["acls"] == [
        {"file": str(place / "mail/work"), "readers": ["uid 2003", "gid 100"]}
    ]


def test_a_huge_home_is_looked_at_in_part_and_that_is_said(odd, monkeypatch):
    place, user = odd
    monkeypatch.setattr(home, "MOST", 5)
    monkeypatch.setattr(home, "LINKED", 0)
    whys = [item["why"] for item in survey_of(user)["unsearched"]]
    for limit in (5, 0):
        assert "{} entries were looked at; no more are".format(limit) in whys
    user["old_home"] = None
    (nobody,) = survey_of(user)["unsearched"]
    assert nobody["file"] == "/home/alice"


def test_what_its_user_may_not_read_is_named_if_it_is_the_users_own(odd):
    place, user = odd
    if os.geteuid() == 0:
        for path in [place, *place.rglob("*")]:
            os.lchown(path, 12345, 12345)
        user.update(uid=12345, gid=12345)
    (place / "oldmail").chmod(0)
    (place / "Mail").chmod(0)
    plan = {"users": [user], "jobs": 1}
    (result,) = survey.survey(plan)["users"]
    (place / "Mail").chmod(0o700)
    whys = {item["file"]: item["why"] for item in result["unsearched"]}
    for name in ("oldmail", "Mail"):
        assert whys[str(place / name)] == "its user may not read it"


def test_folders_that_others_may_read_are_named(odd):
    place, user = odd
    (place / "mail/work").chmod(0o640)
    (place / "mail/mtx").chmod(0o600)
    (place / "mail").chmod(0o750)
    place.chmod(0o700)
    assert survey_of(user)["shared"] == []
    place.chmod(0o710)
    assert survey_of(user)["shared"] == [str(place / "mail/work")]


def test_further_roots_are_converted_and_no_two_folders_meet(site, odd):
    place, user = odd
    user["roots"] = [
        {"path": str(place), "name": ""},
        {"path": str(place / "Mail"), "name": "work"},
    ]
    put(place / "work_2", MBOX)
    put(place / "mail/work_2", MBOX)
    (place / ".mailboxlist").write_bytes(b"mail/work\nMail/work\noldmail\nwork_2\nTrash\n")
    surveyed = survey_of(user)
    left = {item["format"] for item in surveyed["outside"]}
    assert left == {"mh", "maildir"}
    site.users[0] = user
    plan = plan_file.check(site.plan())
    events = []
    totals = batch.convert(plan, lambda event, **values: events.append((event, values)))
    assert not totals["failed"], events
    tree = site.maildir("alice")
    names = sorted(entry.name for entry in tree.iterdir() if entry.name.startswith("."))
    assert names == [
        ".link.linked",
        ".mixbox",
        ".mmdfbox",
        ".mtx",
        ".mxbox",
        ".oldmail",
        ".tenexbox",
        ".work",
        ".work.list.debian",
        ".work.work",
        ".work_2",
        ".work_2_2",
    ]
    assert len(list((tree / ".oldmail/cur").iterdir())) == 3
    assert (tree / "subscriptions").read_text().split() == [
        "work",
        "work.work",
        "oldmail",
        "work_2_2",
        "Trash",
    ]
    (published,) = [values for event, values in events if event == "published"]
    assert published["folders"] == 13


def test_a_name_in_the_home_never_comes_to_mean_the_folder_of_that_name(site):
    place = site.user("alice", None, {"Trash": build.simple(1)}, subscriptions=b"Trash\n")
    put(place / "Trash", MBOX)
    user = dict(site.users[0], home="/home/alice", old_home=str(place))
    result = survey_of(user)
    assert result["elsewhere"] == ["Trash"] and not result["meant"]
    site.users[0] = user
    batch.convert(plan_file.check(site.plan()), lambda event, **values: None)
    assert not (site.maildir("alice") / "subscriptions").read_text()
