"""What people see: escaped, readable without colours, and the same in text and HTML."""

import dataclasses

from cutover import model
from cutover.changes import service
from cutover.model import errors
from cutover.report import step_tables, tables

HOSTILE = "<script>alert('x')</script>\x1b[31m\udcff"


def test_hostile_text_does_no_harm():
    for shown in (
        tables.Table(["a"], [[HOSTILE]], HOSTILE, HOSTILE),
        tables.Text(HOSTILE),
        tables.Text(HOSTILE, True),
    ):
        assert "<script" not in shown._repr_html_()
        for text in (shown._repr_html_(), repr(shown)):
            assert "\x1b" not in text
            assert "\\udcff" in text
            text.encode()


def test_checks_say_in_words_what_colours_say():
    shown = step_tables.checks(
        [
            model.equal("Same?", 1, 1, "nothing", id="same"),
            model.equal("Same?", 1, 2, "fix it", id="same"),
            model.Check("Odd?", "no", "a bit", True, "look", warning=True, id="odd"),
        ]
    )
    assert [row[0] for row in shown.rows] == ["ok", "FAIL", "warn"]
    assert [row[-1] for row in shown.rows] == ["", "fix it", "look"]
    assert shown.note == "3 checks: 2 passed (1 with a warning), 1 FAILED"


def test_of_thousands_of_passed_checks_the_failures_and_warnings_show():
    listed = [
        model.equal(
            f"user{number}?", 1, 1 + (number == 777), "fix", id="user", subject=f"u{number}"
        )
        for number in range(5000)
    ]
    listed.append(model.Check("Odd?", "no", "a bit", True, "look", warning=True, id="user"))
    listed.append(model.equal("Sums?", 1, 1, id="sums"))
    shown = step_tables.checks(listed)
    assert [row[1] for row in shown.rows if row[0] != "ok"] == ["user777?", "Odd?"]
    passed = [row[1] for row in shown.rows if row[0] == "ok"]
    assert passed[:5] == [f"user{number}?" for number in range(5)]
    assert passed[5:] == ["4994 more checks of this kind (user)", "Sums?"]
    assert shown.note == "5002 checks: 5001 passed (1 with a warning), 1 FAILED"


def test_checks_without_an_id_all_show():
    listed = [model.equal(f"{number}?", 1, 1, id="") for number in range(200)]
    assert step_tables.condensed(listed) == listed


def test_a_plan_shows_each_change_with_its_undo():
    stop = service.ServiceAction("mailboxold", "systemd", "xinetd", "stop", True)
    shown = step_tables.plan(model.Plan((stop,)), "0123456789abcdef0123")
    assert shown.rows[0][1:] == [
        "mailboxold",
        "stop xinetd",
        stop.describe(),
        stop.inverse().describe(),
    ]
    assert shown.note == "plan 0123456789abcdef"
    assert repr(step_tables.plan(model.Plan(reason="all is done"))) == "Nothing to do: all is done."


def test_a_long_text_folds_and_nothing_of_it_is_lost_in_html():
    long = "\n".join(f"line {number}" for number in range(40))
    shown = tables.Table(["a"], [[long]])
    assert "28 more lines" in shown._repr_html_() and "line 39" in shown._repr_html_()
    assert "… 28 more lines" in repr(shown) and "line 39" not in repr(shown)


def test_text_tables_line_up():
    lines = repr(tables.Table(["a", "b"], [["x" * 100, "y\nz"], ["1", "2"]])).splitlines()
    assert lines == [
        "a".ljust(46) + "  b",
        "-" * 46 + "  -",
        "x" * 46 + "  y",
        "x" * 46 + "  z",
        "x" * 8,
        "1".ljust(46) + "  2",
    ]


def test_what_an_operator_can_act_on_shows_without_a_traceback():
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.user_ns["error"] = errors.CutoverError("verify has not run. Run that first.")
    shown = []
    shell._showtraceback = lambda kind, value, lines: shown.extend(lines)
    shell.run_cell("raise error")
    assert shown == ["CutoverError: verify has not run. Run that first."]


@dataclasses.dataclass(frozen=True)
class Facts:
    run: str
    serial: model.Reading[int]
    lost: model.Reading[int]
    services: dict
    rows: tuple
    go: dict = model.gated()


def test_facts_are_shown_a_row_per_value():
    read = Facts(
        "night",
        model.Reading(7),
        model.Reading(error="no ssh"),
        {"dovecot": True, "users": []},
        ({"a": 1}, {"a": 2}),
        {"queue": 1, "clock": 2},
    )
    assert step_tables.facts(read).rows == [
        ["go", "judged by the gate: clock, queue"],
        ["lost", "cannot be read: no ssh"],
        ["rows", "2 entries"],
        ["serial", "7"],
        ["services › dovecot", "yes"],
        ["services › users", "none"],
    ]
    assert model.lasting(read)["serial"] == {"value": 7} and "go" not in model.lasting(read)
