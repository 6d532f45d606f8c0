"""Names and records as text."""

from dataclasses import dataclass

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

# What may stand at a host name (RFC 1035, 2782, 3596, 4255, 6698, 8659); `all_types` adds whatever
# else ANY shows.
TYPES = ("A", "AAAA", "CNAME", "MX", "TXT", "SRV", "SSHFP", "TLSA", "CAA", "HINFO")

SIGNED_BY_SERVER = {"RRSIG", "NSEC", "NSEC3"}  # made by the server itself; never ours to move


@dataclass(frozen=True)
class RRset:
    """The records of one type at one name.

    `name` ends with a dot, `ttl` is in seconds, `values` are sorted.
    """

    name: str
    ttl: int
    type: str
    values: tuple[str, ...]


def full(name: str) -> str:
    """The name in lower case with its final dot, the form in which names are compared."""
    return dns.name.from_text(name, dns.name.root).canonicalize().to_text()


def _rdata(rdtype: str, value: str) -> dns.rdata.Rdata:
    return dns.rdata.from_text("IN", rdtype, value, dns.name.root, relativize=False)


def _rrset(answer: dns.message.Message, name: str, rdtype: str) -> RRset | None:
    rrset = answer.get_rrset(
        answer.answer, dns.name.from_text(full(name)), dns.rdataclass.IN, rdtype
    )
    if rrset is None:
        return None
    return RRset(full(name), rrset.ttl, rdtype, tuple(sorted(rdata.to_text() for rdata in rrset)))


def reached(have: int, wanted: int) -> bool:
    """Whether a serial number is at or after another in the circle of 32 bits (RFC 1982 §3.2)."""
    return (have - wanted) % 2**32 < 2**31
