"""Submission, webmail and lists: the systems around the mailboxes, which use them by the alias."""

from dataclasses import dataclass

from cutover.facts import alias_service, routes, submission, webmail
from cutover.model import Reading, read


@dataclass(frozen=True)
class Submission:
    """address: where the submission host's name leads. ways: see facts.submission."""

    address: Reading[str]
    ways: dict[str, Reading[submission.Reply]]


@dataclass(frozen=True)
class Systems:
    """None stands for a system the parameters do not declare.

    lists: `{address: where the first MX sends it}`.
    """

    submission: Submission | None
    webmail: Reading[webmail.View] | None
    lists: dict[str, Reading[list[str]]] | None


def read_all(hosts, token: str = "", locked_out: bool = False) -> Systems:
    """Every declared system.

    token: webmail looks for a message with this text in its subject.
    locked_out: the first test user cannot log in by IMAP. Then nothing logs in with his password:
    servers answer repeated failures ever more slowly.
    """
    site = hosts.site
    user = site.production_test.users[0].user
    skipped = Reading(error=f"not tried: {user} cannot log in by IMAP") if locked_out else None
    return Systems(
        _submission(hosts, skipped) if site.submission else None,
        (skipped or read(webmail.look, hosts, user, token)) if site.webmail else None,
        {
            mailing_list.address: read(_route, hosts, mailing_list.address)
            for mailing_list in site.lists
        }
        or None,
    )


def _submission(hosts, skipped):
    site = hosts.site
    replies = {
        way: skipped if skipped and way == "password" else read(submission.ask, hosts, way)
        for way in submission.ways(site)
    }
    return Submission(read(alias_service.resolve, hosts, site.fqdn(site.submission.name)), replies)


def _route(hosts, address):
    local = address.partition("@")[0]
    return routes.read(hosts, hosts.site.roles.mx[0], [local])[local.lower()]
