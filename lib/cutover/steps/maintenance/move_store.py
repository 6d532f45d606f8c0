"""The store moves to other storage of the new host: passes while users work, a short freeze, and the way back.

In the freeze nothing reads and nothing delivers; mail waits on the MX. Any attempt that was broken off goes on: what is served,
what runs and what was copied is asked of the host. A store that has moved moves again, as often as storage is replaced; what
cannot work is refused in the plan, while nothing is stopped.
"""

import dataclasses
import datetime

from cutover import model
from cutover.changes import service
from cutover.changes.files import FileChange
from cutover.changes.mail import AwaitDeliveries, DrainQueue, SendTestMail
from cutover.changes.service import EndSessions
from cutover.changes.store_move import CopyStore, LastCopy, SwitchStore
from cutover.facts import alias_service as live
from cutover.facts import files, mail_services, services, storage

UNITS = "/etc/systemd/system/"


def store_of(site) -> str:
    """The directory that holds every user's maildir; "" where there is none, maildirs being in homes."""
    head, found, rest = site.new_store.maildir.partition("/{user}")
    return head if found and not rest.strip("/") and "{" not in head else ""


def probe(ctx):
    """`{"store", "served": the new storage is in its place, "is": {"mark": storage.mark of the store, "real": its path without
    links, "bound": it is the directory that its mark names, "alone": as storage.notes has it}, "new": storage.new_place,
    "unit": {"text" or None, "enabled"},
    "imap": mail_services.ImapHost, "sendmail": mail_services.SendmailHost, "state": figures of the copy, "folders": {"then", "now":
    _marks when it took the store's place and now} or None, "begun": this run has begun to switch, "frozen": {"from", "to"} or
    None, "test": live.look of the test message}`; empty when the parameters name no new storage."""
    hosts, site = ctx.hosts, ctx.site
    wanted, store = site.maintenance.move_store, store_of(site)
    if wanted is None or not store:
        return {}
    new, user = site.roles.new, site.production_test.users[0].user
    unit, began, notes = (
        storage.unit(store),
        begun(ctx.history),
        storage.notes(hosts, new, wanted.work),
    )
    state, mark = notes["copies"].get(wanted.to, {}), storage.mark(hosts, new, store)
    found = {
        "store": store,
        "served": storage.mounted(hosts, new, store, wanted.to),
        "is": {
            "mark": mark,
            "real": storage.real(hosts, new, store),
            "alone": notes["alone"],
            "bound": bool(mark and mark["place"])
            and storage.mounted(hosts, new, store, mark["place"]),
        },
        "new": storage.new_place(hosts, new, store, wanted.to),
        "unit": {
            "text": files.read(hosts, new, UNITS + unit),
            "enabled": hosts.run(new, ["systemctl", "is-enabled", unit], check=False).text.strip()
            == "enabled",
        },
        "imap": mail_services.read_imap(hosts, new),
        "sendmail": mail_services.read_sendmail(hosts, new),
        "begun": began,
        "state": {key: value for key, value in state.items() if key not in ("before", "after")},
        "folders": None,
        "frozen": frozen(ctx.history),
        "test": model.attempt(live.look, hosts, user, [(token(ctx.run_name), False)]),
    }
    if state.get("after"):
        found["folders"] = {
            "then": _marks(state["after"]),
            "now": _marks(storage.folders(hosts, new)),
        }
    return found


def _marks(counted):
    """`{user: {folder: "UIDVALIDITY UIDNEXT"}}`, what lasts although users work."""
    return {
        user: {folder: f"{row[2]} {row[1]}" for folder, row in rows.items()}
        for user, rows in counted.items()
    }


def token(run):
    return f"{run}-move-store"


def _since(events):
    """This step's events since the last rollback that passed."""
    back = max(
        (
            event["seq"]
            for event in events
            if event["event"] == "verified" and event["step"] == "rollback" and event["passed"]
        ),
        default=-1,
    )
    return [event for event in events if event["seq"] > back and event.get("step") == "move-store"]


def begun(events) -> bool:
    return any(
        event["event"] == "intent" and event["change"]["kind"] == SwitchStore.kind
        for event in _since(events)
    )


def frozen(events):
    """When this run stopped the first service and had started the last one, as text; None while it has not."""
    intents = {
        event["seq"]: event
        for event in _since(events)
        if event["event"] == "intent" and event["change"]["kind"] == "service"
    }
    stops = [each["time"] for each in intents.values() if each["change"]["action"] == "stop"]
    starts = [
        event["time"]
        for event in _since(events)
        if event["event"] == "result"
        and event["outcome"] == "done"
        and intents.get(event["intent"], {"change": {"action": ""}})["change"]["action"] == "start"
    ]
    return {"from": min(stops), "to": max(starts)} if stops and starts else None


