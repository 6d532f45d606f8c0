"""Undo what a run changed, in reverse, planned from its journal and the world, and see that the old service is back.

Once delivery or reading was resumed, the new server holds what the old one lacks. It is carried back when both are closed and
nothing moves: after the services of the new one have stopped, before its trees are taken back and the old service starts. What
that will be is estimated while users still work, so that what cannot be carried is told before anybody approves.

What the old server refuses stops the rollback, unless `ctx.chosen["without"]` names the user: logins, with commas between them.
Then it stays in the user's Maildir on the new server, and a later rollback of the run carries it.
"""

from cutover import model
from cutover.carryback import carry, left_behind, refusals
from cutover.changes.mail import AwaitDeliveries, DrainQueue
from cutover.changes.service import EndSessions
from cutover.facts import alias_service as live
from cutover.facts import mail_queue, userdb, userdb_map, zone
from cutover.model import runbook
from cutover.steps.night import stop_imap, stop_sendmail

RESUMED = (
    "restore-sendmail",
    "restore-imap",
)  # steps from which on the new server may hold what the old one lacks

CHOICES = ("without",)


def confirmation(site, asked):
    """What a person types to approve it: the name that users know, and who is gone on without."""
    names = _names(asked.get("without", ""))
    return site.fqdn(site.alias) + (f" without {', '.join(names)}" if names else "")


def _names(text):
    return sorted({name.strip() for name in text.split(",")} - {""})


def open_intents(events):
    """Journaled changes since the last rollback that passed, the latest first, each with whether it was undone since."""
    closed = max(
        (
            event["seq"]
            for event in events
            if event["event"] == "verified" and event["step"] == "rollback" and event["passed"]
        ),
        default=-1,
    )
    done = {
        event["intent"]
        for event in events
        if event["event"] == "result" and event["outcome"] == "done"
    }
    undone = {
        event["undoes"]
        for event in events
        if event["event"] == "intent" and event.get("undoes") is not None and event["seq"] in done
    }
    return [
        {**event, "undone": event["seq"] in undone}
        for event in reversed(events)
        if event["event"] == "intent" and event["step"] != "rollback" and event["seq"] > closed
    ]


def probe(ctx):
    """`{"intents": [...], "world", "login", "carry": {"why", and as carry.look}, "without": names, "behind":
    left_behind.read}`; each resource's last undo among the intents says whether the world is so; "world" and "login" are None for
    a run of maintenance"""
    intents, final = [], {}
    for event in open_intents(ctx.history):
        intents.append(
            {
                key: event[key]
                for key in ("seq", "step", "title", "target", "inverse", "no_inverse", "undone")
            }
        )
        if event["inverse"] is not None:
            final[model.change_from_json(event["inverse"]).resource] = intents[-1]
    for intent in final.values():
        settled = model.change_from_json(intent["inverse"]).settled(ctx)
        intent.update(settled=settled.done, seen=settled.detail)
    # a run apart from the night is undone alone: the old service is none of its matters, and may be gone
    apart = runbook.apart(ctx.history)
    old = (
        {"world": None, "login": None, "behind": {}}
        if apart
        else {**_old_service(ctx), "behind": left_behind.read(ctx.hosts, ctx.run_name)}
    )
    found = {
        "run": ctx.run_name,
        "intents": intents,
        "without": _names(ctx.chosen.get("without", "")),
        **old,
    }
    found["carry"] = _carried(ctx, found)
    return found


def _old_service(ctx):
    hosts, site = ctx.hosts, ctx.site
    world = {
        "servers": zone.read(hosts),
        "imap": stop_imap.probe(ctx)["hosts"],
        "sendmail": hosts.each(
            site.mail_hosts, lambda name: stop_sendmail.read_host(hosts, site, name)
        ),
        "mx": hosts.each(
            site.roles.mx,
            lambda name: {
                "source": userdb.read_source(hosts, name, site.userdb.source).decode(
                    "utf-8", "surrogateescape"
                ),
                "map": userdb_map.read(hosts, name, site.userdb.map),
                "queue": mail_queue.read(hosts, name),
            },
        ),
    }
    return {
        "world": world,
        "login": model.attempt(live.look, hosts, site.production_test.users[0].user, []),
    }


