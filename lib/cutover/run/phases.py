"""What each phase of the outage takes, from what was measured.

services   stop-imap, stop-sendmail, restore-sendmail, restore-imap: from the first change to the
           last, in earlier runs whose folders are next to this one, those of the same site where
           there are any: least, median, most. ASSUMED where there are none.
alias      switch-alias: what dns-rename took in this run to reach every name server. At worst
           clients wait for the TTL as well.
convert    Starting: what presync took besides its own work. Looking at all folders: the least
           time of a pass after the first. Writing: what changes per second between passes, times
           the time since the last, at the seconds that a message of the first pass took. With one
           pass only: between a tenth of it and all of it. Publishing: PUBLISH per user.
           The outage never waits as presync does: seconds asleep do not count.
verify     From presync's sample, read by the same servers with as many users at a time: seconds
           by the clock per session, folder, message and byte, summed over the whole. The spread
           is that of the groups of users read together, at least 25 %. At worst the largest user
           is read alone. Contents end at `verify.content_minutes`.
queue      The MX deliver what they held. Reading waits until the queues fall, at most SEEN
           seconds; delivery does not. Mail comes in as it did between preflight and presync. It
           goes out as fast as a queue of MANY messages did, in this run or earlier ones, or as
           DRAIN says.
"""

import dataclasses
import statistics
from pathlib import Path
from typing import NamedTuple

from cutover.comparison import staged_sample
from cutover.record import history, journal, step_facts, transcript
from cutover.run.span import Span

PAUSE = 600  # seconds between two steps that count as a pause of the operator
# what is kept of the events of an earlier run: they name all users, and there may be many runs
TIMED = ("event", "step", "attempt", "time", "passed", "seconds", "figures")
# seconds per user; whole conversions of earlier runs bound it
PUBLISH = Span(0.001, 0.01, 0.05)
# messages per second, as in the lab, until a queue of MANY messages was drained
DRAIN = Span(60.0, 30.0, 15.0)
MANY = 100
# seconds until a queue of any length is seen to fall
SEEN = Span(1.0, 5.0, 30.0)
# seconds of the changes of a step, until a run has measured them
ASSUMED = {
    "stop-imap": Span(0.5, 3, 20),
    "stop-sendmail": Span(1, 5, 30),
    "restore-sendmail": Span(1, 5, 30),
    "restore-imap": Span(0.3, 2, 15),
    "switch-alias": Span(0.1, 1, 10),
    "convert": Span(1, 30, 600),
    "verify": Span(1, 60, 1800),
}


class Work(NamedTuple):
    """Seconds of a phase without its handling, and where they come from, in words."""

    span: Span
    source: str


class EarlierRun(NamedTuple):
    """A run whose folder is next to this one, and its events as far as they are TIMED."""

    site: str | None
    events: list


@dataclasses.dataclass(frozen=True)
class Units:
    """Seconds by the clock per session, folder, message and byte, as presync's sample took.

    ratios: what each group of users took, by what these units say it takes; ascending.
    """

    session: float
    folder: float
    message: float
    byte: float
    ratios: list[float]


@dataclasses.dataclass(frozen=True)
class Measurements:
    """What a run and the runs next to it measured so far."""

    site: object
    events: list
    passes: list[transcript.Pass]
    sample: staged_sample.Sample | None
    earlier: list[EarlierRun]
    surveyed: int | None  # messages of the old store, as preflight counted them
    proofs: dict  # presync's, see verify.ahead

    @classmethod
    def of(cls, run, site) -> "Measurements":
        events = run.journal.events()
        facts = step_facts.read(run, events, "presync")
        totals = step_facts.surveyed(run, events)
        return cls(
            site,
            events,
            [done for done in transcript.read(run, "presync").passes if done.ended is not None],
            facts and facts.sample,
            earlier_runs(run, site.name),
            totals.messages if totals else None,
            facts and facts.proofs or {},
        )


def earlier_runs(run, site_name: str) -> list[EarlierRun]:
    """The runs next to this one; only those of the same site, where there are any."""
    runs = []
    for path in sorted(Path(run.path).parent.glob(f"*/{journal.NAME}")):
        if path.parent == run.path:
            continue
        try:
            events = journal.parse(path.read_bytes(), str(path))
        except (OSError, journal.JournalBroken):
            continue
        if events and events[0]["event"] == "run-begun":
            timed = [{key: event[key] for key in TIMED if key in event} for event in events]
            runs.append(EarlierRun(events[0].get("site"), timed))
    return [earlier for earlier in runs if earlier.site == site_name] or runs