def _seconds(span) -> float:
    times = [datetime.datetime.fromisoformat(span[key]) for key in ("from", "to")]
    return (times[1] - times[0]).total_seconds()


def stable(found):
    """What the plan rests on; not sessions, queues and figures."""
    return (
        {key: found.get(key) for key in ("store", "served", "is", "unit")}
        if "store" in found
        else {}
    )


def plan(found, site):
    wanted, new = site.maintenance.move_store, site.roles.new
    if "store" not in found:
        return model.Plan(
            reason="not declared: the parameters name no new storage (maintenance.move_store)"
            if wanted is None
            else "new_store.maildir names no one directory that holds all maildirs: there "
            "is no store to move"
        )
    store, moving = found["store"], (new, found["run"], found["store"], wanted.to, wanted.work)
    _refuse(found, wanted, new)
    running = [
        service
        for side in ("imap", "sendmail")
        for service in found[side]["services"]
        if service["running"] or service["starts_at_boot"]
    ]
    listed = []
    if not found["served"]:
        if running or not wanted.switch:
            listed.append(
                CopyStore(*moving, wanted.passes, wanted.freeze_minutes if wanted.switch else 0)
            )
        if not wanted.switch:
            return model.Plan(tuple(listed), notes=_notes(found, wanted))
        listed += _stop(found, site)
        listed.append(LastCopy(*moving, *_former(found, site)))
    unit, text = storage.unit(store), unit_text(site)
    if found["unit"]["text"] != text:
        listed.append(FileChange(new, UNITS + unit, "0644", found["unit"]["text"], text))
    up = {side: service.start_all(new, _listed(found, side)) for side in ("sendmail", "imap")}
    if not found["served"] or not found["unit"]["enabled"] or (up["imap"] and up["sendmail"]):
        listed.append(SwitchStore(*moving, unit, *_former(found, site)))
    listed += _start(found, site)
    seen = found["test"].get("value", {}).get("found", {})
    if listed or (found["begun"] and not seen.get(token(found["run"]))):
        test, user = site.production_test, site.production_test.users[0].user
        listed.append(
            SendTestMail(
                site.roles.mx[0],
                test.smtp_port,
                test.sender,
                f"{user}@{site.zone}",
                user,
                token(found["run"]),
                False,
            )
        )
    if not listed:
        return model.Plan(
            reason=f"{store} is served from {wanted.to} already, also after a reboot, and the services run"
        )
    return model.Plan(tuple(listed), notes=_notes(found, wanted))


def unit_text(site, to=""):
    services = [
        each.name
        for each in (
            *site.services_of(site.roles.new).imap,
            *site.services_of(site.roles.new).sendmail,
        )
        if each.manager == "systemd"
    ]
    return storage.unit_text(store_of(site), to or site.maintenance.move_store.to, services)


def _former(found, site):
    """(the directory that the store was before, "" for one that had not moved; the unit that put it there, "" when something
    else did: then it stays beneath)."""
    place, unit = _place(found), found["unit"]
    if found["served"]:
        return found["state"].get("former", ("", ""))
    named = storage.unit_place(unit["text"])
    ours = (
        unit["enabled"]
        and found["is"]["bound"]
        and named in (place, site.maintenance.move_store.to)
    )
    return place, (unit["text"] if named == place else unit_text(site, place)) if ours else ""


def _place(found):
    return (found.get("is", {}).get("mark") or {}).get("place", "")


