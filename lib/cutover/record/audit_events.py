"""What a journal tells, judged: order, approvals, times, files it speaks of, and executed copies beside it.

Events are what anybody may have written, so nothing about their fields is taken for granted.
"""

import datetime
import hashlib
import json

from cutover.model import errors, runbook
from cutover.record import executed_copy, journal, signing, statement
from cutover.steps import registry


def events_findings(events, contents, allowed: bytes, written):
    """Yields `(kind, where, what)`. `contents`: record.survey's; `allowed`: the allowed signers; `written`: record or None."""
    if not events or events[0].get("event") != "run-begun":
        yield "order", f"{journal.NAME}, line 1", "a journal begins with a run"
        return
    for check in (_head, _times, _files, _order, _approvals, _results, _copies):
        try:
            yield from check(events, contents, allowed, written)
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            IndexError,
            runbook.UnknownStep,
        ) as error:
            yield (
                "changed",
                journal.NAME,
                f"an event lacks what events have ({type(error).__name__}: {error})",
            )


def _head(events, contents, allowed, written):
    if any(event["event"] == "run-begun" for event in events[1:]):
        yield "order", journal.NAME, "a run begins once"
    if written is not None:
        for key in ("run", "site", "kind"):
            if events[0][key] != written[key]:
                yield (
                    "changed",
                    f"{journal.NAME}, line 1",
                    f"its {key} is {events[0][key]}, the record says {written[key]}",
                )
        for key, said in {**written["code"], "parameters": written["parameters"]}.items():
            # a process that was begun before an approved difference may sign after it
            known = {event.get(key) for event in events if event["event"] in ("run-begun", "drift")}
            if key in ("code", "notebooks", "parameters") and said not in known:
                yield (
                    "drift",
                    journal.NAME,
                    f"the record was signed with other {key} than the journal knows of",
                )


def _times(events, contents, allowed, written):
    last, boots = None, {}
    for event in events:
        now = datetime.datetime.fromisoformat(event["time"])
        if now.utcoffset() != datetime.timedelta(0):
            yield "time", journal.line_of(event), f"{event['time']} is not in UTC"
            continue
        if last is not None and now < last:
            yield (
                "time",
                journal.line_of(event),
                f"it is {event['time']}, before {last.isoformat()} of the line before it",
            )
        last = now
        boot = event.get("boot")
        if boot in boots and event["monotonic"] < boots[boot]:
            yield (
                "time",
                journal.line_of(event),
                f"the monotonic clock runs backwards: {event['monotonic']} after {boots[boot]}",
            )
        boots[boot] = event["monotonic"]
    if (
        written is not None
        and last is not None
        and datetime.datetime.fromisoformat(written["made"]) < last
        and (len(events) <= written["journal"]["events"])
    ):
        yield (
            "time",
            "record.json",
            f"it was made at {written['made']}, before the journal's last event",
        )


def _files(events, contents, allowed, written):
    """Every file an event names by its digest is there and is that file."""
    named = [(events[0]["file"], events[0]["parameters"], events[0])]
    for event in events:
        if event["event"] == "probed":
            named.append((event["facts"], event["sha256"], event))
        elif event["event"] == "planned":
            named.append((event["file"], event["hash"], event))
        elif event["event"] == "approved":
            named += [(each["file"], each["sha256"], event) for each in event.get("signers", [])]
        elif event["event"] == "drift" and "parameters" in event:
            named.append((f"parameters.{event['parameters'][:8]}.yaml", event["parameters"], event))
        for digest in _blobs(event):
            named.append((f"{journal.BLOBS}/{digest}.txt", digest, event))
    for name, digest, event in named:
        kind, data = contents.get(name, (None, b""))
        if kind is None:
            yield "missing", name, f"{journal.line_of(event)} speaks of it"
        elif hashlib.sha256(data).hexdigest() != digest:
            yield "changed", name, f"it is not the file of which {journal.line_of(event)} speaks"


