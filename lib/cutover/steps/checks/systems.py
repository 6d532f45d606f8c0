"""Submission, webmail and lists: no step of their own, but what preflight and production-test read and judge of them.

They are not stopped in the night; they use the mailboxes by the alias, and must go on doing so after the switch.
"""

from cutover import model
from cutover.changes.system_mail import PostTestMail, SubmitTestMail
from cutover.facts import alias_service as live
from cutover.facts import clock, routes, submission, webmail

GRANTED = {
    "inside": "from inside, with nothing",
    "password": "from outside, by TLS with a password",
    "certificate": "from outside, by TLS with a client certificate",
}
REFUSED = {"nothing": "from outside, with nothing", "plain": "from outside, without TLS"}
WAYS = {**GRANTED, **REFUSED}


def ways(site) -> list:
    """The ways of `hosts.submission` that the parameters let this machine try."""
    section = site.submission
    if section is None:
        return []
    return [
        *(["inside"] if section.inside else []),
        *(["password"] if section.outside else []),
        *(["certificate"] if section.outside and section.certificate else []),
        *(REFUSED if section.outside else []),
    ]


def tokens(site, run) -> list:
    """`[(token, way or None, list's address or None, users who get it)]` of the test messages that go through these systems."""
    first = site.production_test.users[0].user
    return [
        *(
            (f"{run}-smtp-{way}-{first}", way, None, [first])
            for way in ways(site)
            if way in GRANTED
        ),
        *(
            (f"{run}-list-{each.address.replace('@', '-')}", None, each.address, each.subscribers)
            for each in site.lists
        ),
    ]


def wanted(site, run) -> dict:
    """`{user: [(token, spam)]}` as live.look takes them."""
    found = {}
    for token, _, _, users in tokens(site, run):
        for user in users:
            found.setdefault(user, []).append((token, False))
    return found


# --- what is read


def probe(hosts, site, token: str = "", shut_out: bool = False) -> dict:
    """`{"submission": {"address": …, way: submission.ask}, "webmail": webmail.look and "comers", "lists": {address: where the MX
    sends it}}`, each read by itself, `None` for what the parameters do not declare. With `token` webmail looks for that message.
    `shut_out`: the first test user may not log in by IMAP, and is not tried again and again: servers answer ever later then.
    """
    section, mx = site.submission, site.roles.mx[0]
    skipped = {"error": f"not tried: {site.production_test.users[0].user} may not log in by IMAP"}
    return {
        "submission": section
        and {
            "address": model.attempt(live.resolve, hosts, site.fqdn(section.name)),
            "ways": {
                way: skipped
                if shut_out and way == "password"
                else model.attempt(submission.ask, hosts, way)
                for way in ways(site)
            },
        },
        "webmail": site.webmail
        and (skipped if shut_out else model.attempt(_webmail, hosts, site, token)),
        "lists": {
            each.address: model.attempt(_route, hosts, mx, each.address) for each in site.lists
        }
        or None,
    }


def _webmail(hosts, site, token):
    user, new = site.production_test.users[0].user, site.roles.new
    since = clock.now(hosts, new)
    seen = webmail.look(hosts, user, token)
    return {**seen, "comers": webmail.comers(hosts, user, since, site.address(site.webmail.host))}


def _route(hosts, mx, address):
    local = address.partition("@")[0]
    return routes.read(hosts, mx, [local])[local.lower()]


# --- what is planned


def plan(found, site) -> list:
    """The test messages that have not arrived everywhere."""
    run, listed, test, mx = found["run"], [], site.production_test, site.roles.mx[0]
    for token, way, address, users in tokens(site, run):
        if all(arrived(found, user, token) for user in users):
            continue
        sender = f"{users[0]}@{site.zone}"
        if way:
            listed.append(
                SubmitTestMail(
                    site.submission.host,
                    site.submission.port,
                    sender,
                    sender,
                    users[0],
                    token,
                    False,
                    way,
                    GRANTED[way],
                )
            )
        else:
            listed.append(
                PostTestMail(mx, test.smtp_port, sender, address, users[0], token, False, users)
            )
    return listed


def arrived(found, user, token):
    """The folder in which a user has a test message, or None."""
    return found["users"][user].get("value", {}).get("found", {}).get(token)


# --- what is judged


def declared(found, site):
    """That the systems are not declared is said, not passed over."""
    names = {"submission": site.submission, "webmail": site.webmail, "lists": site.lists}
    told = ", ".join(name for name, section in names.items() if section) or "none"
    missing = ", ".join(name for name, section in names.items() if not section)
    yield model.Check(
        "Which of submission, webmail and lists are tested?",
        "those in the parameters",
        told + (f"; not declared: {missing}" if missing else ""),
        True,
    )
    if site.submission:
        untried = [way for way in WAYS if way not in ways(site)]
        if untried:
            yield model.Check(
                f"Is every way to {site.submission.host} tried?",
                "facts",
                "not " + "; not ".join(WAYS[way] for way in untried),
                True,
                "give submission.inside, outside, certificate and key",
                warning=True,
            )


