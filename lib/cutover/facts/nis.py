"""NIS as the mail hosts see it: what they are bound to, and what each server's maps say.

Read with ypdomainname(1), ypwhich(1), ypcat(1), yppoll(8) and getent(1) on the mail hosts, since the servers are theirs.
Passwords are compared and never told: of two entries that differ in nothing else it is said that they differ.
"""

import re

from cutover import model
from cutover.facts import users, yp
from cutover.model import errors

MAPS = ("passwd.byname", "passwd.byuid", "group.byname", "group.bygid", "shadow.byname")
LACKING = "No such map in server's domain"
SENDMAIL = "/etc/mail/sendmail.cf"


class ServerSilent(errors.TemplatedError):
    """One NIS server does not answer a mail host."""

    template = "no answer of the NIS server {server} to {host}: {said}"


def read(hosts, reachable) -> dict:
    """All of it, from those mail hosts that can be reached; None when the site declares no NIS.

    `{"clients": {mail host: client()}, "servers": {server: {"maps": {map: {"order", "master", "entries": n} or None}} or
    {"error": text}}, "users": the map's mail users in users.parse_passwd's shape, None when no server answers, "differ": [text],
    "hidden": {mail host: [text]}}`
    """
    site = hosts.site
    if site.nis is None:
        return None
    names = [name for name in site.mail_hosts if name in reachable]
    if not names:
        raise errors.Unreadable(
            "no mail host can be reached, and the NIS servers are asked from there"
        )
    found = {
        "clients": hosts.each(names, lambda name: client(hosts, name)),
        "servers": {},
        "users": None,
        "differ": [],
        "hidden": {},
    }
    contents = {}
    for server in site.nis.servers:
        try:
            found["servers"][server], contents[server] = maps(hosts, names[-1], server)
        except ServerSilent as error:
            found["servers"][server] = {"error": str(error)}
    if contents:
        first = next(iter(contents.values()))
        entries = list((first["passwd.byname"] or {}).values())
        found["users"] = model.to_json(users.mail_users(site, "\n".join(entries)))
        found["differ"] = differences(contents)
        found["hidden"] = {
            name: hidden(hosts.run(name, ["getent", "-s", "files", "passwd"]).text, entries)
            for name in names
        }
    return found


def client(hosts, name: str) -> dict:
    """`{"domain", "server": what it is bound to, empty when nothing, "said": why not, "configured": [server or "broadcast"],
    "switch": {database: sources}, "polls": {server: empty, or why it does not answer this host},
    "mail": parse_sendmail(), None when there is no sendmail.cf}`"""
    site = hosts.site
    bound = yp.ask(hosts, name, ["ypwhich", "-d", site.nis.domain])
    polls = {}
    for server in site.nis.servers:
        result = yp.ask(
            hosts,
            name,
            ["yppoll", "-d", site.nis.domain, "-h", site.address(server), "passwd.byname"],
        )
        polls[server] = "" if "order number" in result.text else yp.reason(result)
    return {
        "domain": hosts.run(name, ["ypdomainname"], check=False).text.strip(),
        "server": "" if bound.rc else bound.text.strip(),
        "said": yp.reason(bound) if bound.rc else "",
        "configured": parse_conf(
            hosts.run(name, ["cat", "/etc/yp.conf"], check=False).text, site.nis.domain
        ),
        "switch": parse_switch(hosts.run(name, ["cat", "/etc/nsswitch.conf"], check=False).text),
        "polls": polls,
        "mail": parse_sendmail(hosts.run(name, ["cat", SENDMAIL], sudo=True, check=False).text),
    }


def parse_conf(text: str, domain: str) -> list:
    """yp.conf(5) → the servers a domain may be bound to, `broadcast` among them, each once."""
    found = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if words[:1] == ["ypserver"] and len(words) > 1:
            found.append(words[1])
        elif words[:2] == ["domain", domain] and len(words) > 2:
            found.append(words[3] if words[2] == "server" and len(words) > 3 else "broadcast")
    return list(dict.fromkeys(found))


def parse_switch(text: str) -> dict:
    """nsswitch.conf(5) → `{"passwd" | "group" | "shadow": "files nis"}`."""
    lines = dict(re.findall(r"^(passwd|group|shadow):[ \t]*([^#\n]*)", text, re.MULTILINE))
    return {key: " ".join(value.split()) for key, value in lines.items()}


