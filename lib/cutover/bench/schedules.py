"""Schedules of large sites, converted by several hosts of one store.

Simulated part by part with measured costs, as remote/units.py and the converter's pool divide the
work.
"""

import dataclasses
import heapq
import math
import random

from mbx2maildir.convert import ranges

from cutover.remote import units

SITES = ((1000, 2), (5000, 4), (10_000, 8), (50_000, 16))  # (users, hosts)
CORES = 8
MEDIAN, SIGMA = 100e6, 1.7  # bytes of a user's mail, lognormal
CASES = ("as estimated", "estimates off", "one host slow", "one host lost")


@dataclasses.dataclass(frozen=True)
class Costs:
    """CPU seconds: of a unit without users, of a small user, of a byte of a large one."""

    unit: float
    user: float
    byte: float


@dataclasses.dataclass(frozen=True)
class Schedule:
    """seconds: by case of CASES. bounds: the seconds that no schedule can go below. largest: what
    the largest user takes on all cores of one host."""

    users: int
    hosts: int
    units: int
    largest: float
    bounds: dict[str, float]
    seconds: dict[str, float]

    def ratio(self, case: str) -> float:
        return self.seconds[case] / self.bounds[case]


def sizes(number: int, survey=None) -> dict[str, int]:
    """Bytes of each of so many users. survey: bytes of each user of a site, to choose from."""
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
    return Schedule(len(sizes), hosts, len(order), largest / cores, bounds, seconds)


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
