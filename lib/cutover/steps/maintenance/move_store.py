"""The store moves to other storage of the new host: passes while users work, then a short freeze.

In the freeze nothing reads and nothing delivers; mail waits on the MX. Any interrupted attempt can
be resumed: the host is asked what is served, what runs and what was copied. A store that has moved
can move again. What cannot work is refused in the plan, while nothing is stopped.
"""

import dataclasses

from cutover import model
from cutover.changes.files import FileChange
from cutover.changes.mail import AwaitDeliveries, DrainQueue, SendTestMail
from cutover.changes.service import EndSessions, start_all, stop_all
from cutover.changes.store_move import CopyStore, LastCopy
from cutover.changes.store_switch import SwitchStore
from cutover.facts import mail_services, storage
from cutover.steps.maintenance import store_checks, store_refusals, store_unit
from cutover.steps.maintenance.store_facts import Facts, probe, stable, token


def plan(facts: Facts, site) -> model.Plan:
    """Copy, stop, copy again, switch, start, send a test message."""
    parameters, new = site.maintenance.move_store, site.roles.new
    if not facts.store:
        reason = (
            "not declared: the parameters name no new storage (maintenance.move_store)"
            if parameters is None
            else "new_store.maildir names no directory that holds all maildirs: there is no store "
            "to move"
        )
        return model.Plan(reason=reason)
    store_refusals.refuse(facts, site)
    move = (new, facts.run, facts.store, parameters.to, parameters.work)
    changes, notes = [], _notes(facts)
    if not facts.served:
        if not parameters.switch:
            copy = CopyStore(*move, parameters.passes, 0)
            return model.Plan((copy,), notes=notes)
        if not all(service.off for service in facts.services):
            changes.append(CopyStore(*move, parameters.passes, parameters.freeze_minutes))
        changes += _stop(facts, site)
        changes.append(LastCopy(*move, *former(facts, site)))
    changes += _switch(facts, site, move)
    changes += _start(facts, site)
    if changes or (facts.begun and not facts.arrived_in):
        changes.append(_test_mail(facts, site))
    if not changes:
        return model.Plan(
            reason=f"{facts.store} is already served from {parameters.to}, also after a reboot, "
            "and the services run"
        )
    return model.Plan(tuple(changes), notes=notes)


def _switch(facts, site, move):
    """The unit, and the mount where it is not in place or services have yet to start."""
    unit, text, new = storage.unit_name(facts.store), store_unit.unit_text(site), site.roles.new
    changes = []
    if facts.unit.text != text:
        path = storage.UNITS + unit
        changes.append(FileChange(new, path, "0644", facts.unit.text, text))
    both_off = start_all(new, facts.imap.services) and start_all(new, facts.sendmail.services)
    if not facts.served or not facts.unit.enabled or both_off:
        changes.append(SwitchStore(*move, unit, *former(facts, site)))
    return changes


def former(facts: Facts, site) -> tuple[str, str]:
    """(directory that the store was before, unit text that put it there), as SwitchStore has them.

    ("", "") for a store that never moved. The text is "" when something else than our unit put it
    there: then it stays beneath.
    """
    if facts.served:
        return facts.state.former or ("", "")
    place, named = facts.place, facts.unit.place
    bound = facts.unit.enabled and facts.current is not None and facts.current.bound
    if not bound or named not in (place, site.maintenance.move_store.to):
        return place, ""
    return place, facts.unit.text if named == place else store_unit.unit_text(site, place)


def _stop(facts, site):
    """As the night stops them. The new host's own queue is delivered before."""
    new, limit = site.roles.new, site.limits.queue_drain
    imap, sendmail = facts.imap, facts.sendmail
    reading, delivery = stop_all(new, imap.services), stop_all(new, sendmail.services)
    changes = []
    # what cannot be delivered is reported while nothing is stopped yet
    if delivery or sendmail.queued.requests:
        changes.append(DrainQueue([new], limit, only=sorted(site.mail_domains)))
    changes += reading
    if reading or imap.sessions:
        changes.append(EndSessions(new, mail_services.session_commands(site, new)))
    changes += delivery
    if delivery or sendmail.delivering:
        changes.append(AwaitDeliveries(new, mail_services.DELIVERING, limit))
    return changes


def _start(facts, site):
    """All that was stopped, or will be: delivery first, as in the night."""
    changes = []
    for services in (facts.sendmail.services, facts.imap.services):
        stopped = services
        if not facts.served:
            stopped = [dataclasses.replace(service, running=False) for service in services]
        changes += start_all(site.roles.new, stopped)
    return changes


def _test_mail(facts, site):
    test = site.production_test
    user = test.users[0].user
    recipient = f"{user}@{site.zone}"
    host = site.roles.mx[0]
    return SendTestMail(host, test.smtp_port, test.sender, recipient, user, token(facts.run), False)


def _notes(facts):
    """For whoever approves: the new storage, and the copy so far."""
    disk, state = facts.new.filesystem, facts.state
    options = ", ".join(disk.options)
    notes = [("The new storage", f"{disk.type} of {disk.source} on {disk.target} ({options})")]
    if not facts.new.lasting:
        notes.append(
            (
                "After a reboot",
                f"{disk.target} is not in /etc/fstab and no unit mounts it: after a reboot it "
                "would be missing, and mail would not be served. Add it first",
            )
        )
    if facts.new.ours and state.passes:
        notes.append(
            (
                "The copy so far",
                f"the last pass took {state.passes[-1].seconds} s; freeze predicted: "
                f"{state.predicted:.0f} s, plus stopping and starting services",
            )
        )
    return tuple(notes)


def verify(facts: Facts, site) -> list[model.Check]:
    """Whether the store is served from the new storage, complete, and mail works."""
    parameters, new = site.maintenance.move_store, site.roles.new
    if not facts.store:
        return [
            model.Check(
                "A move of the store is declared",
                "declared, or not wanted",
                "not declared: maintenance.move_store",
                True,
                id="store-move-declared",
            )
        ]
    if not parameters.switch and not facts.served:
        return [store_checks.copied(facts, site), store_checks.services(facts, new)]
    checks = [
        *store_checks.served(facts, site),
        store_checks.services(facts, new),
        *store_checks.compared(facts.state),
    ]
    if facts.folders is not None:
        checks.append(store_checks.folders(facts.folders.then, facts.folders.now))
    if facts.frozen is not None:
        checks.append(store_checks.freeze(facts, site))
    if facts.begun:
        checks.append(store_checks.test_message(facts, site))
    return checks


STEP = model.Step(
    id="move-store",
    title="Move the store to new storage",
    requires=(),
    probe=probe,
    plan=plan,
    verify=verify,
    confirm=model.the_alias,
    stable=stable,
    facts=Facts,
)
