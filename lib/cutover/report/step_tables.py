"""What a step shows, as tables: facts, plan, checks, gate and predicted outage."""

import collections
import dataclasses

from cutover import model
from cutover.report.tables import Stack, Table, Text, count

ROWS = 60  # rows of facts shown
ENTRIES = 12  # a larger dict of facts is shown by its size
DEPTH = 6  # so is one nested deeper
NAMES = 6  # entries named of what is shown by its size
LONG = 120  # characters of a text shown in a row of facts
MANY = 60  # passed checks of one id that are all shown
FIRST = 5  # of more, so many are
RUN = "run"  # in the facts of every step; the page's head has it


def checks(listed, caption: str = "") -> Table:
    """Expected next to actual; what to do, where something must be done."""
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
            for check in condensed(listed)
        ],
        caption,
        note,
    )


def condensed(listed) -> list[model.Check]:
    """The checks to show: all that failed or warn, and of very many of one id that passed the
    first few and one that counts the others. So a page opens at once with thousands of users, and
    nobody scrolls past a failure.
    """
    passed = collections.Counter(check.id for check in listed if check.mark == "ok" and check.id)
    shown, seen = [], collections.Counter()
    for check in listed:
        many = check.mark == "ok" and passed[check.id] > MANY
        seen[check.id] += many
        if not many or seen[check.id] <= FIRST:
            shown.append(check)
        elif seen[check.id] == passed[check.id]:
            others = count(passed[check.id] - FIRST, "more check")
            shown.append(
                dataclasses.replace(
                    check,
                    question=f"{others} of this kind ({check.id})",
                    expected="passed",
                    actual="passed; every one is in the run's journal",
                    subject="",
                    data={},
                )
            )
    return shown


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
    listed = sorted(listed, key=lambda check: ("FAIL", "warn", "ok").index(check.mark))
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


def plan(current, plan_hash: str = ""):
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


def notes(listed) -> Table:
    """What the approver must know: (title, text) pairs."""
    return Table(["", "note"], listed, "Before you approve")