def _carried(ctx, found):
    """What is to be carried back and what was, as far as it can be told now."""
    users = _published(found["intents"])
    if not users:
        return {
            "why": "nothing was published on the new server",
            "users": {},
            "told": {},
            "trees": {},
        }
    if not any(intent["step"] in RESUMED for intent in found["intents"]):
        return {
            "why": "neither delivery nor reading was resumed since the mail was published: the new server has nothing that "
            "the old one lacks",
            "users": {},
            "told": {},
            "trees": {},
        }
    why = (
        "users have worked on the new server"
        if any(intent["step"] == "restore-imap" for intent in found["intents"])
        else "nobody could work on the new server yet; mail was delivered there, and on the old server too"
    )
    return {"why": why, **carry.look(ctx, users, ctx.run_name)}


def _published(intents):
    """The users' entries of the conversions that are to be taken back, each once."""
    found = {}
    for intent in intents:
        if intent["inverse"] is not None and intent["inverse"]["kind"] == "unpublish":
            found.update({each["user"]: each for each in intent["inverse"]["users"]})
    return [entry for _, entry in sorted(found.items())]


def _undo(found, site):
    """`[(change, seq it undoes or None)]`, in the order in which they are applied.

    What was not undone yet, the latest first; then what was undone and is, of its resource, again not as it was.
    """
    wanted = _in_turn(
        [
            intent
            for intent in found["intents"]
            if intent["inverse"] is not None and not intent["undone"]
        ],
        site,
    )
    again = [
        intent for intent in found["intents"] if intent["undone"] and intent.get("settled") is False
    ]
    listed, drained, emptied = [], set(), False
    carried = not any(intent["step"] in RESUMED for intent in found["intents"])
    for intent in [*wanted, *again]:
        if _stops_delivery(intent) and intent["inverse"]["host"] == site.roles.old and not emptied:
            listed.append(
                (
                    DrainQueue(
                        list(site.roles.mx), site.limits.queue_drain, site.fqdn(site.roles.new)
                    ),
                    None,
                )
            )
            emptied = True
        if intent["inverse"]["kind"] == "unpublish" and not carried:
            listed += [(change, None) for change in _carry(found, site)]
            carried = True
        if intent["step"] in ("dual-delivery", "dns-rename") and intent["step"] not in drained:
            # mail queued for a name that is about to go would bounce: let it be delivered first; and so that which came in a
            # moment before the userdb was as it was
            listed.append((DrainQueue(list(site.roles.mx), site.limits.queue_drain), None))
            drained.add(intent["step"])
        listed.append((model.change_from_json(intent["inverse"]), intent["seq"]))
    later = sorted(set(found.get("behind", {})) - set(found.get("without", ())))
    if later and not any(change.kind == "unpublish" for change, _ in listed):
        listed.append(
            (left_behind.CarryLeft(site.roles.old, found["run"], site.old_store.aside, later), None)
        )
    return listed


def _stops_delivery(intent):
    return intent["step"] == "restore-sendmail" and intent["inverse"]["kind"] == "service"


def _in_turn(wanted, site):
    """Delivery stops on the new server first, then on the old one once it has all that the new one got: mail of which only the
    old server's copy still waits would look like mail that never reached it."""
    stops = [intent for intent in wanted if _stops_delivery(intent)]
    turns = iter(sorted(stops, key=lambda intent: intent["inverse"]["host"] == site.roles.old))
    return [next(turns) if _stops_delivery(intent) else intent for intent in wanted]


