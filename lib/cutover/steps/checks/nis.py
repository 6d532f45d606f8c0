"""Whether NIS, where users come from it, is reliable enough for the night.

A mail host without an answer from NIS knows no user, and its sendmail bounces their mail.
"""

from collections.abc import Iterator, Mapping

from cutover import model
from cutover.facts import nis, users
from cutover.steps.checks import listing

COPIES = {"extrausers", "db"}  # nsswitch.conf's own sources of users of a host, apart from files
PUSH = (
    "On the master run `make -C /var/yp`, which pushes the maps, or `yppush MAP`; "
    "else on the slave `ypxfr -f MAP`."
)


def checks(
    reading: model.Reading[nis.Nis | None],
    sides: Mapping[str, model.Reading[list[users.Account]]],
    site,
) -> Iterator[model.Check]:
    """sides: the users of both mail hosts."""
    if site.nis is None or (reading.ok and reading.value is None):
        yield model.Check(
            "Users come from NIS",
            "known",
            "not declared",
            True,
            "If they do, declare `nis` in the parameters: then every step stops while NIS does not "
            "answer, instead of finding no users.",
            id="nis-answers",
        )
        return
    if not reading.ok:
        expected = f"the domain {site.nis.domain}"
        todo = "Make a mail host reachable: NIS is asked from there."
        yield model.Check(
            "Users come from NIS", expected, reading.error, False, todo, id="nis-answers"
        )
        return
    facts = reading.value
    for name, client in facts.clients.items():
        yield _bound(name, client, site)
        yield _second_server(name, client, site)
        if client.mail is not None:
            yield _mail(name, client)
    for name, server in facts.servers.items():
        yield _maps(name, server)
    yield _same_maps(facts, site)
    if facts.users is not None:
        for name in site.mail_hosts:
            yield _hidden(name, facts.hidden.get(name, []))
            yield _same_users(name, sides[name], facts.users)


def _bound(name, client, site):
    words = [f"the domain {client.domain or '(none)'}"]
    if client.server:
        words.append(f"bound to {_called(client.server, site)}")
    else:
        words.append(f"no answer from a NIS server: {client.said}")
    without = [
        f"{key}: {client.switch.get(key) or 'nothing'}"
        for key in ("passwd", "group", "shadow")
        if not {"nis", "compat"}.intersection(client.switch.get(key, "").split())
    ]
    if without:
        words.append(f"nsswitch.conf has {'; '.join(without)}")
    return model.Check(
        f"{name} gets its users from NIS",
        f"bound to the domain {site.nis.domain}",
        ", ".join(words),
        client.domain == site.nis.domain and bool(client.server) and not without,
        "Check ypbind there, ypserv on its servers, /etc/defaultdomain and nsswitch.conf. While "
        "unbound, its sendmail knows no user and bounces their mail, unless it is set up to queue "
        "it (docs/site.md).",
        id="nis-bound",
        subject=name,
        data={"domain": client.domain, "server": client.server, "without nis": without},
    )


def _second_server(name, client, site):
    silent = [f"{server}: {reason}" for server, reason in client.polls.items() if reason]
    few = len(client.configured) < 2 and "broadcast" not in client.configured
    configured = ", ".join(_called(server, site) for server in client.configured)
    return model.Check(
        f"{name} can use a second NIS server if the first fails",
        "at least 2 in yp.conf, each answering",
        (configured or "none in yp.conf") + (f"; no answer: {'; '.join(silent)}" if silent else ""),
        True,
        "List two servers in /etc/yp.conf that answer this host (ypserv's securenets). With one, "
        "all users are unknown while it restarts.",
        warning=few or bool(silent),
        id="nis-second-server",
        subject=name,
    )


