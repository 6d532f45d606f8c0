"""RFC 2136 updates."""

from dataclasses import asdict, dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update

from cutover.connect.dns.errors import BadUpdate
from cutover.connect.dns.names import _rdata, full


@dataclass
class Update:
    """One RFC 2136 message. Deletions are done before additions.

    prerequisites: ("exists", name, type, values or None) | ("absent", name, type) | ("unused",
    name) deletes: (name, type or "ANY"); adds: (name, ttl, type, value). "exists" with values: the
    RRset is exactly these (TTL aside). "unused": no record of any type at the name.
    """

    zone: str
    prerequisites: list[tuple] = field(default_factory=list)
    deletes: list[tuple] = field(default_factory=list)
    adds: list[tuple] = field(default_factory=list)

    def to_json(self) -> dict:
        """As a dict of lists and strings, for the journal."""
        plain = asdict(self)
        return {
            key: [list(item) for item in plain[key]] if key != "zone" else plain[key]
            for key in plain
        }

    @classmethod
    def from_json(cls, data: dict) -> "Update":
        """The inverse of to_json, also after a way through JSON text."""
        lists = {
            key: [
                tuple(tuple(part) if isinstance(part, list) else part for part in item)
                for item in data[key]
            ]
            for key in ("prerequisites", "deletes", "adds")
        }
        return cls(zone=data["zone"], **lists)

    def text(self) -> str:
        """What nsupdate(1) would be fed to send the same message (server and key aside).

        BadUpdate as message().
        """
        self.message()
        lines = [f"zone {full(self.zone)}"]
        for kind, name, *rest in self.prerequisites:
            if kind == "unused":
                lines.append(f"prereq nxdomain {full(name)}")
            elif kind == "absent":
                lines.append(f"prereq nxrrset {full(name)} {rest[0]}")
            elif len(rest) < 2 or rest[1] is None:
                lines.append(f"prereq yxrrset {full(name)} {rest[0]}")
            else:
                lines += [
                    f"prereq yxrrset {full(name)} {rest[0]} {_rdata(rest[0], value)}"
                    for value in rest[1]
                ]
        for name, rdtype in self.deletes:
            lines.append(f"update delete {full(name)}" + ("" if rdtype == "ANY" else f" {rdtype}"))
        for name, ttl, rdtype, value in self.adds:
            lines.append(f"update add {full(name)} {ttl} {rdtype} {_rdata(rdtype, value)}")
        return "\n".join([*lines, "send", ""])

    def message(self) -> dns.update.UpdateMessage:
        """The unsigned DNS message. BadUpdate if it cannot be written."""
        made = dns.update.UpdateMessage(full(self.zone))
        for kind, *item in self.prerequisites:
            with _writing(self.zone, (kind, *item)):
                name = self._inside(item[0])
                if kind == "unused":
                    made.absent(name)
                elif kind == "absent":
                    made.absent(name, item[1])
                elif kind == "exists":
                    values = item[2] if len(item) > 2 else None
                    if values is not None and not values:
                        raise ValueError("an empty RRset cannot exist")
                    for value in values or ():
                        made.present(name, _rdata(item[1], value))
                    if values is None:
                        made.present(name, item[1])
                else:
                    raise ValueError(f"no such prerequisite: {kind}")
        for item in self.deletes:
            with _writing(self.zone, item):
                made.delete(self._inside(item[0]), *([] if item[1] == "ANY" else [item[1]]))
        for item in self.adds:
            with _writing(self.zone, item):
                made.add(self._inside(item[0]), int(item[1]), _rdata(item[2], item[3]))
        return made

    def _inside(self, name: str) -> dns.name.Name:
        absolute = dns.name.from_text(name, dns.name.root)
        if not absolute.is_subdomain(dns.name.from_text(self.zone, dns.name.root)):
            raise ValueError("the name is outside the zone")
        return absolute


class _writing:
    """Turn what dnspython raises while a message is built into BadUpdate, naming the item."""

    def __init__(self, zone, item):
        self.zone, self.item = zone, item

    def __enter__(self):
        return self

    def __exit__(self, _, error, __):
        if isinstance(error, dns.exception.DNSException | ValueError | IndexError):
            raise BadUpdate(
                zone=self.zone, item=" ".join(map(str, self.item)), reason=error
            ) from error
