"""Presync beside c-client: folders that a real imapd changes between passes, and during one."""

import os
import signal
import subprocess
import sys
import time

import pytest
from mbx2maildir import batch, events, plan_file
from mbx2maildir.convert import index
from mbx2maildir.tests import build
from mbx2maildir.tests.test_batch import messages, of
from mbx2maildir.tests.test_presync import passes

from store import oracle, test_oracle

HAMMER = """
import imaplib, random, shlex, sys, time
imaplib._MAXLINE = 1 << 24
connection = imaplib.IMAP4_stream(shlex.join(sys.argv[2:]) + " 2>/dev/null")
choose = random.Random(int(sys.argv[1]))
connection.select("INBOX")
print("at work", flush=True)
text = b"Subject: hammered\\r\\n\\r\\n" + b"x" * 60 + b"\\r\\n"
while True:
    count = int(connection.select("INBOX")[1][0])
    time.sleep(0.01)
    what = choose.randrange(60)
    if what < 40:
        sign = "+FLAGS" if what % 2 else "-FLAGS"
        connection.store(str(choose.randrange(1, count)), sign, "(\\\\Flagged work)")
    elif what < 59:
        connection.append("INBOX", None, None, text * choose.randrange(1, 200))
    else:
        connection.store(str(choose.randrange(count // 2, count)), "+FLAGS", "(\\\\Deleted)")
        connection.expunge()
"""


@pytest.mark.lab
def test_a_real_imapd_at_work_all_the_time(old_user, monkeypatch):
    monkeypatch.setattr(index, "CLOCK_SKEW", -1)
    test_oracle.make_inbox(old_user)
    path = old_user.home / "INBOX"
    content = build.mbx(
        *(
            build.message(build.text(uid, b"body %d\r\n" % uid * 300), uid, 0x11)
            for uid in range(1, 2001)
        ),
        uidlast=2000,
    )
    path.write_bytes(content)
    plan = old_user.plan()
    hammers = [
        subprocess.Popen(
            [sys.executable, "-c", HAMMER, str(number), *old_user.argv("/usr/sbin/imapd")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        for number in (1, 2)
    ]
    try:
        for hammer in hammers:
            assert hammer.stdout.readline() == b"at work\n"
        staged = failed = 0
        end = time.monotonic() + 5
        while time.monotonic() < end:
            collected = events.Collected()
            batch.convert(plan_file.check(dict(plan, presync=True, strict=True)), collected)
            for error in of(collected.all, "error"):
                assert error["kind"] == "ShortRead", error
                failed += 1
            staged += len(of(collected.all, "staged"))
    finally:
        for hammer in hammers:
            os.killpg(hammer.pid, signal.SIGKILL)  # and its imapd
            hammer.wait()
    assert staged > 2 * failed, (staged, failed)
    passes(plan, presync=True)
    with old_user.cclient() as old:  # a killed imapd leaves what only the next one mends
        oracle.ok(old.select("INBOX"))
    test_oracle.compare(old_user, [(b"INBOX", b"INBOX")], plan)
    assert len(messages(old_user.maildir)) > 1500 and os.path.getsize(path) > len(content) // 2


@pytest.mark.lab
def test_passes_over_a_store_that_c_client_changes(old_user, tmp_path):
    test_oracle.make_inbox(old_user)
    append, mail = test_oracle.append, test_oracle.mail
    with old_user.cclient() as old:
        test_oracle.create(old, b"work")
        for number in range(1, 20):
            append(old, b"INBOX", mail(number), r"(\Seen)")
    plan = old_user.plan()
    passes(plan, presync=True)
    with old_user.cclient() as old:
        oracle.ok(old.select("INBOX"))
        oracle.ok(old.store("2,5", "+FLAGS", "(\\Flagged work)"))
        oracle.ok(old.copy("3:6", '"mail/work"'))
        oracle.ok(old.store("3:6", "+FLAGS", r"(\Deleted)"))
        oracle.ok(old.expunge())
        passes(plan, presync=True)  # while a session is open
        append(old, b"mail/work", mail(30))
        oracle.ok(old.rename('"mail/work"', '"mail/done"'))
    for number in (40, 41):
        old_user.run("dmail", stdin=mail(number).replace(b"\r\n", b"\n"))
    passes(plan, presync=True)
    with old_user.cclient() as old:
        oracle.ok(old.select("INBOX"))
        oracle.ok(old.store("1", "+FLAGS", r"(\Answered)"))
    test_oracle.compare(old_user, [(b"INBOX", b"INBOX"), (b"mail/done", b"done")], plan)