def _carry(found, site):
    """Everything comes to rest, then users' new state goes back. What is in a mail host's own queue is for that host alone."""
    users, without = _published(found["intents"]), found.get("without", [])
    listed = [
        DrainQueue(list(site.mail_hosts), site.limits.queue_drain),
        *(EndSessions(name, stop_imap.sessions(site, name)) for name in site.mail_hosts),
        *(
            AwaitDeliveries(name, stop_sendmail.DELIVERING, site.limits.queue_drain)
            for name in site.mail_hosts
        ),
        carry.CarryBack(site.roles.old, found["run"], site.old_store.aside, users, without),
    ]
    if without:
        listed.append(
            left_behind.LeaveBehind(
                site.roles.new,
                found["run"],
                site.new_store.work,
                [each for each in users if each["user"] in without],
            )
        )
    return listed


def plan(found, site):
    listed, behind = _undo(found, site), found.get("behind", {})
    known = {each["user"] for each in _published(found["intents"])} | set(behind)
    strange = [name for name in found.get("without", ()) if name not in known]
    if strange:
        raise model.CannotPlan(
            f"nothing of {', '.join(strange)} is to be carried back: see how `without` is spelled "
            "(logins, with commas between them)"
        )
    if not listed:
        return model.Plan(
            reason="the world already is as it was before this run"
            + "".join(
                f"; but {user} is left behind with {refusals.counted(note)}: run it again without `without`"
                for user, note in behind.items()
            )
        )
    return model.Plan(
        tuple(change for change, _ in listed),
        undoes=tuple(seq for _, seq in listed),
        notes=(
            *_told(found["carry"]),
            *(
                (user, f"left behind on {site.roles.new}: {refusals.counted(note)}")
                for user, note in behind.items()
            ),
            *(
                [
                    (
                        ", ".join(found["without"]),
                        "the rollback GOES ON WITHOUT what the old server refuses of them; it stays on the new "
                        "server",
                    )
                ]
                if found.get("without")
                else []
            ),
        ),
    )


def _told(carried):
    """What whoever approves has to know of each user: as it is now, while they work."""
    yield (
        "Users' new state",
        f"{carried['why']}. It is compared again when both servers are closed; this is how it stands now.",
    )
    for user, each in sorted(carried["users"].items()):
        if "error" in each:
            yield user, f"cannot be told now: {each['error']}"
        elif each["counts"] or each["left"] or each["notes"]:
            yield (
                user,
                "\n".join(
                    [
                        f"to be carried back: {carry.said(each['counts'])}",
                        *(f"CANNOT be carried: {text}" for text in each["left"]),
                        *(f"stays: {text}" for text in each["notes"]),
                    ]
                ),
            )
    quiet = sum(not any(each.values()) for each in carried["users"].values())
    if quiet:
        yield "all others", f"{quiet} users: nothing to carry back"


def stable(found):
    """What the plan rests on: which changes are to be undone, not how the hosts are meanwhile."""
    return {
        "intents": [
            {key: value for key, value in intent.items() if key != "seen"}
            for intent in found["intents"]
        ]
    }


