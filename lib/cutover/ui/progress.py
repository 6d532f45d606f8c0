"""Progress of changes being applied: one display that is updated in place, and every event kept in the run folder."""

import json
import time

from IPython.display import display

from cutover.ui import tables

EVERY = 0.5     # seconds between updates of the display


class Progress:
    """Takes the engine's events. Used as a context manager around apply()."""

    def __init__(self, run, step_id):
        self.path = run.path / "transcripts" / f"{step_id}.events.jsonl" if run is not None else None
        self.lines, self.counts, self.handle, self.shown, self.began = [], {}, None, 0.0, time.monotonic()

    def __enter__(self):
        self.handle = display(tables.Text("…"), display_id=True)
        self.began = time.monotonic()
        return self

    def __exit__(self, *_):
        self._show(final=True)

    def event(self, event: dict):
        """Keep an event, and show it if the display was not updated just now."""
        if self.path is not None:
            self.path.parent.mkdir(exist_ok=True, mode=0o700)
            with self.path.open("a") as out:
                out.write(json.dumps({"at": round(time.time(), 3), **event}, sort_keys=True) + "\n")
        kind = event.get("event", "")
        if kind == "change":
            self.lines.append(f"{event['number'] + 1}/{event['of']}  {event['target']}: {event['title']}")
        elif kind in ("published", "error", "queue"):
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.last = event
        if time.monotonic() - self.shown > EVERY:
            self._show()

    last = None

    def _show(self, final=False):
        if self.handle is None:
            return
        self.shown = time.monotonic()
        lines = list(self.lines)
        if self.counts.get("published"):
            lines.append(f"users published: {self.counts['published']}")
        if self.counts.get("error"):
            lines.append(f"users with errors: {self.counts['error']}")
        if self.last is not None and not final:
            lines.append("last: " + ", ".join(f"{key} {value}" for key, value in self.last.items()
                                              if isinstance(value, str | int | float))[:160])
        lines.append(f"{time.monotonic() - self.began:.1f} s")
        self.handle.update(tables.Text("\n".join(lines), preformatted=True))
