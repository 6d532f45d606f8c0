"""The engine: changes of several hosts side by side, and facts that need not be read twice."""

import threading

import pytest
import stub
from cutover import model
from cutover.changes import delivery_proof, mail, service
from cutover.record import audit, lab_marks, record_json
from cutover.run import engine, lanes, lease


@pytest.fixture
def rehearsal(tmp_path, monkeypatch):
    return stub.Site(tmp_path, monkeypatch, "rehearsal")


def ready(rehearsal):
    rehearsal.before()
    stepper = rehearsal.planned()
    stepper.approve()
    return stepper


def test_hosts_are_stopped_side_by_side_and_each_in_its_order(rehearsal, monkeypatch):
    """Each host's first change waits for the other host's: one after the other they would wait for
    ever.
    """
    stepper, met, order = ready(rehearsal), threading.Barrier(2), []

    def apply(change, hosts, report):
        if change.name in ("stunnel4", "dovecot"):
            met.wait(20)
        order.append(change.name)
        return rehearsal._act(change)

    monkeypatch.setattr(service.ServiceAction, "apply", apply)
    done = stepper.apply()
    assert [change for change, _ in done] == list(stepper.current.changes) and all(
        text for _, text in done
    )
    assert order.index("stunnel4") < order.index("xinetd")
    events = [
        event for event in rehearsal.run.journal.events() if event["event"] in ("intent", "result")
    ]
    for result in (event for event in events if event["event"] == "result"):
        intent = next(event for event in events if event["seq"] == result["intent"])
        assert intent["seq"] < result["seq"]
    assert sorted(event["number"] for event in events if event["event"] == "intent") == list(
        range(len(done))
    )


def test_once_a_host_fails_no_other_change_begins_and_what_has_begun_ends(rehearsal, monkeypatch):
    stepper, failed = ready(rehearsal), threading.Event()

    def apply(change, hosts, report):
        if change.name == "dovecot":
            failed.set()
            raise model.ChangeFailed("dovecot does not stop")
        failed.wait(20)
        while not any(event["event"] == "result" for event in rehearsal.run.journal.events()):
            pass
        return rehearsal._act(change)

    monkeypatch.setattr(service.ServiceAction, "apply", apply)
    with pytest.raises(model.ChangeFailed, match="dovecot does not stop"):
        stepper.apply()
    events = rehearsal.run.journal.events()
    begun = [event["change"]["name"] for event in events if event["event"] == "intent"]
    assert sorted(begun) == ["dovecot", "stunnel4"]
    assert sorted(event["outcome"] for event in events if event["event"] == "result") == [
        "done",
        "failed",
    ]
    assert [event["event"] for event in events[-1:]] == ["step-failed"]


def test_changes_that_do_not_say_so_keep_their_order():
    alone = mail.DrainQueue(["a"], 1)
    stop = [
        service.ServiceAction(host, "systemd", name, "stop", True)
        for host, name in (("a", "x"), ("b", "y"), ("a", "z"))
    ]
    assert [
        [[number for number, _ in lane] for lane in group]
        for group in lanes.groups([*stop, alone, *stop[:2]])
    ] == [[[0, 2], [1]], [[3]], [[4], [5]]]


def test_no_test_mail_is_sent_before_the_services_have_started():
    def mail_by(host):
        return mail.SendTestMail(host, 25, "a@x", "n@y", "n", "t", False)

    start = service.ServiceAction("new", "systemd", "dovecot", "start", True)
    groups = lanes.groups([start, mail_by("mx1"), mail_by("mx2"), mail_by("mx1")])
    assert [[[number for number, _ in lane] for lane in group] for group in groups] == [
        [[0]],
        [[1, 3], [2]],
    ]


def test_delivery_is_proved_while_services_start_and_the_queue_released_after_the_proof():
    hosts, mx = ["old", "new"], ["mx1", "mx2"]
    plan = [
        *(service.ServiceAction(host, "sysv", "sendmail", "start", True) for host in hosts),
        delivery_proof.ProveDelivery(mx, hosts, "a@x", "n", "t", 60),
        mail.ReleaseQueue(mx, 60),
    ]
    assert [[[number for number, _ in lane] for lane in group] for group in lanes.groups(plan)] == [
        [[0], [1], [2, 3]]
    ]


