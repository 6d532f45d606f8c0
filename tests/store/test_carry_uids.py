"""A rollback of folders to which the conversion gave UIDs of its own: c-client's are not allowed.

No UID says which messages of the two sides are the same, so each is found by its text.
"""

import collections
import types

import pytest
from cutover import model
from cutover.carryback import execute, published
from cutover.connect import imap
from cutover.facts import mailboxes
from cutover.remote import converter
from mbx2maildir import plan_file
from mbx2maildir.publish import base, status

from store.test_places import BASE, Hosts, by_name, mbox, put, verified

pytestmark = pytest.mark.lab
NOT_ALLOWED = {
    "UIDVALIDITY": (b"X-IMAPbase: 4294967297 10\nX-UID: 3\n", b"X-UID: 9\n", b"", b"", b""),
    "a UID": (BASE + b"X-UID: 3\n", b"X-UID: 4294967306\n", b"X-UID: 4294967309\n", b"", b""),
    "the last one": (BASE + b"X-UID: 4294967294\n", b"", b"", b"", b""),
}


class Aside:
    """Copies of what is removed, in the user's home."""

    def folder_for(self, folder):
        return f"aside/{folder}"


class Moved:
    """One user, converted, who then works on the new server."""

    def __init__(self, user, headers, monkeypatch):
        self.user, self.hosts = user, Hosts(user)
        text = mbox(*headers)
        # once more the last message, to the byte
        (user.home / "mail/folder").write_bytes(text + b"From " + text.rpartition(b"From ")[2])
        put(user, b"INBOX", b"mail/other")
        check, _rows, _surveyed = verified(user)
        assert check.passed, check.actual
        self.entry = user.entry(home=f"/home/{user.name}")
        plan = {**user.plan(), "users": [self.entry]}
        monkeypatch.setattr(
            published, "_plan", lambda hosts, listed, run: {**plan, "users": listed}
        )
        monkeypatch.setattr(
            converter, "read", lambda *given: by_name(base.read(plan_file.check(given[2])))
        )
        state = model.from_json(converter.State, by_name(status.state(plan_file.check(plan))))
        self.tree = published.parse(self.hosts.site, state.users[user.name])
        self.ctx = types.SimpleNamespace(site=self.hosts.site, hosts=self.hosts, run_name="r1")

    def new(self):
        return mailboxes.new_session(self.hosts, self.user.name)

    def back(self):
        return execute.copy_back(self.ctx, self.entry, self.tree, Aside(), print)

    def old(self, folder):
        """`{subject: flags, sorted, of each message}` by c-client."""
        shown = collections.defaultdict(list)
        with mailboxes.old_session(self.hosts, self.user.name) as old:
            listed = old.read(folder, "metadata").messages
            for message, text in old.texts(folder, listed):
                subject = text.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode()
                shown[subject].append(sorted(message.flags))
        return dict(shown)


def works(moved):
    """New mail, a flag, a move and a copy; nothing is removed."""
    with moved.new() as new:
        new.append("folder", b"Subject: fresh\n\nbody\n", ["\\Seen"])
        uids = new.all("folder")
        new.change("folder")
        new.store(uids[:1], ["\\Flagged"], True)
        new.client.move(uids[1:2], "other")
        new.change("folder")
        new.copy(uids[2:3], "other")
        assert len(new.all("folder")) == 6 and len(new.all("other")) == 3


def is_right(moved):
    """Each message once, where the user has it; both copies of the one that came twice."""
    folder = moved.old("mail/folder")
    assert {subject: len(flags) for subject, flags in folder.items()} == {
        "0": 1,
        "2": 1,
        "3": 1,
        "4": 2,
        "fresh": 1,
    }
    assert folder["0"] == [["\\Flagged"]] and folder["fresh"] == [["\\Seen"]]
    others = moved.old("mail/other")
    assert {"1", "2"} <= others.keys() and sum(map(len, others.values())) == 3


@pytest.mark.parametrize("kind", NOT_ALLOWED)
def test_each_message_is_carried_back_once(old_user, monkeypatch, kind):
    moved = Moved(old_user, NOT_ALLOWED[kind], monkeypatch)
    works(moved)
    outcome = moved.back()
    assert outcome.complete and not outcome.missing.problems
    is_right(moved)
    assert moved.back().done.counts() == {}
    is_right(moved)


def test_a_move_that_was_cut_off_leaves_no_second_copy(old_user, monkeypatch):
    """Appended to its new place, and then the session is lost before the old place is cleared."""
    moved = Moved(old_user, NOT_ALLOWED["a UID"], monkeypatch)
    works(moved)

    def lost(*_):
        raise imap.SessionLost(server="old", doing="moving", reason="cut")

    with monkeypatch.context() as cut, pytest.raises(imap.SessionLost):
        cut.setattr(execute, "remove", lost)
        moved.back()
    assert sum(map(len, moved.old("mail/other").values())) == 3
    assert "1" in moved.old("mail/folder")
    assert moved.back().complete
    is_right(moved)
