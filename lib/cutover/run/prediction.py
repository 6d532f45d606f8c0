"""What the outage will cost, phase by phase, from what was measured; and beside it, afterwards, what it did cost.

A phase has three figures in seconds: low, likely, high. A window is the sum of its phases, low with low and high with high: it
is as wide as it would be if everything went well or badly together. No phase is told narrower than ±20 % and ±0.5 s (FLOOR).

Where the figures come from:

handling   what each step takes besides its own work: opening the notebook, probing, reading the plan, approving. Measured in
           this run, from the steps already done: least, median and most of them. A pause of more than ten minutes between two
           steps (PAUSE) is taken for a pause.
services   stop-imap, stop-sendmail, restore-sendmail, restore-imap: from the first change to the last, in earlier runs whose
           folders lie beside this one, those of the same site where there are any: least, median, most. With none: ASSUMED.
alias      switch-alias: as dns-rename took in this run to reach every name server; at worst clients wait for the TTL as well.
convert    starting it: what presync took besides its own work. Looking at all folders: the least time of a pass after the
           first. Writing: what changes a second between passes, times the time since the last, at the seconds a message of
           the first pass took. With one pass only: between a tenth of it and all of it. Publishing: PUBLISH a user.
verify     from presync's sample, read by the same servers with as many users at a time: seconds by the clock for each session,
           folder, message and byte, summed over what there is. The spread is that of the groups of users that were read
           together, at least 25 %; at worst the largest user is read alone. Contents are cut at `verify.content_minutes`.
queue      what the MX hold meanwhile is delivered before restore-sendmail passes: reading waits for it, delivery is back before.
           Mail comes as it came between preflight and presync; it goes out as fast as a queue of MANY messages did, in this run
           or earlier ones, or as DRAIN says.
"""

import dataclasses
import re
import statistics

from cutover.model import runbook
from cutover.record import history as story
from cutover.record import journal
from cutover.run import outage

FLOOR = (0.2, 0.5)  # part, and seconds
PAUSE = 600  # seconds
PUBLISH = (0.001, 0.01, 0.05)  # seconds a user; earlier runs' whole conversions bound it
DRAIN = (
    60.0,
    30.0,
    15.0,
)  # messages a second, until a queue of MANY messages was drained; as the lab does it
MANY = 100
# seconds of the changes of a step, at best, likely, at worst, until a run has measured them
ASSUMED = {
    "stop-imap": (0.5, 3, 20),
    "stop-sendmail": (1, 5, 30),
    "restore-sendmail": (1, 5, 30),
    "restore-imap": (0.3, 2, 15),
    "switch-alias": (0.1, 1, 10),
    "convert": (1, 30, 600),
    "verify": (1, 60, 1800),
}
PHASES = [
    "stop-imap",
    "stop-sendmail",
    "convert",
    "verify",
    "restore-sendmail",
    "switch-alias",
    "restore-imap",
]
WINDOWS = {
    outage.READING: ("stop-imap", "restore-imap"),
    outage.DELIVERY: ("stop-sendmail", "restore-sendmail"),
}


