"""Submission, webmail and lists: no step of their own; preflight and production-test judge them.

They keep running during the night. They use the mailboxes by the alias, and must still do so after
the switch.
"""

from collections.abc import Iterator
from typing import NamedTuple

from cutover import model
from cutover.changes.system_mail import PostTestMail, SubmitTestMail
from cutover.facts import alias_service, submission, systems, webmail

RELAYED = 250
REFUSED_FOR_GOOD = range(500, 600)
Visits = dict[str, model.Reading[alias_service.Visit]]  # by test user


class SystemMail(NamedTuple):
    """A test message through one of these systems. way or address says which; users receive it."""

    token: str
    way: str | None
    address: str | None
    users: list[str]


def test_mails(site, run: str) -> list[SystemMail]:
    """The test messages of a run: one per way that is granted, one per list."""
    first = site.production_test.users[0].user
    return [
        *(
            SystemMail(f"{run}-smtp-{way}-{first}", way, None, [first])
            for way in submission.ways(site)
            if way in submission.GRANTED
        ),
        *(
            SystemMail(
                f"{run}-list-{mailing_list.address.replace('@', '-')}",
                None,
                mailing_list.address,
                mailing_list.subscribers,
            )
            for mailing_list in site.lists
        ),
    ]


def tokens_by_user(site, run: str) -> dict[str, list[tuple[str, bool]]]:
    """`{user: [(token, is spam)]}` for alias_service.look."""
    tokens = {}
    for mail in test_mails(site, run):
        for user in mail.users:
            tokens.setdefault(user, []).append((mail.token, False))
    return tokens


# --- what is planned


def plan(visits: Visits, run: str, site) -> list[model.Change]:
    """The changes that send the test messages which have not reached every user."""
    test, changes = site.production_test, []
    for mail in test_mails(site, run):
        if all(folder_of(visits, user, mail.token) for user in mail.users):
            continue
        user = mail.users[0]
        sender = f"{user}@{site.zone}"
        if mail.way:
            changes.append(
                SubmitTestMail(
                    site.submission.host,
                    site.submission.port,
                    sender,
                    sender,
                    user,
                    mail.token,
                    False,
                    mail.way,
                    submission.GRANTED[mail.way],
                )
            )
        else:
            changes.append(
                PostTestMail(
                    site.roles.mx[0],
                    test.smtp_port,
                    sender,
                    mail.address,
                    user,
                    mail.token,
                    False,
                    mail.users,
                )
            )
    return changes


def folder_of(visits: Visits, user: str, token: str) -> str | None:
    """The folder in which a user has a test message, or None."""
    visit = visits[user]
    return visit.value.found.get(token) if visit.ok else None


# --- what is judged


def declared(site) -> Iterator[model.Check]:
    """Which systems and which ways are not tested, since the parameters do not declare them."""
    sections = {"submission": site.submission, "webmail": site.webmail, "lists": site.lists}
    tested = [name for name, section in sections.items() if section]
    missing = [name for name, section in sections.items() if not section]
    yield model.Check(
        "Submission, webmail and lists are tested as declared",
        "those in the parameters",
        (", ".join(tested) or "none")
        + (f"; not declared: {', '.join(missing)}" if missing else ""),
        True,
        id="systems-declared",
        data={"tested": tested, "missing": missing},
    )
    untried = [way for way in submission.WAYS if way not in submission.ways(site)]
    if site.submission and untried:
        yield model.Check(
            f"Every way to {site.submission.host} is tried",
            "all",
            "not " + "; not ".join(submission.WAYS[way] for way in untried),
            True,
            "Set submission.inside, outside, certificate and key.",
            warning=True,
            id="submission-ways-tried",
            subject=site.submission.host,
            data={"untried": untried},
        )


def judge(facts: systems.Systems, site) -> Iterator[model.Check]:
    """Whether the declared systems work; for preflight and production-test alike."""
    yield from declared(site)
    if facts.submission and site.submission:
        yield from _submission(facts.submission, site)
    if facts.webmail and site.webmail:
        yield _webmail_login(facts.webmail, site)
    for address, route in (facts.lists or {}).items():
        yield _list_route(address, route, site)


def _list_route(address, route, site):
    mx = site.roles.mx[0]
    return model.Check(
        f"{mx} knows where {address} goes",
        "yes",
        (", ".join(route.value) or "no") if route.ok else route.error,
        bool(route.ok and route.value),
        "Add the list to the userdb or to aliases on every MX. Try `sendmail -bv` there.",
        id="list-route",
        subject=address,
    )


def _submission(facts, site):
    section, address = site.submission, site.address(site.submission.host)
    actual = facts.address.value if facts.address.ok else facts.address.error
    yield model.holds(
        f"{site.fqdn(section.name)} leads to {section.host}",
        facts.address.ok and facts.address.value == address,
        address,
        actual,
        "Add it to the zone, or correct the parameters.",
        id="submission-name",
        subject=section.host,
    )
    for way, reply in facts.ways.items():
        yield _way(way, reply, section)


