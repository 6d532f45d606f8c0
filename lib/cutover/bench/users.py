"""What a night costs with few users and with thousands, on the lab.

Each size has a fresh lab and users of ten small folders each. `cutover run` makes the night as far
as verify, with presync twice. Seconds are those of the journal, commands those that the hosts' sshd
logged, memory that of all processes of `cutover` at once.
"""

import datetime
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lab import control, crowd, inside, requirements, topology

from cutover import site
from cutover.bench import timing
from cutover.model import errors
from cutover.record import history, run_folder
from cutover.report import html_page
from cutover.run import engine

# presync has nothing to do the second time
CALLS = (
    ("--to", "presync"),
    ("--from", "presync", "--to", "presync"),
    ("--from", "stop-imap", "--to", "verify"),
)
AGAIN, ROLLBACK, RECORD, REPORT = "presync again", "rollback's plan", "record verify", "report"
PAGE, WHOLE = "opening the largest notebook's page", "opening report.html"
SHOWN = ("preflight", "dual-delivery", "presync", AGAIN, "convert", "verify", ROLLBACK)
# at this level sshd logs each command
VERBOSE = "sed -i '1iLogLevel VERBOSE' /etc/ssh/sshd_config.d/lab.conf && systemctl reload ssh"
STARTED = "Starting session: command"
MINUTES = 600  # announced for the outage, and allowed for contents
_HEAD = """# What a night costs with thousands of users

`cutover bench users --users 24 --users 500 --users 5000 --write docs/bench-users.md` makes this
page: on a fresh lab for each number of users, a night as far as verify, then the plan of its
rollback, `record verify` and the report. **Only the growth carries over** to other machines.

- Seconds are a step's own, by the journal: from its beginning until it is verified. "presync again"
  finds nothing changed.
- ssh commands are those that the hosts' sshd logged. None is per user: what runs as a user shares a
  few of them, on hosts with Python 3.
- Memory is that of all processes of `cutover` on the control host together.
- A page is opened in Chromium, whose own start is included.
"""


def measure(sizes: list[int], say=lambda text: None) -> list[dict]:
    """Measure a night with each number of users. Takes the lab down.

    Chromium is installed if it is missing.

    → [{"users", "adding", "seconds", "commands", "memory", "load", "bytes", "files"}], see
    _night(). Raises errors.CutoverError if a run does not pass.
    """
    if requirements.program("chromium", "chromium") is None:
        raise errors.Missing("the bench opens pages in Chromium: apt-get install chromium")
    try:
        return [_night(users, say) for users in sizes]
    finally:
        control.down()


def _night(users, say):
    """seconds: by step, of ROLLBACK, RECORD, REPORT, PAGE and WHOLE. commands: by step.
    memory: MiB of each process when all had most at once, by call. bytes: by what the run's folder
    holds. files: in it."""
    say(f"{users} users: preparing a lab …")
    control.up(fresh=True, seed=True)
    began = time.monotonic()
    crowd.add(max(0, users - len(topology.USERS)))
    adding = time.monotonic() - began
    for name in topology.HOSTS:
        inside.run(name, ["sh", "-c", VERBOSE])
    with tempfile.TemporaryDirectory() as place:
        parameters = _parameters(Path(place))
        run, memory = run_folder.begin(parameters, Path(place) / "night"), {}
        for call in CALLS:
            say(f"{users} users: cutover run {' '.join(call)} …")
            memory["run " + " ".join(call)] = _cutover(
                "run", "--site", parameters.reference, "--run", run.path, *call
            )
        attempts = _attempts(run.journal.events())
        seconds = {name: ended - began for name, began, ended in attempts}
        commands = _commands(attempts)
        say(f"{users} users: rollback's plan, the record, the report …")
        seconds[ROLLBACK], commands[ROLLBACK] = _rollback_plan(parameters, run)
        for what, argv in (
            (RECORD, ("record", "verify", run.path)),
            (REPORT, ("status", "--report", "--run", run.path)),
        ):
            took = timing.timed([sys.executable, "-m", "cutover", *argv], sync=False)
            seconds[what], memory[what] = took["seconds"], [took["memory"] / 1024]
        pages = sorted((run.path / "html").glob("*.html"), key=lambda page: page.stat().st_size)
        seconds[PAGE], seconds[WHOLE] = _opened(pages[-1]), _opened(run.path / html_page.NAME)
        return {
            "users": users,
            "adding": adding,
            "seconds": seconds,
            "commands": commands,
            "memory": memory,
            "load": os.getloadavg()[2],
            **_sizes(run.path),
        }


def _parameters(place):
    """The lab's, for an outage of any length in which all contents are read."""
    text = (site.PROJECT / "parameters/lab.yaml").read_text()
    text = re.sub(r"\b((?:reading|delivery|content)_minutes): \d+", rf"\1: {MINUTES}", text)
    path = place / "lab.yaml"
    path.write_text(text)
    return site.load(path)


