"""A state machine drives a real imapd and dmail, converts, and compares what c-client shows with
what Dovecot shows.

The suite takes 25 examples, CI 100; CUTOVER_EXAMPLES=2000 makes it a long run. Counter-examples
become tests of their own.
"""

import contextlib
import os
import shutil

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from mbx2maildir import batch, events, plan_file
from mbx2maildir.convert import index
from mbx2maildir.formats.names import Names
from mbx2maildir.tests.test_batch import of, tree

from store import oracle, test_oracle

EXAMPLES = int(os.environ.get("CUTOVER_EXAMPLES") or (100 if os.environ.get("CI") else 25))
pytestmark = pytest.mark.lab

NAMES = [b"a", b"b", b"d/x", b"d/y", b"a.b", b"a_b", b"caf&AOk-", b"~t"]
FLAGS = [r"\Seen", r"\Deleted", r"\Flagged", r"\Answered", r"\Draft", "work", "$Label1", "NonJunk"]
BODIES = [
    b"short",
    b"",
    b"line\r\n" * 400,
    b"bare\rCR",
    b"dots\r\n.\r\n..\r\n",
    b"\r\r\n\r\r\r\n",
    bytes(range(128, 256)),
    b"x" * 70000,
    b"From the start\r\n>From quoted\r\n",
]
DATES = [
    '" 3-Feb-2009 01:02:03 +0100"',
    '"31-Dec-1999 23:59:59 -0800"',
    '"29-Feb-2024 12:00:00 +0545"',
    '"01-Jan-1970 00:00:00 +0000"',
]
SET = st.lists(st.integers(1, 12), min_size=1, max_size=4)
PICK = st.integers(0, 7)


