"""Questions to one name server, and signed updates."""

import socket
from collections.abc import Iterable, Mapping, Sequence

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

from cutover.connect.dns.errors import (
    BadAnswer,
    BadKey,
    NoAnswer,
    NotAuthoritative,
    PrerequisiteFailed,
    UpdateRefused,
    ZoneMissing,
)
from cutover.connect.dns.key import Key
from cutover.connect.dns.names import SIGNED_BY_SERVER, TYPES, RRset, _rrset, full
from cutover.connect.dns.update import Update

TRIES = 2  # of a query over UDP, which may be lost; an update is sent once

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
        """The records of exactly this type at exactly this name.

        None if there are none (NXDOMAIN or no such type).

        An alias at the name is not followed: ask for CNAME. The answer must be authoritative.
        """
        answer = self._ask(name, rdtype)
        return _rrset(answer, name, rdtype)

    def all_types(self, name: str) -> dict[str, RRset]:
        """Every RRset at the name, by type: `TYPES` asked one by one, and whatever else ANY over
        TCP shows.

        ANY alone would not do: a server may answer it minimally (RFC 8482).
        """
        rrsets = {rdtype: rrset for rdtype in TYPES if (rrset := self.lookup(name, rdtype))}
        try:
            answer = self._ask(name, "ANY", tcp=True)
        except BadAnswer:
            return rrsets
        for answered in answer.answer:
            rdtype = dns.rdatatype.to_text(answered.rdtype)
            known = rdtype in TYPES or rdtype in SIGNED_BY_SERVER
            if full(answered.name.to_text()) == full(name) and not known:
                rrsets[rdtype] = _rrset(answer, name, rdtype)
        return rrsets

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
                reason = str(error).rstrip(".") or type(error).__name__
        else:
            raise self._no_answer(what, reason)
        rcode = answer.rcode()
        if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            code = dns.rcode.to_text(rcode)
            raise BadAnswer(
                server=self.name,
                what=what,
                rcode=code,
                advice=_ADVICE.get(code, "See the server's log"),
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
        """Send an update, once and over TCP: one repeated after a lost answer would fail on its own
        prerequisites.

        Raises BadKey, UpdateRefused, PrerequisiteFailed or NotAuthoritative when nothing was
        changed, and NoAnswer, whose `sent` tells whether it may have been done (an answer without
        signature is none).
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

    def unused(self, zone: str, name: str, key: Key) -> bool:
        """Whether the zone has no record of the name, also where a wildcard answers for it.

        An update of nothing shows it: its prerequisite is judged by the zone's data.
        """
        try:
            self.update(Update(zone, prerequisites=[("unused", name)]), key)
        except PrerequisiteFailed:
            return False
        return True

    def like_wildcard(self, zone: str, name: str, records: Mapping[str, RRset]) -> bool:
        """Whether records that the server answers for a name are those of a wildcard above it."""
        labels = full(name).removesuffix("." + full(zone)).split(".")
        wildcards = [".".join(["*", *labels[depth:], zone]) for depth in range(1, len(labels) + 1)]
        return bool(records) and any(self._has(wildcard, records) for wildcard in wildcards)

    def _has(self, name: str, records: Mapping[str, RRset]) -> bool:
        for rdtype, rrset in records.items():
            there = self.lookup(name, rdtype)
            if there is None or (there.ttl, *there.values) != (rrset.ttl, *rrset.values):
                return False
        return True

    def _judge(self, message: Update, key: Key, answer: dns.message.Message) -> None:
        rcode, zone = dns.rcode.to_text(answer.rcode()), full(message.zone)
        if rcode == "NOERROR":
            return
        if rcode in _UNMET:
            required = "; ".join(
                line for line in message.text().split("\n") if line.startswith("prereq")
            )
            what = {"meaning": _UNMET[rcode], "which": rcode, "prerequisites": required}
            raise PrerequisiteFailed(server=self.name, zone=zone, **what)
        if rcode in ("NOTAUTH", "NOTZONE"):
            raise NotAuthoritative(server=self.name, what=zone, detail=f" ({rcode})")
        advice = "see its log"
        if rcode == "REFUSED":
            advice = (
                f"check that key {key.name} is in the zone's allow-update or update-policy, and "
                "that the server accepts the records (an MX needs an address, for example). "
                "See its log"
            )
        raise UpdateRefused(server=self.name, zone=zone, rcode=rcode, advice=advice)


def update_permitted(
    server: Server, zone: str, key: Key, records: Iterable[Sequence[str]] = ()
) -> None:
    """Prove that the key may update the zone, changing nothing: an update whose only content is a
    true prerequisite.

    A server judges `allow-update` by that; `update-policy` only record by record. So for each
    (name, type) of `records` the message also writes what is there already, or deletes what is not,
    under a prerequisite that it still is so; BIND does not even raise the serial for it. Errors as
    of Server.update.
    """
    trial = Update(zone, prerequisites=[("exists", zone, "SOA", None)])
    for name, rdtype in records:
        there = server.lookup(name, rdtype)
        given = there and server.like_wildcard(zone, name, {rdtype: there})
        if there and not (given and server.unused(zone, name, key)):
            trial.prerequisites.append(("exists", name, rdtype, there.values))
            trial.adds += [(name, there.ttl, rdtype, value) for value in there.values]
        else:
            trial.prerequisites.append(("absent", name, rdtype))
            trial.deletes.append((name, rdtype))
    server.update(trial, key)
