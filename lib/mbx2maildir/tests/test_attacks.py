"""What a user can do to the converter with her own trees: gain nothing, and stop nobody else.

Mallory (uid 20001) shapes her trees; bob (20002) is another user. Accounts are numbers: no entry in
passwd is needed.
"""

import contextlib
import json
import os
import pathlib
import random
import resource
import signal
import socket
import stat
import time

import pytest

from mbx2maildir import batch, command_line, errors, events, pace, plan_file, pool, survey, switch
from mbx2maildir.formats import maildir
from mbx2maildir.publish import base, containers, leave, publish, records, status
from mbx2maildir.tests import build
from mbx2maildir.tests.test_batch import convert, deliver, messages, of

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be other users")

MALLORY, BOB, GROUP = 20001, 20002, 20009
PLACEMENTS = int(os.environ.get("CUTOVER_PLACEMENTS", "200"))
PER_ROUND = 10
SECRET = b"Subject: a secret of root\n\nhush\n"


def own(path, uid):
    """Give a tree to a user, closed to others."""
    for place in [path, *path.rglob("*")]:
        os.chown(place, uid, uid, follow_symlinks=False)
        if not place.is_symlink():
            place.chmod(0o700 if place.is_dir() else 0o600)


@pytest.fixture
def two(site):
    """mallory and bob, each with an old store and a Maildir; site.secret: a file and a directory of
    root's that nobody may reach."""
    for name, uid in (("mallory", MALLORY), ("bob", BOB)):
        site.user(name, build.simple(2), {"a": build.simple(1)}, subscriptions=b"mail/a\n")
        site.users[-1].update(uid=uid, gid=uid)
        deliver(site.maildir(name), "1.x.vm", b"Subject: new\n\nof %b\n" % name.encode())
        own(site.root / "home" / name, uid)
        own(site.maildir(name), uid)
    site.secret = site.root / "secret"
    site.secret.mkdir(0o700)
    (site.secret / "file").write_bytes(SECRET)
    (site.secret / "file").chmod(0o600)
    (site.secret / "cur").mkdir()
    (site.secret / "cur/9.secret").write_bytes(SECRET)
    (site.secret / "cur/9.secret").chmod(0o600)
    return site


def test_a_link_to_what_one_of_the_users_groups_may_read(two, monkeypatch):
    """The kernel says what a user may read, not a mode."""
    shared = two.root / "shared"
    shared.mkdir(0o755)
    (shared / "office").write_bytes(build.simple(3))
    (shared / "office").chmod(0o660)
    os.chown(shared / "office", 0, GROUP)
    for name in ("mallory", "bob"):
        (two.root / "home" / name / "mail/office").symlink_to(shared / "office")
    monkeypatch.setattr(
        switch, "groups", lambda user: [user["gid"], *[GROUP] * (user["user"] == "mallory")]
    )
    results = convert(two.plan())
    assert len(messages(two.maildir("mallory"), b"office")) == 3
    assert not two.maildir("bob").joinpath(".office").exists()
    passed = {event["user"]: event["passed"] for event in of(results, "published")}
    assert passed["mallory"] == []
    assert [item["why"] for item in passed["bob"]] == ["a link to what its user may not read"]


def test_what_is_anothers_behind_a_link_does_not_stop_a_user(two):
    """c-client shows nothing of it; what is the user's own may have a wrong mode."""
    shared = two.root / "shared"
    shared.mkdir(0o755)
    (shared / "open").write_bytes(build.simple(3))
    (shared / "of-bob").write_bytes(build.simple(1))
    (shared / "of-bob").chmod(0o600)
    os.chown(shared / "of-bob", BOB, BOB)
    (shared / "closed").mkdir(0o700)
    (two.root / "home/mallory/mail/shared").symlink_to(shared)
    results = convert(two.plan())
    (passed,) = (
        event["passed"] for event in of(results, "published") if event["user"] == "mallory"
    )
    assert {item["name"]: item["why"] for item in passed} == {
        "shared/closed": "a link leads to it, and its user may not read it",
        "shared/of-bob": "a link leads to it, and its user may not read it",
    }
    (shared / "of-bob").rename(shared / "of-mallory")
    os.chown(shared / "of-mallory", MALLORY, MALLORY)
    (shared / "of-mallory").chmod(0)
    (error,) = of(convert(two.plan(run="r2")), "error")
    assert error["user"] == "mallory" and "may not read it" in error["what"]


