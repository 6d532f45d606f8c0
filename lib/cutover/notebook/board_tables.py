"""The tables of the board, drawn from the events of a run."""

from cutover.model import runbook
from cutover.record import approval_ahead, history
from cutover.report import step_tables, tables
from cutover.run import outage, position, prediction

STATES = {
    None: "not yet",
    "undone": "rolled back",
    "stale": "stale: run it again",
    "failed": "failed",
    "begun": "begun",
}
CLOCKS = ((outage.READING, "reading refused"), (outage.DELIVERY, "delivery held"))
LOG = 14  # journal lines shown
WIDTH = 110  # characters of a journal line
# the field that tells most about an event
TELLING = {
    "step-begun": "title",
    "probed": "when",
    "step-failed": "error",
    "ahead-void": "what",
}


def head(site, run, events, recorded: bool) -> tables.Stack:
    """The verdict so far, the next step, and which run this is."""
    word, sentence = history.verdict(events, history.attempts(events))
    latest = "none"
    if events:
        latest = f"{history.clock(history.at(events[-1]), date=True)} UTC"
    return tables.Stack(
        _banner(word, sentence, position.next_step(events)),
        tables.Table(
            ["", ""],
            [
                ["site", f"{site.name} ({site.kind})"],
                ["run", events[0]["run"] if events else run.name],
                ["last event", latest + (" (recorded)" if recorded and events else "")],
            ],
        ),
    )


def _banner(word, sentence, following):
    if following is None:
        return tables.Banner(word, sentence.strip())
    link = tables.Link(f"Open {following}", runbook.notebook_name(following))
    return tables.Banner(word, f"{sentence} Next: {following}.", link)


def steps(events) -> tables.Table:
    """Every step: its state, when it ran, who approved it, and whether it may run now."""
    attempts, following = history.attempts(events), position.next_step(events)
    rows = []
    for name in [*runbook.ORDER, "rollback"]:
        attempt = attempts.get(name)
        state = attempt.state if attempt else None
        rows.append(
            [
                runbook.number(name),
                tables.Link(name, runbook.notebook_name(name)),
                STATES.get(state, state),
                _when(attempt),
                _approval(name, attempt, events),
                _now(name, attempt, events, following),
            ]
        )
    return tables.Table(["", "step", "state", "when (UTC)", "approved by", "now"], rows, "Steps")


def _approval(name, attempt, events):
    """Who approved the plan; before the step has run, who approved it ahead."""
    ahead = dict.fromkeys(given["by"] for given in approval_ahead.standing(events, name))
    return history.approval(attempt) if attempt else ", ".join(ahead)


def _when(attempt):
    if attempt is None:
        return ""
    if attempt.seconds is None:
        return f"{history.clock(attempt.began)}, not over"
    return f"{history.clock(attempt.began)}, {history.duration(attempt.seconds)}"


def _now(name, attempt, events, following):
    """What may be done about a step now."""
    if attempt is not None and attempt.waiting:
        return "waits for its approval"
    state = attempt.state if attempt else None
    if state == "begun":
        return "begun; not verified yet"
    if state == "passed" and name != "rollback":
        return "done"
    if name == following:
        return "may run now: NEXT"
    return position.waits_for(name, events) or "may run now"


def clocks(events, windows, now: float) -> tables.Table:
    """Both outages: the clock by the journal, what was measured, what was predicted."""
    measured = {window.kind: window for window in windows}
    predicted = prediction.predicted(events)
    rows = []
    for kind, title in CLOCKS:
        began, ended = history.stopped(events, kind)
        clock = history.lasted(began, ended, now)
        if began is None:
            period = ""
        elif ended is None:
            period = f"since {history.clock(began)}"
        else:
            period = f"{history.clock(began)} to {history.clock(ended)}"
        expected = str(prediction.Span.from_json(predicted[kind])) if predicted else "not yet"
        rows.append([title, clock, period, _measured(measured.get(kind), now), expected])
    columns = ["outage", "clock", "by the journal (UTC)", "measured from outside", "predicted"]
    return tables.Table(columns, rows)


def _measured(window, now):
    if window is None:
        return "nothing refused so far"
    lasts = history.duration((window.ended or now) - window.began)
    so_far = "" if window.ended else " so far"
    return f"{lasts}{so_far}, {tables.count(window.probes, 'probe')} refused"


def gates(run, events):
    """Go or no-go, and the predicted outage."""
    at, checks = history.gate(events)
    if not checks:
        return tables.Text("No go: preflight has not been verified in this run.")
    shown = step_tables.gate(checks, f" at {history.clock(at)} UTC")
    predicted = prediction.predicted(events)
    if not predicted:
        return shown
    stopped = history.stopped(events, outage.READING)[0]
    costs = prediction.costs(run, events) if stopped else None
    return tables.Stack(shown, step_tables.prediction(predicted, costs))


def live_state(answers, now: float) -> tables.Table:
    """What the hosts said (run/live_state.py)."""
    rows = [
        [
            answer.question,
            answer.reading.value
            if answer.reading.ok
            else f"cannot be read: {answer.reading.error}",
        ]
        for answer in answers
    ]
    caption = f"What the hosts say at {history.clock(now)} UTC"
    return tables.Table(["question", "answer"], rows, caption)


def log(events) -> tables.Text:
    """The latest events, one per line."""
    lines = [
        f"{event['time'][11:19]}  {event.get('step', ''):<16} {event['event']:<16} "
        f"{_detail(event)[:WIDTH]}".rstrip()
        for event in events[-LOG:]
    ]
    return tables.Text("\n".join(lines) or "Nothing has happened yet.", preformatted=True)


def _detail(event) -> str:
    kind = event["event"]
    if kind == "planned":
        return event["reason"] or tables.count(len(event["changes"]), "change")
    if kind in ("approved", approval_ahead.GIVEN):
        of = f"{event['of']} " if "of" in event else ""
        return f"{of}by {event['by']} ({event['kind']})"
    if kind == "intent":
        return f"{event['target']}: {event['title']}"
    if kind == "result":
        return f"{event['outcome']}: {event['output']}"
    if kind == "verified":
        return "passed" if event["passed"] else "DID NOT PASS"
    return str(event.get(TELLING.get(kind, ""), ""))
