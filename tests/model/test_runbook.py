"""The order of the steps, and what may run when."""

import itertools

import papermill
import pytest
from cutover import site
from cutover.model import runbook
from cutover.run import position
from cutover.steps import registry


def passed(name, seq=None, **more):
    return [
        {"event": "step-begun", "step": name},
        {"event": "verified", "step": name, "passed": True, **more},
    ]


def history(*names):
    return list(itertools.chain.from_iterable(passed(name) for name in names))


def test_every_step_has_its_contract_and_requires_only_earlier_ones():
    for name in runbook.EVERY:
        step = registry.step(name)
        assert name == step.id and step.title and isinstance(step.reversible, bool)
        for function in ("probe", "plan", "verify"):
            assert callable(getattr(step, function))
        assert not hasattr(step, "apply")
        for needed in step.requires:
            assert runbook.number(name) > runbook.number(needed)


@pytest.mark.parametrize("name", runbook.ORDER[1:])
def test_a_step_refuses_until_those_before_it_have_passed(name):
    with pytest.raises(runbook.NotYet, match=f"{name} may not run yet"):
        registry.may_run(name, [])
    registry.may_run(name, history(*runbook.ORDER[: runbook.ORDER.index(name)]))


def test_a_refusal_carries_what_is_missing_without_the_steps_name():
    with pytest.raises(runbook.NotYet) as refused:
        registry.may_run("dns-rename", [])
    assert refused.value.reason == "preflight has not run."


@pytest.mark.parametrize(
    "last, reason",
    [
        ([], "has not run"),
        ([{"event": "step-begun", "step": "verify"}], "was begun and has not passed"),
        (
            [
                {"event": "step-begun", "step": "verify"},
                {"event": "verified", "step": "verify", "passed": False},
            ],
            "did not pass",
        ),
        (
            [{"event": "step-begun", "step": "verify"}, {"event": "step-failed", "step": "verify"}],
            "did not pass",
        ),
        (
            [
                *passed("verify"),
                {"event": "step-begun", "step": "convert"},
                {"event": "intent", "step": "convert"},
                *passed("convert")[1:],
            ],
            "passed, but an earlier step has changed something since",
        ),
        ([*passed("verify"), *passed("rollback")], "was rolled back"),
    ],
)
def test_the_switch_refuses_without_a_verify_that_still_holds(last, reason):
    events = history(
        "preflight",
        "dns-rename",
        "dual-delivery",
        "stop-imap",
        "stop-sendmail",
        "convert",
        "restore-sendmail",
    )
    with pytest.raises(runbook.NotYet, match=f"verify {reason}"):
        registry.may_run("switch-alias", events + last)


def test_a_rerun_that_changes_nothing_keeps_later_steps_valid():
    events = history(*runbook.ORDER[: runbook.number("verify")]) + passed("convert")
    assert runbook.states(events)["verify"] == "passed"


def intent(name):
    return {"event": "intent", "step": name, "time": "2026-04-14T21:00:00.000+00:00"}


@pytest.mark.parametrize("by", runbook.RESUMING)
def test_once_users_may_have_new_mail_what_does_not_know_it_is_over(by):
    night = [*history(*runbook.NIGHT[: runbook.number("verify")]), intent(by)]
    for name in runbook.NIGHT[: runbook.number("verify")]:
        if name in runbook.CLOSING:
            with pytest.raises(runbook.NotYet, match=f"{name} may not run any more: {by} began"):
                registry.may_run(name, night)
        else:
            registry.may_run(name, night)
    registry.may_run("restore-sendmail", night)
    undone = [*night, *passed("rollback"), *history(*runbook.NIGHT[:4])]
    registry.may_run("stop-imap", undone)


def test_what_is_over_does_not_become_stale_nor_next():
    night = [*history(*runbook.NIGHT[: runbook.number("switch-alias")])]
    night += [intent("restore-sendmail"), intent("dns-rename")]
    states = runbook.states(night)
    assert {states[name] for name in runbook.CLOSING} == {"passed"}
    assert states["restore-sendmail"] == states["switch-alias"] == "stale"
    assert position.next_step(night) == "dual-delivery"


def journaled(*events):
    return [{**event, "seq": number} for number, event in enumerate(events)]