def look(root):
    """All that is below a directory: {path: (owner, mode, links, content)}."""
    states = {}
    for path in [root, *sorted(root.rglob("*"))]:
        status = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(status.st_mode) else None
        states[str(path)] = (status.st_uid, status.st_mode, status.st_nlink, content)
    return states


def published(results):
    return {event["user"] for event in of(results, "published")}


def errors_of(results):
    return {event["user"] for event in of(results, "error")}


def everything(root):
    """The contents of all files below a directory, without the holes of sparse ones."""
    return b"".join(
        content(path)
        for path in pathlib.Path(root).rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def content(path):
    pieces, at, size = [], 0, path.stat().st_size
    with open(path, "rb", buffering=0) as file, contextlib.suppress(OSError):  # no data behind it
        while at < size:
            start = os.lseek(file.fileno(), at, os.SEEK_DATA)
            at = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            pieces.append(os.pread(file.fileno(), at - start, start))
    return b"".join(pieces)


def only_mallorys(site):
    """Nothing of others' is in mallory's tree: neither by contents nor as another's file."""
    live = site.maildir("mallory")
    for path in live.rglob("*"):
        assert path.lstat().st_uid == MALLORY, path
    assert b"secret of root" not in everything(live) and b"of bob" not in everything(live)


# --- issue: the user becomes root


def test_late_mail_does_not_follow_a_link_out_of_the_published_tree(two, monkeypatch):
    """Between the exchange and the last look, new/ is made a link to a directory of root's."""
    live = two.maildir("mallory")
    before = look(two.secret)
    deliver(live, "2.y.vm", b"Subject: z\n\nz\n", ".z")
    own(live, MALLORY)
    exchange = publish.syscalls.exchange

    def then_attack(first, second):
        done = exchange(first, second)
        if pathlib.Path(os.fsdecode(second)) == live and not (live / ".z/new").is_symlink():
            (live / ".z/new").rename(live / ".z/old")
            os.symlink(two.secret, live / ".z/new")
            replaced = pathlib.Path(os.fsdecode(first))
            (replaced / ".z/new/3.evil.vm").write_bytes(b"import os\n")
            os.chown(replaced / ".z/new/3.evil.vm", MALLORY, MALLORY)
        return done

    monkeypatch.setattr(publish.syscalls, "exchange", then_attack)
    results = convert(two.plan())
    assert "bob" in published(results) and look(two.secret) == before


# --- issue: any file truncated and given to the user


@pytest.mark.parametrize("what", ["maildirfolder", "folder"])
def test_leave_neither_empties_nor_gives_away_what_a_link_leads_to(two, what):
    live = two.maildir("mallory")
    convert(two.plan())
    aside = two.root / "new/work/r1/aside/mallory"
    before = look(two.secret)
    for part in ("cur", "new", "tmp"):
        (live / ".X" / part).mkdir(parents=True)
    (live / ".X/dovecot-uidlist").write_bytes(b"3 V7 N2 G0\n1 :3.made.vm\n")
    (live / ".X/new/3.made.vm").write_bytes(b"Subject: made\n\nz\n")
    own(live / ".X", MALLORY)
    if what == "maildirfolder":
        (aside / ".X").mkdir()
        os.symlink(two.secret / "file", aside / ".X/maildirfolder")
    else:
        os.symlink(two.secret, aside / ".X")
    own_links = [aside / ".X", *(aside / ".X").glob("*")] if what == "maildirfolder" else []
    for path in own_links:
        os.chown(path, MALLORY, MALLORY, follow_symlinks=False)
    plan = plan_file.check(two.plan())
    plan["users"] = [dict(plan["users"][0], keep={"X": [1]})]
    leave.leave(plan, events.Collected())
    assert look(two.secret) == before


# --- issue: any file read


def test_subscriptions_that_are_a_link_are_not_read(two):
    live = two.maildir("mallory")
    os.symlink(two.secret / "file", live / "subscriptions")
    results = convert(two.plan())
    assert "bob" in published(results) and errors_of(results) == {"mallory"}
    assert "subscriptions" in of(results, "error")[0]["file"] and of(results, "error")[0]["todo"]
    (live / "subscriptions").unlink()
    assert published(convert(two.plan())) == {"mallory"}
    only_mallorys(two)


def test_a_file_is_converted_only_if_its_user_can_reach_it(two):
    """Bob's file is open to all, but his home is closed: the mode of the file says nothing."""
    (two.root / "home/bob/INBOX").chmod(0o644)
    os.symlink(two.root / "home/bob/INBOX", two.root / "home/mallory/mail/stolen")
    results = convert(two.plan())
    assert published(results) == {"mallory", "bob"}
    assert not (two.maildir("mallory") / ".stolen").exists()


def test_a_file_that_a_second_group_may_read_is_converted(two, monkeypatch):
    shared = two.root / "shared"
    shared.mkdir(0o750)
    (shared / "team").write_bytes(build.simple(3))
    (shared / "team").chmod(0o640)
    os.chown(shared, 0, 20100)
    os.chown(shared / "team", 0, 20100)
    os.symlink(shared / "team", two.root / "home/mallory/mail/team")
    monkeypatch.setattr(switch, "groups", lambda user: [user["gid"], 20100])
    assert published(convert(two.plan())) == {"mallory", "bob"}
    assert len(messages(two.maildir("mallory"), b"team")) == 3


# --- issue: others' mail linked into her tree


def test_folders_that_are_links_are_not_taken_over(two):
    live = two.maildir("mallory")
    os.symlink("../bob", live / ".bob")
    (live / ".etc").mkdir()
    os.chown(live / ".etc", MALLORY, MALLORY)
    os.symlink(two.secret / "cur", live / ".etc/cur")
    before = look(two.secret)
    bobs = {path.stat().st_ino for path in two.maildir("bob").rglob("*.vm*")}
    results = convert(two.plan())
    assert published(results) == {"mallory", "bob"} and look(two.secret) == before
    only_mallorys(two)
    assert not bobs & {path.lstat().st_ino for path in live.rglob("*")}
    warnings = [text for event in of(results, "published") for text in event["warnings"]]
    assert any(".bob" in text for text in warnings) and any(".etc" in text for text in warnings)


# --- issue: a work directory that others can reach


def test_nothing_is_written_through_a_link_in_a_staged_tree(two):
    convert(dict(two.plan(), presync=True))
    tree = two.root / "new/work/staging/mallory"
    for name in ("cutover.json.tmp", "cutover.json.new", "subscriptions.new"):
        os.symlink(two.secret / "file", tree / name)
    before = look(two.secret)
    results = convert(two.plan())
    assert published(results) == {"mallory", "bob"} and look(two.secret) == before


def test_a_link_in_the_trash_stops_nobody(two):
    containers.make_areas(two.plan())
    trash = two.root / "new/work/trash"
    before = look(two.secret)
    os.symlink(two.secret, trash / "link")
    os.mkfifo(trash / "pipe")
    (trash / "closed/in").mkdir(parents=True)
    own(trash / "closed", MALLORY)
    (trash / "closed/in/x").symlink_to(two.secret / "file")
    (trash / "stuck/in").mkdir(parents=True)
    own(trash / "stuck", MALLORY)
    (trash / "stuck").chmod(0)
    assert published(convert(two.plan())) == {"mallory", "bob"} and look(two.secret) == before
    assert {path.name for path in trash.iterdir()} <= {"stuck"}


@pytest.mark.parametrize("area", ["", "staging", "staged", "trash", "r1", "r1/aside", "r1/state"])
@pytest.mark.parametrize("how", ["owner", "mode", "link"])
def test_a_work_directory_that_others_can_write_is_refused(two, area, how):
    containers.make_areas(two.plan())
    place = two.root / "new/work" / area
    if how == "owner":
        os.chown(place, MALLORY, MALLORY)
    elif how == "mode":
        place.chmod(0o733)
    else:
        place.rename(two.root / "elsewhere")
        os.symlink(two.root / "elsewhere", place)
    with pytest.raises(errors.PublishError) as caught:
        convert(two.plan())
    assert caught.value.file == str(place) and caught.value.todo


def test_nothing_is_made_where_a_user_could_lead_it_elsewhere(two):
    with pytest.raises(errors.PublishError) as caught:
        convert(two.plan(work=str(two.root / "home/mallory/a/b/work")))
    assert caught.value.file == str(two.root / "home/mallory")
    assert not (two.root / "home/mallory/a").exists()


def test_a_directory_that_a_crash_left_to_root_is_made_again(two):
    plan, user = two.plan(), two.users[0]
    containers.make_areas(plan)
    index = containers.paths(plan, user)["index"]
    os.mkdir(index, 0o700)
    containers.make_own(index, user)
    assert os.lstat(index).st_uid == user["uid"]
    os.chown(index, 0, 0)
    open(os.path.join(index, b"a file"), "w").close()
    with pytest.raises(errors.PublishError, match="owner uid 0"):
        containers.make_own(index, user)


def test_containers_are_roots_and_trees_their_users(two):
    convert(dict(two.plan(), presync=True))
    work = two.root / "new/work"
    for area in (
        "",
        "staging",
        "staged",
        "index",
        "trash",
        "r1",
        *(f"r1/{x}" for x in containers.AREAS),
    ):
        status = (work / area).lstat()
        mode = 0o700 if area in ("staged", "r1/state") else 0o711
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, mode), area
    for area in ("staging", "index", "r1/salvage"):
        status = (work / area / "mallory").lstat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (MALLORY, 0o700)


