"""Changes to the zone: RFC 2136 updates."""

import dataclasses
import time
from typing import ClassVar

from cutover import model
from cutover.connect import dns


@dataclasses.dataclass(frozen=True)
class DnsUpdate(model.Change):
    """One RFC 2136 message with prerequisites, so that it applies whole or not at all, and only once."""

    kind: ClassVar[str] = "dns-update"
    server: str
    seen_by: list  # every authoritative server; apply waits until each serves the new serial
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
        return "one DNS update: " + "; ".join(
            f"{name} {kind} {value}" for name, _, kind, value in adds
        )

    def describe(self):
        return dns.Update.from_json(self.forward).text().rstrip()

    def settled(self, ctx):
        server = ctx.hosts.dns(self.server)
        update = dns.Update.from_json(self.forward)
        seen = []
        for name, ttl, kind, value in update.adds:
            rrset = server.lookup(name, kind)
            if rrset is None or value not in rrset.values:
                return model.Settled(False, f"{name} has no {kind} {value}")
            seen.append(f"{name} {ttl} {kind} {value}")
        for name, kind in update.deletes:
            kept = {added[2] for added in update.adds if added[0] == name}
            rest = (
                set(server.all_types(name))
                if kind == "ANY"
                else ({kind} if server.lookup(name, kind) else set())
            )
            if rest - kept:
                return model.Settled(False, f"{name} still has {', '.join(sorted(rest - kept))}")
        return model.Settled(True, "; ".join(seen) or "the records are gone")

    def apply(self, ctx, report):
        update = dns.Update.from_json(self.forward)
        primary = ctx.hosts.dns(self.server)
        primary.update(update, ctx.hosts.dns_key())
        serial = primary.serial(update.zone)
        deadline = time.monotonic() + self.wait
        behind = dict.fromkeys(self.seen_by)
        while behind:
            behind = {
                name: said
                for name in behind
                if (said := _lags(ctx.hosts.dns(name), update.zone, serial))
            }
            if behind and time.monotonic() > deadline:
                raise model.ChangeFailed(
                    f"{self.server} took the update (serial {serial}), but not every server has it after {self.wait} s. "
                    + "; ".join(behind.values())
                    + ". Look at NOTIFY and transfers there; once it serves the new zone, run "
                    "this step again."
                )
            if behind:
                time.sleep(0.2)
        return f"serial {serial} on {', '.join(self.seen_by)}"

    def inverse(self):
        return dataclasses.replace(self, forward=self.backward, backward=self.forward)


def _lags(server, zone, serial) -> str:
    """What is wrong with a server that does not serve this serial yet; empty when it does."""
    try:
        have = server.serial(zone)
    except dns.DnsError as error:
        return str(
            error
        )  # the update is done all the same: a server that is silent is one that lags
    return (
        f"{server.name} still serves the older zone {have}" if not dns.reached(have, serial) else ""
    )
