"""Tables that read well in JupyterLab, in an executed copy without a kernel and on paper.

Everything from outside (folder names, server replies) is escaped. Words say what colours say.
"""

import html
import textwrap

STYLE = "border-collapse:collapse;font-size:13px;line-height:1.4;margin:.4em 0;max-width:100%"
CELL = (
    "border:1px solid #8888;padding:3px 8px;text-align:left;vertical-align:top;"
    "white-space:pre-wrap;overflow-wrap:break-word"
)
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
# white on the colour: readable on light and dark pages, and on paper by the word alone
BADGE = (
    "color:#fff;padding:1px 7px;border-radius:9px;font-weight:600;white-space:nowrap;"
    "print-color-adjust:exact"
)
TEXT_WIDTH = 46  # characters of a column in text
LONG = 12  # lines shown of a longer cell; in HTML the rest unfolds,
MOST = 1000  # up to so many
WIDE = 2000  # characters shown of a longer line
PARAGRAPH = "margin:.2em 0"


class Table:
    """A table of text.

    columns: names. rows: lists of values, shown as text.
    caption, note: above and below.
    monospace: columns shown so. widths: of columns, in HTML.
    """

    def __init__(self, columns, rows, caption="", note="", monospace=(), widths=()):
        self.columns = [printable(name) for name in columns]
        self.rows = [
            [value if isinstance(value, Link | Long) else str(value) for value in row]
            for row in rows
        ]
        self.caption, self.note, self.monospace = (
            printable(caption),
            printable(note),
            set(monospace),
        )
        self.widths = dict(widths)

    def _repr_html_(self):
        out = (
            [f"<p style='{PARAGRAPH}'><b>{html.escape(self.caption)}</b></p>"]
            if self.caption
            else []
        )
        out.append(f"<table style='{STYLE}'>")
        if any(self.columns):
            out.append(
                "<thead><tr>"
                + "".join(self._column(name) for name in self.columns)
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
            out.append(f"<p style='{PARAGRAPH}'>{html.escape(self.note)}</p>")
        return "".join(out)

    def _column(self, name):
        width = f";width:{self.widths[name]}" if name in self.widths else ""
        return f"<th style='{CELL}{width}'>{html.escape(name)}</th>"

    def _cell(self, column, value):
        if isinstance(value, Link):
            return f"<td style='{CELL}'>{value._repr_html_()}</td>"
        lines = html.escape(printable(_narrow(value))).split("\n")
        if len(lines) > MOST:
            more = len(lines) - MOST
            lines[MOST:] = [f"… {more} more lines, whole in {html.escape(_where(value))}"]
        text = "\n".join(lines)
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
    """A cell's text as lines that fit its column; only the beginning of a long text."""
    lines = printable(_narrow(value)).split("\n")
    if len(lines) > LONG:
        lines = [*lines[:LONG], f"… {len(lines) - LONG} more lines"]
    return [line for text in lines for line in textwrap.wrap(text, TEXT_WIDTH) or [""]]


def _narrow(value):
    """A text without the ends of very long lines, such as one that names thousands of users."""
    if len(value) <= WIDE:
        return value
    return "\n".join(
        line
        if len(line) <= WIDE
        else f"{line[:WIDE]} … {len(line) - WIDE} more characters, whole in {_where(value)}"
        for line in value.split("\n")
    )


def _where(value):
    return getattr(value, "file", "") or "the run's journal"


class Long(str):
    """A cell's text of which only the beginning is shown, and the file that has all of it."""

    def __new__(cls, text, file):
        self = super().__new__(cls, text)
        self.file = file
        return self


class Link(str):
    """A cell that is a link: its text, and a relative address."""

    def __new__(cls, text, target):
        self = super().__new__(cls, text)
        self.target = target
        return self

    def _repr_html_(self):
        return (
            f"<a href='{html.escape(self.target, quote=True)}'>{html.escape(printable(self))}</a>"
        )


class Banner:
    """One sentence that must not be missed, in the colour of its word, perhaps with a link."""

    def __init__(self, word, text, link=None):
        self.word, self.text, self.link = word, text, link

    def _repr_html_(self):
        colour = BADGES.get(self.word, GREY)
        link = f" &nbsp;{self.link._repr_html_()}" if self.link else ""
        style = (
            f"border:1px solid {colour};border-left:10px solid {colour};border-radius:4px;"
            "padding:8px 14px;margin:.4em 0;font-size:15px;line-height:1.5;font-weight:600"
        )
        return f"<p style='{style}'>{html.escape(printable(self.text))}{link}</p>"

    def __repr__(self):
        return printable(self.text)


class Text:
    """One paragraph, or preformatted lines."""

    def __init__(self, text, preformatted=False):
        self.text, self.preformatted = text, preformatted

    def _repr_html_(self):
        text = html.escape(printable(self.text))
        if self.preformatted:
            style = "white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.4;margin:.4em 0"
            return f"<pre style='{style}'>{text}</pre>"
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
    """Text in which control characters and raw bytes are escaped, so that they do no harm."""
    return "".join(
        char
        if char in "\n\t" or (char.isprintable() and not "\ud800" <= char <= "\udfff")
        else char.encode("unicode_escape", "surrogatepass").decode()
        for char in value
    )


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 check", "2 checks"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")
