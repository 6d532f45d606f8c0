"""What a step shows, as tables: facts, plan, checks, gate and predicted outage."""

import collections
import dataclasses

from cutover import model
from cutover.record import journal
from cutover.report.tables import Long, Stack, Table, Text, count, printable

ROWS = 60  # rows of facts shown
ENTRIES = 12  # a larger dict of facts is shown by its size
DEPTH = 6  # so is one nested deeper
NAMES = 6  # entries named of what is shown by its size
LONG = 120  # characters of a text shown in a row of facts
MANY = 60  # checks of one id, or changes of one kind, that are all shown
FIRST = 5  # of more that passed, and of more changes, so many are
JOURNAL = "the run's journal"
FOUND = {"ok": "passed", "warn": "passed with a warning", "FAIL": "FAILED"}
RUN = "run"  # in the facts of every step; the page's head has it


def checks(listed, caption: str = "", file: str = JOURNAL) -> Table:
    """Expected next to actual; what to do, where something must be done.

    file: what has all of them, if they are too many to show.
    """
    failed = sum(not check.passed for check in listed)
    warned = sum(check.passed and check.warning for check in listed)
    note = (
        f"{count(len(listed), 'check')}: {len(listed) - failed} passed"
        + (f" ({warned} with a warning)" if warned else "")
        + (f", {failed} FAILED" if failed else "")
    )
    return _checked(listed, caption, note, file)


def _checked(listed, caption, note="", file=JOURNAL):
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
            for check in condensed(listed, file)
        ],
        caption,
        note,
    )


def condensed(listed, file: str = JOURNAL) -> list[model.Check]:
    """The checks to show: of very many of one id that passed, or failed, or warn, the first ones
    and one that counts the others. So a page opens at once with thousands of users, and nobody
    scrolls past a failure.
    """
    numbers = collections.Counter((check.id, check.mark) for check in listed if check.id)
    shown, seen = [], collections.Counter()
    for check in listed:
        kind = check.id, check.mark
        seen[kind] += 1
        most = FIRST if check.mark == "ok" else MANY
        if numbers[kind] <= MANY or seen[kind] <= most:
            shown.append(check)
        elif seen[kind] == numbers[kind]:
            others = count(numbers[kind] - most, "more check")
            shown.append(
                dataclasses.replace(
                    check,
                    question=f"{others} of this kind ({check.id})",
                    expected="passed",
                    actual=f"{FOUND[check.mark]}; every one is in {file}",
                    subject="",
                    data={},
                )
            )
    return shown


def complete(listed) -> str:
    """All checks as text, one per line between tabs, the worst first; "" if a table shows all."""
    if len(condensed(listed)) == len(listed):
        return ""
    rows = [
        (check.mark, check.question, check.expected, check.actual, check.todo)
        for check in _worst_first(listed)
    ]
    return "".join(
        "\t".join(" ".join(printable(text).split()) for text in row) + "\n" for row in rows
    )


def _worst_first(listed):
    return sorted(listed, key=lambda check: ("FAIL", "warn", "ok").index(check.mark))


def gate(listed, when: str = "") -> Table:
    """Go or no-go, the worst first."""
    failed = sum(not check.passed for check in listed)
    warned = sum(check.passed and check.warning for check in listed)
    if failed:
        verdict = f"NO GO: {count(failed, 'check')} failed"
    elif warned:
        verdict = f"GO, after a look at {count(warned, 'warning')}"
    else:
        verdict = "GO"
    listed = _worst_first(listed)
    return _checked(listed, f"{verdict} ({count(len(listed), 'check')}{when})")


def prediction(predicted, measured=None) -> Table:
    """An outage as prediction.outage_of() returns it, one row per phase.

    `measured`: `{phase or window: seconds}`, for what is over.
    """
    windows = (
        ("reading", "sum of the above"),
        ("delivery", "sum from stop-sendmail until mail is delivered again"),
    )
    rows = [_phase(phase, phase["phase"], measured) for phase in predicted["phases"]]
    for kind, source in windows:
        window = {"phase": f"{kind} outage", "from": source, **predicted[kind]}
        rows.append(_phase(window, kind, measured))
    extra = [] if measured is None else ["measured"]
    caption = "Predicted outage, in seconds" + ("" if measured is None else ", and measured")
    return Table(["phase", "low", "likely", "high", *extra, "from"], rows, caption)


def _phase(phase, key, measured):
    row = [phase["phase"], *(f"{phase[figure]:.1f}" for figure in ("low", "likely", "high"))]
    if measured is not None:
        seconds = measured.get(key)
        row.append("" if seconds is None else f"{seconds:.1f}")
    return [*row, phase["from"]]


