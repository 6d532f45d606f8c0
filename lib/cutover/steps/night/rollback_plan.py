"""In which order a rollback undoes what the run changed."""

from cutover import model
from cutover.carryback import notes
from cutover.carryback.carry_back import CarryBack
from cutover.carryback.carry_left import CarryLeft
from cutover.carryback.left_behind import LeaveBehind
from cutover.changes.dns_update import RenameBack
from cutover.changes.mail import AwaitDeliveries, DrainQueue
from cutover.changes.service import EndSessions
from cutover.facts import mail_services
from cutover.steps.night import rollback_facts
from cutover.steps.night.rollback_facts import Facts

NOTED = 60  # users named in the notes of a plan


def plan(facts: Facts, site) -> model.Plan:
    rows = _changes(facts, site)
    users = {entry["user"] for entry in rollback_facts.published_entries(facts.intents)}
    unknown = [name for name in facts.without if name not in users | facts.behind.keys()]
    if unknown:
        raise model.CannotPlan(
            f"there is nothing to carry back for {', '.join(unknown)}. Check the spelling of "
            "`without` (logins, separated by commas)."
        )
    if not rows:
        return model.Plan(reason=_nothing_to_do(facts))
    return model.Plan(
        tuple(change for change, _ in rows),
        undoes=tuple(seq for _, seq in rows),
        notes=tuple(_notes(facts, site)),
    )


def _nothing_to_do(facts):
    left = "".join(
        f"; but mail of {user} is left behind, {notes.pending_text(note)}: run it again without "
        "`without`"
        for user, note in facts.behind.items()
    )
    return f"everything already is as it was before this run{left}"


# --- the changes


def _changes(facts, site) -> list:
    """`[(change, journal number of the intent it undoes, or None)]` in the order of application.

    First what was not undone yet, the latest first; then what was undone and has changed again.
    """
    rows, drained, emptied = [], False, False
    carried = not rollback_facts.was_resumed(facts.intents)
    for intent in _in_order(facts.intents, site):
        if _stops_delivery_on(intent, site.roles.old) and not emptied:
            rows.append((_drain_mx(site, but=site.fqdn(site.roles.new)), None))
            emptied = True
        if intent.inverse["kind"] == "unpublish" and not carried:
            rows += [(change, None) for change in _carry_back(facts, site)]
            carried = True
        if intent.step == "dual-delivery" and not drained:
            # mail queued for a name that is about to disappear would bounce
            rows.append((_drain_mx(site), None))
            drained = True
        rows.append((_undo(intent, site), intent.seq))
    later = sorted(facts.behind.keys() - set(facts.without))
    if later and not any(change.kind == "unpublish" for change, _ in rows):
        change = CarryLeft(site.roles.old, facts.run, site.old_store.aside, later)
        rows.append((change, None))
    return rows


def _undo(intent, site):
    """The change that undoes an intent."""
    inverse = model.change_from_json(intent.inverse)
    if intent.step != "dns-rename":
        return inverse
    return RenameBack(
        inverse.server,
        inverse.seen_by,
        inverse.forward,
        inverse.backward,
        inverse.wait,
        site.fqdn(site.roles.old),
        list(site.roles.mx),
        site.limits.queue_drain,
        sorted(site.mail_domains),
    )


def _in_order(intents, site) -> list:
    """The intents to undo: the open ones, then those undone before that are not as they were.

    Delivery stops on the new server first, and on the old one once the MX have handed it all that
    the new one got. Otherwise mail of which only the old server's copy is still queued would look
    like mail that never reached it.
    """
    waiting = [intent for intent in intents if intent.inverse is not None and not intent.undone]
    stops = [intent for intent in waiting if _stops_delivery(intent)]
    turns = iter(sorted(stops, key=lambda intent: intent.inverse["host"] == site.roles.old))
    ordered = [next(turns) if _stops_delivery(intent) else intent for intent in waiting]
    again = [intent for intent in intents if intent.undone and intent.settled is False]
    return ordered + again


def _stops_delivery(intent):
    return intent.step == "restore-sendmail" and intent.inverse["kind"] == "service"


def _stops_delivery_on(intent, host):
    return _stops_delivery(intent) and intent.inverse["host"] == host


def _drain_mx(site, but=""):
    domains = sorted(site.mail_domains)
    return DrainQueue(list(site.roles.mx), site.limits.queue_drain, but, domains)


def _carry_back(facts, site) -> list:
    """Everything comes to rest, then users' new state is copied back.

    A mail host's own queue is drained too: what is in it would reach that host only.
    """
    changes = [
        DrainQueue(list(site.mail_hosts), site.limits.queue_drain, only=sorted(site.mail_domains)),
        *(
            EndSessions(name, mail_services.session_commands(site, name))
            for name in site.mail_hosts
        ),
        *(
            AwaitDeliveries(name, mail_services.DELIVERING, site.limits.queue_drain)
            for name in site.mail_hosts
        ),
    ]
    entries, without = rollback_facts.published_entries(facts.intents), facts.without
    changes.append(
        CarryBack(site.roles.old, facts.run, site.old_store.aside, entries, list(without))
    )
    if without:
        named = [entry for entry in entries if entry["user"] in without]
        changes.append(LeaveBehind(site.roles.new, facts.run, site.new_store.work, named))
    return changes


# --- what the person who approves it should know


def _notes(facts, site):
    yield from _carry_notes(facts.carry)
    for user, note in facts.behind.items():
        yield user, f"left behind on {site.roles.new}: {notes.pending_text(note)}"
    if facts.without:
        yield (
            ", ".join(facts.without),
            "the rollback CONTINUES WITHOUT the mail of these users that the old server refuses; "
            "that mail stays on the new server",
        )


def _carry_notes(carry):
    yield (
        "Users' new state",
        f"{carry.why}. This is the state now; it is compared again when both servers are closed.",
    )
    telling = {user: row for user, row in carry.users.items() if not row.empty}
    # what is in doubt first; nobody reads a note on each of thousands of users
    listed = sorted(telling, key=lambda user: (not _in_doubt(telling[user]), user))
    for user in listed[:NOTED]:
        yield user, _estimate_text(telling[user])
    if more := listed[NOTED:]:
        yield f"{len(more)} more users", _others_text([telling[user] for user in more])
    quiet = sum(estimate.empty for estimate in carry.users.values())
    if quiet:
        yield "all others", f"{quiet} users: nothing to carry back"


def _in_doubt(estimate):
    return estimate.error is not None or bool(estimate.left)


def _others_text(estimates):
    sums = notes.total(estimate.counts for estimate in estimates)
    unknown = sum(estimate.error is not None for estimate in estimates)
    left = sum(bool(estimate.left) for estimate in estimates)
    return (
        f"to be carried back: {notes.counts_text(sums)}"
        + (f"; something of {left} users CANNOT be carried back" if left else "")
        + (f"; {unknown} users are not known yet" if unknown else "")
        + ". The facts in the run's folder have each user."
    )


def _estimate_text(estimate):
    if estimate.error is not None:
        return f"not known yet: {estimate.error}"
    lines = [f"to be carried back: {notes.counts_text(estimate.counts)}"]
    lines += [f"CANNOT be carried back: {text}" for text in estimate.left]
    lines += [f"stays: {text}" for text in estimate.notes]
    return "\n".join(lines)
