"""An approval holds for one plan, by listed people, for a while.

Anything else is refused and says why.
"""

import datetime
import json
import os
import subprocess
import time
from types import SimpleNamespace

import pytest
from click import testing
from cutover.commands import main
from cutover.record import approval, journal, lab_marks, signing, statement
from cutover.run import bound_plan, engine, lease
from cutover.steps import registry
from lab import state

PROVE_LAB = lab_marks.prove  # as it is, without the stub of the runs here


@pytest.fixture
def stepper(night):
    night.before()
    return night.planned()


def test_nothing_is_applied_without_an_approval(night, stepper):
    with pytest.raises(
        approval.NotApproved,
        match=r"0 of 2 signatures.*cutover approve --run .* --step stop-imap --plan",
    ):
        stepper.approve()
    with pytest.raises(engine.OutOfTurn):
        stepper.apply()
    assert night.running == {"stunnel4", "xinetd", "dovecot"}


def test_two_people_approve_what_stops_the_service(night, stepper):
    given = night.give("anna", stepper)
    assert given.by == "anna@example"
    with pytest.raises(approval.NotApproved, match=r"1 of 2 signatures \(anna@example\)"):
        stepper.approve()
    night.give("anna", stepper)  # twice the same person is one person
    with pytest.raises(approval.NotApproved, match="1 of 2"):
        stepper.approve()
    night.give("bert", stepper)
    night.finish(stepper)
    assert not night.running
    event = next(
        entry
        for entry in night.run.journal.events()
        if entry["event"] == "approved" and entry["step"] == "stop-imap"
    )
    assert event["by"] == "anna@example, bert@example" and event["kind"] == "signed"
    assert all(signer["key"].startswith("SHA256:") for signer in event["signers"])


def test_one_key_under_two_names_is_one_person(night, stepper):
    night.give("anna", stepper)
    stem = next((night.run.path / "approvals").glob("*.json"))
    for suffix in ("", ".sig"):
        (stem.parent / f"copy.json{suffix}").write_bytes(
            (stem.parent / (stem.name + suffix)).read_bytes()
        )
    with pytest.raises(approval.NotApproved, match="1 of 2"):
        stepper.approve()


def test_somebody_who_is_not_listed_cannot_approve(night, stepper):
    with pytest.raises(signing.BadSignature, match="do not list"):
        night.give("mallory", stepper)
    with pytest.raises(signing.BadSignature, match="is not valid for approval@mail-cutover"):
        night.give("operator", stepper)  # listed, for records only


def test_what_was_typed_must_be_right(night, stepper):
    with pytest.raises(approval.NotConfirmed, match="type exactly: mailbox.roma1.example"):
        approval.give(
            night.run, night.site, stepper.step, stepper.hash(), "yes", night.people["anna"]
        )


@pytest.mark.parametrize(
    "edit, message",
    [
        (lambda text: {**text, "hash": "0" * 64}, "0 of 2"),
        (lambda text: {**text, "run": "another"}, "about run another"),
        (lambda text: {**text, "subject": "switch-alias"}, "about subject switch-alias"),
        (lambda text: {**text, "site": "elsewhere"}, "about site elsewhere"),
        (lambda text: {**text, "approves": "drift"}, "0 of 2"),
        (lambda text: {**text, "extra": "1"}, "not a statement"),
        (lambda text: {**text, "expires": "soon"}, "not a statement"),
        (
            lambda text: {**text, "time": "2020-01-01T00:00:00+00:00"},
            "for longer than approval.valid",
        ),
        (lambda text: {**text, "expires": "2020-01-01T00:00:00+00:00"}, "expired at 2020"),
        (
            lambda text: {
                **text,
                "time": "2090-01-01T00:00:00+00:00",
                "expires": "2090-01-01T00:00:30+00:00",
            },
            "in the future",
        ),
    ],
)
def test_a_statement_about_something_else_does_not_count_though_it_is_signed(
    night, stepper, edit, message
):
    night.give("anna", stepper)
    place = next((night.run.path / "approvals").glob("*.json"))
    data = json.dumps(edit(json.loads(place.read_bytes())), sort_keys=True).encode()
    place.write_bytes(data)
    place.with_name(place.name + ".sig").write_bytes(
        signing.sign(data, night.people["anna"], statement.NAMESPACE)
    )
    with pytest.raises(approval.NotApproved, match=message):
        stepper.approve()


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: place.write_bytes(place.read_bytes().replace(b"roma1", b"roma2")),
        lambda place: place.with_name(place.name + ".sig").unlink(),
        lambda place: place.with_name(place.name + ".sig").write_text("yes"),
    ],
)
def test_a_statement_that_is_not_signed_as_it_stands_does_not_count(night, stepper, damage):
    night.give("anna", stepper)
    night.give("bert", stepper)
    damage(next((night.run.path / "approvals").glob("*.json")))
    with pytest.raises(approval.NotApproved, match="1 of 2 signatures.*Does not count: approvals/"):
        stepper.approve()


