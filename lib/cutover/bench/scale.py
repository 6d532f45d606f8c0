"""How conversion scales to several hosts on one store.

Costs are CPU seconds of the converter on this machine, for small stores made for it. With them, the
schedule of a large site is simulated part by part, as remote/units.py and the converter's pool
divide the work.
"""

import compileall
import dataclasses
import heapq
import json
import math
import os
import pathlib
import platform
import random
import shutil
import sys
import tempfile
import zipfile

from mbx2maildir.convert import ranges

from cutover.bench import timing
from cutover.remote import ship, units

FOLDERS, MESSAGES, SMALL = 10, 4, 1000  # of a small user; bytes of a message
LARGE = 64 << 20  # bytes of the large user
LINE = b" 3-Feb-2009 01:02:03 +0100,%d;000000000011-%08x\r\n"
SITES = ((1000, 2), (5000, 4), (10_000, 8), (50_000, 16))  # (users, hosts)
CORES = 8
PORTS = (18786, 18799)
MEDIAN, SIGMA = 100e6, 1.7  # bytes of a user's mail, lognormal
CASES = ("as estimated", "estimates off", "one host slow", "one host lost")

_HEAD = f"""# Conversion on several hosts of one store

`cutover bench scale --write docs/scale.md` makes this page. It measures what the converter costs on
this machine, in memory, and simulates schedules for sites of up to 50,000 users with it. **Only the
ratios carry over** to other machines. The default is one host and no Dask; site.md says how several
convert.

- Costs are CPU seconds. Several hosts convert in units of users (`remote/units.py`): largest users
  first, small ones together. Each unit is one process of the converter, and each user in it is
  claimed (`mbx2maildir/publish/claims.py`).
- The simulated hosts have {CORES} cores. Users' mail is lognormal (median {MEDIAN / 1e6:.0f} MB,
  sigma {SIGMA}): an assumption. `--survey FILE` takes a site's own sizes, the answer of the
  converter's `survey --json`.
- Claims and further processes cost most for users as small as these. A user with 100 MB costs
  about a hundred times as much, and its claim the same.
- A schedule's length is given as a multiple of the bound: all work on all cores without a gap, or
  the largest user on all cores of one host, whichever is longer. No schedule is shorter.
- "estimates off": users cost half to twice what their size says. "one host slow": half as fast as
  the others. "one host lost": halfway, and another host repeats its unit. In these two cases the
  bound has half a host less.

"""
_TAIL = """
## What limits it

- **The storage.** The simulation counts processors only. All hosts read the old store and write the
  new one: when these are busy, more hosts do not help. Compare the site's MB/s with the table.
- **The largest user.** One host converts a user, on all its cores.
- **The number of large units.** With few users per host, the last units do not fill all hosts.
- **A lost host** costs what it had done of its unit. A host that still holds its users' claims, but
  does not answer, costs more: its users start from the beginning, without what presync staged.
- Not measured: several real hosts at once. [Their faults](dask.md) are tested.
"""


@dataclasses.dataclass(frozen=True)
class Costs:
    """CPU seconds: of a unit without users, of a small user, of a byte of a large one. extra: what
    a small user costs more in units with claims, as a part of what it costs in one process."""

    unit: float
    user: float
    byte: float
    extra: float


@dataclasses.dataclass(frozen=True)
class Dask:
    """What Dask costs. start: CPU seconds until the first of a user's work, and after the last, of
    scheduler and worker together; seconds: the same by the clock. extra: what a small user costs
    more than in one process of the converter, as a part: claims, units and Dask."""

    start: float
    seconds: float
    extra: float


@dataclasses.dataclass(frozen=True)
class Schedule:
    """seconds: by case of CASES. bounds: the seconds that no schedule can go below."""

    users: int
    hosts: int
    units: int
    bounds: dict[str, float]
    seconds: dict[str, float]

    def ratio(self, case: str) -> float:
        return self.seconds[case] / self.bounds[case]


