"""Conversion of many users: publishing, reruns, exactly once, kills, damage, full disk,
unpublish."""

import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

import mbx2maildir
from mbx2maildir import batch, each_user, errors, events, plan_file, pool, survey, tasks
from mbx2maildir.convert import existing
from mbx2maildir.formats import maildir, uidlist
from mbx2maildir.publish import containers, publish, records, status
from mbx2maildir.tests import build

LIB = str(pathlib.Path(mbx2maildir.__file__).parents[1])


def convert(plan):
    collected = events.Collected()
    batch.convert(plan_file.check(plan), collected)
    return collected.all


def of(results, kind):
    return [event for event in results if event["event"] == kind]


def messages(root, name=b""):
    """[(uid or None, text)] of a folder in UID order, then those without UID."""
    root = os.fsencode(root)
    uids = uidlist.read(os.path.join(root, maildir.folder_directory(name)))[2]
    pairs = []
    for subdir, entry in maildir.listing(root, name):
        message = existing.Message(name, subdir, entry, uids)
        with open(message.path(root), "rb") as file:
            pairs.append((message.uid or None, file.read()))
    return sorted(pairs, key=lambda pair: (pair[0] is None, pair[0] or 0, pair[1]))


def tree(root):
    """Everything that must not differ between two conversions of the same store: {path: content or
    times}."""
    contents = {}
    for path in sorted(pathlib.Path(root).rglob("*")):
        if path.is_file():
            status = path.stat()
            when = int(status.st_mtime) if path.parent.name in ("cur", "new") else 0
            contents[str(path.relative_to(root))] = (path.read_bytes(), when, status.st_mode)
    return contents


def record(site, run, name="alice", area="state"):
    """Root's record of a user's tree."""
    user = {"user": name, "maildir": str(site.maildir(name))}
    return records.read(containers.paths(site.plan(run), user)[area])


def lf(text):
    return text.replace(b"\r\n", b"\n")


