"""Rollback from each step, with live traffic.

No message is lost or duplicated on mailboxold, and the old service works. CUTOVER_FAULTS unset:
from the last step of the night that users see; "all": from every step.
"""

import json
import os
import shutil
import time

import outcomes
import pytest
from cutover import site
from cutover.connect.hosts import Hosts
from cutover.model import runbook
from cutover.record import run_folder
from cutover.rehearsal import ledger
from night import program, service_of

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
RATE = 3  # messages a second; 8 keep two processors busy that other lanes need as well
CI = ("production-test",)
STEPS = runbook.NIGHT if os.environ.get("CUTOVER_FAULTS") == "all" else CI


@pytest.fixture(scope="module")
def before(lab):
    """The service before anything was done."""
    return service_of(lab)


@pytest.mark.parametrize("step", STEPS)
def test_back_from(lab, before, step):
    began = time.monotonic()
    done = program("rehearse", "--rollback-from", step, "--traffic", RATE, "--keep-lab", "--json")
    answer = json.loads(done.stdout)
    run = run_folder.Run(answer["run"])
    events = run.journal.events()
    states = runbook.states(events)
    if step == "preflight":
        assert done.returncode == 1 and "rollback has nothing to undo" in done.stderr, done.stderr
        assert not [event for event in events if event["event"] == "intent"]
        with Hosts(site.load(site.PROJECT / "parameters/lab.yaml")) as reached:
            counts = ledger.count(reached, run, both=False)
        checks = "nothing to undo"
    else:
        assert done.returncode == 0, done.stderr
        assert states.pop("rollback") == "passed" and set(states.values()) == {"undone"}
        verdict = [
            event
            for event in events
            if event["event"] == "verified" and event["step"] == "rollback"
        ][-1]
        checks = (
            f"{sum(check['passed'] for check in verdict['checks'])} of {len(verdict['checks'])}"
        )
        counts = json.loads((run.path / "ledger.json").read_text())
        whole = program("record", "verify", run.path)
        assert whole.returncode == 0, whole.stdout + whole.stderr
    progress = next((line for line in done.stderr.splitlines() if "acts of users" in line), "")
    outcomes.keep(
        f"rollback-from-{step}",
        kind="rollback",
        step=step,
        accepted=counts["accepted"],
        checks=checks,
        lost=len(counts["old"]["lost"]),
        double=len(counts["old"]["double"]),
        seconds=time.monotonic() - began,
        acts=progress.partition("accepted, ")[2].partition(" acts")[0] or "—",
    )
    assert counts["passed"] and counts["accepted"] > 0, counts["old"]
    assert service_of(lab) == before
    shutil.rmtree(run.path)
