"""Progress of long work: every event is written to the run's folder and read back from there.

So the notebook that applies, a board in another tab and a reopened notebook all show the same.
"""

import html
import json
import time

from IPython.display import display

from cutover.model import runbook
from cutover.notebook import live
from cutover.record import history, transcript
from cutover.report import tables
from cutover.site import secrets

EVERY = 0.5  # seconds between updates of the display
SHOWN = 12  # users shown, active ones first


class Progress:
    """Takes the engine's events. Used as a context manager around apply()."""

    def __init__(self, run, step_id):
        self.step_id = step_id
        self.path = path(run, step_id) if run is not None else None
        self.script = transcript.Transcript(self.path or "")
        self.going, self.before = False, 0

    def __enter__(self):
        self.script.update()
        self.before = len(self.script.changes)  # of earlier attempts
        self.going = True
        # a widget: updates of an output are lost if the tab is closed while the cell runs
        self.view = live.View(self._draw, every=EVERY)
        self.handle = display(self.view, display_id=True)
        return self

    def __exit__(self, *_):
        self.going = False
        self.view.stop()
        self.handle.update(self._draw())  # what an executed copy keeps

    def event(self, event: dict):
        """Keep an event."""
        if self.path is not None:
            self.path.parent.mkdir(exist_ok=True, mode=0o700)
            with self.path.open("a") as out:
                out.write(
                    json.dumps(
                        secrets.redact_value({"at": round(time.time(), 3), **event}), sort_keys=True
                    )
                    + "\n"
                )

    def _draw(self):
        self.script.update()
        return shown(self.script, self.step_id, time.time() if self.going else None, self.before)


def path(run, step_id):
    return run.path / "transcripts" / f"{step_id}.events.jsonl"


def follow(run):
    """A view of what the run is applying, or applied last, whoever writes its events."""
    scripts = {}

    def draw():
        events = run.journal.events()
        begun = [
            event["step"]
            for event in events
            if event["event"] == "step-begun" and path(run, event["step"]).exists()
        ]
        if not begun:
            return tables.Text("Nothing has been applied yet.")
        step = begun[-1]
        script = scripts.setdefault(step, transcript.Transcript(path(run, step)))
        script.update()
        going = runbook.states(events).get(step) == "begun"
        return shown(script, step, time.time() if going else None)

    return live.View(draw)


def shown(script, step_id: str, now: float | None, since: int = 0) -> tables.Stack:
    """A transcript as tables.

    now: seconds since the epoch, while the work is going on.
    since: number of earlier changes to skip.
    """
    changes = script.changes[since:]
    parts = []
    if changes:
        number, of, target, title, at = changes[-1]
        text = f"{target}: {title}" + (f", for {history.duration(now - at)}" if now else "")
        if of == 1:
            parts.append(tables.Text(f"{step_id}: {text}"))  # its own bar may follow
        else:
            parts.append(
                Bar(
                    f"{step_id}: change {number + 1} of {of}",
                    (number + (now is None)) / max(of, 1),
                    text,
                )
            )
            parts.append(
                tables.Text(
                    "\n".join(
                        f"{number + 1}/{of}  {target}: {title}"
                        for number, of, target, title, _ in changes
                    ),
                    preformatted=True,
                )
            )
    conversion = script.current
    if conversion is not None and (not changes or conversion.last >= changes[0][4]):
        parts += _conversion(conversion, now)
    if script.queue and now:
        parts.append(tables.Text(f"queue: {script.queue}"))
    for error in script.errors[-5:]:
        parts.append(tables.Text(transcript.line(error)))
    if conversion is not None and script.recent:
        parts.append(
            tables.Text(
                "\n".join(f"{history.clock(at)}  {text}" for at, text in script.recent),
                preformatted=True,
            )
        )
    return tables.Stack(*parts) if parts else tables.Text("Nothing has been applied yet.")


def _conversion(conversion, now):
    done, total = conversion.done, conversion.total
    messages, size = conversion.rate()
    left = conversion.left()
    going = conversion.ended is None
    written = sum(user.written for user in conversion.users.values())
    parts = [
        f"{conversion.messages} messages, {history.size(conversion.bytes)}",
        f"{messages:.0f} messages and {history.size(size)} per second"
        if written >= conversion.messages / 2
        else f"{written} of them written now, the others staged by presync",
    ]
    if going and conversion.probes:
        probe = conversion.probes[-1]
        answered = probe.failed or f"answers in {probe.ms:.0f} ms"
        parts.append(f"old IMAP {answered}, speed {probe.speed:.0%}")
    if going and now:
        parts.append(f"{history.duration(now - conversion.began)} so far")
        parts.append(
            "time left not known yet" if left is None else f"about {history.duration(left)} left"
        )
    elif not going:
        parts.append(
            f"took {history.duration(conversion.ended - conversion.began)}"
            + ("" if conversion.ok else ", WITH FAILURES")
        )
    failed = [user.name for user in conversion.users.values() if user.state == "failed"]
    if failed:
        parts.append(f"FAILED: {', '.join(sorted(failed)[:10])}")
    # active users first, then the latest; the bar counts the rest
    users = sorted(
        conversion.users.values(),
        key=lambda user: (user.ended is not None, -(user.ended or user.began)),
    )
    rows = [
        [
            user.name,
            user.state if user.ended is not None else "at work",
            f"{user.folders_done} of {user.folders}" if user.folders else "",
            user.messages,
            history.size(user.bytes),
            history.duration((user.ended or now or conversion.last) - user.began),
        ]
        for user in users[:SHOWN]
    ]
    return [
        Bar(f"{done} of {total} users", done / max(total, 1), "; ".join(parts)),
        tables.Table(
            ["user", "state", "folders", "messages", "bytes", "took"],
            rows,
            note=f"and {len(users) - SHOWN} more" if len(users) > SHOWN else "",
        ),
    ]


class Bar:
    """A bar with its figure in words; neutral colours, for light and dark pages."""

    def __init__(self, title, part, text):
        self.title, self.part, self.text = title, min(max(part, 0.0), 1.0), text

    def _repr_html_(self):
        title, text = (html.escape(tables.printable(part)) for part in (self.title, self.text))
        frame = (
            "border:1px solid #8888;border-radius:4px;height:14px;margin:3px 0;background:#8882;"
            "max-width:640px"
        )
        filled = f"height:100%;width:{self.part:.1%};background:#3b6ea5;border-radius:3px"
        return (
            f"<div style='margin:.5em 0;font-size:13px;line-height:1.4'><b>{title}</b> "
            f"({self.part:.0%})<div role='progressbar' aria-valuenow='{self.part * 100:.0f}' "
            f"style='{frame}'><div style='{filled}'></div></div>{text}</div>"
        )

    def __repr__(self):
        filled = round(self.part * 30)
        bar = "#" * filled + "." * (30 - filled)
        return f"{self.title} [{bar}] {self.part:.0%}\n{tables.printable(self.text)}"
