"""What one name server answers, and RFC 2136 updates signed with TSIG, sent straight to its address; no policy.

Names are written in full; a missing final dot is supplied. Values are in zone-file form with full names
(`10 mx.lab.test.`). An update is one message: all its prerequisites hold and all of it is done, or nothing is.
"""

import base64
import binascii
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

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

from cutover.model.errors import TemplatedError
from cutover.site import secrets

# What may stand at a host name (RFC 1035, 2782, 3596, 4255, 6698, 8659); `all_types` adds whatever else ANY shows.
TYPES = ("A", "AAAA", "CNAME", "MX", "TXT", "SRV", "SSHFP", "TLSA", "CAA", "HINFO")
SIGNED_BY_SERVER = {"RRSIG", "NSEC", "NSEC3"}  # made by the server itself; never ours to move
TRIES = 2  # of a query over UDP, which may be lost; an update is sent once


class DnsError(TemplatedError):
    """A name server, or what was asked of it, is not as needed; the data of each kind are attributes."""

    template = "{server}: DNS failed"


class NoAnswer(DnsError):
    """No usable answer came. For an update that was `sent` the outcome is unknown: ask for the records."""

    template = "{server}: no answer from {address} port {port} about {what}: {reason}{outcome}"

    @property
    def outcome_unknown(self):
        return self.sent


class BadAnswer(DnsError):
    """The server answered a question with a failure code."""

    template = "{server}: answered {rcode} when asked for {what}. {advice}"


class NotAuthoritative(DnsError):
    """The server does not serve the zone."""

    template = "{server}: is not authoritative for {what}{detail}. Is the zone's name right and does this server load it?"


class ZoneMissing(DnsError):
    """There is no such zone on the server."""

    template = "{server}: has no zone {zone} (nothing of type {type} there)"


class BadUpdate(DnsError):
    """An update cannot be written as a DNS message: a name outside the zone, a value that is none of its type."""

    template = "update of {zone}: {reason} in: {item}"


class BadKey(DnsError):
    """The server does not accept the signature; `tsig` says why: BADKEY, BADSIG or BADTIME."""

    template = "{server}: refused the signature by key {key} ({tsig}): {advice}"


class UpdateRefused(DnsError):
    """The server knows the key but will not do the update; nothing was changed."""

    template = "{server}: refused the update of {zone} with {rcode}: {advice}"


class PrerequisiteFailed(DnsError):
    """The zone is not in the state the update requires; nothing was changed. `which` is the rcode's name."""

    template = (
        "{server}: {zone} was not changed, {meaning} ({which}). Required was: {prerequisites}"
    )


class KeyFileBad(DnsError):
    """The file is no readable BIND key clause."""

    template = "TSIG key file {path}: {reason}"


@dataclass(frozen=True)
class RRset:
    """The records of one type at one name. `name` ends with a dot, `ttl` is in seconds, `values` are sorted."""

    name: str
    ttl: int
    type: str
    values: tuple[str, ...]


def full(name: str) -> str:
    """The name with its final dot, in lower case: the form in which names are compared and shown."""
    return dns.name.from_text(name, dns.name.root).canonicalize().to_text()