def handling(events) -> Span:
    """What a step takes besides its own work: opening, probing, reading the plan, approving.

    Of each step done so far: the time from the end of the step before it to its own end, less
    what its changes took. A gap of more than PAUSE counts as a pause.
    """
    seconds, before = [], None
    for name, attempt in history.attempts(events).items():
        if name in ("preflight", "rollback") or attempt.ended is None:
            before = attempt.ended
            continue
        own_events = [
            event
            for event in events
            if event.get("step") == name and history.at(event) >= attempt.began
        ]
        inside = (
            attempt.seconds
            - sum(event.get("seconds", 0) for event in own_events if event["event"] == "result")
            - _sampling(own_events)
        )
        gap = attempt.began - before if before is not None else 0
        seconds.append(max(0.0, inside) + (gap if 0 <= gap < PAUSE else 0))
        before = attempt.ended
    return Span.of(seconds) if seconds else Span(1, 5, 60)


def _sampling(own_events):
    """Seconds of presync's last probe, which read the sample: no other step does that."""
    times = {
        event["event"]: history.at(event)
        for event in own_events
        if event["step"] == "presync" and event.get("when", "after") == "after"
    }
    return times["probed"] - times["applied"] if {"applied", "probed"} <= set(times) else 0.0


def measured_before(earlier: list[EarlierRun], step: str) -> Work:
    """The changes of a step in earlier runs, without the time in which queues were drained."""
    seconds = []
    for run in earlier:
        for verified in run.events:
            if (
                verified["event"] != "verified"
                or verified["step"] != step
                or not verified["passed"]
            ):
                continue
            own_events = [
                event for event in run.events if event.get("attempt") == verified["attempt"]
            ]
            intents, applied = (
                [event for event in own_events if event["event"] == kind]
                for kind in ("intent", "applied")
            )
            if intents and applied:
                results = [event for event in own_events if event["event"] == "result"]
                drained = sum(event["seconds"] for event in results if _delivered(event))
                # a queue may be drained while services start
                longest = [event["seconds"] for event in results if not _delivered(event)]
                whole = history.at(applied[-1]) - history.at(intents[0])
                seconds.append(max([whole - drained, *longest]))
            elif step == "verify":
                begun = run.events[verified["attempt"]]
                seconds.append(history.at(own_events[0]) - history.at(begun))
    if not seconds:
        return Work(ASSUMED[step], "assumed: there is no earlier run next to this one")
    sites = ", ".join(sorted({str(run.site) for run in earlier}))
    return Work(Span.of(seconds), f"{len(seconds)} measured in earlier runs of {sites}")


def _delivered(event) -> int:
    """Messages that a result delivered from a queue; 0 where no figures were recorded."""
    if event["event"] != "result":
        return 0
    return (event.get("figures") or {}).get("delivered", 0)


def _done(events, step):
    """Seconds of each change of a step of this run that was done."""
    return [
        event["seconds"]
        for event in events
        if event["event"] == "result" and event["step"] == step and event["outcome"] == "done"
    ]


def alias(known: Measurements, before: Work, reading_restored: Span) -> Work:
    """switch-alias; `before`: as earlier runs measured it."""
    ttl = known.site.dns.ttl
    renamed = _done(known.events, "dns-rename")
    reach = renamed[-1] if renamed else before.span.likely
    worst = reach * 2 if renamed else max(reach * 2, before.span.high)
    span = Span(reach * 0.5, reach, worst + max(0.0, ttl - reading_restored.low))
    source = "dns-rename of this run" if renamed else before.source
    return Work(span, f"{source}; at worst {ttl} s of TTL")


