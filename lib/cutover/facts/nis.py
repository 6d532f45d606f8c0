"""NIS as the mail hosts see it: which server they are bound to, and what each server's maps hold.

Read with ypdomainname(1), ypwhich(1), ypcat(1), yppoll(8) and getent(1) on the mail hosts, because
the servers serve them. Passwords are compared and never reported: if two entries differ only in the
password, the difference says no more than that.
"""

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence

from cutover import model
from cutover.facts import nis_sendmail, users, yp
from cutover.model import errors

MAPS = ("passwd.byname", "passwd.byuid", "group.byname", "group.bygid", "shadow.byname")
NO_MAP = "No such map in server's domain"
SENDMAIL = "/etc/mail/sendmail.cf"

# {map: {key: entry}} of one server; None for a map it does not have
Contents = Mapping[str, Mapping[str, str] | None]


class ServerSilent(errors.TemplatedError):
    """One NIS server does not answer a mail host."""

    template = "no answer from NIS server {server} to {host}: {reason}"


@dataclasses.dataclass(frozen=True)
class Client:
    """NIS on one mail host.

    server: the server it is bound to; "" when unbound, and then `said` is the reason.
    configured: servers of yp.conf, or "broadcast".
    switch: nsswitch.conf's sources of passwd, group and shadow.
    polls: for each server "", or why it does not answer this host.
    mail: what sendmail does without users; None without a sendmail.cf.
    """

    domain: str
    server: str
    said: str
    configured: list[str]
    switch: dict[str, str]
    polls: dict[str, str]
    mail: nis_sendmail.Sendmail | None = None


@dataclasses.dataclass(frozen=True)
class Map:
    """One map of a server: its order number, its master and how many entries it has."""

    order: int
    master: str
    entries: int


@dataclasses.dataclass(frozen=True)
class Server:
    """A server's maps by name; None for a missing map."""

    maps: dict[str, Map | None]


@dataclasses.dataclass(frozen=True)
class Silent:
    """A server that does not answer, and why."""

    error: str


@dataclasses.dataclass(frozen=True)
class Nis:
    """NIS of a site.

    clients, servers: by name.
    users: mail users of the map; None when no server answers.
    differ: differences between the servers' maps, one text per difference.
    hidden: for each mail host, its own accounts that hide users of NIS.
    """

    clients: dict[str, Client]
    servers: dict[str, Server | Silent]
    users: list[users.Account] | None
    differ: list[str]
    hidden: dict[str, list[str]]


def read(hosts, reachable: Collection[str]) -> Nis | None:
    """NIS, asked from the reachable mail hosts; None when the site declares no NIS.

    Raises Unreadable when no mail host is reachable.
    """
    site = hosts.site
    if site.nis is None:
        return None
    names = [name for name in site.mail_hosts if name in reachable]
    if not names:
        raise errors.Unreadable(
            "no mail host is reachable, and NIS servers can only be asked from there"
        )
    clients = hosts.each(names, lambda name: client(hosts, name))
    servers, contents = {}, {}
    for server in site.nis.servers:
        try:
            servers[server], contents[server] = maps(hosts, names[-1], server)
        except ServerSilent as error:
            servers[server] = Silent(str(error))
    if not contents:
        return Nis(clients, servers, users=None, differ=[], hidden={})
    passwd = next(iter(contents.values()))["passwd.byname"] or {}
    entries = list(passwd.values())
    own_accounts = {
        name: hosts.run(name, ["getent", "-s", "files", "passwd"]).text for name in names
    }
    return Nis(
        clients,
        servers,
        users=users.of_store(hosts, users.mail_users(site, "\n".join(entries))),
        differ=differences(contents),
        hidden={name: hidden(text, entries) for name, text in own_accounts.items()},
    )


def client(hosts, name: str) -> Client:
    """NIS on one mail host."""
    site = hosts.site
    bound = yp.ask(hosts, name, ["ypwhich", "-d", site.nis.domain])
    polls = {}
    for server in site.nis.servers:
        argv = ["yppoll", "-d", site.nis.domain, "-h", site.address(server), "passwd.byname"]
        result = yp.ask(hosts, name, argv)
        polls[server] = "" if "order number" in result.text else yp.reason(result)
    conf = hosts.run(name, ["cat", "/etc/yp.conf"], check=False).text
    switch = hosts.run(name, ["cat", "/etc/nsswitch.conf"], check=False).text
    sendmail = hosts.run(name, ["cat", SENDMAIL], sudo=True, check=False).text
    return Client(
        domain=hosts.run(name, ["ypdomainname"], check=False).text.strip(),
        server="" if bound.rc else bound.text.strip(),
        said=yp.reason(bound) if bound.rc else "",
        configured=parse_conf(conf, site.nis.domain),
        switch=parse_switch(switch),
        polls=polls,
        mail=nis_sendmail.parse(sendmail),
    )


