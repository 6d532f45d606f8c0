"""Whether both mail hosts have the same users."""

from collections.abc import Iterator, Mapping, Sequence

from cutover import model
from cutover.facts import users
from cutover.steps.checks import listing


def check(
    sides: Mapping[str, model.Reading[list[users.Account]]], hosts: Sequence[str]
) -> Iterator[model.Check]:
    """The users of the old and the new host, named in `hosts`, are the same people."""
    question = "Both mail hosts have the same users, with the same uid, gid and home"
    for name in hosts:
        if not sides[name].ok:
            yield model.Check(
                question,
                "the same",
                sides[name].error,
                False,
                f"Fix how {name} gets its users (passwd, NIS or LDAP).",
                id="users-same",
                subject=name,
            )
            return
    old, new = (sides[name].value for name in hosts)
    wrong = differences({name: sides[name].value for name in hosts})
    yield model.Check(
        question,
        f"{len(old)} users, the same",
        f"{len(new)} users" + (f"; {listing.listed(wrong)}" if wrong else ", the same"),
        not wrong and bool(old),
        "Make them the same (passwd, NIS or LDAP): otherwise mail is converted to a wrong owner.",
        id="users-same",
        data={"differences": wrong},
    )


def differences(sides: Mapping[str, Sequence[users.Account]]) -> list[str]:
    """How the users of two hosts differ, one text per user."""
    (first, second), texts = sides, []
    by_name = {name: {user.user: user for user in sides[name]} for name in sides}
    for login in sorted(by_name[first].keys() | by_name[second].keys()):
        here, there = by_name[first].get(login), by_name[second].get(login)
        if here is None or there is None:
            texts.append(f"{login} only on {second if here is None else first}")
        elif here != there:
            texts.append(
                f"{login}: uid {here.uid}, gid {here.gid}, home {here.home} on {first}; "
                f"uid {there.uid}, gid {there.gid}, home {there.home} on {second}"
            )
    return texts
