"""Tables that read well in JupyterLab, in an executed copy without a kernel, on paper and in a terminal.

Everything that comes from outside (folder names, server answers) is escaped. A word says what a colour says.
"""

import html
import textwrap

STYLE = "border-collapse:collapse;font-size:13px;line-height:1.4;margin:.4em 0;max-width:100%"
CELL = "border:1px solid #8888;padding:3px 8px;text-align:left;vertical-align:top;white-space:pre-wrap;overflow-wrap:break-word"
GREEN, AMBER, RED, GREY = "#1a7f37", "#8a5a00", "#c02730", "#5a6472"
BADGES = {
    "ok": GREEN,
    "warn": AMBER,
    "FAIL": RED,
    "passed": GREEN,
    "failed": RED,
    "did not pass": RED,
    "undone": AMBER,
    "rolled back": AMBER,
    "begun": AMBER,
    "stale: run it again": AMBER,
    "not yet": GREY,
}
# white on the colour: it reads on a light and on a dark page, and on paper by the word alone
BADGE = "color:#fff;padding:1px 7px;border-radius:9px;font-weight:600;white-space:nowrap;print-color-adjust:exact"
TEXT_WIDTH = 46  # characters, of a column in text
FACTS = 60  # rows of facts shown
LONG = 12  # lines shown of a longer cell; in HTML the rest unfolds


class Table:
    """`columns`: names; `rows`: lists of values, shown as text; `caption` above, `note` below; `widths`: of columns, in HTML."""

    def __init__(self, columns, rows, caption="", note="", monospace=(), widths=()):
        self.columns = [printable(name) for name in columns]
        self.rows = [
            [value if isinstance(value, Link) else str(value) for value in row] for row in rows
        ]
        self.caption, self.note, self.monospace = (
            printable(caption),
            printable(note),
            set(monospace),
        )
        self.widths = dict(widths)

    def _repr_html_(self):
        out = (
            [f"<p style='margin:.2em 0'><b>{html.escape(self.caption)}</b></p>"]
            if self.caption
            else []
        )
        out.append(f"<table style='{STYLE}'>")
        if any(self.columns):
            out.append(
                "<thead><tr>"
                + "".join(
                    f"<th style='{CELL}{f';width:{self.widths[name]}' if name in self.widths else ''}'>{html.escape(name)}</th>"
                    for name in self.columns
                )
                + "</tr></thead>"
            )
        out.append("<tbody>")
        for row in self.rows:
            out.append(
                "<tr>"
                + "".join(
                    self._cell(name, value) for name, value in zip(self.columns, row, strict=True)
                )
                + "</tr>"
            )
        out.append("</tbody></table>")
        if self.note:
            out.append(f"<p style='margin:.2em 0'>{html.escape(self.note)}</p>")
        return "".join(out)

    def _cell(self, column, value):
        if isinstance(value, Link):
            return f"<td style='{CELL}'>{value._repr_html_()}</td>"
        text = html.escape(printable(value))
        lines = text.split("\n")
        if len(lines) > LONG:
            head, rest = "\n".join(lines[:LONG]), "\n".join(lines[LONG:])
            text = (
                f"{head}<details><summary>{len(lines) - LONG} more lines</summary>{rest}</details>"
            )
        if value in BADGES:
            text = f"<span style='background:{BADGES[value]};{BADGE}'>{text}</span>"
        font = ";font-family:monospace;overflow-wrap:anywhere" if column in self.monospace else ""
        return f"<td style='{CELL}{font}'>{text}</td>"

    def __repr__(self):
        grid = [[_wrapped(value) for value in row] for row in self.rows]
        widths = [
            max([len(name), *(len(line) for row in grid for line in row[column])])
            for column, name in enumerate(self.columns)
        ]
        out = [self.caption] if self.caption else []
        if any(self.columns):
            out.append(
                "  ".join(
                    name.ljust(width) for name, width in zip(self.columns, widths, strict=True)
                ).rstrip()
            )
            out.append("  ".join("-" * width for width in widths))
        for row in grid:
            for line in range(max(len(cell) for cell in row)):
                out.append(
                    "  ".join(
                        (cell[line] if line < len(cell) else "").ljust(width)
                        for cell, width in zip(row, widths, strict=True)
                    ).rstrip()
                )
        if self.note:
            out.append(self.note)
        return "\n".join(out)


def _wrapped(value):
    """A cell's text as lines that fit its column; of a long text only the beginning."""
    lines = printable(value).split("\n")
    if len(lines) > LONG:
        lines = [*lines[:LONG], f"… {len(lines) - LONG} more lines"]
    return [line for text in lines for line in textwrap.wrap(text, TEXT_WIDTH) or [""]]


class Link(str):
    """A cell that leads somewhere: its text, and a relative address."""

    def __new__(cls, text, target):
        self = super().__new__(cls, text)
        self.target = target
        return self

    def _repr_html_(self):
        return (
            f"<a href='{html.escape(self.target, quote=True)}'>{html.escape(printable(self))}</a>"
        )


class Banner:
    """One sentence that must not be missed, with a colour beside its word, and perhaps a link to go on by."""

    def __init__(self, word, text, link=None):
        self.word, self.text, self.link = word, text, link

    def _repr_html_(self):
        colour = BADGES.get(self.word, GREY)
        link = f" &nbsp;{self.link._repr_html_()}" if self.link else ""
        return (
            f"<p style='border:1px solid {colour};border-left:10px solid {colour};border-radius:4px;padding:8px 14px;"
            f"margin:.4em 0;font-size:15px;line-height:1.5;font-weight:600'>{html.escape(printable(self.text))}{link}</p>"
        )

    def __repr__(self):
        return printable(self.text)