def _blobs(value, name=""):
    """The digests of the long texts that an event left to files beside the journal."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _blobs(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from _blobs(each, name)
    elif isinstance(value, str) and name in journal.BOUNDED:
        found = journal.BEYOND.search(value)
        if found:
            yield found[1]


def _order(events, contents, allowed, written):
    for number, event in enumerate(events):
        if event["event"] == "step-begun":
            try:
                registry.may_run(event["step"], events[:number])
            except errors.CutoverError as error:
                yield "order", journal.line_of(event), str(error)
        elif event["event"] == "intent" and registry.step(event["step"]).gate:
            gated = [
                each
                for each in events[:number]
                if each["event"] == "gated" and each["attempt"] == event["attempt"]
            ]
            if not gated or not gated[-1]["passed"]:
                yield (
                    "order",
                    journal.line_of(event),
                    f"{event['step']}: {event['title']} was applied without a go",
                )
        if event["event"] in ("verified", "gated") and event["passed"] != (
            bool(event["checks"]) and all(check["passed"] for check in event["checks"])
        ):
            yield (
                "claim",
                journal.line_of(event),
                f"{event['step']}: passed is {event['passed']}, which its checks do not bear out",
            )
        if event["event"] == "verified":
            mine = [each for each in events[:number] if each.get("attempt") == event["attempt"]]
            planned = [each for each in mine if each["event"] == "planned"]
            applied = [each for each in mine if each["event"] == "applied"]
            if not planned or (planned[-1]["changes"] and not applied):
                yield (
                    "order",
                    journal.line_of(event),
                    f"{event['step']} was verified without its plan having been made and applied",
                )


def _approvals(events, contents, allowed, written):
    kind = events[0]["kind"]
    for number, event in enumerate(events):
        if event["event"] == "intent":
            yield from _one_intent(event, events[:number], contents)
        elif event["event"] == "approved":
            yield from _one_approval(event, events[:number], contents, allowed, events[0])
        elif event["event"] in ("drift", "lease-broken"):
            what, subject = (
                ("drift" if event["event"] == "drift" else "lease-break"),
                events[0]["run"],
            )
            if kind != "rehearsal":
                yield from _signed(event, what, subject, 1, contents, allowed, events[0])


def _one_intent(event, before, contents):
    mine = [each for each in before if each.get("attempt") == event["attempt"]]
    what = f"{event['step']}: {event['title']}"
    planned = next((each for each in reversed(mine) if each["event"] == "planned"), None)
    approved = next((each for each in reversed(mine) if each["event"] == "approved"), None)
    if approved is None:
        yield "approval", journal.line_of(event), f"{what} was applied without an approval"
        return
    if planned is None or approved["hash"] != planned["hash"] or approved["seq"] < planned["seq"]:
        yield (
            "approval",
            journal.line_of(event),
            f"{what} was applied with an approval of another plan ({approved['hash'][:16]})",
        )
        return
    try:
        plan = json.loads(contents[planned["file"]][1])
    except (KeyError, ValueError):
        return  # the file's own finding says it
    if (plan["step"], plan["run"]) != (event["step"], before[0]["run"]):
        yield (
            "approval",
            journal.line_of(event),
            f"{what}: the plan approved is that of {plan['step']} of run {plan['run']}",
        )
    elif (
        event["number"] >= len(plan["changes"])
        or plan["changes"][event["number"]] != event["change"]
    ):
        yield (
            "approval",
            journal.line_of(event),
            f"{what} is not change {event['number'] + 1} of the approved plan",
        )


def _one_approval(event, before, contents, allowed, begun):
    mine = [
        each
        for each in before
        if each["event"] == "planned" and each["attempt"] == event["attempt"]
    ]
    planned = mine[-1] if mine else None
    if planned is None or planned["hash"] != event["hash"]:
        yield (
            "approval",
            journal.line_of(event),
            f"{event['step']}: approved is {event['hash'][:16]}, which is not the plan shown before",
        )
    elif event["kind"] == "nothing to do":
        if planned["changes"]:
            yield (
                "approval",
                journal.line_of(event),
                f"{event['step']}: approved as nothing to do, and its plan has changes",
            )
    elif begun["kind"] != "rehearsal":
        people = registry.step(event["step"]).signers
        yield from _signed(event, "plan", event["step"], people, contents, allowed, begun)
    elif event["kind"] != "rehearsal":
        yield (
            "approval",
            journal.line_of(event),
            f"{event['step']}: approved as {event['kind']} in a rehearsal",
        )


def _signed(event, approves, subject, people, contents, allowed, begun):
    """The signatures behind an approval, each judged again as of the event's time."""
    holding = set()
    for each in event.get("signers", []):
        data, signature = (
            contents.get(name, (None, b""))[1] for name in (each["file"], each["file"] + ".sig")
        )
        try:
            given = statement.judge(
                data,
                signature,
                allowed,
                each["file"],
                begun["site"],
                begun["run"],
                approves,
                subject,
                event["hash"],
                event["time"],
            )
            holding.add(given.signer.principal)
        except (statement.NotApproved, signing.BadSignature) as error:
            yield "approval", f"{journal.line_of(event)}, {each['file']}", str(error)
    if len(holding) < people:
        yield (
            "approval",
            journal.line_of(event),
            f"{subject}: {len(holding)} of {people} people approved the {approves}",
        )


def _results(events, contents, allowed, written):
    open_intents = {}
    for event in events:
        if event["event"] == "intent":
            open_intents[event["seq"]] = event
        elif event["event"] == "result":
            intent = open_intents.pop(event["intent"], None)
            if intent is None or intent["attempt"] != event["attempt"]:
                yield (
                    "order",
                    journal.line_of(event),
                    f"{event['step']}: a result of a change that was not begun",
                )


def _copies(events, contents, allowed, written):
    yield from executed_copy.findings(events, contents)