@dataclass
class Update:
    """One RFC 2136 message. Deletions are done before additions.

    prerequisites: ("exists", name, type, values or None) | ("absent", name, type) | ("unused", name)
    deletes: (name, type or "ANY"); adds: (name, ttl, type, value).
    "exists" with values: the RRset is exactly these (TTL aside). "unused": no record of any type at the name.
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
        """What nsupdate(1) would be fed to send the same message (server and key aside). BadUpdate as message()."""
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


def _rdata(rdtype: str, value: str) -> dns.rdata.Rdata:
    return dns.rdata.from_text("IN", rdtype, value, dns.name.root, relativize=False)


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


_KEY_CLAUSE = re.compile(r'\bkey\s+"?([^\s"{;]+)"?\s*\{(.*?)\}', re.DOTALL)
_COMMENT = re.compile(r'("[^"\n]*")|/\*.*?\*/|//[^\n]*|#[^\n]*', re.DOTALL)


@dataclass(frozen=True)
class Key:
    """A TSIG key (RFC 8945). Its secret is in no repr and no message."""

    name: str
    algorithm: str
    secret: bytes = field(repr=False)

    @classmethod
    def load(cls, path) -> "Key":
        """Read the one `key "name" { algorithm …; secret "…"; };` clause of a BIND file (tsig-keygen writes it)."""
        try:
            text = _COMMENT.sub(lambda match: match.group(1) or " ", Path(path).read_text("utf-8"))
        except OSError as error:
            raise KeyFileBad(
                path=path, reason=f"{error.strerror}; `tsig-keygen NAME` makes one"
            ) from error
        except UnicodeDecodeError as error:
            raise KeyFileBad(path=path, reason="it is no text") from error
        clauses = _KEY_CLAUSE.findall(text)
        if len(clauses) != 1:
            raise KeyFileBad(
                path=path,
                reason=f'{len(clauses)} clauses of the form key "name" {{ … }}; one is needed',
            )
        name, body = clauses[0]
        said = dict(re.findall(r'(algorithm|secret)\s+"?([^\s";]+)"?\s*;', body))
        for wanted in ("algorithm", "secret"):
            if wanted not in said:
                raise KeyFileBad(path=path, reason=f"key {name} has no {wanted}")
        algorithm = said["algorithm"].lower().rstrip(".")
        if algorithm == "hmac-md5":
            algorithm = "hmac-md5.sig-alg.reg.int"
        if dns.name.from_text(algorithm) not in dns.tsig.mac_sizes:
            raise KeyFileBad(path=path, reason=f"key {name} has an unknown algorithm {algorithm}")
        try:
            secret = base64.b64decode(said["secret"], validate=True)
        except binascii.Error:
            raise KeyFileBad(path=path, reason=f"the secret of key {name} is not base64") from None
        secrets.register(f"tsig {name}", said["secret"])
        return cls(name, algorithm, secret)

    def tsig(self) -> dns.tsig.Key:
        return dns.tsig.Key(full(self.name), self.secret, self.algorithm)


_ADVICE = {
    "REFUSED": "It does not serve this name, or not to this address (allow-query)",
    "SERVFAIL": "The zone is probably not loaded or has expired: see its log",
}
_UNMET = {
    "YXDOMAIN": "a name that should be unused has records",
    "YXRRSET": "records that should be absent exist",
    "NXRRSET": "records that should exist are absent or different",
    "NXDOMAIN": "a name that should exist has no records",
}
_TSIG = (
    (dns.tsig.PeerBadKey, "BADKEY", "it has no key of this name and algorithm"),
    (dns.tsig.PeerBadSignature, "BADSIG", "its key of this name has another secret"),
    (dns.tsig.PeerBadTime, "BADTIME", "the clocks differ by more than 5 minutes"),
    (dns.tsig.PeerError, "BADTRUNC", "it wants a longer signature"),
)


class Server:
    """One name server at one address. `timeout`: seconds for each attempt at an answer."""

    def __init__(self, name: str, address: str, port: int = 53, timeout: float = 3):
        self.name, self.address, self.port, self.timeout = name, address, port, timeout

    def __repr__(self):
        return f"Server({self.name!r}, {self.address!r}, {self.port})"

    # -- questions

    def lookup(self, name: str, rdtype: str) -> RRset | None:
        """The records of exactly this type at exactly this name; None if there are none (NXDOMAIN or no such type).

        An alias at the name is not followed: ask for CNAME. The answer must be authoritative.
        """
        answer = self._ask(name, rdtype)
        return _rrset(answer, name, rdtype)

    def all_types(self, name: str) -> dict[str, RRset]:
        """Every RRset at the name, by type: `TYPES` asked one by one, and whatever else ANY over TCP shows.

        ANY alone would not do: a server may answer it minimally (RFC 8482).
        """
        found = {rdtype: rrset for rdtype in TYPES if (rrset := self.lookup(name, rdtype))}
        try:
            answer = self._ask(name, "ANY", tcp=True)
        except BadAnswer:
            return found
        for each in answer.answer:
            rdtype = dns.rdatatype.to_text(each.rdtype)
            known = rdtype in TYPES or rdtype in SIGNED_BY_SERVER
            if full(each.name.to_text()) == full(name) and not known:
                found[rdtype] = _rrset(answer, name, rdtype)
        return found

    def serial(self, zone: str) -> int:
        """The serial number in the zone's SOA on this server."""
        return int(self._at_apex(zone, "SOA").values[0].split()[2])

    def nameservers(self, zone: str) -> tuple[str, ...]:
        """The names in the zone's NS records on this server."""
        return self._at_apex(zone, "NS").values

    def _at_apex(self, zone: str, rdtype: str) -> RRset:
        rrset = self.lookup(zone, rdtype)
        if rrset is None:
            raise ZoneMissing(server=self.name, zone=full(zone), type=rdtype)
        return rrset

    def _ask(self, name: str, rdtype: str, tcp: bool = False) -> dns.message.Message:
        question = dns.message.make_query(full(name), rdtype, use_edns=0, payload=1232)
        question.flags &= ~dns.flags.RD
        what, reason = f"{full(name)} {rdtype}", ""
        where = {"where": self.address, "port": self.port, "timeout": self.timeout}
        for _ in range(TRIES):
            try:
                if tcp:
                    answer = dns.query.tcp(question, **where)
                else:
                    answer, _ = dns.query.udp_with_fallback(
                        question, **where, ignore_unexpected=True
                    )
                break
            except (dns.exception.DNSException, OSError, EOFError) as error:
                reason = str(error) or type(error).__name__
        else:
            raise self._no_answer(what, reason)
        rcode = answer.rcode()
        if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            said = dns.rcode.to_text(rcode)
            raise BadAnswer(
                server=self.name,
                what=what,
                rcode=said,
                advice=_ADVICE.get(said, "See the server's log"),
            )
        if not answer.flags & dns.flags.AA:
            detail = " (it answers from a cache or refers elsewhere)"
            raise NotAuthoritative(server=self.name, what=what, detail=detail)
        return answer

    def _no_answer(self, what: str, reason, sent: bool | None = None) -> NoAnswer:
        outcome = {
            None: "",
            False: "; nothing was sent",
            True: "; whether it was done is UNKNOWN: ask for the records",
        }
        return NoAnswer(
            server=self.name,
            address=self.address,
            port=self.port,
            what=what,
            reason=reason,
            sent=bool(sent),
            outcome=outcome[sent],
        )

    # -- the update

    def update(self, message: Update, key: Key) -> None:
        """Send an update, once and over TCP: one repeated after a lost answer would fail on its own prerequisites.

        Raises BadKey, UpdateRefused, PrerequisiteFailed or NotAuthoritative when nothing was changed, and
        NoAnswer, whose `sent` tells whether it may have been done (an answer without signature is none).
        """
        made, what = message.message(), f"an update of {full(message.zone)}"
        signing = key.tsig()
        made.use_tsig(signing, fudge=300)
        try:
            link = socket.create_connection((self.address, self.port), self.timeout)
        except OSError as error:
            raise self._no_answer(what, error.strerror or error, sent=False) from error
        with link:
            link.setblocking(False)  # dnspython keeps the time itself
            try:
                answer = dns.query.tcp(made, self.address, timeout=4 * self.timeout, sock=link)
            except dns.tsig.PeerError as error:
                tsig, advice = next(rest for kind, *rest in _TSIG if isinstance(error, kind))
                raise BadKey(server=self.name, key=key.name, tsig=tsig, advice=advice) from error
            except (dns.exception.DNSException, OSError, EOFError) as error:
                raise self._no_answer(
                    what, str(error) or type(error).__name__, sent=True
                ) from error
        self._judge(message, key, answer)

    def _judge(self, message: Update, key: Key, answer: dns.message.Message) -> None:
        rcode, zone = dns.rcode.to_text(answer.rcode()), full(message.zone)
        if rcode == "NOERROR":
            return
        if rcode in _UNMET:
            required = "; ".join(
                line for line in message.text().splitlines() if line.startswith("prereq")
            )
            what = {"meaning": _UNMET[rcode], "which": rcode, "prerequisites": required}
            raise PrerequisiteFailed(server=self.name, zone=zone, **what)
        if rcode in ("NOTAUTH", "NOTZONE"):
            raise NotAuthoritative(server=self.name, what=zone, detail=f" ({rcode})")
        advice = "see its log"
        if rcode == "REFUSED":
            advice = f"is key {key.name} in the zone's allow-update or update-policy, and does it find nothing "
            advice += "wrong with the records (an MX without address, say)? See its log"
        raise UpdateRefused(server=self.name, zone=zone, rcode=rcode, advice=advice)