class Text:
    """One paragraph, or preformatted lines."""

    def __init__(self, text, preformatted=False):
        self.text, self.preformatted = text, preformatted

    def _repr_html_(self):
        text = html.escape(printable(self.text))
        if self.preformatted:
            return f"<pre style='white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.4;margin:.4em 0'>{text}</pre>"
        return f"<p style='margin:.4em 0;line-height:1.5'>{text}</p>"

    def __repr__(self):
        return printable(self.text)


class Stack:
    """Several displayable things, one below the other."""

    def __init__(self, *parts):
        self.parts = [part for part in parts if part is not None]

    def _repr_html_(self):
        return "".join(part._repr_html_() for part in self.parts)

    def __repr__(self):
        return "\n\n".join(repr(part) for part in self.parts)


def printable(value: str) -> str:
    """Text in which control characters and raw bytes of names show as escapes and can do no harm."""
    return "".join(
        char
        if char in "\n\t" or (char.isprintable() and not "\ud800" <= char <= "\udfff")
        else char.encode("unicode_escape", "surrogatepass").decode()
        for char in value
    )


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def checks(listed, caption=""):
    """Questions with expected beside actual; what to do stands where it is needed."""
    failed = sum(not check.passed for check in listed)
    warned = sum(check.passed and check.warning for check in listed)
    note = (
        f"{count(len(listed), 'check')}: {len(listed) - failed} passed"
        + (f" ({warned} with a warning)" if warned else "")
        + (f", {failed} FAILED" if failed else "")
    )
    return _checked(listed, caption, note)


def _checked(listed, caption, note=""):
    return Table(
        ["", "question", "expected", "found", "what to do"],
        [
            [
                check.mark,
                check.question,
                check.expected,
                check.actual,
                check.todo if check.mark != "ok" else "",
            ]
            for check in listed
        ],
        caption,
        note,
    )


def gate(listed, when=""):
    """Go or no-go: the worst first."""
    bad, odd = (
        sum(not check.passed for check in listed),
        sum(check.passed and check.warning for check in listed),
    )
    word = (
        f"NO GO: {count(bad, 'check')} failed"
        if bad
        else "GO" + (f", after a look at {count(odd, 'warning')}" if odd else "")
    )
    listed = sorted(listed, key=lambda check: ("FAIL", "warn", "ok").index(check.mark))
    return _checked(listed, f"{word} ({count(len(listed), 'check')}{when})")


def prediction(told, measured=None):
    """An outage as predict.outage_of() gave it, a line a phase. `measured`: {phase or window: seconds}, where it is over."""
    rows = []
    for each in [
        *told["phases"],
        *(
            {"phase": f"{kind} outage", "from": said, **told[kind]}
            for kind, said in (
                ("reading", "sum of the above"),
                ("delivery", "sum from stop-sendmail until mail comes through"),
            )
        ),
    ]:
        took = (measured or {}).get(each["phase"].removesuffix(" outage"))
        rows.append(
            [
                each["phase"],
                *(f"{each[key]:.1f}" for key in ("low", "likely", "high")),
                *([] if measured is None else ["" if took is None else f"{took:.1f}"]),
                each["from"],
            ]
        )
    return Table(
        ["phase", "low", "likely", "high", *([] if measured is None else ["measured"]), "from"],
        rows,
        "The outage as predicted, in seconds" + ("" if measured is None else ", and as it was"),
    )


def facts(found, caption=""):
    """What a probe read, a line each, down to plain values; large parts by their size."""
    rows = [[path, value] for path, value in _leaves(found, "") if path != "run"]
    return Table(
        ["what", "found"],
        rows[:FACTS],
        caption,
        f"and {len(rows) - FACTS} more (whole in the run's facts/)" if len(rows) > FACTS else "",
    )


def _leaves(value, path):
    if isinstance(value, dict) and set(value) == {"value"}:
        value = value["value"]
    if path == "go" and value:
        yield path, f"judged by the gate: {', '.join(sorted(value))}"
        return
    if isinstance(value, dict) and value and len(value) <= 12 and path.count(" › ") < 6:
        for key, below in sorted(value.items()):
            yield from _leaves(below, f"{path} › {key}" if path else str(key))
    elif isinstance(value, dict) and value:
        yield path, f"{len(value)} entries: {', '.join(sorted(value)[:6])} …"
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        yield path, f"{len(value)} entries"
    elif isinstance(value, list):
        yield (
            path,
            ", ".join(str(item) for item in value[:6])
            + (f" … ({len(value)})" if len(value) > 6 else "")
            or "none",
        )
    elif isinstance(value, str) and len(value) > 120:
        yield path, f"{len(value.splitlines())} lines, {len(value)} characters"
    else:
        yield (
            path,
            ("yes" if value else "no")
            if isinstance(value, bool)
            else "none"
            if value in (None, "", [], {})
            else value,
        )


def plan(current, plan_hash=""):
    """Each change with its exact text and its undo."""
    if not current.changes:
        return Text(f"Nothing to do: {current.reason}.")
    rows = [
        [number, change.target, change.title(), change.describe(), change.undo_text()]
        for number, change in enumerate(current.changes, 1)
    ]
    table = Table(
        ["", "host", "change", "exactly", "undo"],
        rows,
        f"Plan: {count(len(rows), 'change')}",
        f"plan {plan_hash[:16]}" if plan_hash else "",
        monospace=("exactly", "undo"),
        widths={"change": "20%", "exactly": "39%", "undo": "35%"},
    )
    return Stack(table, notes(current.notes)) if current.notes else table


def notes(listed):
    """What a plan tells whoever approves it: (what, text)."""
    return Table(["", "to know"], listed, "Before it is approved")