def parse_conf(text: str, domain: str) -> list[str]:
    """yp.conf(5) → the servers a domain may be bound to, or "broadcast", without duplicates."""
    servers = []
    for line in model.lines(text):
        words = line.partition("#")[0].split()
        if words[:1] == ["ypserver"] and len(words) > 1:
            servers.append(words[1])
        elif words[:2] == ["domain", domain] and len(words) > 2:
            servers.append(words[3] if words[2] == "server" and len(words) > 3 else "broadcast")
    return list(dict.fromkeys(servers))


def parse_switch(text: str) -> dict[str, str]:
    """nsswitch.conf(5) → `{"passwd" | "group" | "shadow": "files nis"}`."""
    lines = dict(re.findall(r"^(passwd|group|shadow):[ \t]*([^#\n]*)", text, re.MULTILINE))
    return {key: " ".join(value.split()) for key, value in lines.items()}


def maps(hosts, via: str, server: str) -> tuple[Server, Contents]:
    """A server's maps as the host `via` receives them, and their contents. Raises ServerSilent.

    The contents hold passwords and are not recorded.
    """
    site = hosts.site
    where = ["-d", site.nis.domain, "-h", site.address(server)]
    described, contents = {}, {}
    for name in MAPS:
        result = yp.ask(hosts, via, ["ypcat", "-k", *where, name])
        if result.rc and NO_MAP not in result.err.decode("utf-8", "replace"):
            raise ServerSilent(server=server, host=via, reason=yp.reason(result))
        if result.rc:
            described[name] = contents[name] = None
            continue
        lines = model.lines(result.out.decode("utf-8", "surrogateescape"))
        contents[name] = dict(line.split(" ", 1) for line in lines if " " in line)
        poll = yp.ask(hosts, via, ["yppoll", *where, name]).text
        described[name] = parse_poll(poll, len(contents[name]))
    return Server(described), contents


def parse_poll(text: str, entries: int) -> Map:
    """The output of yppoll(8) for a map with so many entries."""
    order = re.search(r"order number (\d+)", text)
    master = re.search(r"master server is (\S+)", text)
    return Map(int(order[1]) if order else 0, master[1].rstrip(".") if master else "", entries)


def differences(contents: Mapping[str, Contents]) -> list[str]:
    """Where the maps of several servers differ from the first one's, one text per entry."""
    (first, reference), *others = contents.items()
    texts = []
    for server, other in others:
        for name in MAPS:
            if reference[name] is None or other[name] is None:
                if reference[name] is not other[name]:
                    texts.append(f"{name} only on {server if reference[name] is None else first}")
                continue
            for key in sorted(reference[name].keys() | other[name].keys()):
                pair = reference[name].get(key), other[name].get(key)
                if pair[0] != pair[1]:
                    texts.append(f"{name}: {key} {_difference(pair, first, server)}")
    return texts


def _difference(pair, first, server):
    """How one entry differs between two servers."""
    if None in pair:
        return f"only on {server if pair[0] is None else first}"
    here, there = (_without_password(entry) for entry in pair)
    if here == there:
        return f"has another password on {server} than on {first}"
    return f"is {here} on {first}, {there} on {server}"


def _without_password(entry):
    return ":".join("*" if number == 1 else field for number, field in enumerate(entry.split(":")))


@dataclasses.dataclass(frozen=True)
class _Account:
    user: str
    uid: str
    home: str


def _accounts(lines):
    """The accounts of lines of passwd(5)."""
    fields = (line.split(":") for line in lines)
    return [_Account(part[0], part[2], part[5]) for part in fields if len(part) > 5]


def hidden(local: str, entries: Sequence[str]) -> list[str]:
    """Which of a host's own accounts hide a user of NIS: same name, or same uid and another name.

    local, entries: lines of passwd(5).
    """
    in_nis = _accounts(entries)
    by_name = {account.user: account for account in in_nis}
    by_uid = {account.uid: account for account in in_nis}
    texts = []
    for account in _accounts(model.lines(local)):
        if other := by_name.get(account.user):
            texts.append(
                f"{account.user}: uid {account.uid}, home {account.home} here; "
                f"uid {other.uid}, home {other.home} in NIS"
            )
        elif other := by_uid.get(account.uid):
            texts.append(
                f"{account.user} has uid {account.uid} here, which is {other.user}'s in NIS"
            )
    return texts
