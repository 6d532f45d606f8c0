"""How conversion scales to several hosts on one store.

Times are of the converter on this machine, for small stores made for it, in memory. What is to be
compared is measured in pairs, one right after the other. With the costs, schedules of large sites
are simulated (schedules.py).
"""

import compileall
import dataclasses
import json
import os
import pathlib
import platform
import shutil
import statistics
import sys
import tempfile
import zipfile

from mbx2maildir.convert import ranges

from cutover.bench import schedules, timing
from cutover.remote import ship, units

FOLDERS, MESSAGES, SMALL = 10, 4, 1000  # of a small user; bytes of a message
LARGE = 64 << 20  # bytes of the large user
LINE = b" 3-Feb-2009 01:02:03 +0100,%d;000000000011-%08x\r\n"
PORTS = (18786, 18799)
WORKERS = (1, 2, 4)  # of one core each
PART = 4  # they convert one of so many users
LARGEST_WHOLE = 2 * ranges.PART_BYTES >> 20
PAIR = ("host", "dask")  # measured in each run; the others in every second one

_HEAD = f"""# Conversion on several hosts of one store

`cutover bench scale --write docs/scale.md` makes this page. It measures what the
converter costs on this machine, in memory, and simulates schedules for sites of up to 50,000 users
with it. **Only the ratios carry over** to other machines. The default is one host and no Dask;
site.md says how several convert.

- Several hosts convert in units of users (`remote/units.py`): largest users first, small ones
  together. Each unit is one process of the converter, and each user in it is claimed
  (`mbx2maildir/publish/claims.py`).
- Ways to convert are compared in pairs, one right after the other, in changing order. The tables
  have the median of the pairs' ratios, and the lowest and the highest: where these are further
  apart than what is to be seen, the machine was not quiet.
- "A step" is the converter with what starts it, takes its events and waits for its end, as presync
  and convert do it; the table has all of that on this machine.
- Claims, further processes and Dask cost most for users as small as these. A user with 100 MB costs
  about a hundred times as much, and the rest the same.
- The simulated hosts have {schedules.CORES} cores. Users' mail is lognormal (median
  {schedules.MEDIAN / 1e6:.0f} MB, sigma {schedules.SIGMA}): an assumption. `--survey FILE` takes a
  site's own sizes, the answer of the converter's `survey --json`.
- A schedule's length is given as a multiple of the bound: all work on all cores without a gap, or
  the largest user on all cores of one host, whichever is longer. No schedule is shorter.
- "estimates off": users cost half to twice what their size says. "one host slow": half as fast as
  the others. "one host lost": halfway, and another host repeats its unit. In these two cases the
  bound has half a host less.

"""
_TAIL = f"""
## What limits it

- **The storage.** The simulation counts processors only. All hosts read the old store and write the
  new one: when these are busy, more hosts do not help. Compare the site's MB/s with the table.
- **The largest user.** One host converts a user, on all its cores, so no schedule is shorter than
  the column "largest user". More hosts help until the bound is down to it: hosts × bound / largest
  user is the most that a site can use.
- **The largest folder.** All cores of a host write an MBX folder of {LARGEST_WHOLE} MB or more, in
  ranges. A smaller folder, an mbox file or a damaged folder is written by one core: a large mbox
  file can take longer than all else. The simulation takes every user as divisible.
- Ranges of one folder are not given to other hosts. A claim names the one host that may write a
  user's staged tree; whoever takes a user over would have to stop that host's helpers elsewhere.
  presync does most of such a user before the outage, which pays for what changed since. It would
  shorten no schedule of the table: the largest user takes a seventh of the bound, or less.
- **The number of large units.** With few users per host, the last units do not fill all hosts.
- **A lost host** costs what it had done of its unit. A host that still holds its users' claims, but
  does not answer, costs more: its users start from the beginning, without what presync staged.
- Not measured: several real hosts at once. [Their faults](dask.md) are tested.
"""


@dataclasses.dataclass(frozen=True)
class Ratio:
    """How much more than another way one took, as a part of it: of pairs of runs."""

    median: float
    lowest: float
    highest: float

    def __str__(self):
        return f"{100 * self.median:+.1f} % ({100 * self.lowest:+.1f} to {100 * self.highest:+.1f})"


@dataclasses.dataclass(frozen=True)
class Way:
    """Medians of a way to convert: CPU seconds of all its processes, and seconds by the clock."""

    runs: int
    cpu: float
    seconds: float