def test_an_approval_that_ran_out_meanwhile_is_void(night, stepper, monkeypatch):
    night.give("anna", stepper)
    night.give("bert", stepper)
    stepper.approve()
    later = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=6)).isoformat(
        timespec="milliseconds"
    )
    monkeypatch.setattr(approval.journal, "now", lambda: later)
    with pytest.raises(approval.NotApproved, match="expired at"):
        stepper.apply()
    assert night.running


def test_another_world_is_another_plan(night, stepper):
    night.give("anna", stepper)
    night.give("bert", stepper)
    stepper.approve()
    night.running.discard("xinetd")
    with pytest.raises(engine.PlanChanged, match="No longer planned: stop xinetd"):
        stepper.apply()
    with pytest.raises(approval.NotApproved, match="0 of 2"):
        night.planned().approve()


def test_the_facts_a_plan_rests_on_void_it_and_counters_do_not(night, stepper):
    night.give("anna", stepper)
    night.give("bert", stepper)
    stepper.approve()
    night.noise = {"sessions": [{"pid": 7}], "serial": 9, "seconds": 1.5}
    assert night.planned().hash() == stepper.hash()
    night.extra = {"somebody": "moved the mail"}
    assert night.planned().hash() != stepper.hash()
    with pytest.raises(
        engine.PlanChanged, match="facts behind the approved plan changed: extra › somebody"
    ):
        stepper.apply()


def test_the_hash_covers_run_step_code_and_parameters(night, stepper, monkeypatch):
    seen = {stepper.hash()}
    for name, value in (("code.digest", lambda: "other"), ("site", night.site.model_copy())):
        with monkeypatch.context() as patch:
            if name == "site":
                value._path, value._digest = night.site.path, "other"
                patch.setattr(stepper, "site", value)
            else:
                patch.setattr(bound_plan.code, "digest", value)
            seen.add(stepper.hash())
    with monkeypatch.context() as patch:
        patch.setattr(stepper.run, "name", "other")
        seen.add(stepper.hash())
    assert len(seen) == 4


def test_the_bytes_that_were_approved_are_kept(night, stepper):
    import hashlib

    event = [entry for entry in night.run.journal.events() if entry["event"] == "planned"][-1]
    assert (
        hashlib.sha256((night.run.path / event["file"]).read_bytes()).hexdigest()
        == event["hash"]
        == stepper.hash()
    )


def test_a_rehearsal_approves_itself_once_it_proved_the_lab(rehearsal, monkeypatch):
    rehearsal.before()
    stepper = rehearsal.planned()
    with pytest.raises(approval.NotConfirmed, match="approves itself"):
        rehearsal.give("anna", stepper)
    proved = []
    monkeypatch.setattr(lab_marks, "prove", lambda *_: proved.append(1))
    rehearsal.finish(stepper)
    assert proved


def test_the_command_and_an_agentless_key_write_the_same_file(night, stepper):
    argv = [
        "approve",
        "--run",
        str(night.run.path),
        "--step",
        "stop-imap",
        "--plan",
        stepper.hash()[:16],
        "--key",
        str(night.people["anna"]),
    ]
    done = testing.CliRunner().invoke(
        main.cutover, argv, input="mailbox.roma1.example\n", catch_exceptions=False
    )
    assert "approved by anna@example" in done.output and "needs 2 people" in done.output
    argv[-1] = str(night.people["bert"])
    testing.CliRunner().invoke(
        main.cutover, argv, input="mailbox.roma1.example\n", catch_exceptions=False
    )
    assert stepper.approve().by == "anna@example, bert@example"


def test_who_is_gone_on_without_is_typed(night):
    """What was asked of the step when the plan was made is part of what a person types."""
    step, anna = registry.step("rollback"), str(night.people["anna"])
    begun = night.run.journal.append(
        "step-begun", step="rollback", title="", chosen={"without": "carla,bruno"}
    )
    night.run.journal.append(
        "planned", step="rollback", attempt=begun["seq"], hash="a" * 64, changes=[]
    )
    wanted = f"{night.site.fqdn(night.site.alias)} without bruno, carla"
    with pytest.raises(approval.NotConfirmed, match=f"type exactly: {wanted}$"):
        approval.give(
            night.run, night.site, step, "a" * 64, night.site.fqdn(night.site.alias), anna
        )
    assert approval.give(night.run, night.site, step, "a" * 64, wanted, anna).by == "anna@example"