def _refuse(found, wanted, new):
    """What cannot work is told before anything is stopped."""
    place, store, to = found["new"], found["store"], wanted.to
    if (
        (to + "/").startswith(store + "/")
        or (store + "/").startswith(to + "/")
        or place.get("inside")
        and not found["served"]
    ):
        raise model.CannotPlan(
            f"maintenance.move_store.to: {to} and {store} lie in one another. Mount the new storage "
            "beside the store."
        )
    if not place["there"]:
        raise model.CannotPlan(
            f"there is no directory {to}: mount the new storage there; then run this step again."
        )
    for what, path, real in (
        ("maintenance.move_store.to", to, place.get("real", to)),
        ("new_store.maildir", store, found.get("is", {}).get("real", store)),
    ):
        if path != real:
            raise model.CannotPlan(
                f"{what}: {path} is {real} by another name. Write the latter into the parameters: what is "
                "mounted, compared and looked for is the directory itself."
            )
    for each in (store, to):
        if (wanted.work + "/").startswith(each + "/"):
            raise model.CannotPlan(
                f"maintenance.move_store.work: {wanted.work} lies in {each}, and the notes of a move must "
                "lie on neither storage. Name another directory."
            )
    if found["served"]:
        return
    if place["names"] and not place["ours"]:
        raise model.CannotPlan(
            f"{to} holds something that this program did not put there ({', '.join(place['names'])}). "
            "Give an empty directory; what is there is not touched."
        )
    if (place.get("mark") or {"store": store})["store"] != store:
        raise model.CannotPlan(
            f"{to} holds the copy of another store, of {place['mark']['store']}. Give an empty directory; "
            "what is there is not touched."
        )
    if "ro" in place["filesystem"]["options"]:
        raise model.CannotPlan(
            f"{to} is mounted read-only. Mount it so that it can be written to, then run this step again."
        )
    _refuse_source(found, wanted, new)


def _refuse_source(found, wanted, new):
    """The store must be what mail was served from last: anything else is out of date, and would be copied over what is not."""
    store, unit = found["store"], storage.unit(found["store"])
    seen, alone, named = (
        found.get("is", {}),
        found.get("is", {}).get("alone"),
        storage.unit_place(found["unit"]["text"]),
    )
    if alone and _place(found) != alone:
        raise model.CannotPlan(
            f"mail was served from {alone} last, and {store} on {new} is not that now: what came since "
            f"is there alone. See that its storage is mounted, and `systemctl restart {unit}` there; then run "
            f"this step again. If {store} is right as it is, remove {storage.place(wanted.work)}/state.json."
        )
    if seen and found["unit"]["enabled"] and named not in ("", wanted.to, _place(found)):
        raise model.CannotPlan(
            f"{unit} on {new} puts {named} in the place of {store} at each boot, and {store} is not that "
            "now: a move to it was broken off. Roll back the run that began it, or give it as "
            f"maintenance.move_store.to. If mail is not to be served from there, `systemctl disable {unit}`."
        )


def _listed(found, side):
    return model.from_json(list[services.Service], found[side]["services"])


def _stop(found, site):
    """As the night stops them. What the new host has in its own queue is delivered before."""
    new = site.roles.new
    reading, delivery = (
        service.stop_all(new, _listed(found, side)) for side in ("imap", "sendmail")
    )
    ended = (
        [EndSessions(new, mail_services.session_commands(site, new))]
        if reading or found["imap"]["sessions"]
        else []
    )
    # what cannot be delivered is told while nothing is stopped yet
    drain = (
        [DrainQueue([new], site.limits.queue_drain)]
        if delivery or found["sendmail"]["queued"]["requests"]
        else []
    )
    listed = [*drain, *reading, *ended, *delivery]
    if delivery or found["sendmail"]["delivering"]:
        listed.append(AwaitDeliveries(new, mail_services.DELIVERING, site.limits.queue_drain))
    return listed


def _start(found, site):
    """All that was stopped, or will be: delivery first, as the night does."""
    new, listed = site.roles.new, []
    for side in ("sendmail", "imap"):
        services = _listed(found, side)
        if not found["served"]:
            services = [dataclasses.replace(each, running=False) for each in services]
        listed += service.start_all(new, services)
    return listed


def _notes(found, wanted):
    place, state = found["new"], found["state"]
    disk = place["filesystem"]
    told = [
        (
            "The new storage",
            f"{disk['type']} of {disk['source']} on {disk['target']} ({', '.join(disk['options'])})",
        )
    ]
    if not place["lasting"]:
        told.append(
            (
                "After a reboot",
                f"{disk['target']} is in no /etc/fstab and no unit: it would not be mounted, and mail "
                "not be served. Write it there first",
            )
        )
    if place["ours"] and state.get("passes"):
        told.append(
            (
                "The copy so far",
                f"the last pass took {state['passes'][-1]['seconds']} s; freeze predicted: "
                f"{state['predicted']:.0f} s and the services",
            )
        )
    return tuple(told)


