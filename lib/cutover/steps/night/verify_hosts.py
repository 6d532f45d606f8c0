"""Which hosts read the new side for verify: the new host, and its workers with the same Dovecot.

A user is read by one host at a time, because Dovecot writes its indexes next to the mail. A worker
only saves the new host work: what it cannot read, or shows different from the old side, the new
host reads again, and that counts.
"""

import collections
import concurrent.futures
import dataclasses
import heapq
import threading
from collections.abc import Callable, Mapping
from typing import TypeVar

from cutover import model
from cutover.facts import convert_workers, dovecot_programs
from cutover.steps.checks import worker_checks

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class HostsRead:
    """users: how many each host read, by name. without: why a worker read none, or no more.

    again: users whom the new host read after a worker.
    """

    users: dict[str, int] = dataclasses.field(default_factory=dict)
    without: dict[str, str] = dataclasses.field(default_factory=dict)
    again: list[str] = dataclasses.field(default_factory=list)


def usable(hosts, run: str) -> tuple[list[str], dict[str, str]]:
    """(the hosts that can read the new side, why each other worker cannot)."""
    new, *others = convert_workers.of_site(hosts)
    if not others:
        return [new], {}
    folder = f"{hosts.site.new_store.work}/{run}"
    readings = hosts.each(
        [new, *others], lambda name: model.read(convert_workers.read, hosts, name, folder)
    )
    without = {
        name: why
        for name in others
        if (why := worker_checks.cannot_read(readings[name], readings[new], folder, hosts.site))
    }
    return [new, *(name for name in others if name not in without)], without


def assigned(sizes: Mapping[str, int], names: list[str]) -> dict[str, str]:
    """The host that reads each user, the largest first: each the host with the least so far."""
    least = [(0, number) for number in range(len(names))]
    by_user = {}
    for user in sorted(sizes, key=lambda user: (-sizes[user], user)):
        size, number = least[0]
        by_user[user] = names[number]
        heapq.heapreplace(least, (size + sizes[user] + 1, number))
    return by_user


class Spread:
    """Reads users on the hosts that can, from several threads. sizes: bytes of each user. run: the
    name of the run that published their mail."""

    def __init__(self, hosts, run: str, sizes: Mapping[str, int]):
        self._hosts, self.new = hosts, hosts.site.roles.new
        names, self.without = usable(hosts, run)
        self.host_of = assigned(sizes, names)
        self.users, self.again, self._lock = collections.Counter(), [], threading.Lock()

    def read_all(
        self, read: Callable[[str, str], T], is_equal: Callable[[str, T], bool]
    ) -> dict[str, model.Reading[T]]:
        """Each user, as by read(): the largest first, for which all the others would wait."""
        with (
            dovecot_programs.read_once(
                self._hosts, list(dict.fromkeys([self.new, *self.host_of.values()]))
            ),
            concurrent.futures.ThreadPoolExecutor(self._hosts.site.verify.parallel) as pool,
        ):
            readings = pool.map(
                lambda user: model.read(self.read, user, read, lambda value: is_equal(user, value)),
                self.host_of,
            )
            return dict(zip(self.host_of, readings, strict=True))

    def read(self, user: str, read: Callable[[str, str], T], is_equal: Callable[[T], bool]) -> T:
        """read(user, host) by the user's host; by the new host, if that gives nothing equal."""
        host, failure = self.host_of[user], ""
        if host != self.new and host not in self.without:
            reading = model.read(read, user, host)
            if reading.ok and is_equal(reading.value):
                return self._count(user, host, reading.value)
            failure = reading.error
            self.again.append(user)
        value = read(user, self.new)
        # what fails on the new host too is not the worker's fault
        if failure:
            self.without[host] = failure
        return self._count(user, self.new, value)

    def _count(self, user, host, value):
        with self._lock:
            self.users[host] += 1
        return value

    def facts(self) -> HostsRead:
        return HostsRead(dict(self.users), dict(self.without), sorted(self.again))


def check(read: HostsRead) -> model.Check:
    """How many users each host read, and which worker did not take part."""
    counts = [f"{name}: {number} users" for name, number in sorted(read.users.items())]
    counts += [f"not {name}: {why}" for name, why in sorted(read.without.items())]
    if read.again:
        counts.append(f"read again on the new server: {', '.join(read.again[:10])}")
    return model.Check(
        "Which hosts read the new mail?",
        "the new server and the workers",
        "; ".join(counts),
        True,
        "nothing is missing: the new server read what a worker could not, or showed different",
        warning=bool(read.without or read.again),
        id="verify-hosts",
        data={
            "users": read.users,
            "without": sorted(read.without),
            "again": len(read.again),
        },
    )