def parse_sendmail(text: str) -> dict | None:
    """What sendmail.cf (Sendmail Installation and Operation Guide, 5) says should users not be known for a while: `{"recipients":
    asks a program before a recipient is taken?, "queue": puts an address off when one fails, before it looks up the user?,
    "mailer": path of the local mailer}`; None of an empty text."""
    if not text:
        return None
    asks = {
        key: {
            name: options
            for name, options in re.findall(
                r"^K(\S+)[ \t]+(?:program|socket)\b(.*)", text, re.MULTILINE
            )
            if f"$({name} " in body
        }
        for key, body in re.findall(r"^S(\w+).*\n((?:[^S].*\n|\n)*)", text, re.MULTILINE)
    }
    mailer = re.search(r"^Mlocal,.*?\bP=([^,\s]+)", text, re.MULTILINE)
    # a map with -T gives a value of its own when it fails; one without puts the address off
    return {
        "recipients": bool(asks.get("Local_check_rcpt")),
        "queue": any("-T" not in options for options in asks.get("Local_localaddr", {}).values()),
        "mailer": mailer[1] if mailer else "",
    }


def maps(hosts, via: str, server: str) -> tuple:
    """(about, contents) of a server's maps as the host `via` gets them: `{"maps": {map: {"order", "master", "entries"} or None}}`
    and `{map: {key: value} or None}`, None for a map the server does not have. Contents hold passwords and are not recorded."""
    site = hosts.site
    about, contents = {}, {}
    for name in MAPS:
        result = yp.ask(
            hosts, via, ["ypcat", "-k", "-d", site.nis.domain, "-h", site.address(server), name]
        )
        if result.rc and LACKING not in result.err.decode("utf-8", "replace"):
            raise ServerSilent(server=server, host=via, said=yp.reason(result))
        if result.rc:
            about[name] = contents[name] = None
            continue
        contents[name] = dict(
            line.split(" ", 1)
            for line in result.out.decode("utf-8", "surrogateescape").splitlines()
            if " " in line
        )
        polled = yp.ask(
            hosts, via, ["yppoll", "-d", site.nis.domain, "-h", site.address(server), name]
        ).text
        order, master = (
            re.search(r"order number (\d+)", polled),
            re.search(r"master server is (\S+)", polled),
        )
        about[name] = {
            "order": int(order[1]) if order else 0,
            "master": master[1].rstrip(".") if master else "",
            "entries": len(contents[name]),
        }
    return {"maps": about}, contents


def differences(contents) -> list:
    """Where servers' maps (`{server: {map: {key: value} or None}}`) differ, in words, an entry each."""
    (first, one), *others = contents.items()
    found = []
    for server, other in others:
        for name in MAPS:
            if one[name] is None or other[name] is None:
                if one[name] is not other[name]:
                    found.append(f"{name} only on {server if one[name] is None else first}")
                continue
            for key in sorted(one[name].keys() | other[name].keys()):
                here, there = one[name].get(key), other[name].get(key)
                if here is None or there is None:
                    found.append(f"{name}: {key} only on {server if here is None else first}")
                elif here != there:
                    here, there = _without_password(here), _without_password(there)
                    found.append(
                        f"{name}: {key} has another password on {server} than on {first}"
                        if here == there
                        else f"{name}: {key} is {here} on {first}, {there} on {server}"
                    )
    return found


def _without_password(entry):
    return ":".join("*" if number == 1 else field for number, field in enumerate(entry.split(":")))


def hidden(local: str, entries) -> list:
    """What a host's own accounts (lines of passwd) hide of NIS, in words: the same name, or the same uid under another name."""

    def parsed(lines):
        return [
            (fields[0], fields[2], fields[5])
            for line in lines
            if len(fields := line.split(":")) > 5
        ]

    names = {user: (uid, home) for user, uid, home in parsed(entries)}
    uids = {uid: user for user, uid, home in parsed(entries)}
    found = []
    for user, uid, home in parsed(local.splitlines()):
        if user in names:
            found.append(
                f"{user}: uid {uid}, home {home} here; uid {names[user][0]}, home {names[user][1]} in NIS"
            )
        elif uid in uids:
            found.append(f"{user} has uid {uid} here, which is {uids[uid]}'s in NIS")
    return found
