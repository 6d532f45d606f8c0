"""Of several stores: whether every user belongs to one, and has old mail in no other."""

import dataclasses
from collections.abc import Iterator

from cutover import model
from cutover.facts import old_mail, users
from cutover.remote import converter
from cutover.steps.checks import listing

TIMEOUT = 3600  # seconds for the survey of other stores' users


@dataclasses.dataclass(frozen=True)
class Belonging:
    """astray: `{user: its stores}` of those who belong to none or to several.

    with_mail: users of other stores, or of none, who have mail in this store's old one.
    """

    astray: dict[str, list[str]]
    with_mail: list[str]


def read(hosts, run: str) -> Belonging:
    """Asked of the new host and of the first MX's userdb. Raises as users.read."""
    site = hosts.site
    accounts = users.everybody(hosts, site.roles.new)
    belong = users.stores_of(site, accounts, users.recipients(hosts))
    strangers = [account for account in accounts if site.store not in belong[account.user]]
    return Belonging(
        {user: stores for user, stores in belong.items() if len(stores) != 1},
        _with_mail(hosts, run, strangers) if strangers else [],
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
        "A user belongs to the store whose mailbox the userdb routes its mail to. Correct the "
        "userdb, or list the user in users.only of its store or in users.exclude.",
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