def test_a_key_that_only_the_agent_holds(night, stepper, monkeypatch, tmp_path_factory):
    """Without --key the agent's listed key signs; a public key file picks one."""
    socket = tmp_path_factory.mktemp("a") / "s"
    with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL) as agent:
        try:
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
            for _ in range(200):
                if socket.exists():
                    break
                time.sleep(0.02)
            for name in ("mallory", "bert"):
                subprocess.run(["ssh-add", "-q", night.path / name], check=True)
                (night.path / name).unlink()
            wanted = stepper.step.confirmation(night.site, {})
            given = approval.give(night.run, night.site, stepper.step, stepper.hash(), wanted)
            assert given.by == "bert@example"  # mallory's stands first, and is not listed
            subprocess.run(["ssh-add", "-q", night.people["anna"]], check=True)
            night.people["anna"].unlink()
            given = approval.give(
                night.run,
                night.site,
                stepper.step,
                stepper.hash(),
                wanted,
                f"{night.people['anna']}.pub",
            )
            assert given.by == "anna@example"
            assert stepper.approve().by == "anna@example, bert@example"
        finally:
            agent.terminate()
    monkeypatch.delenv("SSH_AUTH_SOCK")
    with pytest.raises(signing.CannotSign, match="ssh-agent holds none"):
        approval.give(night.run, night.site, stepper.step, stepper.hash(), wanted)


def test_there_is_no_answer_that_says_yes_to_everything(night, stepper):
    runner = testing.CliRunner()
    argv = ["approve", "--run", str(night.run.path), "--key", str(night.people["anna"])]
    for more in (
        [],
        ["--step", "stop-imap"],
        ["--plan", stepper.hash()],
        ["--drift", "--step", "stop-imap"],
    ):
        assert runner.invoke(main.cutover, argv + more).exit_code == 2
    assert isinstance(
        runner.invoke(main.cutover, [*argv, "--step", "stop-imap", "--plan", "0" * 16]).exception,
        approval.NotConfirmed,
    )
    assert isinstance(
        runner.invoke(
            main.cutover, [*argv, "--step", "stop-imap", "--plan", stepper.hash()], input="y\n"
        ).exception,
        approval.NotConfirmed,
    )
    assert not any(
        name in option.name
        for name in ("yes", "force", "all")
        for option in main.cutover.commands["approve"].params
    )


def test_waiting_for_an_approval_is_no_failure(night, stepper):
    with pytest.raises(approval.NotApproved):
        stepper.approve()
    assert [entry["event"] for entry in night.run.journal.events()][-1] == "approval-missing"


def test_the_lease_is_held_while_changes_are_made_and_given_back(night, stepper):
    night.give("anna", stepper)
    night.give("bert", stepper)
    stepper.approve()
    stepper.apply()
    holder = json.loads((night.path / "store" / "lease").read_text())
    assert holder["owner"] == journal.who() and holder["run"] == night.run.name
    stepper.close()
    assert not (night.path / "store" / "lease").read_text().strip()
    assert lease.STALE > 2 * lease.EVERY


@pytest.mark.parametrize(
    "off, elsewhere, asked",
    [
        ({"mailboxold"}, set(), "all but mailboxold"),
        (
            {"mailboxold"},
            {"mailboxold"},
            "all",
        ),  # the one that is off is not the one the parameters mean
        ("all", set(), "all"),  # a marker that a lab left behind
    ],
)
def test_a_host_that_is_off_is_proven_by_the_lab_itself(
    rehearsal, monkeypatch, off, elsewhere, asked
):
    site, seen = rehearsal.site, []
    made = {
        name: {
            "address": "192.0.2.250" if name in elsewhere else site.address(name),
            "pid": os.getpid(),
            "start": None if off == "all" or name in off else state.start_time(os.getpid()),
        }
        for name in site.hosts
    }
    monkeypatch.setattr(state, "read", lambda: {"lab": "a mark", "hosts": made})

    def on_each(names, mark):
        seen.extend(names)
        return {name: mark(name) for name in names}

    hosts = SimpleNamespace(
        prove=lambda: None, each=on_each, run=lambda *_, **__: SimpleNamespace(text="a mark\n")
    )
    PROVE_LAB(hosts, site)
    assert set(seen) == set(site.hosts) - ({"mailboxold"} if asked != "all" else set())
