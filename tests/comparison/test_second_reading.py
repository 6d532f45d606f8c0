"""What a second reading finds, and what users may have done since the first."""

import contextlib
import datetime
import types

import pytest
from cutover.comparison import second_reading
from cutover.connect import imap

DAY = datetime.datetime(2026, 3, 14, tzinfo=datetime.UTC)


def message(uid, digest="d", date=DAY):
    return imap.Message(uid, frozenset(), False, date, 5, digest)


def folder(*messages, uidvalidity=7):
    return imap.Folder("w", uidvalidity, 9, list(messages))


OLD = folder(message(1), message(2))


@pytest.fixture
def read(monkeypatch):
    """read(the new side's folder, or None, or an error) → Second, of carried folders that have it."""

    def call(new, exists=2, names=("mail/w",)):
        def stream(name, level, numbers=None):
            if isinstance(new, Exception):
                raise new
            return new

        sessions = {
            "old_session": types.SimpleNamespace(
                examine=lambda name: types.SimpleNamespace(exists=exists),
                stream=lambda name, level, numbers: folder(*OLD.messages[: len(numbers)]),
            ),
            "new_session": types.SimpleNamespace(
                folders=lambda pattern: [("w", "/", True)] if new else [], stream=stream
            ),
        }
        for name, session in sessions.items():
            monkeypatch.setattr(
                second_reading.mailboxes, name, lambda *_, s=session: contextlib.nullcontext(s)
            )
        once = second_reading.dovecot_programs
        monkeypatch.setattr(once, "read_once", lambda *_: contextlib.nullcontext())
        site = types.SimpleNamespace(
            verify=types.SimpleNamespace(parallel=2), roles=types.SimpleNamespace(new="new")
        )
        hosts = types.SimpleNamespace(site=site)
        return second_reading.read(hosts, {"ada": dict.fromkeys(names, ("w", 2))})

    return call


@pytest.mark.parametrize(
    "new, expected",
    [
        (folder(message(1), message(2), message(3)), {"folders": 1, "messages": 2}),
        (folder(message(2)), {"folders": 1, "messages": 1, "gone": 1}),
        (None, {"removed": 1, "gone": 2}),
    ],
)
def test_what_users_do_is_counted(read, new, expected):
    assert read(new) == second_reading.Second(**expected)


@pytest.mark.parametrize(
    "new, folders",
    [
        (folder(message(1), message(2, "other")), 1),
        (folder(message(1), message(2, date=DAY + datetime.timedelta(1))), 1),
        (folder(message(1), message(2), uidvalidity=8), 0),
    ],
)
def test_text_date_and_uidvalidity_may_not_differ(read, new, folders):
    second = read(new)
    assert len(second.differences) == 1 and second.folders == folders


def test_what_the_old_server_has_lost_stops_nothing_and_is_counted(read):
    """A nightly job there may expunge old spam; the new side need not."""
    second = read(folder(message(1), message(2)), exists=1)
    assert second == second_reading.Second(folders=1, messages=1, expired=1)


def test_each_of_a_users_folders_is_read(read):
    second = read(folder(message(1), message(2)), names=("mail/v", "mail/w"))
    assert second == second_reading.Second(folders=2, messages=4)


def test_what_cannot_be_read_is_said(read):
    refused = imap.FolderUnreadable(server="new", folder="w", reason="no")
    second = read(refused)
    assert list(second.unread) == ["ada: mail/w"] and not second.folders
