"""Small folders are read together, each once, and a few hundred messages at a time."""

import time

import pytest
from cutover.comparison import folders, small_folders
from cutover.comparison.contents import Contents
from cutover.connect import imap


def converted(name, messages=4, size=100):
    return folders.Converted(f"mail/{name}", name, messages=messages, bytes=size)


@pytest.mark.parametrize(
    "sizes, expected",
    [
        ([], []),
        ([(4, 100), (400, 100), (90, 100)], [[0, 1, 2]]),
        ([(400, 1), (101, 1), (400, 1)], [[0], [1], [2]]),
        ([(400, 1), (501, 1), (100, 1)], [[0, 2]]),
        ([(1, imap.BATCH_BYTES), (1, 1), (1, imap.BATCH_BYTES + 1), (1, 2)], [[0], [1, 3]]),
        ([(0, 0)] * (imap.TOGETHER + 1), [list(range(imap.TOGETHER)), [imap.TOGETHER]]),
    ],
)
def test_groups_of_a_bounded_size(sizes, expected):
    given = [converted(number, *size) for number, size in enumerate(sizes)]
    numbers = [[int(folder.new) for folder in group] for group in small_folders.groups(given)]
    assert numbers == expected


def test_a_folder_of_unknown_size_and_a_damaged_one_are_not_small():
    damaged = folders.Converted("mail/a", "a", salvaged=1, messages=1, bytes=1)
    assert not list(small_folders.groups([folders.Converted("mail/a", "a"), damaged]))


class Session:
    def __init__(self):
        self.alone = []

    def stream(self, name, level, wanted):
        self.alone.append((name, level, wanted))
        return "alone"


@pytest.fixture
def together(monkeypatch):
    """[names read together, in a list]; "lost" loses the session, "odd" is missing."""
    asked = []

    def read_together(session, names, level):
        asked.append(names)
        if "lost" in names:
            raise imap.SessionLost(server="it", doing="that", reason="gone")
        return {name: f"{name} at {level}" for name in names if "odd" not in name}

    monkeypatch.setattr(imap, "read_together", read_together)
    return asked


def small(names, level="content", contents=None):
    old, new = Session(), Session()
    given = [converted(name) for name in names]
    return small_folders.SmallFolders(old, new, given, level, contents or Contents("s")), old, new


def test_each_reading_is_given_once(together):
    readings, old, new = small(["a", "odd"])
    readings.prepare("mail/a")
    readings.prepare("mail/odd")
    assert together == [["mail/a", "mail/odd"], ["a", "odd"]]
    assert readings.stream(new, "a", "w") == "a at content" and not new.alone
    other = Session()
    assert readings.stream(other, "mail/a", "w") == "alone"
    assert readings.stream(old, "mail/a", "w") == "mail/a at content"
    assert readings.stream(old, "mail/a", "w") == "alone" == readings.stream(new, "odd", "w")
    assert old.alone == [("mail/a", "content", "w")] and new.alone == [("odd", "content", "w")]


@pytest.mark.parametrize(
    "level, contents, read",
    [
        ("content", Contents("s", 0.5), False),
        ("content", Contents("s", 1.0, time.monotonic() - 1), False),
        ("metadata", Contents("s", 0.5), True),
    ],
)
def test_no_content_is_read_ahead_that_is_not_wanted(together, level, contents, read):
    readings, old, _ = small(["a"], level, contents)
    readings.prepare("mail/a")
    assert bool(together) == read
    assert (readings.stream(old, "mail/a", None) == "alone") != read


def test_a_lost_session_is_met_by_whoever_uses_it_next(together):
    readings, _, new = small(["lost"])
    readings.prepare("mail/lost")
    assert readings.stream(new, "lost", None) == "alone"