class Machine(RuleBasedStateMachine):
    """One user of the mail host, with up to two imapd sessions at a time."""

    host = None  # set by the test

    def __init__(self):
        super().__init__()
        self.user = self.host.user(f"m{len(self.host.users)}")
        self.host.complaints()
        test_oracle.make_inbox(self.user)
        self.folders = []
        self.sessions = [None, None]
        self.selected = [None, None]
        self.number = 0
        self.plan = plan_file.check(self.user.plan())

    # --- what users and mail do

    def session(self, which):
        if self.sessions[which] is None:
            self.sessions[which] = contextlib.ExitStack()
            self.sessions[which].connection = self.sessions[which].enter_context(
                self.user.cclient()
            )
            self.selected[which] = None
        return self.sessions[which].connection

    def at(self, which):
        """A session with a folder open, and how many messages it sees there."""
        connection = self.session(which)
        if self.selected[which] is None:
            self.open(which, 0)
        if self.selected[which] is None:
            return connection, 0
        connection.noop()
        return connection, len(oracle.ok(connection.search(None, "ALL"))[0].split())

    def folder(self, pick):
        return [b"INBOX", *(b"mail/" + name for name in self.folders)][
            pick % (len(self.folders) + 1)
        ]

    def text(self, body):
        self.number += 1
        return test_oracle.mail(self.number, BODIES[body % len(BODIES)])

    def open(self, which, pick):
        connection = self.session(which)
        folder = self.folder(pick)
        self.selected[which] = (
            folder
            if connection.select(oracle.quoted(folder).decode("latin-1"))[0] == "OK"
            else None
        )

    @rule(body=PICK)
    def deliver(self, body):
        self.user.run("dmail", stdin=self.text(body).replace(b"\r\n", b"\n"))

    @rule(
        which=st.integers(0, 1),
        pick=PICK,
        body=PICK,
        flags=st.sets(st.sampled_from(FLAGS[:5])),
        date=st.sampled_from(DATES),
    )
    def append(self, which, pick, body, flags, date):
        connection = self.session(which)
        connection.literal = self.text(body)
        connection._simple_command(
            "APPEND",
            oracle.quoted(self.folder(pick)).decode("latin-1"),
            f"({' '.join(sorted(flags))})",
            date,
        )

    @rule(which=st.integers(0, 1), pick=PICK)
    def select(self, which, pick):
        self.open(which, pick)

    @rule(
        which=st.integers(0, 1),
        numbers=SET,
        sign=st.sampled_from("+-"),
        flags=st.sets(st.sampled_from(FLAGS), min_size=1),
    )
    def store(self, which, numbers, sign, flags):
        connection, count = self.at(which)
        if count:
            chosen = ",".join(str(1 + number % count) for number in numbers)
            connection.store(chosen, sign + "FLAGS", f"({' '.join(sorted(flags))})")

    @rule(which=st.integers(0, 1), numbers=SET, pick=PICK)
    def copy(self, which, numbers, pick):
        connection, count = self.at(which)
        if count:
            chosen = ",".join(str(1 + number % count) for number in numbers)
            connection.copy(chosen, oracle.quoted(self.folder(pick)).decode("latin-1"))

    @rule(which=st.integers(0, 1), numbers=SET)
    def expunge(self, which, numbers):
        connection, count = self.at(which)
        if count:
            connection.store(
                ",".join(str(1 + number % count) for number in numbers), "+FLAGS", r"(\Deleted)"
            )
            connection.expunge()

    @rule(which=st.integers(0, 1), pick=PICK)
    def create(self, which, pick):
        name = NAMES[pick % len(NAMES)]
        status, _answer = self.session(which).create(
            oracle.quoted(b"#driver.mbx/mail/" + name).decode("latin-1")
        )
        if status == "OK":
            self.folders.append(name)

    @precondition(lambda self: self.folders)
    @rule(which=st.integers(0, 1), pick=PICK, to=PICK)
    def rename(self, which, pick, to):
        old, new = self.folders[pick % len(self.folders)], NAMES[to % len(NAMES)]
        status, _answer = self.session(which).rename(
            *(oracle.quoted(b"mail/" + name).decode("latin-1") for name in (old, new))
        )
        if status == "OK":
            self.folders[self.folders.index(old)] = new

    @precondition(lambda self: self.folders)
    @rule(which=st.integers(0, 1), pick=PICK)
    def delete(self, which, pick):
        name = self.folders[pick % len(self.folders)]
        status, _answer = self.session(which).delete(
            oracle.quoted(b"mail/" + name).decode("latin-1")
        )
        if status == "OK":
            self.folders.remove(name)

    @rule(which=st.integers(0, 1), pick=PICK, on=st.booleans())
    def subscribe(self, which, pick, on):
        connection = self.session(which)
        (connection.subscribe if on else connection.unsubscribe)(
            oracle.quoted(self.folder(pick)).decode("latin-1")
        )

    @rule(which=st.integers(0, 1), polite=st.booleans())
    def leave(self, which, polite):
        self.end(which, polite)

    def end(self, which, polite=True):
        """End a session by LOGOUT, or by hanging up."""
        if self.sessions[which] is not None:
            if not polite:
                self.sessions[which].connection.shutdown()
            self.sessions[which].close()
            self.sessions[which] = None

    @rule()
    def presync(self):
        self.passes(dict(self.plan, presync=True))

    # --- and what must hold in the end

    def passes(self, plan):
        collected = events.Collected()
        batch.convert(plan, collected)
        assert not of(collected.all, "error"), repr(of(collected.all, "error"))

    def teardown(self):
        try:
            for which in (0, 1):
                self.end(which)
            self.compare()
        finally:
            for session in self.sessions:
                if session is not None:
                    session.close()
            for path in (
                self.user.home,
                self.user.maildir,
                self.host.root / "var/imap/.work",
                self.host.root / "var/imap/other",
            ):
                shutil.rmtree(path, ignore_errors=True)

    def compare(self):
        with self.user.cclient() as old:
            names = [name for name in oracle.folder_list(old, "mail/*") if not name.endswith(b"/")]
            before = {}
            for name in [b"INBOX", *sorted(self.folders)]:
                full = name if name == b"INBOX" else b"mail/" + name
                assert full in names or name == b"INBOX"
                before[name] = oracle.view(old, full)
            subscribed = set(oracle.folder_list(old, command="lsub"))
        self.passes(self.plan)
        table = Names(list(self.folders))
        mapped = {
            b"INBOX": b"INBOX",
            **{name: table.maildir(name).replace(b".", b"/") for name in self.folders},
        }
        with self.user.dovecot() as new:
            for name, expected in before.items():
                test_oracle.same(oracle.view(new, mapped[name]), expected)
            listed = set(oracle.folder_list(new))
            assert set(mapped.values()) <= listed
            wanted = {
                mapped[name.removeprefix(b"mail/")]
                for name in subscribed
                if name.removeprefix(b"mail/") in mapped
            }
            assert wanted <= set(oracle.folder_list(new, command="lsub"))
        assert self.host.complaints() == ""
        other = self.host.root / "var/imap/other"
        user = dict(self.plan["users"][0], maildir=str(other / "tree"))
        self.passes(dict(self.plan, work=str(other / "work"), users=[user]))
        mine, scratch = tree(self.user.maildir), tree(other / "tree")
        dovecots = {name for name in mine if os.path.basename(name).startswith("dovecot")}
        assert {name: value for name, value in mine.items() if name not in dovecots} == {
            name: value
            for name, value in scratch.items()
            if not os.path.basename(name).startswith("dovecot")
        }


def test_c_client_and_dovecot_show_the_same(mail_host, monkeypatch):
    monkeypatch.setattr(index, "CLOCK_SKEW", -1)
    Machine.host = mail_host
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            suppress_health_check=list(HealthCheck),
        ),
    )