def verify(found, site):
    wanted, new = site.maintenance.move_store, site.roles.new
    if "store" not in found:
        return [
            model.Check(
                "Is the store to move?",
                "declared, or not wanted",
                "not declared: maintenance.move_store",
                True,
            )
        ]
    state, store = found["state"], found["store"]
    if not wanted.switch and not found["served"]:
        last = (state.get("passes") or [None])[-1]
        return [
            model.Check(
                f"Is there a copy of the store in {wanted.to}?",
                "yes",
                "none"
                if last is None
                else f"yes: the last pass copied {last['copied']} files in {last['seconds']} s; freeze predicted: "
                f"{state['predicted']:.0f} s and the services",
                last is not None and found["new"]["ours"],
                "run this step again",
            ),
            *_services(found, new),
        ]
    place = found["new"]
    checks = [
        model.equal(
            f"Is {store} the new storage?",
            wanted.to,
            wanted.to if found["served"] else "the old store",
            "run this step again",
        ),
        model.equal(
            "Is it so after a reboot, and does no mail service start without?",
            "yes",
            "yes"
            if found["unit"] == {"text": unit_text(site), "enabled": True}
            else f"{storage.unit(store)} is not in place",
            "run this step again",
        ),
        model.Check(
            f"Is {wanted.to} itself there after a reboot?",
            "by /etc/fstab or a unit",
            f"mounted on {place['filesystem']['target']}"
            + ("" if place["lasting"] else ", by hand"),
            True,
            "write it into /etc/fstab: without it the mail services do not start",
            warning=not place["lasting"],
        ),
    ]
    checks += _services(found, new)
    checks += _compared(state)
    if found["folders"] is not None:
        checks.append(_folders(**found["folders"]))
    if found["frozen"]:
        took, limit = _seconds(found["frozen"]), 60 * wanted.freeze_minutes
        predicted = (
            f", of which {state['predicted']:.0f} s were predicted for the copy"
            if "predicted" in state
            else ""
        )
        checks.append(
            model.Check(
                "How long was there no mail?",
                f"at most {limit:.0f} s",
                f"{took:.1f} s{predicted}",
                True,
                "tell the users",
                warning=took > limit,
            )
        )
    if found["begun"]:
        test = found["test"]
        seen = test.get("value", {}).get("found", {}).get(token(found["run"]))
        checks.append(
            model.equal(
                "Did a test message arrive, and can it be read by the alias?",
                "INBOX",
                test.get("error") or seen or "not found",
                f"`mailq` on {site.roles.mx[0]}; Dovecot's log",
            )
        )
    return checks


def _services(found, new):
    off = [
        service["name"]
        for side in ("imap", "sendmail")
        for service in found[side]["services"]
        if not (service["running"] and service["starts_at_boot"])
    ]
    return [
        model.equal(
            f"Do all mail services of {new} run, and start at boot?",
            "all",
            "all" if not off else f"not {', '.join(off)}",
            "run this step again",
        )
    ]


def _compared(state):
    found = state.get("compared")
    question = "Was the copy the same as the store when it took its place?"
    if not found:
        return [
            model.Check(
                question,
                "compared",
                "not compared by this program",
                False,
                "was it switched by hand?",
            )
        ]
    return [
        model.Check(
            question,
            "every entry the same",
            f"{found['entries']} entries compared, {found['different']} differ; "
            f"contents of {found['read'] + found['known']} files read",
            found["different"] == 0,
            "",
            False,
        ),
        *(
            [
                model.Check(
                    "Were all contents read?",
                    "all",
                    f"{found['unread']} files not, for want of time",
                    True,
                    "verify.content_minutes allows more",
                    warning=True,
                )
            ]
            if found["unread"]
            else []
        ),
    ]


def _folders(then, now):
    """What must hold although users have worked since: no folder has another UIDVALIDITY or goes back in its UIDs."""
    wrong, gone = [], []
    for user, listed in sorted(then.items()):
        for folder, mark in sorted(listed.items()):
            there = now.get(user, {}).get(folder)
            if there is None:
                gone.append(f"{user} {folder}")
                continue
            (uidvalidity, uidnext), (other, further) = (
                map(int, text.split()) for text in (mark, there)
            )
            if other != uidvalidity or further < uidnext:
                wrong.append(
                    f"{user} {folder}: UIDVALIDITY {uidvalidity}, next UID {uidnext} became {other}, {further}"
                )
    return model.Check(
        "Has every folder its UIDVALIDITY and its UIDs?",
        "all",
        f"{sum(map(len, then.values()))} folders"
        + (f"; not {'; '.join(wrong[:5])}" if wrong else "")
        + (f"; gone since, by their users: {', '.join(gone[:5])}" if gone else ""),
        not wrong,
        "roll back, and see Dovecot's log",
        warning=bool(gone) and not wrong,
    )


STEP = model.Step(
    id="move-store",
    title="The store to new storage",
    requires=(),
    probe=probe,
    plan=plan,
    verify=verify,
    confirm=model.the_alias,
    stable=stable,
)
