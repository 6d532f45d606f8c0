"""Undo what a run changed, in reverse, planned from its journal and the world, and see that the old service is back."""

from cutover import changes, steps
from cutover.changes.mail import DrainQueue
from cutover.hosts import facts, live
from cutover.steps import stop_imap, stop_sendmail

ID = "rollback"
TITLE = "Go back"
REQUIRES = []
REVERSIBLE = True
CONFIRM = True


def open_intents(events):
    """Journaled changes since the last rollback that passed, the latest first, each with whether it was undone since."""
    closed = max((event["seq"] for event in events if event["event"] == "verified" and event["step"] == ID and event["passed"]),
                 default=-1)
    done = {event["intent"] for event in events if event["event"] == "result" and event["outcome"] == "done"}
    undone = {event["undoes"] for event in events
              if event["event"] == "intent" and event.get("undoes") is not None and event["seq"] in done}
    return [{**event, "undone": event["seq"] in undone} for event in reversed(events)
            if event["event"] == "intent" and event["step"] != ID and event["seq"] > closed]


def probe(hosts, site):
    """`{"intents": [...], "final": [the last undo of each resource, and whether the world is so], "world", "login"}`"""
    intents, final = [], {}
    for event in open_intents(hosts.history):
        intents.append({key: event[key] for key in ("seq", "step", "title", "target", "inverse", "no_inverse", "undone")})
        if event["inverse"] is not None:
            final[changes.from_json(event["inverse"]).resource] = intents[-1]
    for intent in final.values():
        settled = changes.from_json(intent["inverse"]).settled(hosts)
        intent.update(settled=settled.done, seen=settled.detail)
    world = {
        "servers": facts.alias(hosts),
        "imap": stop_imap.probe(hosts, site)["hosts"],
        "sendmail": hosts.each(site.mail_hosts, lambda name: stop_sendmail.read_host(hosts, site, name)),
        "mx": hosts.each(site.roles.mx, lambda name: {
            "source": facts.userdb_source(hosts, name, site.userdb.source).decode("utf-8", "surrogateescape"),
            "map": facts.userdb_map(hosts, name, site.userdb.map), "queue": facts.queue(hosts, name)}),
    }
    found = {"intents": intents, "world": world,
             "login": steps.attempt(live.look, hosts, site.production_test.users[0].user, [])}
    found["undoes"] = [undoes for _, undoes in _undo(found, site)]
    return found


def _undo(found, site):
    """`[(change, seq it undoes or None)]`, in the order in which they are applied.

    What was not undone yet, the latest first; then what was undone and is, of its resource, again not as it was.
    """
    wanted = [intent for intent in found["intents"] if intent["inverse"] is not None and not intent["undone"]]
    again = [intent for intent in found["intents"] if intent["undone"] and intent.get("settled") is False]
    listed, drained = [], False
    for intent in [*wanted, *again]:
        if intent["step"] in ("dual-delivery", "dns-rename") and not drained:
            # mail queued for a name that is about to go would bounce: let it be delivered first
            listed.append((DrainQueue(list(site.roles.mx), site.limits.queue_drain), None))
            drained = True
        listed.append((changes.from_json(intent["inverse"]), intent["seq"]))
    return listed


def plan(found, site):
    listed = _undo(found, site)
    if not listed:
        return changes.Plan(reason="the world already is as it was before this run")
    return changes.Plan(tuple(change for change, _ in listed))


def stable(found):
    """What the plan rests on: which changes are to be undone, not how the hosts are meanwhile."""
    return {"intents": [{key: value for key, value in intent.items() if key != "seen"} for intent in found["intents"]]}


def verify(found, site):
    checks = []
    for intent in found["intents"]:
        if intent["inverse"] is None:
            checks.append(steps.Check(f"{intent['step']}, {intent['title']}: what became of it?", "stays",
                                      f"stays: {intent['no_inverse']}", True))
        elif "settled" in intent:
            checks.append(steps.Check(f"Is undone: {intent['step']}, {intent['title']} ({intent['target']})?", "yes",
                                      f"{'yes' if intent['settled'] else 'no'}: {intent['seen']}",
                                      intent["settled"], "mend what it says, then roll back again"))
    world, old = found["world"], site.roles.old
    alias = site.fqdn(site.alias)
    for name, server in world["servers"].items():
        records = server["records"][alias]
        leads = records.get("CNAME", {}).get("values", []) + records.get("A", {}).get("values", [])
        good = site.address(old) in leads or site.fqdn(old) + "." in leads
        checks.append(steps.Check(f"Does {alias} lead to {old} on {name}?", site.address(old), ", ".join(leads) or "nothing",
                                  good, f"`dig @{name} {alias}`"))
    for name, mx in world["mx"].items():
        wrong = facts.source_as_map(mx["source"].encode("utf-8", "surrogateescape")) != mx["map"]
        checks.append(steps.Check(f"Is the userdb map of {name} made from its source?", "same entries",
                                  "other entries" if wrong else "same entries", not wrong,
                                  f"makemap btree {site.userdb.map} < {site.userdb.source}"))
    off = [service["name"] for service in world["imap"][old]["services"] + world["sendmail"][old]["services"]
           if not service["running"]]
    checks.append(steps.equal(f"Do all mail services of {old} run?", "all", "all" if not off else f"not {', '.join(off)}",
                              f"`systemctl status` on {old}"))
    login = found["login"]
    user = site.production_test.users[0].user
    question = f"Can {user} log in by {alias} and read mail on {old}?"
    if "error" in login:
        checks.append(steps.Check(question, site.address(old), login["error"], False, "look at imapd's log"))
    else:
        seen = login["value"]
        checks.append(steps.Check(question, site.address(old), f"{seen['address']}, {seen['read']} bytes read",
                                  seen["address"] == site.address(old) and seen["read"] > 0, "look at imapd's log"))
    return checks