def facts(read, caption: str = "") -> Table:
    """What a probe read, one row per value; large parts by their size."""
    rows = [[path, value] for path, value in _leaves(read, "") if path != RUN]
    more = len(rows) - ROWS
    note = f"and {more} more (complete in the run's facts/)" if more > 0 else ""
    return Table(["what", "found"], rows[:ROWS], caption, note)


def _leaves(value, path):
    """Yields `(path, text)` of the values within facts."""
    if isinstance(value, model.Reading):
        if not value.ok:
            yield path, f"cannot be read: {value.error}"
            return
        value = value.value
    if dataclasses.is_dataclass(value):
        yield from _fields(value, path)
    elif isinstance(value, dict) and value and len(value) <= ENTRIES and _depth(path) < DEPTH:
        for key, item in sorted(value.items()):
            yield from _leaves(item, _below(path, key))
    elif isinstance(value, dict) and value:
        yield path, f"{len(value)} entries: {', '.join(sorted(value)[:NAMES])} …"
    else:
        yield path, _text(value)


def _fields(value, path):
    """The same of a dataclass. Of a part that only a gate judges, only the names."""
    for field in sorted(dataclasses.fields(value), key=lambda field: field.name):
        item = getattr(value, field.name)
        if field.metadata.get("gated") and item:
            names = ", ".join(sorted(model.to_json(item)))
            yield _below(path, field.name), f"judged by the gate: {names}"
        else:
            yield from _leaves(item, _below(path, field.name))


def _below(path, key):
    return f"{path} › {key}" if path else str(key)


def _depth(path):
    return path.count(" › ")


def _text(value):
    """One value."""
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        if any(isinstance(item, dict | list | tuple) or _is_row(item) for item in items):
            return f"{len(items)} entries"
        more = f" … ({len(items)})" if len(items) > NAMES else ""
        return ", ".join(str(item) for item in list(items)[:NAMES]) + more or "none"
    if isinstance(value, str) and len(value) > LONG:
        return f"{len(model.lines(value))} lines, {len(value)} characters"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value in (None, "", {}) else value


def _is_row(item):
    return dataclasses.is_dataclass(item)


def plan(current, plan_hash: str = "", kept: dict | None = None):
    """Each change with its exact text and its undo.

    kept: the journal's event of the plan, which says where the whole of a long text is.
    """
    if not current.changes:
        return Text(f"Nothing to do: {current.reason}.")
    texts = kept["changes"] if kept else [{}] * len(current.changes)
    numbers = collections.Counter(change.kind for change in current.changes)
    rows, seen = [], collections.Counter()
    for number, (change, text) in enumerate(zip(current.changes, texts, strict=True), 1):
        kind = change.kind
        seen[kind] += 1
        if numbers[kind] <= MANY or seen[kind] <= FIRST:
            exactly, undo = (
                _whole(written, text.get(name, ""))
                for name, written in (("text", change.describe()), ("undo", change.undo_text()))
            )
            rows.append([number, change.target, change.title(), exactly, undo])
        elif seen[kind] == numbers[kind]:
            others = count(numbers[kind] - FIRST, "more change")
            where = kept["file"] if kept else "the run's plans/"
            rows.append(["", "", f"{others} of this kind ({kind})", f"whole in {where}", ""])
    table = Table(
        ["", "host", "change", "exactly", "undo"],
        rows,
        f"Plan: {count(len(current.changes), 'change')}",
        f"plan {plan_hash[:16]}" if plan_hash else "",
        monospace=("exactly", "undo"),
        widths={"change": "20%", "exactly": "39%", "undo": "35%"},
    )
    return Stack(table, notes(current.notes)) if current.notes else table


def applied(done) -> Table:
    """What each change says it did. done: [(change, text)]"""
    numbers = collections.Counter(change.kind for change, _ in done)
    rows, seen = [], collections.Counter()
    for change, text in done:
        seen[change.kind] += 1
        if numbers[change.kind] <= MANY or seen[change.kind] <= FIRST:
            rows.append(["ok", change.target, change.title(), text])
        elif seen[change.kind] == numbers[change.kind]:
            others = count(numbers[change.kind] - FIRST, "more change")
            rows.append(["ok", "", f"{others} of this kind ({change.kind})", f"in {JOURNAL}"])
    return Table(["", "host", "change", "result"], rows, f"Applied: {count(len(done), 'change')}")


def _whole(text, journaled):
    """A change's text, with the file that has all of it, if the journal has only its beginning."""
    file = journal.file_of(journaled)
    return Long(text, file) if file else text


def notes(listed) -> Table:
    """What the approver must know: (title, text) pairs."""
    return Table(["", "note"], listed, "Before you approve")
