"""How a move of the store is judged."""

import dataclasses

from cutover import model
from cutover.facts import storage
from cutover.steps.maintenance import store_unit
from cutover.steps.maintenance.store_facts import Facts

SHOWN = 5


def copied(facts: Facts, site) -> model.Check:
    """Whether there is a copy, where the store does not move yet."""
    state, to = facts.state, site.maintenance.move_store.to
    last = state.passes[-1] if state.passes else None
    actual = "none"
    if last:
        actual = (
            f"yes: the last pass copied {last.copied} files in {last.seconds} s; freeze predicted: "
            f"{state.predicted:.0f} s, plus the services"
        )
    return model.Check(
        f"{to} has a copy of the store",
        "yes",
        actual,
        last is not None and facts.new.ours,
        "run this step again",
        id="store-copied",
        data={"predicted": state.predicted},
    )


def served(facts: Facts, site) -> list[model.Check]:
    """Whether the new storage is the store, also after a reboot."""
    to, store, new = site.maintenance.move_store.to, facts.store, facts.new
    installed = facts.unit == storage.Unit(store_unit.unit_text(site), True)
    by_hand = "" if new.lasting else ", by hand"
    target = new.filesystem.target if new.filesystem else "nothing"
    return [
        model.holds(
            f"{store} is the new storage",
            facts.served,
            to,
            "the old store",
            "run this step again",
            id="store-served",
        ),
        model.holds(
            "It is also the store after a reboot, and no mail service starts without it",
            installed,
            "yes",
            f"{storage.unit_name(store)} is not installed as planned",
            "run this step again",
            id="store-unit",
        ),
        model.Check(
            f"{to} is mounted after a reboot",
            "by /etc/fstab or a unit",
            f"mounted on {target}{by_hand}",
            True,
            "add it to /etc/fstab: without it the mail services do not start",
            warning=not new.lasting,
            id="store-mount-lasting",
        ),
    ]


def services(facts: Facts, host: str) -> model.Check:
    """Whether all mail services run and start at boot."""
    off = [service.name for service in facts.services if not service.on]
    return model.holds(
        f"All mail services of {host} run, and start at boot",
        not off,
        "all",
        f"not {', '.join(off)}",
        "run this step again",
        id="store-services",
        subject=host,
        data={"off": off},
    )


def compared(state: storage.CopyState) -> list[model.Check]:
    """Whether the copy was the same as the store when it took its place."""
    comparison = state.compared
    if comparison is None:
        return [
            _same(
                "compared",
                "not compared by this program",
                False,
                "if somebody switched the store by hand, compare it by hand too",
                {},
            )
        ]
    read = comparison.read + comparison.known
    actual = (
        f"{comparison.entries} entries compared, {comparison.different} differ; contents of {read} "
        "files read"
    )
    figures = dataclasses.asdict(comparison)
    checks = [_same("every entry the same", actual, comparison.different == 0, "", figures)]
    if comparison.unread:
        checks.append(
            model.Check(
                "All contents were read",
                "all",
                f"{comparison.unread} files were not read: time ran out",
                True,
                "to allow more time, raise verify.content_minutes",
                warning=True,
                id="store-contents-read",
                data={"unread": comparison.unread},
            )
        )
    return checks


def _same(expected, actual, passed, todo, figures):
    return model.Check(
        "The copy was the same as the store when it took its place",
        expected,
        actual,
        passed,
        todo,
        id="store-copy-same",
        data=figures,
    )


def folders(then: dict, now: dict) -> model.Check:
    """Although users have worked since, no folder has another UIDVALIDITY or lower UIDs."""
    wrong, gone = [], []
    for user, marks in sorted(then.items()):
        for folder, mark in sorted(marks.items()):
            current = now.get(user, {}).get(folder)
            if current is None:
                gone.append(f"{user} {folder}")
            elif difference := _difference(mark, current):
                wrong.append(f"{user} {folder}: {difference}")
    total = sum(map(len, then.values()))
    words = [
        f"{total} folders",
        f"not {'; '.join(wrong[:SHOWN])}" if wrong else "",
        f"deleted since by their users: {', '.join(gone[:SHOWN])}" if gone else "",
    ]
    return model.Check(
        "Every folder kept its UIDVALIDITY and its UIDs",
        "all",
        "; ".join(filter(None, words)),
        not wrong,
        "check Dovecot's log, and roll back",
        warning=bool(gone) and not wrong,
        id="store-folders",
        data={"folders": total, "wrong": wrong, "gone": gone},
    )


def _difference(mark, current):
    uidvalidity, uidnext = map(int, mark.split())
    now_validity, now_next = map(int, current.split())
    if now_validity == uidvalidity and now_next >= uidnext:
        return ""
    return f"UIDVALIDITY {uidvalidity}, next UID {uidnext} became {now_validity}, {now_next}"


def freeze(facts: Facts, site) -> model.Check:
    """How long there was no mail; never fails."""
    limit = 60 * site.maintenance.move_store.freeze_minutes
    seconds, predicted = facts.frozen.seconds, facts.state.predicted
    words = f", {predicted:.0f} s of which were predicted for the copy" if predicted else ""
    return model.Check(
        f"Mail was off for at most {limit:.0f} s",
        f"at most {limit:.0f} s",
        f"{seconds:.1f} s{words}",
        True,
        "tell the users",
        warning=seconds > limit,
        id="store-freeze",
        data={"seconds": seconds},
    )


def test_message(facts: Facts, site) -> model.Check:
    """Whether a message arrived after the move."""
    return model.holds(
        "A test message arrived and can be read through the alias",
        not facts.test.error and facts.arrived_in == "INBOX",
        "INBOX",
        facts.test.error or facts.arrived_in or "not found",
        f"`mailq` on {site.roles.mx[0]}; Dovecot's log",
        id="store-test-message",
    )
