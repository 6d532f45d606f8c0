"""Faults of the night, done for real.

After each: a clear message, nothing lost, and the same end state once the same command runs again.
CUTOVER_FAULTS chooses (nights.py): unset, a short selection; `all`, the whole catalogue, about an
hour; `1/2` and `2/2`, its halves, for two labs in parallel; or names, such as
`kill-kernel-*,disk-full-*`. Outcomes go to runs/faults/; see outcomes.py.
"""

import os
import re
import sys
import time

import nights
import outcomes
import pytest
from catalogue import AT_WORK, MOMENTS
from cutover.model import runbook
from cutover.run import engine
from lab import manifest
from night import COMMAND_SECONDS, argv, eventually, processes, program
from scene import Scene, difference, read_from

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
NIGHTS = nights.chosen()
# of the same command after a fault; more than one only while something of the first attempt is
# still at work
TRIES = 3


@pytest.fixture(scope="session")
def undisturbed(base, tmp_path_factory):
    """`{step: the state after it}` of a night without faults, made as far as it is asked for."""
    made = {}

    def of(lab, step):
        if step not in made:
            scene = Scene(lab, tmp_path_factory.mktemp("undisturbed"))
            needed = [*runbook.NIGHT, "rollback"]
            last = max(needed.index(step), *(needed.index(step) for step in _needed()))
            for name in needed[: last + 1]:
                scene.night.step(name)
                made[name] = scene.state()
        return made[step]

    return of


def _needed():
    return {fault.step for night in NIGHTS.values() for fault in night} | {runbook.NIGHT[-1]}


@pytest.fixture(scope="module")
def scene(request, lab, undisturbed, tmp_path_factory):
    """The night of a number: its lab pristine, its run new.

    After a fault that ended badly the others get a lab of their own.
    """
    undisturbed(lab, runbook.NIGHT[-1])
    holder = Holder(lab, tmp_path_factory, NIGHTS[request.param])
    yield holder
    holder.close()


class Holder:
    """Gives the scene of a night, or another one after that was spoilt."""

    def __init__(self, lab, places, faults):
        self.lab, self.places, self.ground, self.scene = lab, places, faults[0].ground, None
        self.last = [fault.step for fault in faults if fault.step != "rollback"][-1:]

    def get(self):
        if self.scene is None or self.scene.spoilt:
            self.close()
            self.scene = Scene(self.lab, self.places.mktemp("faults"), self.ground, *self.last)
        return self.scene

    def close(self):
        if self.scene is not None:
            self.scene.close()


def named(what):
    return getattr(what, "name", f"night{what}")


@pytest.mark.parametrize(
    "scene, fault", nights.items(NIGHTS), indirect=["scene"], ids=named, scope="module"
)
def test_fault(scene, fault, undisturbed):
    current = scene.get()
    if isinstance(fault, nights.End):
        result = {"kind": "night", "way": fault.way, "accepted": 0, "passed": False}
        name, current.spoilt = f"night-{current.night.run_dir.parent.name}-{fault.way}", True
        try:
            (goes_to_its_end if fault.way == nights.FORWARD else came_back)(
                current, undisturbed, result
            )
            result["passed"], current.spoilt = True, False
        except BaseException as error:
            result["error"] = str(error)[:2000]
            raise
        finally:
            outcomes.keep(name, **result)
    else:
        began = time.monotonic()
        result = {
            "kind": "fault",
            "step": fault.step,
            "when": fault.when,
            "did": "",
            "said": "",
            "outcome": "stopped",
            "passed": False,
        }
        current.spoilt = True
        try:
            suffer(current, fault, result, undisturbed)
            result["passed"], current.spoilt = True, False
        except BaseException as error:
            result["error"] = str(error)[:2000]
            raise
        finally:
            outcomes.keep(fault.name, seconds=time.monotonic() - began, **result)


def suffer(scene, fault, result, undisturbed):
    """One fault.

    Reach its step, do it, heal it, give the same command again, and look at the end of the step.
    """
    command = command_of(scene, fault)
    reach(scene, fault, command)
    scene.send()
    try:
        strike(scene, fault, command, result)
        passed = ended_well(scene, fault)
    finally:
        if result["did"]:
            fault.heal(scene)
    code, output = scene.runner.poll(), scene.output()
    result["outcome"] = "none" if not result["did"] else "rode" if passed else "stopped"
    if not result["did"]:
        assert fault.ends == "either" and passed, (
            f"{fault.name}: there was nothing to do it to; it said {output}"
        )
    elif fault.ends == "stops":
        assert not passed, f"{fault.name}: the step passed, whatever {result['did']}"
    elif fault.ends == "rides":
        assert passed, f"{fault.name}: {output}"
    if not passed and fault.says is None:
        assert code == -9, output
    elif not passed:
        assert code == 1, output
        assert re.search(fault.says, output, re.S), (
            f"{fault.name}: it said nothing of {fault.says}, but: {output}"
        )
        assert "Traceback" not in output, output
        result["said"] = message(output)
    if not passed:
        again(scene, fault, command)
    different = difference(scene.state(), undisturbed(scene.lab, fault.step))
    assert not different, f"{fault.name}: after the same command again: {different}"