def _mail(name, client):
    copies = sorted(COPIES.intersection(client.switch.get("passwd", "").split()))
    bounced = [
        text
        for text, bounces in (
            ("new mail (rejected with 550)", not client.mail.recipients),
            ("mail in its queue", not client.mail.queue),
            (
                f"mail that {client.mail.mailer} is delivering",
                client.mail.mailer.endswith("/procmail"),
            ),
        )
        if bounces and not copies
    ]
    if bounced:
        actual = f"bounces: {'; '.join(bounced)}"
    else:
        actual = f"users are known from {', '.join(copies)}" if copies else "it waits"
    return model.Check(
        f"Mail waits on {name} while NIS is silent",
        "it waits",
        actual,
        True,
        "According to sendmail.cf it bounces: set sendmail up to queue it, see docs/site.md (Users "
        "from NIS).",
        warning=bool(bounced),
        id="nis-mail-waits",
        subject=name,
    )


def _called(server, site):
    """A server's name in the parameters, if it has one."""
    for name in site.nis.servers:
        if server in (site.address(name), site.fqdn(name), name):
            return name
    return server


def _maps(name, server):
    question, about = f"NIS server {name} has every map", {"id": "nis-maps", "subject": name}
    if isinstance(server, nis.Silent):
        todo = f"Start ypserv on {name}, and allow the mail hosts in /var/yp/securenets."
        return model.Check(question, "every map", server.error, False, todo, **about)
    # shadow may be part of passwd
    missing = [
        key for key, value in server.maps.items() if value is None and key != "shadow.byname"
    ]
    there = "; ".join(
        f"{key} {value.entries}, order {value.order}" for key, value in server.maps.items() if value
    )
    return model.Check(
        question,
        "every map",
        (f"no {', '.join(missing)}; " if missing else "") + there,
        not missing,
        f"On {name}: `ypinit -s MASTER` for a slave, `make -C /var/yp` for the master.",
        data={"missing": missing},
        **about,
    )


def _same_maps(facts, site):
    asked = [name for name, server in facts.servers.items() if isinstance(server, nis.Server)]
    complete = len(asked) == len(site.nis.servers)
    actual = "the same" if complete else f"only {', '.join(asked) or 'none'} answered"
    return model.Check(
        "The maps are the same on every NIS server",
        "the same",
        listing.listed(facts.differ) or actual,
        not facts.differ and complete,
        f"A host may be bound to any of them. {PUSH}",
        id="nis-maps-same",
        data={"differences": len(facts.differ)},
    )


def _hidden(name, accounts):
    return model.Check(
        f"No account in {name}'s own files hides a NIS user",
        "none",
        listing.listed(accounts) or "none",
        not accounts,
        "Remove it there, or change its name and uid: otherwise mail gets a wrong owner.",
        id="nis-hidden-users",
        subject=name,
    )


def _same_users(name, reading, in_nis):
    question = f"Every mail user of {name} is the same in NIS"
    about = {"id": "nis-users-same", "subject": name}
    if not reading.ok:
        todo = f"Fix how {name} gets its users."
        expected = f"{len(in_nis)} users"
        return model.Check(question, expected, reading.error, False, todo, **about)
    by_name = {user.user: user for user in in_nis}
    own = [user.user for user in reading.value if user.user not in by_name]
    wrong = [
        f"{_described(user)} there, {_described(by_name[user.user])} in NIS"
        for user in reading.value
        if user.user in by_name and user != by_name[user.user]
    ]
    actual = [f"{len(reading.value)} users"]
    if wrong:
        actual.append(listing.listed(wrong))
    if own:
        actual.append(f"only in files: {listing.listed(own)}")
    return model.Check(
        question,
        f"{len(in_nis)} users, the same",
        "; ".join(actual) if wrong or own else f"{actual[0]}, the same",
        not wrong,
        "Correct the wrong one: otherwise mail is converted to a wrong owner.",
        warning=bool(own),
        data={"wrong": len(wrong), "only in files": own},
        **about,
    )


def _described(user):
    return f"{user.user} (uid {user.uid}, gid {user.gid}, home {user.home})"