def measure(users: int, runs: int, survey=None, say=lambda text: None) -> dict:
    """→ {"costs": Costs, "dask": Dask, "schedules": [Schedule], "users", "load"}.

    users: number of small users converted. survey: bytes of each user of a site, or None.
    """
    with tempfile.TemporaryDirectory(prefix="cutover-scale-", dir="/dev/shm") as place:
        os.chmod(place, 0o755)
        costs, dask = _costs(pathlib.Path(place), users, runs, say)
    say("simulating schedules …")
    schedules = [schedule(_sizes(number, survey), hosts, CORES, costs) for number, hosts in SITES]
    load = os.getloadavg()[2]
    return {
        "costs": costs,
        "dask": dask,
        "schedules": schedules,
        "users": users,
        "load": load,
    }


def _sizes(number, survey):
    dice = random.Random(number)
    if survey:
        return {f"u{index}": dice.choice(survey) for index in range(number)}
    return {
        f"u{index}": int(dice.lognormvariate(math.log(MEDIAN), SIGMA)) for index in range(number)
    }


def schedule(sizes: dict[str, int], hosts: int, cores: int, costs: Costs) -> Schedule:
    """Simulate the conversion of users of these sizes, in each case."""
    order = units.divide(sizes, hosts)
    work = sum(sizes.values()) * costs.byte + len(sizes) * costs.user
    largest = max(sizes.values()) * costs.byte + costs.user
    bounds, seconds = {}, {}
    for case in CASES:
        strength = cores * (hosts - (0.5 if case in ("one host slow", "one host lost") else 0))
        halfway = max(work / strength, largest / cores) / 2
        seconds[case], done = _simulate(order, sizes, hosts, cores, costs, case, halfway)
        bounds[case] = max(done / strength, largest / cores)
    return Schedule(len(sizes), hosts, len(order), bounds, seconds)


def _simulate(order, sizes, hosts, cores, costs, case, halfway):
    """→ (seconds until the last unit is done, CPU seconds of all users). A host that is free begins
    the next unit. Halfway, a host may be lost; then its unit is the next to begin."""
    dice, waiting, ends, done = random.Random(1), list(reversed(order)), 0.0, 0.0
    speed = [0.5 if case == "one host slow" and not host else 1.0 for host in range(hosts)]
    free, lost = [(0.0, host) for host in range(hosts)], None
    while waiting or lost:
        began, host = heapq.heappop(free)
        if lost and (began >= halfway or not waiting):
            unit, lost, began = lost, None, max(began, halfway)
        else:
            unit = waiting.pop()
        lanes, before = [began + costs.unit / speed[host]] * cores, done
        for user in unit:
            off = dice.lognormvariate(-0.125, 0.5) if case == "estimates off" else 1.0
            for part in _parts(sizes[user], costs):
                heapq.heapreplace(lanes, lanes[0] + part * off / speed[host])
                done += part * off
        if case == "one host lost" and host == 0 and began < halfway <= max(lanes):
            lost, done = unit, before
        else:
            ends = max(ends, *lanes)
            heapq.heappush(free, (max(lanes), host))
    return ends, done


def _parts(size, costs):
    """CPU seconds of each part into which the converter divides a user."""
    number = max(1, math.ceil(size / ranges.PART_BYTES))
    share = size * costs.byte / number
    return [costs.user + share] + [share] * (number - 1)