def _rrset(answer: dns.message.Message, name: str, rdtype: str) -> RRset | None:
    found = answer.get_rrset(
        answer.answer, dns.name.from_text(full(name)), dns.rdataclass.IN, rdtype
    )
    if found is None:
        return None
    return RRset(full(name), found.ttl, rdtype, tuple(sorted(rdata.to_text() for rdata in found)))


def update_permitted(
    server: Server, zone: str, key: Key, records: Iterable[Sequence[str]] = ()
) -> None:
    """Prove that the key may update the zone, changing nothing: an update whose only content is a true prerequisite.

    A server judges `allow-update` by that; `update-policy` only record by record. So for each (name, type) of
    `records` the message also writes what is there already, or deletes what is not, under a prerequisite that it
    still is so; BIND does not even raise the serial for it. Errors as of Server.update.
    """
    trial = Update(zone, prerequisites=[("exists", zone, "SOA", None)])
    for name, rdtype in records:
        there = server.lookup(name, rdtype)
        if there:
            trial.prerequisites.append(("exists", name, rdtype, there.values))
            trial.adds += [(name, there.ttl, rdtype, value) for value in there.values]
        else:
            trial.prerequisites.append(("absent", name, rdtype))
            trial.deletes.append((name, rdtype))
    server.update(trial, key)


def reached(have: int, wanted: int) -> bool:
    """Whether a serial number is at or after another in the circle of 32 bits (RFC 1982 §3.2)."""
    return (have - wanted) % 2**32 < 2**31