def measure(users: int, runs: int, survey=None, say=lambda text: None) -> dict:
    """→ {"users", "load", "ways": {name: Way}, "ratios": {name: Ratio}, "costs", "schedules"}.

    users: number of small users converted. survey: bytes of each user of a site, or None.
    """
    with tempfile.TemporaryDirectory(prefix="cutover-scale-", dir="/dev/shm") as place:
        os.chmod(place, 0o755)
        timed = _timed(pathlib.Path(place), users, runs, say)
    ways = {
        name: Way(
            len(of_run),
            *(statistics.median(run[key] for run in of_run.values()) for key in ("cpu", "seconds")),
        )
        for name, of_run in timed.items()
    }
    empty = ways["nobody"].cpu
    costs = schedules.Costs(
        unit=empty,
        user=(ways["pool"].cpu - empty) / users,
        byte=(ways["large"].cpu - empty) / LARGE,
    )
    say("simulating schedules …")
    return {
        "users": users,
        "load": os.getloadavg()[2],
        "ways": ways,
        "ratios": _ratios(timed, ways),
        "costs": costs,
        "schedules": [
            schedules.schedule(schedules.sizes(number, survey), hosts, schedules.CORES, costs)
            for number, hosts in schedules.SITES
        ],
    }


def _ratios(timed, ways):
    """By what is compared: a Ratio. Claimed units with the bare pool, Dask with one host."""

    def more(way, than, key, less=0.0):
        parts = [
            (run[key] - less) / timed[than][number][key] - 1 for number, run in timed[way].items()
        ]
        return Ratio(statistics.median(parts), min(parts), max(parts))

    started = ways["start 1"].cpu - ways["start host"].cpu
    return {
        "claims": more("claims", "pool", "cpu"),
        "dask": more("dask", "host", "cpu"),
        "dask, without its start": more("dask", "host", "cpu", started),
        "dask, by the clock": more("dask", "host", "seconds"),
    }