def test_a_maildir_whose_parent_others_can_write_is_refused(two):
    (two.root / "new/imap").chmod(0o777)
    results = convert(two.plan())
    assert {event["kind"] for event in of(results, "error")} == {"PublishError"}
    assert not published(results)


# --- one user stops nobody else


def worked():
    """Seconds of processor that workers took: what waits takes none, and is a dead worker later."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def put(kind, path, victim):
    """Put something odd at a name, in place of what is there. victim: a directory of root's."""
    if path.is_symlink() or path.exists():
        path.rename(str(path) + ".was" + os.urandom(4).hex())
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        here = os.getcwd()
        os.chdir(path.parent)  # its name may be too long otherwise
        try:
            with socket.socket(socket.AF_UNIX) as end:
                end.bind(path.name)
        finally:
            os.chdir(here)
    elif kind == "device":
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero
    elif kind == "directory":
        path.mkdir()
    elif kind == "zeros":
        os.symlink("/dev/zero", path)
    elif kind == "link":
        os.symlink(victim / "file", path)
    elif kind == "to directory":
        os.symlink(victim, path)
    elif kind == "loop":
        os.symlink(path.name, path)
    elif kind == "closed":
        path.write_bytes(b"x")
        path.chmod(0)
    elif kind == "nested":
        path.write_bytes(b"[" * 100000)
    elif kind == "digits":
        path.write_bytes(b'3 V%b N2 G0\n%b :1.x.vm\n{"tree": 1}' % (b"9" * 5000, b"9" * 5000))
    elif kind == "schema":
        path.write_text(json.dumps({"complete": True, "user": "mallory", "run": "r1"}))
    else:
        with open(path, "wb") as sparse:
            sparse.write(b"*mbx*\r\n")
            sparse.truncate(3 << 30)
    if not path.is_symlink() and kind != "device":
        os.chown(path, MALLORY, MALLORY)


