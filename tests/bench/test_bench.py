"""The bench runs, and what it compares is the same work.

No time is judged: machines differ, and tests share theirs.
"""

import json
import subprocess
import sys

import pytest
from cutover.bench import convert_tables, outage_floor

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