def checks(found, site):
    """Of preflight and production-test alike; `found` as `probe` gives it."""
    yield from declared(found, site)
    if found["submission"] and site.submission:
        yield from _submission(found["submission"], site)
    if found["webmail"] and site.webmail:
        yield from _reading(found["webmail"], site)
    for address, result in (found["lists"] or {}).items():
        question = f"Does {site.roles.mx[0]} know where {address} goes?"
        if "error" in result:
            yield model.Check(question, "yes", result["error"], False, "try `sendmail -bv` there")
        else:
            yield model.Check(
                question,
                "yes",
                ", ".join(result["value"]) or "no",
                bool(result["value"]),
                "the list needs an entry in the userdb, or in aliases, of every MX",
            )


def _submission(found, site):
    section = site.submission
    where = f"{section.host}:{section.port}"
    yield model.equal(
        f"Does {site.fqdn(section.name)} lead to {section.host}?",
        site.address(section.host),
        found["address"].get("value") or found["address"]["error"],
        "put it into the zone, or correct the parameters",
    )
    for way, result in found["ways"].items():
        if "error" in result:
            yield model.Check(
                f"Does {where} answer, {WAYS[way]}?",
                "yes",
                result["error"],
                False,
                f"look at sendmail's and saslauthd's log on {section.host}"
                + (
                    ": does it ask the server that the alias leads to now?"
                    if way == "password"
                    else ""
                ),
            )
            continue
        said = result["value"]
        answer = f"{said['code']} {said['text']}"
        if way in GRANTED:
            yield model.Check(
                f"Does {where} take mail, {GRANTED[way]}?",
                "yes",
                "yes" if said["code"] == 250 else answer,
                said["code"] == 250,
                f"compare access and SASL's settings on {section.host}",
            )
        elif way == "nothing":
            yield model.Check(
                f"Does {where} refuse mail, {REFUSED[way]}?",
                "refused for good (5xx)",
                answer,
                500 <= said["code"] < 600,
                f"it is an open relay: compare access on {section.host}",
            )
        else:
            yield model.Check(
                f"Does {where} ask for no password, {REFUSED[way]}?",
                "no",
                said["auth"] or "no",
                not said["auth"],
                "add p to AuthOptions: the password would cross the network for everybody to read",
            )


def _reading(found, site):
    question = (
        f"Can {site.production_test.users[0].user} log in at {site.webmail.url} and read a message?"
    )
    if "error" in found:
        yield model.Check(
            question,
            "yes",
            found["error"],
            False,
            f"look at Apache's and Roundcube's log on {site.webmail.host}",
        )
        return
    seen = found["value"]
    yield model.Check(
        question,
        "yes",
        "logged in; "
        + (
            "INBOX is empty"
            if not seen["messages"]
            else f"{seen['messages']} messages in INBOX, "
            + (
                "one was read"
                if seen["read"]
                else "none to read"
                if seen["read"] is None
                else "its page does not show it"
            )
        ),
        seen["read"] is not False,
        f"look at Roundcube's log on {site.webmail.host}",
    )


def verify(found, site):
    """Of production-test: also what has arrived, and which server webmail reads from."""
    systems = found["systems"]
    yield from checks(systems, site)
    for token, way, address, users in tokens(site, found["run"]):
        what = f"mail submitted {GRANTED[way]}," if way else f"the post to {address}"
        for user in users:
            yield model.equal(
                f"Did {what} arrive at {user}?",
                "INBOX",
                arrived(found, user, token) or "not found",
                f"`mailq` on {site.submission.host if way else 'the host of the lists'} and on the MX",
            )
    if site.webmail and "value" in (systems["webmail"] or {}):
        yield from _webmail_on_new(found, systems["webmail"]["value"], site)


def _webmail_on_new(found, seen, site):
    user, new, host = site.production_test.users[0].user, site.roles.new, site.webmail.host
    yield model.equal(
        f"Does webmail show {user} a message that came after the switch?",
        "yes",
        "yes" if seen["token"] else "no",
        f"Roundcube's imap_host must be {site.fqdn(site.alias)}, not a server's own name or address",
    )
    came = site.address(host) in seen["comers"]
    yield model.Check(
        f"Does {host} read from {new}?",
        f"a login from {site.address(host)} in Dovecot's log",
        "there is one"
        if came
        else f"only from {', '.join(seen['comers'])}"
        if seen["comers"]
        else f"unknown: the journal of {new} has no login of {user}",
        came or not seen["comers"],
        f"Roundcube's imap_host must be {site.fqdn(site.alias)}",
        warning=not came,
    )
    there = found["users"][user].get("value", {}).get("folders", [])
    # webmail shows the levels above a folder as folders too
    odd = [
        name
        for name in seen["folders"]
        if name not in there
        and not any(each.startswith((f"{name}/", f"{name}.")) for each in there)
    ]
    hidden = len(there) > 1 and len(seen["folders"]) < 2
    yield model.Check(
        f"Does webmail show {user} the folders that are there?",
        f"some of {len(there)}",
        f"{len(seen['folders'])}"
        + (f", {', '.join(odd[:3])} of which are not there" if odd else ""),
        True,
        f"take the old server's prefix {site.old_store.imap_prefix!r} out of imap_ns_personal and of sent_mbox, "
        "drafts_mbox, junk_mbox, trash_mbox in Roundcube's configuration, and out of users' preferences",
        warning=bool(odd) or hidden,
    )
