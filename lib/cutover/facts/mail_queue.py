"""Sendmail's queues on a host: what mailq(1) shows."""

import re
import time
from collections.abc import Collection
from dataclasses import dataclass

from cutover import model
from cutover.model import errors, moving

# what a line of Queue.items has up to its sender, which has no brackets if a local program gave it
SENDER = re.compile(r"^.*? \d\d:\d\d (<[^>]*>|\S+)")
# the queue of local submissions first, since its mail moves on to the other; Debian's `mailq` lists
# both as well, by a script that takes three times as long, and others' only the second
LIST = ["sh", "-c", "sendmail -Ac -bp -v; sendmail -bp -v"]
CUT = 78  # characters of an address that sendmail prints
QUOTED = re.compile(r'"[^"]*"')  # a recipient that is a program or has blanks
TOTAL = re.compile(r"\s*Total requests: (\d+)\s*")  # all of a line: senders choose addresses
ID = re.compile(r"^([0-9A-Za-z]{9,}[0-9])[*X-]?\s+(.*)")


@dataclass(frozen=True)
class Queue:
    """Queued mail.

    requests: number of messages.
    items: one line per message: id, size, priority, time, <sender>, recipients, (reasons).
    """

    requests: int = moving()
    items: list[str] = moving()

    def by_id(self) -> dict[str, str]:
        """`{queue id: line}`"""
        return {item.partition(" ")[0]: item for item in self.items}


@dataclass(frozen=True)
class Watched(Queue):
    """A queue, the messages that left it while it was watched, and for how many seconds it was.

    others: messages for none of the domains that were asked about; the other figures leave them
    out.
    """

    gone: int = moving(default=0)
    seconds: float = moving(default=0.0)
    others: int = moving(default=0)

    def __str__(self):
        others = f", and {self.others} for other domains" if self.others else ""
        if not self.gone:
            return f"{self.requests} queued{others}"
        left = time_text(self.requests * self.seconds / self.gone)
        return (
            f"{self.requests} queued, {self.gone} delivered in {self.seconds:.1f} s: empty in "
            f"about {left}{others}"
        )


def time_text(seconds: float) -> str:
    """An estimate in words: seconds, or minutes from two minutes up."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def parse(text: str) -> Queue:
    """What LIST prints, of one queue or several. Raises Unreadable.

    A queue id ends in a digit; a mark after it (`*` in progress, `-` too young, `X` load too high)
    does not belong to it. sendmail cuts addresses at 78 characters (without -v at 38), so a sender
    may end in `…>`.
    """
    lines = model.lines(text)
    totals = [int(total[1]) for total in map(TOTAL.fullmatch, lines) if total]
    if not totals and "is empty" not in text:
        raise errors.Unreadable(f"sendmail -bp gave unexpected output: {text[:200]!r}")
    items, current = [], None
    for line in lines:
        start = ID.match(line)
        stripped = line.strip()
        if TOTAL.fullmatch(line):
            current = None
        elif start:
            rest = start[2].strip()
            cut = "<" in rest and ">" not in rest
            current = [start[1], rest + ("…>" if cut else "")], []
            items.append(current)
        elif (
            current is not None
            and line.startswith((" ", "\t"))
            and not stripped.startswith("(---:")  # it names the controlling user
        ):
            current[stripped.startswith("(")].append(stripped)
    return Queue(sum(totals), [" ".join(head + reasons) for head, reasons in items])


def recipient_domains(item: str) -> set[str]:
    """The domains of a queued message's recipients, from its line in Queue.items.

    Empty when one of them is unknown: sendmail cut the address, or it is a user, a file or a
    program of the host itself.
    """
    item = SENDER.sub("", item, count=1)
    item = re.sub(r"\(.*\)", "", item)  # the reason
    recipients = QUOTED.sub("local", item).split()
    if any(len(word) >= CUT or "@" not in word for word in recipients):
        return set()
    domains = re.findall(r"[^\s<>]@([^\s<>]+)", " ".join(recipients))
    return {domain.rstrip(".").lower() for domain in domains}


def is_for(item: str, domains: Collection[str]) -> bool:
    """Whether a queued message waits for one of these domains, or it is unknown for which.

    Without domains every message does.
    """
    recipients = recipient_domains(item)
    return not domains or not recipients or not recipients.isdisjoint(domains)


def read(hosts, name: str) -> Queue:
    """Sendmail's queues on a host. Raises Unreadable."""
    return parse(hosts.run(name, LIST, sudo=True, check=False).text)


def read_for(hosts, name: str, domains: Collection[str]) -> Watched:
    """The messages in a host's queue for these domains, and a count of the others.

    Mail for other domains stays for days when their servers do not answer, as users' forwarding
    and replies leave it on any mail host. Raises Unreadable.
    """
    ours, others = _split(read(hosts, name), domains)
    return Watched(len(ours), list(ours.values()), others=others)


def waiting(hosts, name: str, domains: Collection[str] = (), patience: float = 15.0) -> Watched:
    """The messages that are queued on a host now and still are after `patience` seconds.

    domains: only mail for these is waited for; without any, all mail.
    A busy MX always has some message queued for a moment; what stays is what matters. An empty
    queue returns at once. A message without a reason is being delivered: it gets four times the
    patience.
    """
    first, others = _split(read(hosts, name), domains)
    left = first
    began = time.monotonic()
    while left:
        reasons = any("(" in item for item in left.values())
        if time.monotonic() - began > (patience if reasons else 4 * patience):
            break
        time.sleep(0.5)
        left = _still(hosts, name, first, domains)
    return Watched(len(left), list(left.values()), others=others)


def _split(queue, domains):
    """(the messages for these domains by id, how many others there are)"""
    everything = queue.by_id()
    ours = {key: item for key, item in everything.items() if is_for(item, domains)}
    return ours, len(everything) - len(ours)


def _still(hosts, name, keys, domains):
    """Those of some messages that are still queued for these domains, by id.

    A message to several recipients may have reached ours, and go on waiting for others.
    sendmail replaces a queue file after each try, and a listing may miss it just then: two must
    agree that none is left.
    """
    left = {}
    for _ in range(2):
        now, _ = _split(read(hosts, name), domains)
        left = {key: now[key] for key in keys if key in now}
        if left:
            break
    return left


def watched(
    hosts,
    name: str,
    domains: Collection[str] = (),
    least: float = 0.5,
    patience: float = 15.0,
) -> Watched:
    """A queue that was watched while it falls, at least for `least` seconds.

    domains: only mail for these is watched; without any, all mail.
    It returns at once when the queue is empty, and after `patience` seconds when nothing leaves it.
    """

    first, others = _split(read(hosts, name), domains)
    now = first
    began = time.monotonic()
    while True:
        seconds = time.monotonic() - began
        gone = len(first.keys() - now.keys())
        if not now or seconds > (least if gone else patience):
            return Watched(len(now), list(now.values()), gone, round(seconds, 1), others)
        time.sleep(0.5)
        now, others = _split(read(hosts, name), domains)