def _cutover(*argv):
    """Run it to its end. → MiB of it and its children, when all had most at once"""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "cutover", *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        most = []
        while process.poll() is None:
            most = max(most, _memory(process.pid), key=sum)
            time.sleep(0.3)
        output.seek(0)
        if process.returncode:
            raise errors.CutoverError(f"cutover {argv[0]} did not pass: {output.read()[-2000:]}")
    return most


def _memory(top):
    """MiB of a process and all below it, the largest first; what they share counts once."""
    parents, sizes = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(place.name)] = int(
                (place / "stat").read_text().rpartition(")")[2].split()[1]
            )
        except (OSError, ValueError):
            continue  # ended meanwhile
    own = {top}
    for _ in range(8):  # levels of processes
        own |= {pid for pid, parent in parents.items() if parent in own}
    for pid in own:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().split("\n")
        except OSError:
            continue
        sizes[pid] = sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return sorted((size / 1024 for size in sizes.values()), reverse=True)


def _opened(page):
    """Seconds until Chromium has started and shows a page; the least of three."""
    with tempfile.TemporaryDirectory() as profile:
        options = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}")
        argv = [shutil.which("chromium"), *options, "--dump-dom", page.as_uri()]
        return min(timing.timed(argv, sync=False)["seconds"] for _ in range(3))


def _attempts(events):
    """[(step, when it began, when it was verified)]; what is repeated is called "… again"."""
    listed = []
    for event in events:
        if event["event"] == "step-begun":
            again = any(name == event["step"] for name, _, _ in listed)
            listed.append([event["step"] + (" again" if again else ""), history.at(event), None])
        elif event["event"] == "verified":
            listed[-1][2] = history.at(event)
    return listed


def _commands(attempts):
    """Commands begun over ssh on all hosts, by attempt."""
    times = sorted(when for name in topology.HOSTS for when in _starts(name))
    return {
        name: sum(began <= when <= ended + 0.5 for when in times) for name, began, ended in attempts
    }


def _starts(name):
    argv = ["journalctl", "-q", "-o", "short-unix", "--grep", STARTED]
    done = inside.run(name, argv, check=False, timeout=300)
    return [float(line.split()[0]) for line in done.stdout.split("\n") if STARTED in line]


def _rollback_plan(parameters, run):
    """(seconds, commands) of a rollback's probe and plan."""
    before = sum(len(_starts(name)) for name in topology.HOSTS)
    began = time.monotonic()
    stepper = engine.Engine(parameters, "rollback", "plan", run)
    try:
        stepper.probe()
        stepper.plan()
    finally:
        stepper.close()
    seconds = time.monotonic() - began
    return seconds, sum(len(_starts(name)) for name in topology.HOSTS) - before


def _sizes(place):
    """{"bytes": {what: number}, "files": number}"""
    files = {path: path.stat().st_size for path in place.rglob("*") if path.is_file()}

    def largest(pattern):
        return max((size for path, size in files.items() if path.match(pattern)), default=0)

    def whole(folder):
        return sum(size for path, size in files.items() if folder in path.parent.parts)

    return {
        "files": len(files),
        "bytes": {
            "journal.jsonl": largest("journal.jsonl"),
            "blobs/": whole("blobs"),
            "facts/": whole("facts"),
            "plans/": whole("plans"),
            "transcripts/": whole("transcripts"),
            "users/": whole("users"),
            "record.json": largest("record.json"),
            "largest executed notebook": largest("*.ipynb"),
            "largest notebook's page": largest("html/*.html"),
            "report.html": largest("report.html"),
        },
    }


def text(nights: list[dict]) -> str:
    """A table in Markdown, one column per number of users."""
    load = ", ".join(f"{night['load']:.1f}" for night in nights)
    lines = [
        f"Ten folders of {crowd.MESSAGES} messages for each added user; {os.cpu_count()} "
        f"processors, Python {platform.python_version()}; load during each night: {load}.",
        "",
        "| users | " + " | ".join(f"{night['users']:,}" for night in nights) + " |",
        "|---|" + "---|" * len(nights),
    ]

    def row(title, value):
        lines.append(f"| {title} | " + " | ".join(value(night) for night in nights) + " |")

    for name in (*SHOWN, RECORD, REPORT, PAGE, WHOLE):
        row(f"{name}, seconds", lambda night, name=name: f"{night['seconds'][name]:.1f}")
    for name in SHOWN:
        row(f"{name}, ssh commands", lambda night, name=name: f"{night['commands'][name]:,}")
    for name in nights[0]["bytes"]:
        row(f"{name}, MB", lambda night, name=name: f"{night['bytes'][name] / 1e6:.2f}")
    row("files in the run's folder", lambda night: f"{night['files']:,}")
    most = {night["users"]: max(night["memory"].values(), key=sum) for night in nights}
    row("control host, most MB at once", lambda night: f"{sum(most[night['users']]):.0f}")
    row("of it the largest of its processes", lambda night: f"{most[night['users']][0]:.0f}")
    row("so many processes then", lambda night: f"{len(most[night['users']])}")
    return "\n".join(lines)


def document(nights: list[dict]) -> str:
    """docs/bench-users.md."""
    return f"{_HEAD}\n{datetime.date.today().isoformat()}:\n\n{text(nights)}\n"