@dataclasses.dataclass(frozen=True)
class Span:
    """Seconds: at best, likely, at worst."""

    low: float = 0.0
    likely: float = 0.0
    high: float = 0.0

    def __add__(self, other):
        return Span(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def __mul__(self, factor):
        return Span(self.low * factor, self.likely * factor, self.high * factor)

    def __str__(self):
        return f"{story.duration(self.low)} to {story.duration(self.high)}, likely {story.duration(self.likely)}"

    @classmethod
    def of(cls, values):
        """Least, median, most."""
        return cls(min(values), statistics.median(values), max(values))

    def wide(self):
        """Not narrower than FLOOR allows."""
        part, seconds = FLOOR
        return Span(
            max(0.0, min(self.low, self.likely * (1 - part), self.likely - seconds)),
            self.likely,
            max(self.high, self.likely * (1 + part), self.likely + seconds),
        )

    def as_json(self):
        return {
            "low": round(self.low, 2),
            "likely": round(self.likely, 2),
            "high": round(self.high, 2),
        }


def predicted(events) -> dict | None:
    """The last prediction of a run, an event with what outage_of() gave; None before there was one."""
    return runbook.latest(events, "predicted")


def span(figures: dict) -> Span:
    """A Span from its JSON."""
    return Span(figures["low"], figures["likely"], figures["high"])


def outage_of(run, site) -> dict:
    """Predict the outage of a run whose presync has just passed.

    → `{"phases": [{"phase", "low", "likely", "high", "from": text}], "reading": {"low", "likely", "high"}, "delivery": the
    same, "handling": the same, "contents": what verify would need for all contents, or None, "passes": presync's passes so far,
    "staged": {"messages", "bytes"}}`, all in seconds.
    """
    events = run.journal.events()
    earlier = _earlier(run, site.name)
    handling = _handling(events)
    passes = [each for each in story.transcribed(run, "presync").passes if each.ended is not None]
    work = {name: _measured(earlier, name) for name in ASSUMED}
    work["switch-alias"] = _alias(events, work, site)
    work["convert"] = _convert(events, passes, work["convert"])
    work["verify"] = _verify(story.facts(run, events, "presync"), passes, work["verify"], site)
    held = sum(
        (work[name][0] for name in ("stop-sendmail", "convert", "verify", "restore-sendmail")),
        handling * 3,
    )
    flows = work["restore-sendmail"][
        0
    ]  # mail comes through again as soon as sendmail runs; the step waits for the queues
    work["restore-sendmail"] = _queue(run, events, passes, held, earlier, work["restore-sendmail"])
    # a window begins within its first step and ends within its last: of these two, half of the handling is outside
    phases = {name: (work[name][0] + handling).wide() for name in PHASES}
    ends = {outage.READING: work["restore-imap"][0], outage.DELIVERY: flows}
    told = {
        kind: sum(
            (phases[name] for name in PHASES[PHASES.index(first) + 1 : PHASES.index(last)]),
            (work[first][0] + handling * 0.5).wide() + (ends[kind] + handling * 0.5).wide(),
        )
        for kind, (first, last) in WINDOWS.items()
    }
    contents = _contents(story.facts(run, events, "presync"), passes)
    return {
        "contents": contents,
        "phases": [
            {"phase": name, **phases[name].as_json(), "from": work[name][1]} for name in PHASES
        ],
        "handling": handling.as_json(),
        "passes": len(passes),
        "staged": {"messages": passes[-1].messages, "bytes": passes[-1].bytes}
        if passes
        else {"messages": 0, "bytes": 0},
        **{kind: window.as_json() for kind, window in told.items()},
    }


def measured(events) -> dict:
    """What it did cost. → `{phase: seconds}` for each step that was verified, from the step before it to its own verify."""
    found, before = {}, None
    for name, one in story.attempts(events).items():
        if name in PHASES and one.ended is not None:
            found[name] = one.ended - (
                before if before is not None and 0 <= one.began - before < PAUSE else one.began
            )
        before = one.ended
    return found


def costs(run, events) -> dict:
    """What was measured, of phases and of windows that are over. → `{phase or kind of window: seconds}`"""
    return {
        **measured(events),
        **{
            window.kind: window.seconds
            for window in outage.windows(run.path / outage.NAME)
            if window.seconds is not None
        },
    }


def windows(run, events) -> list:
    """`[(kind, Span predicted or None, outage.Window measured or None)]`"""
    told, found = (
        predicted(events),
        {window.kind: window for window in outage.windows(run.path / outage.NAME)},
    )
    return [(kind, span(told[kind]) if told else None, found.get(kind)) for kind in WINDOWS]


def judged(expected: Span | None, window) -> str:
    """How a measured window stands to its prediction, in words."""
    if expected is None or window is None or window.seconds is None:
        return ""
    if window.seconds - window.grain > expected.high:
        return f"longer than predicted by {story.duration(window.seconds - expected.high)}"
    if window.seconds < expected.low:
        return f"shorter than predicted by {story.duration(expected.low - window.seconds)}"
    return "as predicted"


# --- the figures


def _handling(events):
    """Of each step done so far: the time from the end of the one before it to its own end, less what its changes took."""
    attempts, spans, before = story.attempts(events), [], None
    for name, one in attempts.items():
        if name in ("preflight", "rollback") or one.ended is None:
            before = one.ended
            continue
        mine = [
            event for event in events if event.get("step") == name and story.at(event) >= one.began
        ]
        inside = (
            one.seconds
            - sum(event.get("seconds", 0) for event in mine if event["event"] == "result")
            - _sampling(mine)
        )
        gap = one.began - before if before is not None and 0 <= one.began - before < PAUSE else 0
        spans.append(max(0.0, inside) + gap)
        before = one.ended
    return Span.of(spans) if spans else Span(1, 5, 60)


def _sampling(mine):
    """Seconds that presync's last probe took, in which it read its sample: no other step does that."""
    times = {
        event["event"]: story.at(event)
        for event in mine
        if event["step"] == "presync" and event.get("when", "after") == "after"
    }
    return times["probed"] - times["applied"] if {"applied", "probed"} <= set(times) else 0.0


def _earlier(run, name):
    """`[(site, events)]` of the runs beside this one; those of the same site where there are any."""
    found = []
    for path in sorted(run.path.parent.glob(f"*/{journal.NAME}")):
        if path.parent == run.path:
            continue
        try:
            events = journal.parse(path.read_bytes(), str(path))
        except (OSError, journal.JournalBroken):
            continue
        if events and events[0]["event"] == "run-begun":
            found.append((events[0].get("site"), events))
    same = [each for each in found if each[0] == name]
    return same or found


def _measured(earlier, step):
    """(Span, where from) of the changes of a step in earlier runs."""
    spans = []
    for _, events in earlier:
        for verified in (
            event
            for event in events
            if event["event"] == "verified" and event["step"] == step and event["passed"]
        ):
            mine = [event for event in events if event.get("attempt") == verified["attempt"]]
            intents, applied = (
                [event for event in mine if event["event"] == kind]
                for kind in ("intent", "applied")
            )
            if intents and applied:
                spans.append(
                    story.at(applied[-1])
                    - story.at(intents[0])
                    - sum(
                        event["seconds"]
                        for event in mine
                        if event["event"] == "result" and _drained(event)
                    )
                )
            elif step == "verify":
                spans.append(story.at(mine[0]) - story.at(events[verified["attempt"]]))
    if spans:
        return (
            Span.of(spans),
            f"{len(spans)} measured in earlier runs of {', '.join(sorted({site for site, _ in earlier}))}",
        )
    return Span(*ASSUMED[step]), "assumed: no earlier run lies beside this one"


def _drained(event):
    """Messages that a result says were delivered from a queue."""
    found = re.match(r"(\d+) queued, all delivered", str(event.get("output", "")))
    return int(found[1]) if found else 0


def _alias(events, work, site):
    took = [
        event["seconds"]
        for event in events
        if event["event"] == "result"
        and event["step"] == "dns-rename"
        and event["outcome"] == "done"
    ]
    reach = max(took[-1:] or [work["switch-alias"][0].likely])
    wait = max(0.0, site.dns.ttl - work["restore-imap"][0].low)
    return (
        Span(
            reach * 0.5,
            reach,
            max(reach * 2, work["switch-alias"][0].high if not took else 0) + wait,
        ),
        f"{'dns-rename of this run' if took else work['switch-alias'][1]}; at worst {site.dns.ttl} s of TTL",
    )


def _convert(events, passes, fallback):
    if not passes:
        return fallback
    last = passes[-1]
    took = [
        event["seconds"]
        for event in events
        if event["event"] == "result" and event["step"] == "presync" and event["outcome"] == "done"
    ]
    own = [each.ended - each.began for each in passes]
    start = max(0.0, took[-1] - own[-1]) if took else 0.0
    publish = Span(*PUBLISH) * last.total
    first = passes[0]
    if len(passes) == 1:
        return Span(own[0] * 0.1, own[0] * 0.5, own[0]) + Span(
            start * 0.5, start, start * 2
        ) + publish, "one pass of presync"
    message = own[0] / max(1, _written(first))
    look = [
        max(0.0, seconds - _written(each) * message)
        for each, seconds in zip(passes[1:], own[1:], strict=True)
    ]
    rates = [
        _written(each) / max(1.0, each.began - before.began)
        for before, each in zip(passes, passes[1:], strict=False)
    ]
    since = max(last.began - passes[-2].began, 1.0)
    write = Span.of(rates) * (since * message)
    return (
        Span.of(look) + write + Span(start * 0.5, start, start * 2) + publish,
        f"{len(passes)} passes of presync; {statistics.median(rates):.2f} messages change a second",
    )


def _written(each):
    return sum(user.written for user in each.users.values())


def _units(facts, passes):
    """Seconds by the clock for each session, folder, message and byte, as presync's sample was read, and how the single groups
    of users stand to that. → (session, folder, message, byte, [ratio]) or None"""
    groups = [
        group
        for group in ((facts or {}).get("sample") or {}).get("groups", [])
        if group["messages"]
    ]
    if not passes or not groups:
        return None
    units = [
        sum(group[seconds] for group in groups) / max(1, sum(group[number] for group in groups))
        for seconds, number in (
            ("sessions", "users"),
            ("opening", "folders"),
            ("metadata", "messages"),
            ("content", "bytes"),
        )
    ]
    ratios = []
    for group in groups:
        told = sum(
            unit * group[key]
            for unit, key in zip(units, ("users", "folders", "messages", "bytes"), strict=True)
        )
        ratios.append(
            sum(group[key] for key in ("sessions", "opening", "metadata", "content"))
            / max(1e-6, told)
        )
    return *units, sorted(ratios)


def _contents(facts, passes):
    """Seconds that the contents of all messages take, by presync's sample, or None."""
    units = _units(facts, passes)
    return units and round(units[3] * passes[-1].bytes, 2)


def _verify(facts, passes, fallback, site):
    units = _units(facts, passes)
    if not units:
        return fallback
    session, folder, message, byte, ratios = units
    users = list(passes[-1].users.values())
    limit = site.verify.content_minutes * 60
    byte = byte if site.verify.level == "content" else 0.0

    def whole(listed):
        return (
            session * len(listed)
            + sum(folder * user.folders + message * user.messages for user in listed)
            + min(limit, sum(byte * user.bytes for user in listed))
        )

    likely, largest = whole(users), max((whole([user]) for user in users), default=0.0)
    # one user is read by one pair of sessions: at worst that is all that goes on for a while
    high = max(
        likely * max(ratios[-1], 1.25),
        likely - largest + largest * min(site.verify.parallel, len(users)),
    )
    return (
        Span(likely * min(ratios[0], 0.75), likely, high),
        f"{facts['sample']['messages']} messages of {len(facts['sample']['users'])} users read in presync",
    )


def _queue(run, events, passes, window, earlier, work):
    """restore-sendmail with the mail that was held meanwhile."""
    counted = story.surveyed(run, events).get("messages")
    probed = [
        story.at(event)
        for event in events
        if event["event"] == "probed" and event.get("step") == "preflight"
    ]
    if not passes or counted is None or not probed:
        return work
    rate = max(0.0, (passes[-1].messages - counted) / max(1.0, passes[-1].began - probed[-1]))
    out = [
        _drained(event) / max(0.1, event["seconds"])
        for listed in (events, *(others for _, others in earlier))
        for event in listed
        if event["event"] == "result" and _drained(event) >= MANY
    ]
    speeds = Span(max(out), statistics.median(out), min(out)) if out else Span(*DRAIN)
    held = Span(
        window.low * rate / speeds.low,
        window.likely * rate / speeds.likely,
        window.high * rate / speeds.high,
    )
    return work[0] + held, f"{work[1]}; {rate:.2f} messages a second come in and are held"