def verify(found, site):
    checks = []
    for intent in found["intents"]:
        if intent["inverse"] is None:
            checks.append(
                model.Check(
                    f"{intent['step']}, {intent['title']}: what became of it?",
                    "stays",
                    f"stays: {intent['no_inverse']}",
                    True,
                    id="stays",
                    subject=intent["target"],
                )
            )
        elif "settled" in intent:
            checks.append(
                model.Check(
                    f"Is undone: {intent['step']}, {intent['title']} ({intent['target']})?",
                    "yes",
                    f"{'yes' if intent['settled'] else 'no'}: {intent['seen']}",
                    intent["settled"],
                    "mend what it says, then roll back again",
                    id="undone",
                    subject=intent["target"],
                    data={"step": intent["step"], "seq": intent["seq"]},
                )
            )
    if found["world"] is None:
        return checks
    checks += [*_carried_checks(found["carry"]), *_behind_checks(found.get("behind", {}), site)]
    world, old = found["world"], site.roles.old
    alias = site.fqdn(site.alias)
    for name, server in world["servers"].items():
        records = server["records"][alias]
        leads = records.get("CNAME", {}).get("values", []) + records.get("A", {}).get("values", [])
        good = site.address(old) in leads or site.fqdn(old) + "." in leads
        checks.append(
            model.Check(
                f"Does {alias} lead to {old} on {name}?",
                site.address(old),
                ", ".join(leads) or "nothing",
                good,
                f"`dig @{name} {alias}`",
                id="alias-leads-to-old",
                subject=name,
            )
        )
    for name, mx in world["mx"].items():
        wrong = userdb_map.from_source(mx["source"].encode("utf-8", "surrogateescape")) != mx["map"]
        checks.append(
            model.Check(
                f"Is the userdb map of {name} made from its source?",
                "same entries",
                "other entries" if wrong else "same entries",
                not wrong,
                f"makemap btree {site.userdb.map} < {site.userdb.source}",
                id="userdb-map-after-rollback",
                subject=name,
            )
        )
    off = [
        service["name"]
        for service in world["imap"][old]["services"] + world["sendmail"][old]["services"]
        if not service["running"]
    ]
    checks.append(
        model.equal(
            f"Do all mail services of {old} run?",
            "all",
            "all" if not off else f"not {', '.join(off)}",
            f"`systemctl status` on {old}",
            id="old-services-run",
            subject=old,
        )
    )
    login = found["login"]
    user = site.production_test.users[0].user
    question = f"Can {user} log in by {alias} and read mail on {old}?"
    if "error" in login:
        checks.append(
            model.Check(
                question,
                site.address(old),
                login["error"],
                False,
                "look at imapd's log",
                id="old-service-login",
                subject=user,
            )
        )
    else:
        seen = login["value"]
        checks.append(
            model.Check(
                question,
                site.address(old),
                f"{seen['address']}, {seen['read']} bytes read",
                seen["address"] == site.address(old) and seen["read"] > 0,
                "look at imapd's log",
                id="old-service-login",
                subject=user,
            )
        )
    return checks


def _behind_checks(behind, site):
    """One for each user whose mail the old server refused; told by each rollback of the run until it is carried."""
    return [
        model.Check(
            f"Is no mail of {user} on {site.roles.new} only?",
            "0 messages",
            refusals.counted(note),
            True,
            f"mend what it says on {site.roles.old}, then run the rollback again: it carries them. Until then they "
            f"are in {note['entry']['maildir']} on {site.roles.new}; {left_behind.LIST} names the files",
            warning=True,
            id="left-behind",
            subject=user,
            data={"messages": len(note["behind"])},
        )
        for user, note in sorted(behind.items())
    ]


def _carried_checks(carried):
    """By the notes that carrying left on the old server, each written after both sides were compared once more."""
    question = "Is everything that users did on the new server on the old one?"
    trees, told = carried["trees"], carried["told"]
    if not trees:
        return [model.Check(question, "nothing to carry", carried["why"], True, id="carried-back")]
    missing = [
        user
        for user, tree in sorted(trees.items())
        if tree and told.get(user, {}).get("tree") != tree
    ]
    done = [note for user, note in sorted(told.items()) if note["tree"] == trees.get(user)]
    sums = carry.total(note["done"] for note in done)
    return [
        model.Check(
            question,
            f"{len(trees)} users",
            f"{len(done)} users: {carry.said(sums)}"
            + (f"; not {', '.join(missing[:10])}" if missing else ""),
            not missing,
            "roll back again",
            id="carried-back",
            data={"users": len(done), "missing": missing, **sums},
        ),
        *(
            model.Check(
                f"Could all that {note['user']} did be carried back?",
                "all",
                "; ".join(note["left"]),
                True,
                "tell the user; the tree of the new server is set aside whole",
                warning=True,
                id="not-carried-back",
                subject=note["user"],
                data={"left": note["left"]},
            )
            for note in done
            if note["left"]
        ),
    ]


STEP = model.Step(
    id="rollback",
    title="Go back",
    requires=(),
    probe=probe,
    plan=plan,
    verify=verify,
    confirm=confirmation,
    choices=CHOICES,
    stable=stable,
)