KINDS = [
    *("fifo", "socket", "device", "directory", "zeros", "link", "to directory", "loop", "closed"),
    *("nested", "digits", "schema", "hole"),
]
NEW = [
    *("cutover.json", "dovecot-uidlist", "dovecot-keywords", "subscriptions", "maildirfolder"),
    *("cur", "new", "cur/5.q.vm:2,S", "new/6.q.vm", ".f", ".f/cur", ".f/new/7.q.vm"),
    *(".f/dovecot-uidlist", ".f/dovecot-keywords", "dovecot.index", "cutover.json.new"),
]
OLD = ["INBOX", "mbox", ".mailboxlist", "mail/a", "mail/odd", "mail/sub", "mail/sub/deep"]
STAGED = [
    *("", "cutover.json", "cutover.json.new", "cur", "cur/8.q.vm", "dovecot-uidlist", ".a"),
    *("dovecot-uidlist.new", ".a/cur", ".a/maildirfolder", "subscriptions", "dovecot-uidvalidity"),
]
INDEX = ["tables", "INBOX", "INBOX/index", "INBOX/state.json", ".a/index.new", ".trash"]


def commands(site, plan):
    """Every command that a night uses → the converted users."""
    collected = events.Collected()
    survey.survey(plan)
    batch.convert(dict(plan, presync=True), collected)
    results = convert(plan)
    state = status.state(plan)
    base.read(dict(plan, users=[dict(user, asked={"": [1]}) for user in plan["users"]]))
    return results, {entry["user"] for entry in state["users"] if entry["published"]}


