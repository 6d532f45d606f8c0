"""The bench runs, and what it compares is the same work.

No time is judged: machines differ, and tests share theirs.
"""

import json
import subprocess
import sys

import pytest
from cutover.bench import convert_tables

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