def command_of(scene, fault):
    """What is given before and after a fault.

    All steps of the night's faults, each passed once; the way back; or papermill.
    """
    night, step = scene.night, fault.step
    if fault.by == "papermill":
        return [
            sys.executable,
            "-m",
            "papermill",
            f"notebooks/{runbook.notebook_name(step)}",
            str(night.run_dir.with_name(f"{step}.ipynb")),
            "-p",
            "site",
            str(night.file),
            "-p",
            "run_dir",
            str(night.run_dir),
            "-p",
            "mode",
            "execute",
        ]
    if step == "rollback":
        return argv("rollback", "--site", night.file, "--run", night.run_dir)
    return argv("run", "--site", night.file, "--run", night.run_dir, "--to", scene.last)


def reach(scene, fault, command):
    """Have all steps before it passed and nothing of it begun.

    By the night's command if it is under way, else by the engine.
    """
    if scene.running() and scene.command != command:
        finish(scene)
    before = (
        runbook.NIGHT
        if fault.step == "rollback"
        else runbook.NIGHT[: runbook.NIGHT.index(fault.step)]
    )
    if (
        scene.running()
        and scene.command == command
        and before
        and scene.night.states().get(before[-1]) != "passed"
    ):
        assert scene.follow(
            lambda event: event["event"] == "executed" and event["of"] == before[-1]
        ), scene.output()
        scene.freeze()
    for name in before:
        if scene.night.states().get(name) != "passed":
            scene.night.step(name)


def strike(scene, fault, command, result):
    """Do the fault at its moment of the command."""

    def do():
        scene.injected = time.monotonic()
        result["did"] = fault.inject(scene)

    if fault.when == "before":
        do()
        scene.start(command)
        return
    events = scene.night.run_dir / f"transcripts/{fault.step}.events.jsonl"
    old = events.stat().st_size if events.exists() else 0
    scene.start(command)
    if fault.when == AT_WORK:
        came = scene.follow(
            lambda event: False,
            lambda: re.search(rb'"event": "(published|staged|folder)"', read_from(events, old)),
        )
    else:
        came = scene.follow(
            lambda event: (
                event.get("step") == fault.step and MOMENTS[fault.when](event, scene.changes)
            )
        )
    assert came, f"{fault.name}: its moment never came: {scene.output()}"
    if fault.when not in ("read", "approved"):
        do()
        return
    with scene.held():
        do()
        time.sleep(engine.FRESH)


def end_of(fault):
    """Whether an event is the last of a step's attempt."""
    if fault.by == "papermill":
        return lambda event: False
    return lambda event: event["event"] == "executed" and event["of"] == fault.step


def ended_well(scene, fault):
    """Follow the command to the end of the step.

    Whether it passed; then the command does not go on, else it has ended.
    """
    whole = scene.follow(end_of(fault))
    passed = scene.night.states().get(fault.step) == "passed"
    if whole and passed:
        scene.freeze()
        return True
    return scene.runner.wait(COMMAND_SECONDS) == 0 and passed


def message(output):
    """The sentence that tells what is wrong, from all that a command said."""
    lines = [line for line in output.splitlines() if line.startswith("cutover: ")]
    text = " ".join(lines[-1:]) or output.strip().rpartition("\n")[2]
    following = output.split(lines[-1], 1)[1].strip().splitlines()[:1] if lines else []
    return f"{text.removeprefix('cutover: ')} {' '.join(following)}".strip()


def again(scene, fault, command):
    """The same command again passes.

    While something of the first attempt is still at work it may say so, and is given anew.
    """
    for number in range(TRIES):
        if scene.night.states().get(fault.step) == "passed":
            # it died after its verdict: the same command goes on with the next step, as the next
            # fault will see
            return
        scene.start(command)
        if ended_well(scene, fault):
            return
        output = scene.output()
        busy = "another process is at work" in output or "another conversion is running" in output
        assert busy and number + 1 < TRIES, f"{fault.name}: the same command again: {output}"
        eventually(lambda: not left_over(scene))


def left_over(scene):
    run_dir = str(scene.night.run_dir).encode()
    return processes(lambda pid, line: pid != os.getpid() and run_dir in line)


def goes_to_its_end(scene, undisturbed, result):
    """The whole night passes.

    Each message sent meanwhile is there once on each side; the record holds.
    """
    night = scene.night
    finish(scene)
    for name in runbook.NIGHT:
        if night.states().get(name) != "passed":
            try:
                night.step(name)
            except (
                engine.VerifyFailed
            ) as failed:  # somebody had mail delivered after its folder was converted
                assert name == "verify" and "run convert again, then verify" in str(failed), failed
                night.step("convert")
                night.step("verify")
    different = difference(scene.state(), undisturbed(scene.lab, runbook.NIGHT[-1]))
    assert not different, different
    even(scene, result, both=True)
    seed = {user: figures["messages"] for user, figures in manifest.read()["users"].items()}
    different = difference(scene.counted_on_mailboxold(), seed)
    assert not different, different
    settled(scene)


def finish(scene):
    """Let the command under way come to its end."""
    if scene.running():
        scene.follow(lambda event: False)
        assert scene.runner.wait(COMMAND_SECONDS) == 0, scene.output()


def came_back(scene, undisturbed, result):
    """The old service is there, with each message once; the record holds."""
    finish(scene)
    even(scene, result, both=False)
    settled(scene)


def even(scene, result, both):
    """Each message that an MX accepted is there exactly once, on both sides or on mailboxold."""
    ledger = scene.ledger(both)
    if ledger is not None:
        result["accepted"] = ledger["accepted"]
        assert ledger["passed"], str(ledger)


def settled(scene):
    """The record of the run is whole."""
    done = program("record", "verify", scene.night.run_dir)
    assert done.returncode == 0, done.stdout + done.stderr
