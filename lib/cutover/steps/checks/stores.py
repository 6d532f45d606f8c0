"""Of several stores: whether every user belongs to one, and has old mail in no other."""

import dataclasses
from collections.abc import Iterator

from cutover import model
from cutover.facts import old_mail, users
from cutover.model import errors
from cutover.remote import converter
from cutover.steps.checks import listing

TIMEOUT = 3600  # seconds for the survey of other stores' users


class MovedAway(errors.CutoverError):
    """Users left the store while it was being moved."""


@dataclasses.dataclass(frozen=True)
class Belonging:
    """astray: `{user: its stores}` of those who belong to none or to several.

    Also of a user whose mail the userdb routes to another store than users.only or users.homes
    say, and of a user of users.only whom the new host does not know.

    with_mail: users of other stores, or of none, who have mail in this store's old one.
    """

    astray: dict[str, list[str]]
    with_mail: list[str]


def read(hosts, run: str) -> Belonging:
    """Asked of the new host and of the first MX's userdb. Raises as users.read."""
    site = hosts.site
    accounts = users.everybody(hosts, site.roles.new)
    recipients = users.recipients(hosts)
    belong = users.stores_of(site, accounts, recipients)
    strangers = [account for account in accounts if site.store not in belong[account.user]]
    return Belonging(
        {
            **dict.fromkeys(set(site.users.only) - belong.keys(), []),
            **_astray(site, belong, recipients),
        },
        _with_mail(hosts, run, strangers) if strangers else [],
    )


def _astray(site, belong, recipients):
    everywhere = {
        user: sorted({*stores, *users.routed_to(site, user, recipients)})
        for user, stores in belong.items()
    }
    return {user: stores for user, stores in everywhere.items() if len(stores) != 1}


def require_still_here(ctx, accounts) -> None:
    """Raises MovedAway for users whom preflight found in this store, and who left it since.

    Every step asks the userdb anew, and no other would miss them.
    """
    hosts, site = ctx.hosts, ctx.site
    before = ctx.kept("preflight") if site.others else None
    known = before.value.users.get(site.roles.new) if before and before.ok else None
    if known is None or not known.ok:
        return
    gone = {account.user for account in known.value} - {account.user for account in accounts}
    if gone:
        gone &= {account.user for account in users.everybody(hosts, site.roles.new)}
    if gone:
        raise MovedAway(
            f"{listing.listed(sorted(gone))}: belonged to the store {site.store} when preflight "
            "passed, and by the userdb no longer. Mail would stay behind, unread, on "
            f"{site.roles.old}. Correct the userdb on every MX, or list the user in users.only of "
            f"{site.store}. For a user who moved on purpose, with all mail, run preflight again."
        )


def _with_mail(hosts, run, accounts):
    site = hosts.site
    plan = converter.plan(site, run, accounts, site.new_store.jobs)
    survey = old_mail.parse(converter.read(hosts, site.roles.new, plan, "survey", timeout=TIMEOUT))
    return [
        name
        for name, user in sorted(survey.users.items())
        if user.messages or user.errors or user.damage or user.outside
    ]


def checks(reading: model.Reading[Belonging] | None) -> Iterator[model.Check]:
    """None of a file with one store, and in facts recorded by an earlier version."""
    if reading is None:
        return
    known = reading.value if reading.ok else Belonging({}, [])
    wrong = [
        f"{user} to {' and '.join(names) or 'none'}" for user, names in sorted(known.astray.items())
    ]
    yield model.Check(
        "Every mail user belongs to one store",
        "every user",
        reading.error or listing.listed(wrong) or "every user",
        reading.ok and not wrong,
        "A user belongs to the store whose mailbox the userdb routes its mail to, and users.only "
        "and users.homes have to agree with that. Correct the userdb; or list a user whom the "
        "userdb does not decide in users.only of a store, or in users.exclude.",
        id="user-in-one-store",
        data={"users": known.astray},
    )
    if reading.ok:
        yield model.Check(
            "No user of another store has old mail in this one",
            "none",
            listing.listed(known.with_mail) or "none",
            not known.with_mail,
            "It would stay behind. Move it to the user's store, or list the user in users.only of "
            "the store that has the mail.",
            id="mail-in-another-store",
            data={"users": known.with_mail},
        )