def test_in_a_run_of_several_steps_its_owner_signs_the_record(rehearsal, monkeypatch):
    rehearsal.before()
    signed = []
    monkeypatch.setattr(record_json, "pause", lambda *arguments: signed.append(arguments[-1]))
    with lease.passed_on():
        rehearsal.engine("stop-imap").close()
    assert not signed
    rehearsal.engine("stop-imap").close()
    assert signed == ["after stop-imap"]


def test_a_rehearsal_proves_once_per_plan_that_it_is_the_labs(rehearsal, monkeypatch):
    proofs = []
    monkeypatch.setattr(lab_marks, "prove", lambda *_: proofs.append(1))
    stepper = ready(rehearsal)
    before = len(proofs)
    monkeypatch.setattr(service.ServiceAction, "apply", lambda change, *_: rehearsal._act(change))
    stepper.apply()
    assert len(proofs) == before > 0


def test_a_step_that_only_reads_reads_once(rehearsal, monkeypatch):
    read = []
    rehearsal.alter(
        "preflight",
        probe=lambda ctx: read.append(1) or stub.Quiet(ctx.run_name, len(read)),
        verify=lambda facts, site: [model.equal("Is it quiet?", 1, facts.quiet, id="quiet")],
    )
    stepper = rehearsal.engine("preflight")
    stepper.probe()
    stepper.plan()
    stepper.approve()
    stepper.apply()
    assert stepper.verify()[0].passed and len(read) == 1
    probed = [event for event in rehearsal.run.journal.events() if event["event"] == "probed"]
    assert [event["when"] for event in probed] == ["before", "after"] and probed[1][
        "read"
    ] == "before"
    assert probed[0]["sha256"] == probed[1]["sha256"]
    assert not stepper.verify()[0].passed and len(read) == 2, "asked once more, it looks once more"
    monkeypatch.setattr(engine, "STANDS", 0)
    stepper.probe()
    assert stepper.verify()[0].actual == "4", "facts of long ago are read again"
    stepper.close()


def test_a_plan_of_just_now_is_not_looked_at_again_once_the_run_has_the_lease(
    rehearsal, monkeypatch
):
    monkeypatch.setattr(engine, "FRESH", 60)

    def looks():
        """What the probe at apply was, of one step more."""
        rehearsal.running |= {"stunnel4", "xinetd", "dovecot"}
        stepper = ready(rehearsal)
        stepper.apply()
        probed = [event for event in stepper.own_events() if event["event"] == "probed"]
        stepper.close()
        assert [event["when"] for event in probed] == ["before", "at apply"]
        return probed[1].get("read"), probed[1]["sha256"] == probed[0]["sha256"]

    assert looks() == (None, True), "alone, each step takes the lease anew"
    with lease.passed_on() as give_back:
        assert looks() == (None, True), "another run may have had it until now"
        assert looks() == ("before", True)
        monkeypatch.setattr(engine, "FRESH", 0)
        assert looks() == (None, True), "time has passed"
        give_back(stub.Hosts(rehearsal.site))


def test_no_go_stops_before_anything_and_at_the_last_moment(rehearsal, monkeypatch):
    rehearsal.before()
    answers = iter([False, True, False])
    rehearsal.alter(
        "stop-imap",
        gate=lambda facts, site: [model.Check("Go?", "yes", "see", next(answers), "wait", id="go")],
    )
    with pytest.raises(
        engine.NoGo, match="(?s)no go, nothing was changed: 1 of 1.*What to do: wait"
    ):
        rehearsal.planned()
    stepper = rehearsal.planned()
    stepper.approve()
    with pytest.raises(engine.NoGo):
        stepper.apply()
    events = rehearsal.run.journal.events()
    assert [event["passed"] for event in events if event["event"] == "gated"] == [
        False,
        True,
        False,
    ]
    assert not any(event["event"] == "intent" for event in events) and rehearsal.running


def test_what_was_applied_without_a_go_is_found(rehearsal):
    path = rehearsal.whole()
    assert not [
        finding
        for finding in audit.verify(path).findings
        if "before its gate passed" in finding.what
    ]

    def forge(events):
        next(event for event in events if event["event"] == "gated").update(passed=False)
        return [event for event in events if event["event"] != "gated" or not event["passed"]]

    stub.rewrite(path, forge, key=True, site=rehearsal.site)
    assert any(
        "was applied before its gate passed" in finding.what
        for finding in audit.verify(path).findings
    )