def convert(known: Measurements, before: Work) -> Work:
    """The conversion in the outage; `before`: as earlier runs measured it."""
    passes = known.passes
    if not passes:
        return before
    first, last = passes[0], passes[-1]
    seconds = _done(known.events, "presync")
    start = max(0.0, seconds[-1] - last.seconds) if seconds else 0.0
    around = Span(start * 0.5, start, start * 2) + PUBLISH * last.total
    if len(passes) == 1:
        whole = Span(first.worked * 0.1, first.worked * 0.5, first.worked)
        return Work(whole + around, "one pass of presync")
    per_message = first.worked / max(1, first.written)
    look = [max(0.0, later.worked - later.written * per_message) for later in passes[1:]]
    rates = [
        later.written / max(1.0, later.began - earlier.began)
        for earlier, later in zip(passes, passes[1:], strict=False)
    ]
    since = max(last.began - passes[-2].began, 1.0)
    write = Span.of(rates) * (since * per_message)
    changing = f"{statistics.median(rates):.2f} messages change per second"
    return Work(Span.of(look) + write + around, f"{len(passes)} passes of presync; {changing}")


def units(known: Measurements) -> Units | None:
    """What reading took in presync's sample; None without one."""
    groups = [group for group in (known.sample.groups if known.sample else []) if group.messages]
    if not known.passes or not groups:
        return None
    totals = {
        field: sum(getattr(group, field) for group in groups)
        for field in (field.name for field in dataclasses.fields(staged_sample.Group))
    }
    session = totals["sessions"] / max(1, totals["users"])
    folder = totals["opening"] / max(1, totals["folders"])
    message = totals["metadata"] / max(1, totals["messages"])
    byte = totals["content"] / max(1, totals["bytes"])
    ratios = [
        (group.sessions + group.opening + group.metadata + group.content)
        / max(
            1e-6,
            session * group.users
            + folder * group.folders
            + message * group.messages
            + byte * group.bytes,
        )
        for group in groups
    ]
    return Units(session, folder, message, byte, sorted(ratios))


def contents(known: Measurements) -> float | None:
    """Seconds that the contents of all messages take, by presync's sample."""
    unit = units(known)
    return round(unit.byte * known.passes[-1].bytes, 2) if unit else None


def verify(known: Measurements, before: Work) -> Work:
    """Comparing both sides; `before`: as earlier runs measured it."""
    unit = units(known)
    if not unit:
        return before
    settings, users = known.site.verify, known.passes[-1].users
    limit = settings.content_minutes * 60
    byte = unit.byte if settings.level == "content" else 0.0

    def seconds(names, proofs):
        total = contents = 0.0
        for name in names:
            user, proven = users[name], proofs.get(name, {}).values()
            left = 1 - sum(proof.messages for proof in proven) / max(1, user.messages)
            total += unit.session + unit.folder * user.folders
            total += unit.message * user.messages * max(0.0, left)
            contents += byte * user.bytes * max(0.0, left)
        return total + min(limit, contents)

    likely, whole = seconds(users, known.proofs), seconds(users, {})
    largest = max((seconds([name], {}) for name in users), default=0.0)
    # at worst everything was touched since it was proven, and one pair of sessions reads one user:
    # nothing else runs for a while
    high = max(
        whole * max(unit.ratios[-1], 1.25),
        whole - largest + largest * min(settings.parallel, len(users)),
    )
    return Work(
        Span(likely * min(unit.ratios[0], 0.75), likely, high),
        f"{known.sample.messages} messages of {len(known.sample.users)} users read in presync",
    )


def queue(known: Measurements, held: Span, before: Work) -> Work:
    """restore-sendmail with the mail that was held meanwhile, for the time `held`."""
    probed = [
        history.at(event)
        for event in known.events
        if event["event"] == "probed" and event.get("step") == "preflight"
    ]
    if not known.passes or known.surveyed is None or not probed:
        return before
    last = known.passes[-1]
    rate = max(0.0, (last.messages - known.surveyed) / max(1.0, last.began - probed[-1]))
    drained = [
        _delivered(event) / max(0.1, event["seconds"])
        for events in (known.events, *(run.events for run in known.earlier))
        for event in events
        if _delivered(event) >= MANY
    ]
    speed = Span(max(drained), statistics.median(drained), min(drained)) if drained else DRAIN
    delivery = Span(
        min(SEEN.low, held.low * rate / speed.low),
        min(SEEN.likely, held.likely * rate / speed.likely),
        min(SEEN.high, held.high * rate / speed.high),
    )
    return Work(
        before.span + delivery,
        f"{before.source}; {rate:.2f} messages per second come in and are held",
    )
