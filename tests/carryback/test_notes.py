"""The note on the old server: later rollbacks, of later versions too, read its JSON."""

from cutover import model
from cutover.carryback import notes
from cutover.carryback.notes import Note

PLAIN = {
    "user": "alice",
    "tree": "t1",
    "at": 1.5,
    "done": {"messages appended": 2},
    "left": ["no room"],
    "notes": [],
}
MESSAGE = {
    "folder": "Bozze",
    "to": "mail/Bozze",
    "uid": 12,
    "message_id": "<a@b>",
    "bytes": 81,
    "date": "2026-03-14T09:26:53+01:00",
    "flags": ["\\Seen"],
    "key": "00ff",
    "why": "imapd said no",
}
PENDING = {
    **PLAIN,
    "behind": [MESSAGE],
    "later": {
        "flags": [["mail/x", 3, "2026-03-14T09:26:53+01:00", 81, ["$Mia"], []]],
        "removed": [["mail/x", 4, "2026-03-14T09:26:53+01:00", 82]],
    },
    "entry": {"user": "alice", "uid": 2001, "gid": 2001, "maildir": "/var/imap/alice"},
}


def test_the_json_on_the_host_keeps_its_keys_and_shape():
    for data in (PLAIN, PENDING):
        assert model.from_json(Note, data).to_json() == data


def test_a_note_is_pending_until_its_mail_its_flags_and_its_removals_were_done():
    assert not model.from_json(Note, PLAIN).pending
    assert model.from_json(Note, PENDING).pending
    assert model.from_json(Note, {**PENDING, "behind": []}).pending
    assert not model.from_json(Note, {**PENDING, "behind": [], "later": {}}).pending


def test_what_is_pending_in_words():
    assert notes.pending_text(model.from_json(Note, PENDING)) == (
        "1 message: Bozze UID 12 <a@b>: imapd said no; not on the old server yet: 1 flags changed, "
        "1 messages removed"
    )
