"""Changes to the zone: RFC 2136 updates."""

import dataclasses
import time
from typing import ClassVar

from cutover import model
from cutover.changes.mail import DrainQueue
from cutover.connect import dns


@dataclasses.dataclass(frozen=True)
class DnsUpdate(model.Change):
    """One RFC 2136 message with prerequisites: it applies completely or not at all, and once.

    Figures: serial.
    """

    kind: ClassVar[str] = "dns-update"
    server: str
    seen_by: list  # every authoritative server; apply waits until all serve the new serial
    forward: dict  # dns.Update as JSON
    backward: dict
    wait: int  # seconds

    @property
    def target(self):
        return self.server

    @property
    def resource(self):
        return f"zone {self.forward['zone']}"

    def title(self):
        adds = dns.Update.from_json(self.forward).adds
        records = (f"{name} {kind} {value}" for name, _, kind, value in adds)
        return f"one DNS update: {'; '.join(records)}"

    def describe(self):
        return dns.Update.from_json(self.forward).text().rstrip()

    def settled(self, ctx):
        server = ctx.hosts.dns(self.server)
        update = dns.Update.from_json(self.forward)
        present = []
        for name, ttl, kind, value in update.adds:
            rrset = server.lookup(name, kind)
            if rrset is None or value not in rrset.values:
                return model.Settled(False, f"{name} has no {kind} {value}")
            present.append(f"{name} {ttl} {kind} {value}")
        for name, kind in update.deletes:
            added = {row[2] for row in update.adds if row[0] == name}
            left = _kinds(server, name, kind) - added
            if left:
                return model.Settled(False, f"{name} still has {', '.join(sorted(left))}")
        return model.Settled(True, "; ".join(present) or "the records are gone")

    def apply(self, ctx, report) -> model.Result:
        update = dns.Update.from_json(self.forward)
        primary = ctx.hosts.dns(self.server)
        primary.update(update, ctx.hosts.dns_key())
        serial = primary.serial(update.zone)
        deadline = time.monotonic() + self.wait
        while True:
            lags = (_lag(ctx.hosts.dns(name), update.zone, serial) for name in self.seen_by)
            behind = [lag for lag in lags if lag]
            if not behind:
                text = f"serial {serial} on {', '.join(self.seen_by)}"
                return model.Result(text, {"serial": serial})
            if time.monotonic() > deadline:
                raise model.ChangeFailed(
                    f"{self.server} made the update (serial {serial}), but after {self.wait} s not "
                    f"every server has it: {'; '.join(behind)}. Check NOTIFY and transfers there. "
                    "Once it serves the new zone, run this step again."
                )
            time.sleep(0.2)

    def inverse(self):
        return dataclasses.replace(self, forward=self.backward, backward=self.forward)


@dataclasses.dataclass(frozen=True)
class RenameBack(model.Change):
    """Undo the update that gave the old server a name of its own; the name goes last.

    sendmail puts the name that an alias leads to into an address (RFC 5321, 5.1), and looks that
    name up again to deliver. Mail accepted just before the name went would be returned to its
    sender. So a first update takes the alias back. Once the alias's TTL is over and the MX have
    delivered what they hold, a second one removes the name. Figures: serial, queued, delivered.
    """

    kind: ClassVar[str] = "rename-back"
    server: str
    seen_by: list  # every authoritative server
    forward: dict  # the whole way back: dns.Update as JSON
    backward: dict
    wait: int  # seconds until every server serves an update
    name: str  # the old server's name
    mx: list
    drain: int  # seconds
    only: list = dataclasses.field(default_factory=list)  # domains; mail for others may stay

    @property
    def target(self):
        return self.server

    @property
    def resource(self):
        return self._update(self.forward).resource

    def title(self):
        return f"two DNS updates: the alias goes back, then the name {self.name} goes"

    def describe(self):
        alias, name = (part.describe() for part in self._parts())
        return f"{alias}\n\n{self._ttl()} s later: {self._queue().describe()}\n\n{name}"

    def settled(self, ctx):
        return self._update(self.forward).settled(ctx)

    def apply(self, ctx, report) -> model.Result:
        alias, name = self._parts()
        if not alias.settled(ctx).done:
            alias.apply(ctx, report)
        time.sleep(self._ttl())
        drained = self._queue().apply(ctx, report)
        gone = name.apply(ctx, report)
        return model.Result(f"{drained.text}; {gone.text}", drained.figures | gone.figures)

    def inverse(self):
        return self._update(self.forward).inverse()

    def _parts(self):
        """The update of the alias, and that of the name."""
        whole = dns.Update.from_json(self.forward)
        names = {name for name, _ in whole.deletes} - {self.name}
        alias = dns.Update(
            whole.zone,
            whole.prerequisites,
            [row for row in whole.deletes if row[0] in names],
            [row for row in whole.adds if row[0] in names],
        )
        values = {}
        for name, _, kind, value in alias.adds:
            values.setdefault((name, kind), []).append(value)
        before = [("exists", *key, listed) for key, listed in values.items()]
        before += [row for row in whole.prerequisites if row[1] == self.name]
        name = dns.Update(
            whole.zone,
            before,
            [row for row in whole.deletes if row[0] == self.name],
            [row for row in whole.adds if row[0] == self.name],
        )
        return self._update(alias.to_json()), self._update(name.to_json())

    def _update(self, forward):
        return DnsUpdate(self.server, self.seen_by, forward, self.backward, self.wait)

    def _queue(self):
        return DrainQueue(self.mx, self.drain, only=self.only)

    def _ttl(self):
        """Seconds for which a resolver may still hold the alias."""
        return max(ttl for _, ttl, *_ in dns.Update.from_json(self.backward).adds)


def _kinds(server, name, kind):
    """The types of records a name has, of one kind or of "ANY"."""
    if kind == "ANY":
        return set(server.all_types(name))
    return {kind} if server.lookup(name, kind) else set()


def _lag(server, zone, serial):
    """Why a server does not serve this serial yet, "" when it does."""
    try:
        current = server.serial(zone)
    except dns.DnsError as error:
        return str(error)  # the update is done: a server that does not answer only lags
    if dns.reached(current, serial):
        return ""
    return f"{server.name} still serves the older zone {current}"