@pytest.mark.parametrize("name", ["cutover.json", "dovecot-uidlist", "subscriptions", "cur/5.x"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_odd_file_in_a_maildir_stops_nobody_else(two, name, kind):
    put(kind, two.maildir("mallory") / name, two.secret)
    before = worked()
    results, state = commands(two, plan_file.check(two.plan()))
    assert "bob" in published(results) and "bob" in state
    assert errors_of(results) <= {"mallory"} and worked() - before < 20
    assert all(event["todo"] and event["kind"] != "WorkerDied" for event in of(results, "error"))


@pytest.mark.parametrize("kind", KINDS)
def test_an_odd_mark_in_the_published_tree_changes_nothing(two, kind):
    convert(two.plan())
    put(kind, two.maildir("mallory") / "cutover.json", two.secret)
    plan = plan_file.check(two.plan())
    state = status.state(plan)
    assert state["published"] == 2 and [user["error"] for user in state["users"]] == [None, None]
    counts = batch.unpublish(plan, events.Collected())
    assert (counts["unpublished"], counts["failed"]) == (2, 0)


def test_a_user_cannot_say_that_her_mail_is_published(two):
    """The mark and the attribute are copied from a tree that is; neither says anything."""
    convert(two.plan())
    plan, live = plan_file.check(two.plan()), two.maildir("mallory")
    values = status.state(plan)["users"][0]
    batch.unpublish(plan, events.Collected())
    claim = {"complete": True, "user": "mallory", "run": "r1", "tree": values["tree"]}
    (live / "cutover.json").write_text(json.dumps(claim))
    os.chown(live / "cutover.json", MALLORY, MALLORY)
    pool.ask(two.users[0], claims_attribute, str(live), "user.mbx2maildir", values["tree"])
    with pytest.raises(errors.Reported):
        pool.ask(two.users[0], claims_attribute, str(live), records.attribute(), values["tree"])
    assert status.state(plan)["published"] == 0
    assert base.read(dict(plan, users=[dict(plan["users"][0], asked={"": [1]})]))["users"] == [
        {"user": "mallory", "tree": None, "folders": {}}
    ]
    results = convert(two.plan())
    assert published(results) == {"mallory", "bob"} and not of(results, "already")


def claims_attribute(tree, name, value, report):
    os.setxattr(tree, name, value.encode())


@pytest.mark.parametrize("marked", [True, False], ids=["attribute", "inode"])
def test_another_tree_in_its_place_is_not_the_published_one(two, marked, monkeypatch):
    if not marked:
        monkeypatch.setattr(records, "attribute", lambda: "unknown.mbx2maildir")
    convert(two.plan())
    plan, live = plan_file.check(two.plan()), two.maildir("mallory")
    known = records.read(containers.paths(plan, two.users[0])["state"])
    assert known["marked"] == marked
    live.rename(two.root / "new/away")
    live.mkdir(0o700)
    (live / "cutover.json").write_text(json.dumps({"tree": known["tree"]}))  # an older mark
    own(live, MALLORY)
    assert [user["lost"] for user in status.state(plan)["users"]] == [True, False]
    (live / "cutover.json").unlink()
    live.rmdir()
    (two.root / "new/away").rename(live)
    assert status.state(plan)["published"] == 2


def test_what_an_older_version_published_and_staged_is_known(two):
    """It kept the tree's id in cutover.json; its records have no inode."""
    plan, work = plan_file.check(two.plan()), two.root / "new/work"
    convert(plan)
    for user in plan["users"]:
        make_older(containers.paths(plan, user), two.maildir(user["user"]), user["uid"])
    assert status.state(plan)["published"] == 2
    assert len(of(convert(plan), "already")) == 2
    assert "inode" in json.loads((work / "r1/state/bob.json").read_text())
    assert batch.unpublish(plan, events.Collected())["unpublished"] == 2
    convert(dict(plan, presync=True))
    written = sum(event["written"] for event in of(convert(dict(plan, presync=True)), "staged"))
    for user in plan["users"]:
        places = containers.paths(plan, user)
        make_older(places, work / "staging" / user["user"], user["uid"], places["staged"])
        os.unlink(places["staged"])
    results = convert(dict(plan, presync=True))
    assert not written and not sum(event["written"] for event in of(results, "staged"))
    assert published(convert(plan)) == {"mallory", "bob"}


def make_older(places, tree, uid, record=None):
    """Turn what this version knows of a tree into what version 1.0 left."""
    record = record or places["state"]
    values = records.read(record)
    mark = {"complete": False, "user": "x", "run": "r1", "tree": values["tree"]}
    (tree / "cutover.json").write_text(json.dumps(mark))
    os.chown(tree / "cutover.json", uid, uid)
    os.removexattr(tree, records.attribute())
    records.write(record, {k: v for k, v in values.items() if k not in ("marked", "inode")})


def test_a_sparse_mailbox_costs_no_time(two):
    box = two.root / "home/mallory/mail/hole"
    with open(box, "wb") as file:
        file.write(build.simple(1))
        file.truncate(3 << 30)
        file.seek(0, os.SEEK_END)
        file.write(build.message(build.text(2), 2, 0x11))
    os.chown(box, MALLORY, MALLORY)
    before = worked()
    survey.survey(plan_file.check(two.plan()))
    results = convert(two.plan("r1", strict=True))
    assert errors_of(results) == {"mallory"} and published(results) == {"bob"}
    results = convert(two.plan())
    assert published(results) == {"mallory"} and worked() - before < 10
    (kept,) = (two.root / "new/work/r1/salvage/mallory/hole").iterdir()
    assert kept.stat().st_size > 2 << 30 > kept.stat().st_blocks * 512


def test_a_message_without_data_takes_no_room(two):
    """It would fill the store's disk for everybody; on the old one it takes a few bytes."""
    head, length = b"Subject: hole\r\n\r\n", 1 << 30
    box = two.root / "home/mallory/mail/hole"
    with open(box, "wb") as file:
        file.write(build.mbx(build.line(length, 1, 0x11, 0, build.DATE) + head, uidlast=1))
        file.truncate(file.tell() - len(head) + length)
    os.chown(box, MALLORY, MALLORY)
    assert published(convert(two.plan())) == {"bob", "mallory"}
    (message,) = (two.maildir("mallory") / ".hole/cur").iterdir()
    assert message.stat().st_size == length - 2 and message.stat().st_blocks * 512 < 1 << 24


def test_folders_nested_too_deeply_are_an_error_of_their_user(two):
    here = os.getcwd()
    os.chdir(two.root / "home/mallory/mail")
    try:
        for _number in range(600):
            os.mkdir("d")
            os.chown("d", MALLORY, MALLORY)
            os.chdir("d")
    finally:
        os.chdir(here)
    results = convert(two.plan())
    assert published(results) == {"bob"} and errors_of(results) == {"mallory"}
    assert "levels" in of(results, "error")[0]["what"]
    deep = two.root / "home/mallory/mail/d"  # pytest's own removal would not manage it
    for _number in range(600):
        upper = deep.parent / "up"
        (deep / "d").exists() and (deep / "d").rename(upper)
        deep.rmdir()
        if not upper.exists():
            break
        upper.rename(deep)


@pytest.mark.parametrize(
    "name",
    [
        *("index/mallory/INBOX/state.json", "index/mallory/INBOX/state.json.new"),
        *("index/mallory/INBOX/index", "index/mallory/INBOX/index.new"),
        *("staging/mallory/dovecot-uidlist.new", "r1/salvage/mallory/INBOX/2048-7"),
        "index/mallory/.trash",
    ],
)
def test_a_pipe_where_the_converter_keeps_something_is_not_waited_for(two, monkeypatch, name):
    monkeypatch.setattr(pool, "SILENCE_SECONDS", 5)
    convert(dict(two.plan(), presync=True))
    inbox = build.simple(4)
    if "salvage" in name:
        inbox = inbox[:2048] + b"damage\n" + inbox[2048:]
    (two.root / "home/mallory/INBOX").write_bytes(inbox)
    place = two.root / "new/work" / name
    place.parent.mkdir(exist_ok=True)
    place.exists() and place.unlink()
    os.mkfifo(place)
    own(place.parent, MALLORY)
    results = convert(two.plan())
    assert "bob" in published(results) and errors_of(results) <= {"mallory"}
    assert not {"WorkerDied"}.intersection(event["kind"] for event in of(results, "error"))


def test_a_worker_that_is_stopped_is_ended(two, monkeypatch):
    monkeypatch.setattr(pool, "SILENCE_SECONDS", 1)
    prepare = batch.tasks.prepare.prepare

    def stopped(user, *arguments):
        if user["user"] == "mallory":
            os.kill(os.getpid(), signal.SIGSTOP)
        return prepare(user, *arguments)

    monkeypatch.setattr(batch.tasks.prepare, "prepare", stopped)
    results = convert(two.plan(jobs=1))
    assert published(results) == {"bob"} and errors_of(results) == {"mallory"}
    assert of(results, "error")[0]["kind"] == "WorkerDied" and of(results, "error")[0]["todo"]


def test_a_worker_that_never_ends_is_ended_though_it_gives_signs_of_life(two, monkeypatch):
    monkeypatch.setattr(pace.Free, "longest", 1)
    prepare = batch.tasks.prepare.prepare

    def endless(user, presync, report):
        while user["user"] == "mallory":
            report(0, 0)
        return prepare(user, presync, report)

    monkeypatch.setattr(batch.tasks.prepare, "prepare", endless)
    results = convert(two.plan(jobs=1))
    assert published(results) == {"bob"} and errors_of(results) == {"mallory"}
    (error,) = of(results, "error")
    assert error["kind"] == "WorkerDied" and "--without" in error["todo"]


def test_a_worker_that_takes_too_much_memory_fails_its_user(two, monkeypatch):
    monkeypatch.setattr(switch, "MEMORY_BYTES", 1 << 30)
    prepare = batch.tasks.prepare.prepare

    def greedy(user, *arguments):
        held = bytearray(2 << 30) if user["user"] == "mallory" else b""
        return prepare(user, *arguments) if len(held) < 2 << 30 else None

    monkeypatch.setattr(batch.tasks.prepare, "prepare", greedy)
    results = convert(two.plan())
    assert published(results) == {"bob"} and errors_of(results) == {"mallory"}
    (error,) = of(results, "error")
    assert error["kind"] == "MemoryError" and "--without" in error["todo"]


def test_a_live_maildir_with_too_many_entries_fails_its_user(two, monkeypatch):
    monkeypatch.setattr(maildir, "MOST", 20)
    for number in range(30):
        deliver(two.maildir("mallory"), f"{number}.many.vm", b"Subject: x\n\nx\n")
    own(two.maildir("mallory"), MALLORY)
    results = convert(two.plan())
    assert published(results) == {"bob"} and errors_of(results) == {"mallory"}
    (error,) = of(results, "error")
    assert error["file"].endswith("mallory/new") and error["todo"]


def test_inspect_is_the_files_owner_and_follows_nothing_for_root(two, capsys):
    mail, inbox = two.root / "home/mallory/mail", two.root / "home/mallory/INBOX"
    assert command_line.main(["inspect", str(inbox)]) == 0
    (two.secret / "box").write_bytes(build.simple(1))
    (mail / "link").symlink_to(two.secret / "box")
    (mail / "way").symlink_to(two.secret)
    os.mkfifo(mail / "pipe")
    (mail / "given").write_bytes(build.simple(1))
    os.chown(mail / "pipe", MALLORY, MALLORY)
    capsys.readouterr()
    for name in ("link", "way/box", "pipe", "given"):  # given: root's, where she can replace it
        assert command_line.main(["inspect", str(mail / name)]) == 1
        output = capsys.readouterr()
        assert not output.out and str(mail / name) in output.err
    assert command_line.main(["inspect", str(two.secret / "box")]) == 0


def test_a_lock_that_a_dying_worker_still_holds_is_waited_for(two):
    """One that was forked just before its parent was killed has not closed it yet."""
    containers.make_areas(two.plan())
    with publish.lock(two.plan()):
        child = os.fork()
        if not child:
            time.sleep(1)
            os._exit(0)
    publish.lock(two.plan()).close()
    os.waitpid(child, 0)


@pytest.mark.parametrize("fault", [RecursionError, MemoryError, KeyError, TypeError])
def test_any_exception_is_its_users_alone(two, monkeypatch, fault):
    prepare = batch.tasks.prepare.prepare

    def fails(user, *arguments):
        if user["user"] == "mallory":
            raise fault("x")
        return prepare(user, *arguments)

    monkeypatch.setattr(batch.tasks.prepare, "prepare", fails)
    results = convert(two.plan())
    assert published(results) == {"bob"} and errors_of(results) == {"mallory"}
    assert of(results, "error")[0]["todo"]


class Rogue:
    """What a worker must not be able to make its parent do."""

    def __reduce__(self):
        return os.mkdir, ("/tmp/rogue",)


def answer(value, report):
    return Rogue() if value == "rogue" else value


def test_an_answer_is_plain_values_or_none(two):
    with pytest.raises(errors.Reported) as caught:
        pool.ask(two.users[0], answer, "rogue")
    assert caught.value.values["kind"] == "WorkerDied" and not os.path.exists("/tmp/rogue")
    assert pool.ask(two.users[0], answer, [1, b"x", {"a": {2}}]) == [1, b"x", {"a": {2}}]


def who(report):
    descriptors = [int(name) for name in os.listdir("/dev/fd") if os.path.exists(f"/dev/fd/{name}")]
    return os.getresuid(), os.getresgid(), os.getgroups(), max([*descriptors, 0])


def test_a_worker_is_the_user_for_good_and_holds_nothing_of_roots(two):
    with open(two.secret / "file") as secret:
        uids, gids, groups, _ = pool.ask(two.users[0], lasting, secret.fileno())
    assert (uids, gids, groups) == ((MALLORY,) * 3, (MALLORY,) * 3, [MALLORY])


def lasting(descriptor, report):
    with pytest.raises(OSError):
        os.fstat(descriptor)
    with pytest.raises(PermissionError):
        os.seteuid(0)
    return os.getresuid(), os.getresgid(), os.getgroups(), 0


def test_root_does_nothing_for_a_user_of_whom_the_plan_says_no_number(two):
    del two.users[0]["uid"]
    results = convert(two.plan())
    assert published(results) == {"bob"} and errors_of(results) == {"mallory"}
    assert "uid" in of(results, "error")[0]["what"]


# --- anything, anywhere


@pytest.mark.parametrize("number", range(max(1, PLACEMENTS // PER_ROUND)))
def test_odd_files_anywhere(two, number):
    """Some odd files at some of the names that the converter may look at, before and between its
    passes: nothing of others' is changed or read, and other users are published."""
    choose = random.Random(number)
    new, work = two.maildir("mallory"), two.root / "new/work"
    (new / ".f/cur").mkdir(parents=True)
    (new / ".f/new").mkdir()
    own(new, MALLORY)
    (two.root / "spool").chmod(0o1777)
    seen = look(two.secret), look(two.root / "home/bob")
    places = [(new, NEW), (two.root / "home/mallory", OLD), (two.root / "spool", ["mallory"])]
    if number % 2:
        convert(dict(two.plan(), presync=True))
        places += [(work / "staging/mallory", STAGED), (work / "index/mallory", INDEX)]
    scatter(choose, places, PER_ROUND, two.secret)
    plan, before = plan_file.check(two.plan()), worked()
    results, state = commands(two, plan)
    assert "bob" in published(results) and "bob" in state and errors_of(results) <= {"mallory"}
    assert not {"WorkerDied"}.intersection(event["kind"] for event in of(results, "error"))
    if "mallory" in published(results):
        assert b"secret of root" not in everything(new) and b"of bob" not in everything(new)
        aside, base_of = work / "r1/aside/mallory", work / "r1/base/mallory"
        scatter(choose, [(new, NEW), (aside, NEW), (base_of, INDEX)], 5, two.secret)
    asked = [dict(user, asked={"": [1]}) for user in plan["users"]]
    assert base.read(dict(plan, users=asked))["users"][1]["folders"]
    assert {"bob"} <= {user["user"] for user in status.state(plan)["users"] if user["published"]}
    leaving = [dict(user, keep={"": [1], "a": [1]}) for user in plan["users"]]
    collected = events.Collected()
    leave.leave(dict(plan, users=leaving), collected)
    assert "bob" in {event["user"] for event in collected.all if event["event"] == "kept"}
    collected = events.Collected()
    batch.unpublish(plan, collected)
    assert "bob" in {event["user"] for event in collected.all if event["event"] == "unpublished"}
    assert (look(two.secret), look(two.root / "home/bob")) == seen
    assert b"secret of root" not in everything(new) and worked() - before < 40


def scatter(choose, places, count, victim):
    """Put odd things at some names of some trees. places: [(directory, names)]."""
    for _number in range(count):
        root, names = choose.choice(places)
        path = root / choose.choice([name for name in names if name])
        if path.parent.is_dir() and not path.parent.is_symlink():
            put(choose.choice(KINDS), path, victim)
