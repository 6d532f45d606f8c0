"""How long a restore of many small messages takes on the running lab, from the copy or Bacula.

One user's copy on the backup host gets folders that the user does not have (lost_folders.py), and
Bacula saves them. In parts, interleaved from run to run:

- "ways": each way to bring the single folder and to add it. A way with a round trip per message is
  timed with a part of the messages, and scaled;
- "archive": reading and packing the single folder's files on the backup host, against reading an
  archive of them;
- "sessions": the eight folders are added by one, two or three pairs of IMAP sessions at a time;
- "whole": the step restore of the eight folders, probe to verify, from either source, by phases.

What was added is removed again.
"""

import os
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from cutover import site
from cutover.bench.lost_folders import (
    ARCHIVE,
    BACKUP,
    COPY,
    FOLDERS,
    NAME,
    TREE,
    USER,
    directory,
    forget,
    plant,
)
from cutover.bench.restore_ways import PART, Ways
from cutover.changes import bacula_restore, bring_beside
from cutover.connect.hosts import Hosts
from cutover.model import errors

PARTS = ("ways", "archive", "sessions", "whole")
SESSIONS = (1, 2, 3)
SOURCES = ("current", "bacula")


class Times:
    """Seconds by what took them, a list with one entry per run."""

    def __init__(self, say):
        self.seconds, self.say = {}, say

    def note(self, label: str, seconds: float):
        self.seconds.setdefault(label, []).append(seconds)
        self.say(f"{label}: {seconds:.1f} s")

    def take(self, label: str, function, *arguments, factor: float = 1.0):
        """Time a call; `factor` scales what was timed with a part of the messages."""
        os.sync()
        began = time.monotonic()
        function(*arguments)
        self.note(label, (time.monotonic() - began) * factor)


def measure(number: int, runs: int, say=lambda text: None, parts=PARTS) -> dict:
    """Measure with `number` messages.

    → {"messages", "bytes", "processors", "python", "seconds": {label: [seconds of each run]}}.
    The lab must be up, and the step backup done. Raises errors.CutoverError.
    """
    if not COPY.is_dir():
        raise errors.CutoverError(
            f"{COPY}, the copy on the lab's backup host, does not exist. "
            "Make one: cutover rehearse --keep-lab"
        )
    times = Times(say)
    trees = [COPY / directory(name) for name in FOLDERS]
    try:
        size = plant(TREE, number)
        with Hosts(site.load("parameters/lab.yaml")) as hosts:
            _save(hosts, number, trees, times, parts)
            for run in range(runs):
                _run(hosts, number, run, times, parts)
    finally:
        for tree in (TREE, *trees):
            shutil.rmtree(tree, ignore_errors=True)
        (BACKUP / ARCHIVE).unlink(missing_ok=True)
    return {
        "messages": number,
        "bytes": size,
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "seconds": times.seconds,
    }


def _save(hosts, number, trees, times, parts):
    """Have Bacula save what the parts need; make the eight folders."""
    ways = Ways(hosts, number, f"bench-{os.getpid()}")
    if "ways" in parts:
        times.take("Bacula saves it", ways.save)
    for position, tree in enumerate(trees):
        plant(tree, len(range(position, number, len(trees))))
    if "whole" in parts:
        ways.save()


def _run(hosts, number, run, times, parts):
    ways = Ways(hosts, number, f"bench-{os.getpid()}-{run}")
    ways.tidy()
    try:
        if "ways" in parts:
            _each_way(ways, times.take)
        if "archive" in parts:
            _archive(ways, times.take)
        if "sessions" in parts:
            _sessions(ways, times.take, run)
        if "whole" in parts:
            # the step would remove it first, as something an earlier run left
            bacula_restore.remove_scratch(hosts, ways.where)
            for source in SOURCES if run % 2 else SOURCES[::-1]:
                ways.tidy()
                with tempfile.TemporaryDirectory() as place:
                    phases = ways.whole(source, Path(place))
                for phase, seconds in phases.items():
                    times.note(f"whole, from {source}: {phase}", seconds)
    finally:
        ways.end()


def _each_way(ways, take):
    number = ways.number
    take("Bacula restores it: the folder", ways.folder)
    take("  and it is copied, one stream", ways.stream, ways.where)
    take("Bacula restores it: marked in the tree", ways.marked)
    take("Bacula restores it: by a list of files (scaled)", ways.listed, factor=number / PART)
    take("copy: file by file (scaled)", ways.file_by_file, factor=number / PART)
    take("copy: one stream", ways.stream)
    scale = number / min(number, PART * 10)
    take("added, one APPEND per message (scaled)", ways.add_one_by_one, factor=scale)
    take("compared and added", ways.add)
    take("every message compared", ways.look)
    take("removed again", ways.take_out)


def _archive(ways, take):
    files, archive = (
        bring_beside.folders_packing(ways.site, USER, [f".{NAME}"]),
        ["cat", f"/backup/{ARCHIVE}"],
    )
    by_inode = files[2].replace("tar --create", "tar --create --sort=inode")
    sorted_files = [*files[:2], by_inode, *files[3:]]
    take("archive of the folder made", ways.pack)
    for memory, forgotten in (("in memory", False), ("not in memory", True)):
        for label, packing, top in (
            ("files packed", files, TREE),
            ("files packed, by inode", sorted_files, TREE),
            ("archive read", archive, BACKUP / ARCHIVE),
        ):
            if forgotten:
                os.sync()
                forget(top)
            take(f"{label}, {memory}", ways.read, packing)
    take("files packed and copied", ways.stream)
    take("archive read and copied", ways.archived)


def _sessions(ways, take, run):
    take("eight folders copied, one stream", ways.bring_many)
    first = run % len(SESSIONS)
    for sessions in (*SESSIONS[first:], *SESSIONS[:first]):
        take(f"eight folders added, {sessions} at a time", ways.add_many, sessions)
        ways.tidy()


def text(values: dict) -> str:
    """The same as lines: label, median seconds, messages per second, least and most."""
    lines = [
        f"{values['messages']} messages, {values['bytes'] / 1e6:.0f} MB, "
        f"{values['processors']} processors, Python {values['python']}"
    ]
    for label, seconds in values["seconds"].items():
        median = statistics.median(seconds)
        lines.append(
            f"{label:48} {median:8.1f} s {values['messages'] / median:8.0f} messages/s   "
            f"{min(seconds):.1f} to {max(seconds):.1f}"
        )
    return "\n".join(lines)