def _timed(place, users, runs, say):
    """→ {way: {number of the run: timing.timed()}}"""
    with zipfile.ZipFile(ship.build(place / "store.pyz")) as archive:
        archive.extractall(place / "store")
    compileall.compile_dir(place / "store", quiet=1)
    small = [_user(place, f"u{index}", FOLDERS, MESSAGES) for index in range(users)]
    large = _user(place, "large", 1, LARGE // SMALL)
    part = small[: max(1, users // PART)]
    ways = {
        "nobody": lambda run: _convert(place, run, []),
        "start host": _by_step(place, small[:1], 0, 1),
        "large": lambda run: _convert(place, run, [large]),
        **{f"start {number}": _by_step(place, small[:1], number, 1) for number in WORKERS},
        **{f"workers {number}": _by_step(place, part, number, 1) for number in WORKERS},
        "claims": lambda run: _convert_units(place, run, small),
        "pool": lambda run: _convert(place, run, small),
        "host": _by_step(place, small, 0, os.cpu_count()),
        "dask": _by_step(place, small, 1, os.cpu_count()),
    }
    say("a first conversion by Dask, which puts it in its place …")
    ways[f"start {WORKERS[-1]}"]("first")
    timed = {way: {} for way in ways}
    for number in range(runs):
        chosen = PAIR[::-1] if number % 2 else list(ways)
        for way in chosen:
            say(f"run {number + 1} of {runs}: {way} …")
            run = f"{way}-{number}".replace(" ", "-")
            timed[way][number] = ways[way](run)
            shutil.rmtree(place / run)
    return timed


def _plan(place, run, users):
    new = place / run
    new.mkdir(exist_ok=True)
    users = [{**user, "maildir": f"{new}/{user['user']}"} for user in users]
    plan = {"run": "bench", "work": f"{new}/work", "jobs": os.cpu_count(), "host": "bench"}
    return {**plan, "users": users}


def _units(users, hosts):
    return units.divide(dict.fromkeys((user["user"] for user in users), 0), hosts)


def _by_step(place, users, workers, cores):
    """The conversion as a step makes it, as a function of the run's name, timed. workers: of Dask,
    or 0."""

    def convert(run):
        plan = _plan(place, run, users)
        shutil.copytree(place / "store", f"{plan['work']}/bench/store")
        given = {"units": _units(users, max(1, workers)), "place": f"{place}/dask", "ports": PORTS}
        path = place / run / "given.json"
        path.write_text(json.dumps({**given, "workers": workers, "cores": cores, "plan": plan}))
        return timing.timed([sys.executable, "-m", "cutover.bench.dask_here", path], sync=False)

    return convert


def _convert_units(place, run, users):
    """One conversion in claimed units, one after the other, without Dask."""
    by_name = {user["user"]: user for user in users}
    timed = [
        _convert(place, run, [by_name[name] for name in unit], claims=True)
        for unit in _units(users, 1)
    ]
    return {key: sum(part[key] for part in timed) for key in ("cpu", "seconds")}


def _convert(place, run, users, claims=False):
    """One conversion, timed."""
    plan = {**_plan(place, run, users), "claims": claims}
    path = place / run / "plan.json"
    path.write_text(json.dumps(plan))
    argv = [
        sys.executable,
        "-I",
        "-S",
        place / "store/__main__.py",
        "convert-users",
        "--plan",
        path,
    ]
    return timing.timed([*argv, "--events", place / run / "events"], sync=False)


def _user(place, name, folders, messages):
    """Write a user's old mail. → the plan's entry, without its Maildir"""
    mail = place / "old" / name
    mail.mkdir(parents=True)
    text = b"Subject: message\r\n\r\n".ljust(SMALL - 2, b"x") + b"\r\n"
    for folder in range(folders):
        content = bytearray(b"*mbx*\r\n%08x%08x\r\n" % (1234567890, messages) + b"\r\n" * 30)
        content += b"\0" * (2048 - len(content))
        for uid in range(1, messages + 1):
            content += LINE % (len(text), uid) + text
        (mail / f"folder{folder}").write_bytes(content)
    owner = {"uid": os.getuid(), "gid": os.getgid()}
    return {"user": name, **owner, "inbox": [f"{mail}/none"], "folders": str(mail)}


def text(values: dict) -> str:
    """The tables, for the terminal and the page."""
    costs, ways, ratios = values["costs"], values["ways"], values["ratios"]
    cores, users = os.cpu_count(), values["users"]
    lines = [
        f"{cores} processors, Python {platform.python_version()}; load at the end: "
        f"{values['load']:.1f}; {users} small users, {ways['dask'].runs} pairs.",
        "",
        "| cost | CPU |",
        "|---|---|",
        f"| a unit without users | {costs.unit * 1000:.0f} ms |",
        f"| a user with {FOLDERS} folders of {MESSAGES} messages | {costs.user * 1000:.1f} ms |",
        f"| a MB in messages of {SMALL} bytes | {costs.byte * 1e9:.1f} ms |",
        "",
        f"| {users} small users, {cores} processes | CPU, s | more than the row above | clock, s |",
        "|---|---|---|---|",
        _row("the converter alone", ways["pool"], ""),
        _row("the converter alone, in claimed units", ways["claims"], ratios["claims"]),
        _row("a step, one host", ways["host"], ""),
        _row("a step, Dask with one worker", ways["dask"], ratios["dask"]),
        f"| without Dask's start and end | | {ratios['dask, without its start']} | |",
        f"| by the clock | | {ratios['dask, by the clock']} | |",
        "",
        f"| {max(1, users // PART)} of them, workers of one core | CPU, s | of it start and end "
        "| clock, s | start and end, s | the rest, times as fast as one |",
        "|---|---|---|---|---|---|",
        *(_workers(ways, number) for number in WORKERS),
        "",
        f"This machine has {cores} processors: more workers show only what they cost.",
        "",
        "| users | hosts | units | bound, s | largest user, s | "
        + " | ".join(schedules.CASES)
        + " |",
        "|---|---|---|---|---|" + "---|" * len(schedules.CASES),
    ]
    lines += [
        f"| {entry.users:,} | {entry.hosts} | {entry.units} | "
        f"{entry.bounds[schedules.CASES[0]]:,.0f} | {entry.largest:,.0f} | "
        + " | ".join(f"{entry.ratio(case):.3f}" for case in schedules.CASES)
        + " |"
        for entry in values["schedules"]
    ]
    return "\n".join(lines)


def _row(name, way, ratio):
    return f"| {name} | {way.cpu:.1f} | {ratio} | {way.seconds:.1f} |"


def _workers(ways, number):
    way, alone = ways[f"workers {number}"], ways["workers 1"]
    start, of_one = (ways[f"start {workers}"] for workers in (number, 1))
    faster = (alone.seconds - of_one.seconds) / (way.seconds - start.seconds)
    return (
        f"| {number} | {way.cpu:.1f} | {start.cpu:.1f} | {way.seconds:.1f} | {start.seconds:.1f} | "
        f"{faster:.2f} |"
    )


def as_json(values: dict) -> dict:
    return {
        **{key: values[key] for key in ("users", "load")},
        **{
            key: {name: dataclasses.asdict(value) for name, value in values[key].items()}
            for key in ("ways", "ratios")
        },
        "costs": dataclasses.asdict(values["costs"]),
        "schedules": [dataclasses.asdict(entry) for entry in values["schedules"]],
    }


def document(values: dict) -> str:
    """docs/scale.md."""
    return _HEAD + text(values) + "\n" + _TAIL