def test_a_rollback_that_took_the_trees_back_and_did_not_pass_is_begun_anew():
    """Else users would log in to what was there before the conversion."""
    before = [*history(*runbook.NIGHT[:6]), intent("convert"), *passed("convert")]
    night = [*before, *passed("verify"), intent("restore-sendmail"), *passed("restore-sendmail")]
    back = {**intent("rollback"), "undoes": night.index(intent("restore-sendmail"))}
    half = journaled(*night, back)
    assert runbook.resumed(half) and runbook.states(half)["restore-sendmail"] == "undone"
    registry.may_run("restore-sendmail", half)
    away = journaled(*night, back, {**intent("rollback"), "undoes": night.index(intent("convert"))})
    assert runbook.resumed(away) is None
    registry.may_run("convert", away)
    for name in ("verify", "restore-sendmail"):
        with pytest.raises(runbook.NotYet, match="was rolled back. Run that first"):
            registry.may_run(name, away)


def test_a_rollback_that_did_not_pass_is_next_unless_somebody_went_on():
    night = [*history(*runbook.NIGHT[: runbook.number("restore-sendmail")]), intent("convert")]
    back = [{"event": "step-begun", "step": "rollback"}, intent("rollback")]
    assert position.next_step([*night, *back]) == "rollback"
    failed = [*night, *back, {"event": "verified", "step": "rollback", "passed": False}]
    assert position.next_step(failed) == "rollback"
    assert position.next_step([*failed, *passed("switch-alias")]) != "rollback"
    assert position.next_step([*night, *back, *passed("rollback")[1:]]) == "preflight"


def test_a_verify_that_was_open_when_delivery_resumed_does_not_count():
    night = [*history(*runbook.NIGHT[: runbook.number("verify")]), intent("restore-sendmail")]
    late = [*night, {"event": "verified", "step": "verify", "passed": False}]
    assert runbook.states(late)["verify"] == "passed"
    registry.may_run("switch-alias", [*late, *passed("restore-sendmail")])


def test_a_rollback_needs_something_to_undo():
    with pytest.raises(runbook.NotYet, match="nothing to undo"):
        registry.may_run("rollback", history("preflight"))


def test_a_rollback_is_refused_once_decommission_has_changed_something():
    events = [
        *history(*runbook.NIGHT),
        {"event": "intent", "step": "backup"},
        {"event": "step-begun", "step": "decommission"},
    ]
    registry.may_run("rollback", events)  # begun, but its gates refused: nothing was changed
    assert registry.no_return(events) is None
    events.append(
        {"event": "intent", "step": "decommission", "time": "2026-04-14T21:00:00.000+00:00"}
    )
    with pytest.raises(
        runbook.NotYet,
        match="decommission began .* 2026-04-14T21:00:00 UTC.* point of no return",
    ):
        registry.may_run("rollback", events)


def test_parts_of_the_runbook():
    assert runbook.between(None, "dns-rename") == ["preflight", "dns-rename"]
    assert runbook.between("production-test", None) == ["production-test", "backup"]
    assert runbook.between(None, None) == runbook.NIGHT and "decommission" not in runbook.NIGHT
    assert runbook.between("decommission", None) == ["decommission"]
    assert runbook.between(None, "decommission") == runbook.ORDER
    with pytest.raises(runbook.UnknownStep, match="'covnert'"):
        runbook.between("covnert", None)
    with pytest.raises(runbook.UnknownStep, match="comes after"):
        runbook.between("verify", "convert")


def test_a_step_apart_from_the_night_has_a_run_of_its_own():
    registry.may_run("restore", [])
    registry.may_run("restore", passed("restore"))
    with pytest.raises(
        runbook.NotYet, match="restore needs a run of its own: this run contains preflight"
    ):
        registry.may_run("restore", passed("preflight"))
    with pytest.raises(
        runbook.NotYet, match="preflight needs a run of its own: this run contains restore"
    ):
        registry.may_run("preflight", passed("restore"))


def test_a_run_apart_holds_nothing_of_the_night():
    assert (
        not runbook.apart([])
        and not runbook.apart(passed("preflight"))
        and not runbook.apart(passed("rollback"))
    )
    for name in runbook.APART:
        assert runbook.apart(passed(name)) and runbook.apart([*passed(name), *passed("rollback")])
        assert not runbook.apart([*passed(name), *passed("backup")])


def test_each_notebook_asks_for_what_its_step_leaves_to_choose_and_nothing_else():
    """Papermill hands these over, and refuses any other."""
    for name in runbook.EVERY:
        known = papermill.inspect_notebook(
            str(site.PROJECT / "notebooks" / runbook.notebook_name(name))
        )
        assert set(known) == {"site", "run_dir", "mode", *registry.step(name).choices}, name