def _costs(place, users, runs, say):
    with zipfile.ZipFile(ship.build(place / "store.pyz")) as archive:
        archive.extractall(place / "store")
    compileall.compile_dir(place / "store", quiet=1)
    small = [_user(place, f"u{index}", FOLDERS, MESSAGES) for index in range(users)]
    large = _user(place, "large", 1, LARGE // SMALL)
    of_units = units.divide(dict.fromkeys((user["user"] for user in small), 0), 1)
    by_name = {user["user"]: user for user in small}
    ways = {
        "nobody": [[]],
        "one": [small[:1]],
        "large": [[large]],
        "together": [small],
        "units": [[by_name[name] for name in unit] for unit in of_units],
    }
    by_dask = {"dask one": small[:1], "dask": small}
    say("a first conversion by Dask, which puts it in its place …")
    _convert_by_dask(place, "first", small[:1], of_units)
    cpu, seconds = ({way: [] for way in (*ways, *by_dask)} for _ in range(2))
    for number in range(runs):
        for way, plans in ways.items():
            say(f"run {number + 1} of {runs}: {way} …")
            timed = [_convert(place, f"{way}{number}", part, way == "units") for part in plans]
            cpu[way].append(sum(part["cpu"] for part in timed))
            seconds[way].append(sum(part["seconds"] for part in timed))
        for way, converted in by_dask.items():
            say(f"run {number + 1} of {runs}: {way} …")
            timed = _convert_by_dask(place, f"{way}{number}", converted, of_units)
            cpu[way].append(timed["cpu"])
            seconds[way].append(timed["seconds"])
    cpu, seconds = (
        {way: sorted(values)[len(values) // 2] for way, values in by_way.items()}
        for by_way in (cpu, seconds)
    )
    together, start = cpu["together"] - cpu["nobody"], cpu["dask one"] - cpu["one"]
    return Costs(
        unit=cpu["nobody"],
        user=together / users,
        byte=(cpu["large"] - cpu["nobody"]) / LARGE,
        extra=cpu["units"] / cpu["together"] - 1,
    ), Dask(
        start=start,
        seconds=seconds["dask one"] - seconds["one"],
        extra=(cpu["dask"] - start) / cpu["together"] - 1,
    )


def _plan(place, run, users):
    new = place / run
    new.mkdir(exist_ok=True)
    users = [{**user, "maildir": f"{new}/{user['user']}"} for user in users]
    plan = {"run": "bench", "work": f"{new}/work", "jobs": os.cpu_count(), "host": "bench"}
    return {**plan, "users": users}


def _convert_by_dask(place, run, users, of_units):
    """One conversion by Dask, timed."""
    plan = _plan(place, run, users)
    shutil.copytree(place / "store", f"{plan['work']}/bench/store")
    path = place / f"{run}.json"
    given = {"units": of_units, "place": f"{place}/dask", "ports": PORTS, "plan": plan}
    path.write_text(json.dumps(given))
    return timing.timed([sys.executable, "-m", "cutover.bench.dask_here", path], sync=False)


def _convert(place, run, users, claims):
    """One conversion, timed."""
    path = place / f"{run}.json"
    path.write_text(json.dumps({**_plan(place, run, users), "claims": claims}))
    argv = [
        sys.executable,
        "-I",
        "-S",
        place / "store/__main__.py",
        "convert-users",
        "--plan",
        path,
    ]
    return timing.timed([*argv, "--events", place / f"{run}.events"], sync=False)


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
    costs, dask = values["costs"], values["dask"]
    lines = [
        f"{os.cpu_count()} processors, Python {platform.python_version()}; "
        f"load at the end: {values['load']:.1f}; {values['users']} small users.",
        "",
        "| cost | CPU |",
        "|---|---|",
        f"| a unit without users | {costs.unit * 1000:.0f} ms |",
        f"| a user with {FOLDERS} folders of {MESSAGES} messages | {costs.user * 1000:.1f} ms |",
        f"| a MB in messages of {SMALL} bytes | {costs.byte * 1e9:.1f} ms |",
        f"| small users in claimed units, more than in one process | {100 * costs.extra:.1f} % |",
        f"| the same by Dask, with one worker | {100 * dask.extra:.1f} % |",
        f"| Dask's start and end, here and on one worker | {dask.start * 1000:.0f} ms |",
        "",
        f"By the clock Dask starts and ends in {dask.seconds:.1f} s.",
        "",
        "| users | hosts | units | bound, s | " + " | ".join(CASES) + " |",
        "|---|---|---|---|" + "---|" * len(CASES),
    ]
    lines += [
        f"| {entry.users:,} | {entry.hosts} | {entry.units} | {entry.bounds[CASES[0]]:,.0f} | "
        + " | ".join(f"{entry.ratio(case):.3f}" for case in CASES)
        + " |"
        for entry in values["schedules"]
    ]
    return "\n".join(lines)


def as_json(values: dict) -> dict:
    return {
        "users": values["users"],
        "load": values["load"],
        "costs": dataclasses.asdict(values["costs"]),
        "dask": dataclasses.asdict(values["dask"]),
        "schedules": [dataclasses.asdict(entry) for entry in values["schedules"]],
    }


def document(values: dict) -> str:
    """docs/scale.md."""
    return _HEAD + text(values) + "\n" + _TAIL