def _way(way, reply, section):
    where, words = f"{section.host}:{section.port}", submission.WAYS[way]
    if way in submission.GRANTED:
        statement, expected = f"{where} accepts mail {words}", "yes"
        passed = reply.ok and reply.value.code == RELAYED
        todo = f"Compare access and the SASL settings on {section.host}."
    elif way == "nothing":
        statement, expected = f"{where} refuses mail {words}", "refused for good (5xx)"
        passed = reply.ok and reply.value.code in REFUSED_FOR_GOOD
        todo = f"It is an open relay: compare access on {section.host}."
    else:
        statement, expected = f"{where} does not ask for a password {words}", "no"
        passed = reply.ok and not reply.value.auth
        todo = "Add p to AuthOptions: the password would cross the network unencrypted."
    if not reply.ok:
        actual = reply.error
        todo = f"Check the logs of sendmail and saslauthd on {section.host}."
        if way == "password":
            todo += " Check that it logs in to the server the alias leads to now."
    elif way == "plain":
        actual = reply.value.auth or "no"
    else:
        answer = f"{reply.value.code} {reply.value.text}"
        actual = "yes" if way in submission.GRANTED and passed else answer
    return model.Check(statement, expected, actual, passed, todo, id="submission-way", subject=way)


def _webmail_login(view, site):
    user, section = site.production_test.users[0].user, site.webmail
    if not view.ok:
        actual, passed = view.error, False
        todo = f"Check the logs of Apache and Roundcube on {section.host}."
    else:
        actual, passed = f"logged in; {_inbox(view.value)}", view.value.read is not False
        todo = f"Check Roundcube's log on {section.host}."
    return model.Check(
        f"{user} can log in at {section.url} and read a message",
        "yes",
        actual,
        passed,
        todo,
        id="webmail-login",
        subject=user,
    )


def _inbox(view: webmail.View) -> str:
    if not view.messages:
        return "INBOX is empty"
    outcome = {True: "one was read", False: "its page does not show it", None: "none to read"}
    return f"{view.messages} messages in INBOX, {outcome[view.read]}"


def verify(facts: systems.Systems, visits: Visits, run: str, site) -> Iterator[model.Check]:
    """For production-test: also what arrived, and which server the webmail reads from."""
    yield from judge(facts, site)
    for mail in test_mails(site, run):
        for user in mail.users:
            yield _arrival(mail, user, folder_of(visits, user, mail.token), site)
    if site.webmail and facts.webmail and facts.webmail.ok:
        visit = visits[site.production_test.users[0].user]
        folders = visit.value.folders if visit.ok else []
        yield from webmail_on_new(facts.webmail.value, folders, site)


def _arrival(mail, user, folder, site):
    if mail.way:
        what, host = f"Mail submitted {submission.GRANTED[mail.way]}", site.submission.host
    else:
        what, host = f"The post to {mail.address}", "the host of the lists"
    return model.holds(
        f"{what} reached {user}",
        folder == "INBOX",
        "INBOX",
        folder or "not found",
        f"Run `mailq` on {host} and on the MX.",
        id="system-mail-arrived",
        subject=user,
        data={"token": mail.token, "folder": folder},
    )


def webmail_on_new(view: webmail.View, folders: list[str], site) -> Iterator[model.Check]:
    """Whether the webmail reads from the new server. folders: the test user's, by IMAP."""
    user, new, host = site.production_test.users[0].user, site.roles.new, site.webmail.host
    alias, address = site.fqdn(site.alias), site.address(site.webmail.host)
    yield model.holds(
        f"Webmail shows {user} a message that came after the switch",
        bool(view.token),
        "yes",
        "no",
        f"Set Roundcube's imap_host to {alias}, not to a server's own name or address.",
        id="webmail-shows-new-mail",
        subject=user,
    )
    if address in view.comers:
        actual = "there is one"
    elif view.comers:
        actual = f"only from {', '.join(view.comers)}"
    else:
        actual = f"unknown: the journal of {new} has no login of {user}"
    yield model.Check(
        f"{host} reads from {new}",
        f"a login from {address} in Dovecot's log",
        actual,
        address in view.comers or not view.comers,
        f"Set Roundcube's imap_host to {alias}.",
        warning=address not in view.comers,
        id="webmail-reads-from-new",
        subject=host,
        data={"addresses": view.comers},
    )
    yield _webmail_folders(view, folders, site)


def _webmail_folders(view, folders, site):
    user = site.production_test.users[0].user
    # webmail shows the levels above a folder as folders too
    unknown = [
        name
        for name in view.folders
        if name not in folders
        and not any(folder.startswith((f"{name}/", f"{name}.")) for folder in folders)
    ]
    hidden = len(folders) > 1 and len(view.folders) < 2
    return model.Check(
        f"Webmail shows {user} the existing folders",
        f"some of {len(folders)}",
        str(len(view.folders))
        + (f", of which {', '.join(unknown[:3])} do not exist" if unknown else ""),
        True,
        f"Remove the old server's prefix {site.old_store.imap_prefix!r} from imap_ns_personal, "
        "sent_mbox, drafts_mbox, junk_mbox and trash_mbox in Roundcube's configuration, and from "
        "users' preferences.",
        warning=bool(unknown) or hidden,
        id="webmail-folders",
        subject=user,
        data={"unknown": unknown},
    )