def deliver(maildir, name, text, folder="", subdir="new"):
    """As procmail delivers to a Maildir."""
    directory = pathlib.Path(maildir) / folder
    for part in ("cur", "new", "tmp"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    (directory / subdir / name).write_bytes(text)


def test_a_site(site):
    site.user(
        "alice",
        build.simple(3),
        {"a.b": build.simple(2), "a_b": build.simple(1), "sub/deep": build.simple(4)},
        subscriptions=b"mail/a.b\nINBOX\n~/mail/sub/deep\nelse/where\n#news.x\n",
    )
    site.user("bob", None, spool=b"")
    results = convert(site.plan())
    assert (
        [event["user"] for event in of(results, "published")]
        and results[-1]["ok"]
        and results[-1]["published"] == 2
    )
    alice = site.maildir("alice")
    assert [uid for uid, _text in messages(alice)] == [1, 2, 3]
    assert messages(alice)[0][1] == lf(build.text(1))
    assert sorted(path.name for path in alice.glob(".*")) == [".a_b", ".a_b_2", ".sub.deep"]
    assert (alice / "subscriptions").read_text() == "a_b_2\nINBOX\nsub.deep\nelse.where\n"
    assert messages(site.maildir("bob")) == [] and (site.maildir("bob") / "cur").is_dir()
    assert any(
        "#news.x" in text
        for text in of(results, "published")[0]["warnings"]
        + of(results, "published")[1]["warnings"]
    )
    again = convert(site.plan())
    assert (
        again[-1]["already"] == 2
        and again[-1]["published"] == 0
        and again[-1]["messages"] == results[-1]["messages"]
    )


def test_what_is_no_folder_is_named(site):
    site.user(
        "alice",
        build.simple(1),
        {
            "note.txt": b"hello",
            "empty": b"",
            "outlook.mbx": b"JMF6xxxx",
            "pine": b"From a Tue Nov 10 10:00:00 2026\nS: 1\n\nx\n",
        },
    )
    os.symlink("/nowhere", site.root / "home/alice/mail/dangling")
    os.symlink(".", site.root / "home/alice/mail/loop")
    os.mkfifo(site.root / "home/alice/mail/pipe")
    passed = {
        os.path.basename(item["file"]): item["why"]
        for item in of(convert(site.plan()), "published")[0]["passed"]
    }
    assert set(passed) == {"note.txt", "empty", "outlook.mbx", "dangling", "loop", "pipe"}
    assert "Outlook" in passed["outlook.mbx"] and passed["empty"] == "empty file"
    assert messages(site.maildir("alice"), b"pine") == [
        (1, b"S: 1\n\nx\n")
    ]  # c-client shows it as a folder


def test_damage_is_set_aside_and_said(site):
    good = build.simple(2)
    site.user(
        "alice", good + b"garbage" * 10 + build.message(build.text(3), 0, 1), {"cut": good[:-5]}
    )
    results = convert(site.plan())
    assert results[-1]["ok"]
    by_folder = {event["folder"]: event for event in of(results, "folder")}
    (item,) = by_folder["INBOX"]["damage"]
    assert (item["offset"], item["length"]) == (len(good), 70)
    assert pathlib.Path(item["set_aside"]).read_bytes() == b"garbage" * 10
    assert any(f"byte {len(good)}" in text for text in by_folder["INBOX"]["warnings"])
    assert [uid for uid, _text in messages(site.maildir("alice"))] == [1, 2, 3]
    assert [uid for uid, _text in messages(site.maildir("alice"), b"cut")] == [1]
    assert by_folder["cut"]["damage"][0]["kind"] == "ShortTail"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be other users")
def test_unreadable_folder_fails_its_user_only(site):
    site.user("alice", build.simple(1), {"secret": build.simple(1)})
    site.user("bob", build.simple(2))
    secret = site.root / "home/alice/mail/secret"
    site.users[0]["uid"] = site.users[0]["gid"] = 4242
    for path in (site.root / "home/alice").rglob("*"):
        os.chown(path, 4242, 4242)
    secret.chmod(0)
    results = convert(site.plan())
    (error,) = of(results, "error")
    assert error["user"] == "alice" and error["file"] == str(secret) and error["todo"]
    assert (
        results[-1]["failed"] == 1
        and results[-1]["published"] == 1
        and not site.maildir("alice").exists()
    )
    secret.chmod(0o600)
    again = convert(site.plan())
    assert (
        again[-1]["ok"]
        and again[-1]["already"] == 1
        and len(messages(site.maildir("alice"), b"secret")) == 1
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be other users")
def test_a_link_to_anothers_mail_is_not_followed(site):
    site.user("alice", build.simple(1))
    site.user("bob", build.simple(2))
    for name, uid in (("alice", 4242), ("bob", 4243)):
        for path in (site.root / "home" / name).rglob("*"):
            os.chown(path, uid, uid)
            path.chmod(0o700 if path.is_dir() else 0o600)
    os.symlink(site.root / "home/bob/INBOX", site.root / "home/alice/mail/stolen")
    site.users[0]["uid"] = site.users[0]["gid"] = 4242
    site.users[1]["uid"] = site.users[1]["gid"] = 4243
    results = convert(site.plan())
    assert not (site.maildir("alice") / ".stolen").exists()
    assert any(
        item["file"].endswith("stolen")
        for event in of(results, "published")
        for item in event["passed"]
    )
    assert {path.stat().st_uid for path in site.maildir("alice").rglob("*")} == {4242}
    assert {path.stat().st_mode & 0o077 for path in site.maildir("alice").rglob("*")} == {0}


TRACE = (
    b"Return-Path: <x@y>\nReceived: from mx by %b (8.17/8.17)\n"
    b"\tid x for <alice@%b>; Tue, 10 Nov 2026\n"
    b"Delivered-To: alice@%b\n"
)


def trace(host):
    return TRACE % (host, host, host)


def test_dual_delivered_mail_is_there_once(site):
    def old(number, uid, flags=0x11, body=b"Hello.\r\n"):
        return build.message(
            trace(b"old").replace(b"\n", b"\r\n") + build.text(number, body), uid, flags
        )

    def new(number, body=b"Hello.\n"):
        return trace(b"new") + lf(build.text(number)).replace(b"Hello.\n", body)

    spam = build.mbx(old(7, 1), uidlast=1)
    # UIDs 1–6; number 2 twice, number 4 has a quoted From line and an additional blank line at its
    # end on one side
    site.user(
        "alice",
        build.mbx(
            old(1, 1),
            old(2, 2),
            old(2, 3),
            old(3, 4),
            old(4, 5, body=b"a\r\n>From b\r\n\r\n"),
            old(5, 6, 1),
            uidlast=6,
        ),
        {"SPAM": spam, "moved": build.mbx(old(8, 1), uidlast=1)},
    )
    live = site.maildir("alice")
    deliver(live, "1.a.new", new(1))
    deliver(live, "2.a.new", new(2))
    deliver(live, "3.b.new", new(2))
    deliver(live, "4.c.new", new(2))  # three here, two there: one is new
    deliver(live, "5.d.new:2,FS", new(3), subdir="cur")
    deliver(live, "6.e.new", new(4, b"a\nFrom b\n"))
    deliver(live, "7.f.new", new(6))  # only here
    deliver(live, "8.g.new", new(7), ".SPAM")
    deliver(live, "9.h.new", new(9), ".SPAM")  # only here
    deliver(live, "10.i.new", new(8))  # the user moved it on the old side
    deliver(live, "11.j.new", new(10), ".only")
    before = {path for path in live.rglob("*")}
    results = convert(site.plan())
    (published,) = of(results, "published")
    assert (published["matched"], published["appended"]) == (7, 4)
    inbox = messages(live)
    assert [uid for uid, _text in inbox] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert inbox[6][1] == new(2) and inbox[7][1] == new(6)
    assert all(b"by old" in text for _uid, text in inbox[:6])
    assert [uid for uid, _text in messages(live, b"SPAM")] == [1, 2] and messages(live, b"SPAM")[1][
        1
    ] == new(9)
    assert [text for _uid, text in messages(live, b"only")] == [new(10)]
    assert len(messages(live, b"moved")) == 1
    (flagged,) = [path.name for path in (live / "cur").iterdir() if ".M4P" in path.name]
    assert flagged.endswith(":2,FS")
    aside = site.root / "new/work/r1/aside/alice"
    assert {path.relative_to(live) for path in before} <= {
        path.relative_to(aside) for path in aside.rglob("*")
    }
    assert uidlist.read(os.fsencode(live))[1] == 9


def test_state_and_unpublish(site):
    site.user("alice", build.simple(3))
    deliver(site.maildir("alice"), "1.a.new", b"Subject: new\n\nnew\n")
    site.user("bob", build.simple(1))
    original = tree(site.maildir("alice"))
    plan = plan_file.check(site.plan())
    convert(plan)
    from mbx2maildir.publish import status

    state = status.state(plan)["users"]
    assert [
        (entry["published"], entry["phase"], entry["live"], entry["messages"]) for entry in state
    ] == [(True, "published", "ours", 4), (True, "published", "ours", 1)]
    deliver(site.maildir("alice"), "2.later.new", b"Subject: later\n\nlater\n")
    for outcome in ("unpublished", "not published", "not published"):
        assert [publish.unpublish(plan, user) for user in plan["users"]] == [outcome] * 2
    assert tree(site.maildir("alice")) == original and not site.maildir("bob").exists()
    kept = site.root / "new/work/r1/unpublished/alice"
    assert (kept / "new/2.later.new").read_bytes() == b"Subject: later\n\nlater\n"
    assert [entry["phase"] for entry in status.state(plan)["users"]] == ["unpublished"] * 2
    convert(plan)  # and once more, under the same name
    assert [uid for uid, _text in messages(site.maildir("alice"))] == [1, 2, 3, 4]
    assert [publish.unpublish(plan, user) for user in plan["users"]] == ["unpublished"] * 2
    assert (site.root / "new/work/r1/unpublished/alice.2").is_dir()
    assert tree(site.maildir("alice")) == original


def test_a_user_is_left_out_and_comes_later(site):
    from mbx2maildir.publish import status

    site.user("alice", build.simple(3))
    deliver(site.maildir("alice"), "1.a.new", b"Subject: new\n\nnew\n")
    site.user("bob", build.simple(1))
    plan, before = plan_file.check(site.plan(without=["alice"])), tree(site.maildir("alice"))
    results = convert(plan)
    assert [event["user"] for event in of(results, "left-out")] == ["alice"]
    assert (results[-1]["ok"], results[-1]["published"], results[-1]["left_out"]) == (True, 1, 1)
    assert tree(site.maildir("alice")) == before and (site.root / "home/alice/INBOX").exists()
    later = plan_file.check(site.plan("r2"))
    for values, phase in ((status.state(plan), "left-out"), (status.state(later), "none")):
        alice = values["users"][0]
        assert (alice["phase"], alice["published"], alice["left_out"]) == (phase, False, "r1")
    assert batch.unpublish(plan, events.Collected())["not_published"] == 1
    assert convert(site.plan())[-1]["published"] == 2
    assert len(messages(site.maildir("alice"))) == 4
    assert [user["left_out"] for user in status.state(later)["users"]] == [None, None]
    (error,) = of(convert(plan), "error")  # too late
    assert error["user"] == "alice" and error["kind"] == "PublishError" and error["todo"]
    with pytest.raises(errors.BadPlan, match="carla"):
        plan_file.check(site.plan(without=["carla"]))


def test_without_exchange_the_outcome_is_the_same(site, monkeypatch):
    from mbx2maildir.publish import syscalls

    monkeypatch.setattr(syscalls, "_renameat2", lambda source, target, flags: False)
    test_state_and_unpublish(site)


def test_tree_of_an_earlier_run_is_set_aside_never_removed(site):
    site.user("alice", build.simple(3))
    convert(site.plan("r1"))
    first = record(site, "r1")
    (site.root / "home/alice/INBOX").write_bytes(build.simple(4))
    results = convert(site.plan("r2"))
    assert (
        of(results, "published")[0]["matched"] == 3 and of(results, "published")[0]["appended"] == 0
    )
    assert [uid for uid, _text in messages(site.maildir("alice"))] == [1, 2, 3, 4]
    assert records.is_tree(site.root / "new/work/r2/aside/alice", first)


@pytest.fixture(params=["exchange", "plain"])
def last_moment(site, monkeypatch, request):
    """A message comes right before the trees change places. → the live tree"""
    site.user("alice", build.simple(1))
    live = site.maildir("alice")
    deliver(live, "1.a.new", b"Subject: early\n\nearly\n")
    exchange, come = publish.syscalls.exchange, []

    def late(first, second):
        if not come:
            come.append(deliver(live, "2.b.new", LATE))
        return request.param == "exchange" and exchange(first, second)

    monkeypatch.setattr(publish.syscalls, "exchange", late)
    return live


LATE = b"Subject: at the last moment\n\nlate\n"


def test_mail_that_comes_while_converting_is_not_lost(site, last_moment):
    results = convert(plan_file.check(site.plan()))
    assert results[-1]["late"] == 1
    assert [text for _uid, text in messages(last_moment)][-1] == LATE


def test_nor_if_the_converter_is_killed_before_it_has_looked_again(site, last_moment, monkeypatch):
    plan = plan_file.check(site.plan())
    with monkeypatch.context() as killed:
        killed.setattr(batch.Conversion, "after_late", swapped_and_killed)
        with pytest.raises(KeyboardInterrupt):
            convert(plan)
    assert LATE not in [text for _uid, text in messages(last_moment)]
    convert(plan)
    assert [text for _uid, text in messages(last_moment)].count(LATE) == 1
    assert record(site, "r1")["late"] == 1 and "known" not in record(site, "r1")
    convert(plan)
    assert [text for _uid, text in messages(last_moment)].count(LATE) == 1


def swapped_and_killed(conversion, name, _value):
    publish.swap(conversion.plan, conversion.users[name])
    raise KeyboardInterrupt


def test_a_foreign_tree_in_staging_stops_its_user(site):
    site.user("alice", build.simple(1))
    stranger = site.root / "new/work/staging/alice/cur"
    former = os.umask(0o022)
    stranger.mkdir(parents=True)
    os.umask(former)
    results = convert(site.plan())
    assert of(results, "error")[0]["kind"] == "PublishError" and stranger.is_dir()


def test_a_tree_that_another_run_completed_is_not_touched(site, monkeypatch):
    site.user("alice", build.simple(1))

    def killed(plan, user):
        raise KeyboardInterrupt

    monkeypatch.setattr(publish, "swap", killed)
    with pytest.raises(KeyboardInterrupt):
        convert(site.plan("r0"))
    monkeypatch.undo()
    (alice,) = status.state(plan_file.check(site.plan("r0")))["users"]
    assert not alice["published"] and alice["staged"]["folders"] == 1
    before = tree(site.root / "new/work/staging/alice")
    (error,) = of(convert(site.plan("r1")), "error")
    assert error["kind"] == "PublishError" and "r0" in error["what"]
    assert tree(site.root / "new/work/staging/alice") == before
    assert convert(site.plan("r0"))[-1]["ok"] and convert(site.plan("r1"))[-1]["ok"]


def test_work_on_another_file_system_is_refused(site):
    site.user("alice", build.simple(1))
    with pytest.raises(errors.BadPlan, match="file system"):
        convert(dict(site.plan(), work="/dev/shm/cutover-test-work"))


BAD_PLANS = [
    ({}, "users"),
    ({"users": []}, "run"),
    ({"users": [], "run": "a/b", "work": "w"}, "run"),
    ({"users": [{"user": "x"}], "run": "r", "work": "w"}, "users[0].inbox"),
    (
        {
            "users": [{"user": "../x", "inbox": [], "folders": "f", "maildir": "m"}],
            "run": "r",
            "work": "w",
        },
        "users[0].user",
    ),
    (
        {
            "users": [{"user": "x", "inbox": [], "folders": "f", "maildir": "m", "shell": 1}],
            "run": "r",
            "work": "w",
        },
        "shell",
    ),
    (
        {
            "users": [{"user": "x", "inbox": [], "folders": "f", "maildir": "m"}] * 2,
            "run": "r",
            "work": "w",
        },
        "twice",
    ),
]


@pytest.mark.parametrize("values, word", BAD_PLANS)
def test_bad_plan(values, word):
    with pytest.raises(errors.BadPlan) as caught:
        plan_file.check(values)
    assert word in caught.value.what


# --- killed at any point
# -------------------------------------------------------------------------------------------

KILLER = """
import os, random, signal, sys
sys.path.insert(0, sys.argv[1])
from mbx2maildir import command_line
from mbx2maildir.publish import syscalls
countdown = int(sys.argv[2])
def counted(function):
    def call(*arguments, **more):
        global countdown
        countdown -= 1
        if countdown == 0:
            os.killpg(0, signal.SIGKILL)
        return function(*arguments, **more)
    return call
for module, name in ((os, "open"), (os, "rename"), (os, "mkdir"), (os, "link"), (os, "fsync"),
                     (os, "chmod"), (syscalls, "exchange"), (syscalls, "rename_new"),
                     (syscalls, "syncfs")):
    setattr(module, name, counted(getattr(module, name)))
if sys.argv[3] == "plain":
    syscalls._renameat2 = lambda source, target, flags: False
sys.exit(command_line.main(sys.argv[4:]))
"""


def run_killed(countdown, how, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", KILLER, LIB, str(countdown), how, *arguments],
        start_new_session=True,
        capture_output=True,
        timeout=60,
    )
    if done.returncode and countdown == 0:
        raise AssertionError((done.stdout + done.stderr).decode())
    return done.returncode


@pytest.mark.parametrize("how", ["exchange", "plain"])
def test_killed_at_any_point_and_run_again(site, how):
    for name in ("alice", "bob"):
        site.user(name, build.simple(4), {"a": build.simple(2)})
    deliver(site.maildir("alice"), "1.a.new", b"Subject: new\n\nnew\n")
    plan = dict(site.plan(), jobs=1)
    expected = None
    file = site.root / "plan.json"
    choose = random.Random(7)
    for attempt in range(10):
        plan["run"] = f"r{attempt}"
        file.write_text(json.dumps(plan))
        kills = 0
        if attempt % 2:
            run_killed(choose.randrange(1, 60), how, "presync", "--plan", str(file))
        while True:
            code = run_killed(
                choose.randrange(1, 90) if kills < 4 else 0,
                how,
                "convert-users",
                "--plan",
                str(file),
            )
            for name in ("alice", "bob"):
                live = os.fsencode(site.maildir(name))
                values = record(site, plan["run"], name)
                if values.get("phase") == "published" and records.is_tree(live, values):
                    count = len(messages(live)) + len(messages(live, b"a"))
                    assert values["messages"] == count
            if code == 0:
                break
            kills += 1
        trees = [tree(site.maildir(name)) for name in ("alice", "bob")]
        expected = expected or trees
        assert trees == expected
        while (
            run_killed(
                choose.randrange(1, 30) if kills < 8 else 0, how, "unpublish", "--plan", str(file)
            )
            != 0
        ):
            kills += 1
        assert [path.name for path in site.maildir("alice").rglob("*") if path.is_file()] == [
            "1.a.new"
        ]
        assert not site.maildir("bob").exists()


def test_a_killed_worker_fails_its_user_only(site, monkeypatch):
    site.user("alice", build.simple(1))
    site.user("bob", build.simple(1))
    finish = tasks.merge.finish

    def dies(user, prepared, results, progress):
        if user["user"] == "alice":
            os.kill(os.getpid(), signal.SIGKILL)
        return finish(user, prepared, results, progress)

    monkeypatch.setattr(tasks.merge, "finish", dies)
    outcome = convert(site.plan())
    assert (
        of(outcome, "error")[0]["kind"] == "WorkerDied"
        and "signal 9" in of(outcome, "error")[0]["what"]
    )
    assert outcome[-1]["published"] == 1
    monkeypatch.undo()
    assert convert(site.plan())[-1]["ok"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
def test_full_disk(site):
    site.user("alice", build.simple(2))
    site.user("big", build.mbx(build.message(build.text(1, b"x" * 3000000), 1, 0x11), uidlast=1))
    new = site.root / "new"
    new.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(new)], check=True)
    try:
        results = convert(
            dict(site.plan(), jobs=1)
        )  # else what fills the disk for a moment may hit both
        (error,) = of(results, "error")
        assert (error["user"], error["kind"]) == ("big", "NoSpace") and "No space left" in error[
            "what"
        ]
        assert not site.maildir("big").exists() and results[-1]["published"] == 1
        subprocess.run(["mount", "-o", "remount,size=10m", str(new)], check=True)
        again = convert(site.plan())
        assert (
            again[-1]["ok"]
            and again[-1]["already"] == 1
            and len(messages(site.maildir("big"))) == 1
        )
    finally:
        subprocess.run(["umount", "-l", str(new)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small file system")
@pytest.mark.parametrize(
    "limit, steps",
    [("size={}k", range(40, 900, 84)), ("nr_inodes={}", range(8, 150, 13))],
    ids=["space", "inodes"],
)
def test_a_disk_that_is_full_at_any_point(site, limit, steps):
    """Wherever room ends: an error that says so, never half a tree; with room again, what a first
    run would have made."""
    body = b"line of a text\r\n" * 300
    for name in ("alice", "bob"):
        site.user(
            name,
            build.mbx(
                *(build.message(build.text(uid, body), uid, 0x11) for uid in range(1, 41)),
                uidlast=40,
            ),
            {"a": build.simple(5), "b/c": build.simple(3)},
        )
    new, whole = site.root / "new", {}
    new.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(new)], check=True)
    try:
        for number, step in enumerate([None, *steps]):
            plan = site.plan(f"r{number}")
            subprocess.run(
                [
                    "mount",
                    "-o",
                    "remount," + (limit.format(step) if step else "size=100m"),
                    str(new),
                ],
                check=True,
            )
            if step:
                try:
                    results = of(convert(dict(plan, presync=bool(number % 2))), "error")
                except errors.StoreError as error:  # there was not even room to begin
                    results = [error.as_dict()]
                assert all(
                    event["kind"] == "NoSpace" and "No space left" in event["what"]
                    for event in results
                ), results
                for name in ("alice", "bob"):
                    assert (
                        not site.maildir(name).exists() or tree(site.maildir(name)) == whole[name]
                    )
                subprocess.run(
                    ["mount", "-o", "remount,size=100m,nr_inodes=100k", str(new)], check=True
                )
            convert(plan)
            for name in ("alice", "bob"):
                assert tree(site.maildir(name)) == whole.setdefault(name, tree(site.maildir(name)))
            for path in new.iterdir():
                shutil.rmtree(path)
    finally:
        subprocess.run(["umount", "-l", str(new)], check=True)


def test_progress_at_least_every_second(site, monkeypatch):
    site.user("alice", build.simple(1))
    folder = tasks.folder.folder

    def slow(*arguments, **more):
        time.sleep(2.3)
        return folder(*arguments, **more)

    monkeypatch.setattr(tasks.folder, "folder", slow)
    assert len(of(convert(site.plan()), "progress")) >= 3


def test_what_is_published_is_on_disk_first(site, monkeypatch):
    """The order of calls: everything is synced before any tree is swapped in, and the swap itself
    after it."""
    site.user("alice", build.simple(1))
    site.user("bob", build.simple(1))
    deliver(site.maildir("alice"), "1.a.new", b"Subject: x\n\nx\n")
    order = site.root / "order"

    def logged(name, function):
        def call(*arguments):
            with open(order, "a") as log:
                log.write(name + "\n")
            return function(*arguments)

        monkeypatch.setattr(publish.syscalls, name, call)

    for name in ("syncfs", "exchange", "rename_new", "sync_directory"):
        logged(name, getattr(publish.syscalls, name))
    convert(dict(site.plan(), jobs=1))
    calls = order.read_text().split()
    swaps = [number for number, call in enumerate(calls) if call in ("exchange", "rename_new")]
    assert len(swaps) == 2 and calls.index("syncfs") < swaps[0]
    assert calls[-1] == "sync_directory"
    assert 1 <= calls.count("syncfs") <= 2  # one a batch


def test_subscriptions_are_found_where_the_old_mail_is_mounted(site):
    """The lines are relative to a home that this host does not have; a list in another place than
    the home is no matter."""
    site.user(
        "alice",
        build.simple(1),
        {"a.b": build.simple(2), "c": build.simple(1)},
        subscriptions=b"mail/a.b\nINBOX\n~/mail/c\n/home/alice/mail/d\n",
    )
    plan = site.plan()
    plan["users"][0]["home"] = "/home/alice"
    convert(plan)
    assert (site.maildir("alice") / "subscriptions").read_text() == "a_b\nINBOX\nc\nd\n"
    (user,) = survey.survey({**site.plan(), "users": plan["users"]})["users"]
    assert user["prefixes"] == {"mail/": 1, "~/mail/": 1, "{home}/mail/": 1}


def test_the_survey_names_the_keywords_that_find_no_letter(site):
    words = [b"k%d" % number for number in range(30)]
    used = 0x3FFFFFFF & ~0b110  # all but k1 and k2
    texts = [build.message(build.text(number), number, 0x11, used) for number in (1, 2)]
    site.user("alice", build.mbx(*texts, uidlast=2, keywords=words))
    (user,) = survey.survey(site.plan())["users"]
    assert user["folders"][0]["keywords_lost"] == ["k28", "k29"]
    convert(site.plan())
    (state,) = status.state(site.plan())["users"]
    assert state["folders"][0]["lost_keywords"] == ["k28", "k29"]


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount point is root's")
def test_an_old_store_that_is_not_mounted_is_no_empty_one(site):
    """What was converted ahead stays, nothing is published, and once it is mounted the same command
    goes on."""
    site.user("alice", build.simple(3), {"a": build.simple(2)})
    site.user("bob", spool=b"")
    convert(site.plan(presync=True))
    home, away = site.root / "home", site.root / "away"
    home.rename(away)
    home.mkdir()
    results = convert(site.plan())
    assert results[-1]["published"] == 0 and {event["kind"] for event in of(results, "error")} == {
        "NotThere"
    }
    assert (
        of(results, "error")[0]["file"] == str(home)
        and "Mount the old mail" in of(results, "error")[0]["todo"]
    )
    home.rmdir()
    away.rename(home)
    (home / "bob/mail").rmdir()  # a user without mail has an empty home
    os.chown(home / "bob", 65534, 65534)
    results = convert(site.plan())
    assert results[-1]["published"] == 2 and len(messages(site.maildir("alice"))) == 3


def meet(meeting, report):
    """How many are here once a second one has come."""
    (pathlib.Path(meeting) / str(os.getpid())).touch()
    until = time.monotonic() + 20
    while len(os.listdir(meeting)) < 2 and time.monotonic() < until:
        time.sleep(0.02)
    return len(os.listdir(meeting))


def test_users_are_asked_at_the_same_time(site):
    for name in ("alice", "bob"):
        site.user(name)
    plan = dict(plan_file.check(site.plan()), jobs=2)
    meeting = pathlib.Path(plan["work"]).parent / "meeting"
    meeting.mkdir(mode=0o777)
    meeting.chmod(0o777)
    answers = each_user.ask_all(plan, meet, lambda user: str(meeting), None)
    assert answers == {"alice": (2, None), "bob": (2, None)}


def processes(monkeypatch):
    """A list in which each process begun from here on is noted with whom it serves."""
    begun, begin = [], pool.Worker.__init__

    def noted(worker, user, governor):
        begun.append(user and user["user"])
        begin(worker, user, governor)

    monkeypatch.setattr(pool.Worker, "__init__", noted)
    return begun


def test_the_state_begins_no_process_of_a_user(site, monkeypatch):
    """Only of one whose tree an older version published: the tree alone says which it is."""
    for name in ("alice", "bob"):
        site.user(name, build.simple(1))
        deliver(site.maildir(name), "1.a.new", b"Subject: new\n\nnew\n")
    plan = plan_file.check(site.plan())
    begun = processes(monkeypatch)
    assert status.state(plan)["published"] == 0
    convert(plan)
    del begun[:]
    assert status.state(plan)["published"] == 2 and begun == []
    record = site.root / "new/work/r1/state/bob.json"
    values = json.loads(record.read_text())
    record.write_text(json.dumps({key: values[key] for key in values if key != "inode"}))
    status.state(plan)
    assert begun == ["bob"]


def test_a_user_is_served_by_one_process_from_the_first_task_to_the_last(site, monkeypatch):
    names = [f"user{number}" for number in range(8)]
    for name in names:
        site.user(name, build.simple(2), {"a": build.simple(1)})
        deliver(site.maildir(name), "1.a.new", b"Subject: new\n\nnew\n")
    begun = processes(monkeypatch)
    assert convert(dict(site.plan(), jobs=2))[-1]["published"] == 8
    assert sorted(user for user in begun if user) == names


@pytest.mark.parametrize("east, early", [(3600, 1), (-12600, 0)])
def test_the_survey_reads_dates_in_the_old_hosts_zone(site, east, early):
    text = b"From a@b Thu Jan  1 00:00:00 1970\nSubject: 1\n\nbody\n"
    site.user("alice", None, {"box": text})
    plan = plan_file.check(site.plan())
    plan["users"][0]["zone"] = east
    (user,) = survey.survey(plan)["users"]
    assert [folder["before_1970"] for folder in user["folders"]] == [early]


def test_the_directory_above_the_trees_may_be_made_by_another_host_just_now(site, monkeypatch):
    site.user("alice", build.simple(3))
    parent, make = os.fsencode(site.maildir("alice").parent), os.makedirs

    def makedirs(path, *mode, **options):
        if path == parent:
            make(path)
        make(path, *mode, **options)

    monkeypatch.setattr(publish.os, "makedirs", makedirs)
    results = convert(site.plan())
    assert not of(results, "error") and of(results, "published")
