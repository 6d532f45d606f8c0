"""The bench runs, and what it compares is the same work.

No time is judged: machines differ, and tests share theirs.
"""

import json
import subprocess
import sys

import pytest
from cutover.bench import convert_tables, outage_floor, outage_held, presync, users

pytestmark = pytest.mark.lab


def test_a_small_store(base, tmp_path):
    page = tmp_path / "bench.md"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "cutover",
            "bench",
            "convert",
            "--messages",
            "100",
            "--runs",
            "1",
            "--no-disk",
            "--scale",
            "1000",
            "--write",
            str(page),
            "--json",
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    contests = values["places"]["tmpfs"]["contests"]
    assert {contest: set(entries) - {"floor"} for contest, entries in contests.items()} == {
        "full": {"ours", "doveadm", "python"},
        "nothing changed": {"ours", "doveadm", "python"},
        "1% changed": {"ours", "doveadm"},
        "content verify": {"verify"},
    }
    assert values["scale"][0]["messages"] == 1000
    assert "Only the ratios carry over" in page.read_text() and convert_tables.text(values)


def test_an_outage_beside_its_floor():
    """By hand-made times: the medians, and no ratio of what takes no time."""
    floor = dict.fromkeys([*outage_floor.PHASES, *outage_floor.TOTALS], 1.0) | {"verify": 0.0}
    ours = dict.fromkeys([*outage_floor.PHASES, *outage_floor.TOTALS], 3.0)
    values = {
        "fill": 94000,
        "rate": 2.0,
        "processors": 2,
        "python": "3.11",
        "load": [0.1, 2.0],
        "seconds": {"floor": [floor] * 3, "ours": [ours, ours, ours | {"convert": 9.0}]},
    }
    rows = outage_floor.text(values).splitlines()
    assert "| convert | 1.0 | 3.0 | 3.0 |" in rows and "| verify | 0.0 | 3.0 |  |" in rows
    assert rows[0].startswith("94,000 messages") and "medians of 3" in rows[0]


def test_what_users_feel_of_presync():
    """By hand-made figures: a row for each way, with no time of presync where there was none."""
    row = {"seconds": [2.0, 4.0, 30.0], "slowed": [0, 0, 0], "bytes": 40_000_000, "failed": 0}
    values = {
        "disk": None,
        "messages": 6000,
        "bytes": 40_000_000,
        "processors": 2,
        "python": "3.11",
        "load": [0.1, 2.0],
        "rows": {
            presync.NONE: {"seconds": [], "slowed": [], "ms": [10.0, 12.0, 30.0], "failed": 0},
            presync.FULL_SPEED: row | {"ms": [*range(1, 101)], "failed": 1},
            presync.NICE: row | {"ms": [20.0], "slowed": [1, 2, 3]},
        },
    }
    rows = presync.text(values).splitlines()
    assert "| no presync |  |  | 3 | 0 | 12 | 12 | 30 |  |" in rows
    assert "| full speed | 4.0 | 10.0 | 100 | 1 | 50 | 95 | 100 |  |" in rows
    assert "| nice 10 | 4.0 | 10.0 | 1 | 0 | 20 | 20 | 20 | 2 |" in rows
    for way in values["rows"].values():
        way["visits"] = [100.0, 300.0]
    rows = presync.text(values | {"disk": 10.0}).splitlines()
    assert rows[0].endswith("disk reads 10 MB per second.")
    assert "| nice 10 | 4.0 | 10.0 | 1 | 0 | 20 | 20 | 20 | 2 | 2 | 200 | 100 | 300 |" in rows


def test_a_night_with_a_held_queue():
    """By a hand-made journal: making the queue is no part of the outage."""
    lines = [
        ("step-begun", "stop-imap", 0, {"title": ""}),
        ("intent", "stop-imap", 1, {"change": {"kind": "service"}}),
        ("step-begun", "stop-sendmail", 5, {"title": ""}),
        ("verified", "stop-sendmail", 9, {"passed": True, "checks": []}),
        ("step-begun", "convert", 100, {"title": ""}),
        ("step-begun", "restore-sendmail", 110, {"title": ""}),
        ("intent", "restore-sendmail", 112, {"change": {"kind": "release-queue"}}),
        (
            "result",
            "restore-sendmail",
            116,
            {"intent": 6, "outcome": "done", "seconds": 4.0, "figures": {"rate": 25.0}},
        ),
        ("verified", "restore-sendmail", 117, {"passed": True, "checks": []}),
        ("intent", "restore-imap", 118, {"change": {"kind": "service"}}),
        ("result", "restore-imap", 120, {"intent": 9, "outcome": "done"}),
        ("intent", "production-test", 125, {"change": {"kind": "release-queue"}}),
        ("result", "production-test", 232, {"intent": 11, "outcome": "done", "seconds": 107.0}),
    ]
    events = [
        {
            "seq": seq,
            "event": event,
            "step": step,
            "time": f"2026-11-28T21:{at // 60:02d}:{at % 60:02d}+00:00",
            **fields,
        }
        for seq, (event, step, at, fields) in enumerate(lines)
    ]
    times = outage_held.times(events)
    assert times == {"reading": 28.0, "restore": 7.0, "rate": 25.0, "drained": 120.0}
    night = {**times, "held": 3000, "left": 2900, "lost": 0, "double": 0}
    table = outage_held.text({"processors": 2, "load": [1.0, 2.0], "nights": [night]})
    assert table.splitlines()[-1] == "| 3,000 | 28.0 | 7.0 | 25.0 | 2,900 | 120.0 | 0 | 0 |"


def test_nights_of_more_and_more_users():
    """By hand-made figures: a column per number of users, and a repeated step apart."""
    nights = [
        {
            "users": number,
            "adding": 1.0,
            "seconds": dict.fromkeys(
                [*users.SHOWN, users.RECORD, users.REPORT, users.PAGE, users.WHOLE], number / 10
            ),
            "commands": dict.fromkeys(users.SHOWN, 7),
            "memory": {"run": [70.0, 30.4, 20.0], users.RECORD: [110.0]},
            "load": 1.5,
            "bytes": {"journal.jsonl": number * 1000},
            "files": 9,
        }
        for number in (24, 5000)
    ]
    rows = users.text(nights).split("\n")
    for row in (
        "| users | 24 | 5,000 |",
        "| presync again, seconds | 2.4 | 500.0 |",
        "| verify, ssh commands | 7 | 7 |",
        "| journal.jsonl, MB | 0.02 | 5.00 |",
        "| control host, most MB at once | 120 | 120 |",
        "| of it the largest of its processes | 70 | 70 |",
        "| so many processes then | 3 | 3 |",
    ):
        assert row in rows
    assert users.document(nights).startswith("# What a night costs")


def test_what_is_repeated_counts_apart():
    when = "2026-11-28T10:00:{:02d}+00:00"
    events = [
        {"event": kind, "step": "presync", "time": when.format(second)}
        for kind, second in (
            ("step-begun", 0),
            ("probed", 1),
            ("verified", 5),
            ("step-begun", 10),
            ("verified", 12),
        )
    ]
    rows = users._attempts(events)
    assert [(name, ended - began) for name, began, ended in rows] == [
        ("presync", 5.0),
        (users.AGAIN, 2.0),
    ]
