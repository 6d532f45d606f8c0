"""The journal: a chain that shows any change, and an end that a crash may tear."""

import json
import multiprocessing
import os
import random

import pytest
from cutover.record import journal


def filled(tmp_path, count=5):
    book = journal.Journal(tmp_path)
    for number in range(count):
        book.append("intent", step="convert", number=number, text="ü\n")
    return book


def test_events_are_numbered_chained_and_timed(tmp_path):
    events = filled(tmp_path).events()
    assert [event["seq"] for event in events] == [0, 1, 2, 3, 4]
    assert events[0]["prev"] == journal.ZEROS
    assert all(event["time"].endswith("+00:00") and "@" in event["who"] for event in events)
    assert [event["time"] for event in events] == sorted(event["time"] for event in events)


def test_an_absent_journal_is_empty(tmp_path):
    assert journal.Journal(tmp_path).events() == []


def test_any_change_of_a_line_is_found(tmp_path):
    book = filled(tmp_path)
    whole = book.path.read_bytes()
    last_line = whole.rstrip(b"\n").rfind(b"\n") + 1
    rng = random.Random(1)
    for _ in range(300):
        place = rng.randrange(
            last_line
        )  # a change of the last line itself is for the signed head to find
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.randrange(8)
        with pytest.raises(journal.JournalBroken, match=r"line \d"):
            journal.parse(bytes(changed))


@pytest.mark.parametrize(
    "edit",
    [
        lambda lines: lines[:2] + lines[3:],  # one dropped
        lambda lines: lines[:1] + [lines[2], lines[1]] + lines[3:],  # two swapped
        lambda lines: lines[:2] + [lines[1]] + lines[2:],  # one doubled
        lambda lines: lines[1:],  # the first cut off
    ],
)
def test_lines_dropped_swapped_or_doubled_are_found(tmp_path, edit):
    lines = filled(tmp_path).path.read_bytes().splitlines(keepends=True)
    with pytest.raises(journal.JournalBroken):
        journal.parse(b"".join(edit(lines)))


def test_a_torn_last_line_never_counted_and_is_taken_back(tmp_path):
    book = filled(tmp_path)
    whole = book.path.read_bytes()
    book.path.write_bytes(whole + b'{"event": "resu')
    assert len(book.events()) == 5
    book.append("result")
    assert [event["event"] for event in book.events()] == ["intent"] * 5 + ["result"]


def _append_many(path):
    book = journal.Journal(path)
    for _ in range(20):
        book.append("probed")


def test_several_processes_may_write(tmp_path):
    workers = [multiprocessing.Process(target=_append_many, args=(tmp_path,)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(journal.Journal(tmp_path).events()) == 80


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        "9" * 5000,
        '["seq"]',
        '{"seq": 0, "prev": "PREV"}',
        '{"seq": 0, "prev": "PREV", "event": "x", "time": "soon"}',
        '{"seq": 0, "prev": "PREV", "event": ["x"], "time": "2026-01-01T00:00:00+00:00"}',
    ],
)
def test_what_is_no_event_is_named_by_its_line(tmp_path, line):
    (tmp_path / journal.NAME).write_text(line.replace("PREV", journal.ZEROS) + "\n")
    with pytest.raises(journal.JournalBroken, match="line 1: not an event"):
        journal.Journal(tmp_path).events()


def test_a_pipe_is_no_journal_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / journal.NAME)
    with pytest.raises(journal.JournalBroken, match="not a regular file"):
        journal.Journal(tmp_path).events()


def test_a_journal_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / journal.NAME).mkdir()
    with pytest.raises(journal.JournalBroken, match="cannot be written: Is a directory"):
        journal.Journal(tmp_path).append("note")


def test_a_long_text_that_was_changed_is_not_shown(tmp_path):
    event = journal.Journal(tmp_path).append("note", text="as planned\n" * 4000)
    assert journal.whole(event["text"], tmp_path) == "as planned\n" * 4000
    (place,) = (tmp_path / journal.BLOBS).iterdir()
    place.write_text("otherwise")
    assert journal.whole(event["text"], tmp_path) == event["text"]


def test_a_line_is_plain_ascii_json(tmp_path):
    for line in filled(tmp_path).path.read_text("ascii").splitlines():
        assert isinstance(json.loads(line), dict)


def test_an_event_is_added_without_reading_all_that_happened(tmp_path, monkeypatch):
    book = filled(tmp_path)
    book.append("intent", users="x" * (5 * journal.TAIL))
    book.append("result")
    read, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda *call: read.append(call[1]) or pread(*call))
    book.append("applied")
    assert sum(read) == journal.TAIL
    with book.path.open("ab") as torn:
        torn.write(b"{" + b"y" * (3 * journal.TAIL))
    book.append("intent", users="x" * (5 * journal.TAIL))
    book.append("result")
    assert [event["seq"] for event in book.events()] == list(range(10))


def test_nothing_is_added_to_a_last_line_that_is_no_event(tmp_path):
    book = filled(tmp_path)
    with book.path.open("ab") as file:
        file.write(b"{}\n")
    before = book.path.read_bytes()
    with pytest.raises(journal.JournalBroken, match="last line"):
        book.append("result")
    assert book.path.read_bytes() == before
