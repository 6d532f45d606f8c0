"""Faults of the night, done for real: a clear message, nothing lost, the same end state when the same command is given again.

CUTOVER_FAULTS chooses (nights.py): unset, a short selection; `all`, the whole catalogue, about an hour; `1/2` and `2/2`, halves
of it, for two labs side by side; or names, e.g. `kill-kernel-*,disk-full-*`. Outcomes go to runs/faults/; see outcomes.py.
"""

import os
import re
import subprocess
import sys
import time

import nights
import outcomes
import pytest
import scene as scenes
from catalogue import AT_WORK, MOMENTS, parse, planned_changes
from cutover import runbook, site
from cutover.lab import manifest
from cutover.run import journal
from night import COMMAND_SECONDS, argv, descendants, eventually, kill, processes, program

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
NIGHTS = nights.chosen()
TRIES = 3       # of the same command after a fault; more than one only while something of the first attempt is still at work


@pytest.fixture(scope="session")
def undisturbed(base, tmp_path_factory):
    """`{step: the state after it}` of a night without faults, made as far as it is asked for."""
    made = {}

    def of(lab, step):
        if step not in made:
            scene = scenes.Scene(lab, tmp_path_factory.mktemp("undisturbed"))
            needed = [*runbook.ORDER, "rollback"]
            last = max(needed.index(step), *(needed.index(each) for each in _needed()))
            for name in needed[:last + 1]:
                scene.night.step(name)
                made[name] = scene.state()
        return made[step]
    return of


def _needed():
    return {fault.step for night in NIGHTS.values() for fault in night} | {"production-test"}


@pytest.fixture(scope="module")
def scene(request, lab, undisturbed, tmp_path_factory):
    """The night of a number: its lab pristine, its run new. After a fault that ended badly the others get a lab of their own."""
    undisturbed(lab, "production-test")
    holder = Holder(lab, tmp_path_factory, NIGHTS[request.param][0].ground)
    yield holder
    if holder.scene is not None:
        scenes.end(holder.scene)


class Holder:
    """Gives the scene of a night, or another one after that was spoilt."""

    def __init__(self, lab, places, ground):
        self.lab, self.places, self.ground, self.scene = lab, places, ground, None

    def get(self):
        if self.scene is None or self.scene.spoilt:
            if self.scene is not None:
                scenes.end(self.scene)
            self.scene = scenes.Scene(self.lab, self.places.mktemp("faults"), self.ground)
        return self.scene


def named(what):
    return what if isinstance(what, str) else getattr(what, "name", f"night{what}")


@pytest.mark.parametrize("scene, fault", nights.items(NIGHTS), indirect=["scene"], ids=named, scope="module")
def test_fault(scene, fault, undisturbed):
    current = scene.get()
    if fault == nights.FORWARD:
        goes_to_its_end(current, undisturbed)
    elif fault == nights.BACK:
        came_back(current)
    else:
        began = time.monotonic()
        result = {"kind": "fault", "step": fault.step, "when": fault.when, "did": "", "said": "", "outcome": "stopped",
                  "passed": False}
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
    """One fault: reach its step, do it, heal it, give the same command again, and look."""
    night = scene.night
    reach(scene, fault.step)
    command = command_of(scene, fault)
    code, said = attempt(scene, fault, command, result)
    died = fault.says is None
    stopped = code != 0 or night.states().get(fault.step) != "passed"
    result["outcome"] = "none" if not result["did"] else "stopped" if stopped else "rode"
    if not result["did"]:
        assert fault.ends == "either" and not stopped, f"{fault.name}: there was nothing to do it to; it said {said}"
    elif fault.ends == "stops":
        assert stopped, f"{fault.name}: the step passed, whatever {result['did']}"
    elif fault.ends == "rides":
        assert not stopped, f"{fault.name}: {said}"
    if stopped and died:
        assert code == -9, said
    elif stopped:
        match = re.search(fault.says, said, re.S)
        assert match, f"{fault.name}: it said nothing of {fault.says}, but: {said}"
        assert "Traceback" not in said, said
        result["said"] = message(said)
    if stopped:
        again(scene, command, fault)
    different = scenes.difference(scene.state(), undisturbed(scene.lab, fault.step))
    assert not different, f"{fault.name}: after the same command again: {different}"


def reach(scene, step):
    """Have all steps before it passed, in the runbook's order."""
    before = runbook.ORDER if step == "rollback" else runbook.ORDER[:runbook.ORDER.index(step)]
    for name in before:
        if scene.night.states().get(name) != "passed":
            scene.night.step(name)


def command_of(scene, fault):
    night, step = scene.night, fault.step
    if fault.by == "papermill":
        return [sys.executable, "-m", "papermill", f"notebooks/{runbook.notebook_name(step)}",
                str(night.run_dir.with_name(f"{step}.ipynb")), "-p", "site", str(night.file), "-p", "run_dir", str(night.run_dir),
                "-p", "mode", "execute"]
    if step == "rollback":
        return argv("rollback", "--site", night.file, "--run", night.run_dir)
    return argv("run", "--site", night.file, "--run", night.run_dir, "--from", step, "--to", step)


def attempt(scene, fault, command, result):
    """Give the command, and do the fault at its moment. → (exit status, what it said)"""
    night = scene.night
    log = night.file.with_suffix(".log")
    scene.injected = time.monotonic()
    path = night.run_dir / journal.NAME
    offset = path.stat().st_size if path.exists() else 0
    told = night.run_dir / f"transcripts/{fault.step}.events.jsonl"
    old = told.stat().st_size if told.exists() else 0

    def do():
        scene.send()
        scene.injected = time.monotonic()
        result["did"] = fault.inject(scene)

    if fault.when == "before":
        do()
    try:
        with log.open("wb") as out:
            scene.runner = subprocess.Popen(command, cwd=site.PROJECT, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        until, changes, waiting = time.monotonic() + COMMAND_SECONDS, 0, fault.when != "before"
        while scene.runner.poll() is None:
            if time.monotonic() > until:
                kill(descendants(scene.runner.pid))
                raise AssertionError(f"{fault.name}: the command did not end: {log.read_text()}")
            if not waiting:
                time.sleep(0.05)
                continue
            events, used = parse(read_from(path, offset))
            offset += used
            for event in events:
                changes = planned_changes(event, changes)
                if fault.when != AT_WORK and event.get("step") == fault.step and MOMENTS[fault.when](event, changes):
                    waiting = False
            if fault.when == AT_WORK and re.search(rb'"event": "(published|staged|folder)"', read_from(told, old)):
                waiting = False
            if not waiting:
                do()
            time.sleep(0.002)
        assert not waiting, f"{fault.name}: its moment never came: {log.read_text()}"
    finally:
        if result["did"]:
            fault.heal(scene)
    return scene.runner.wait(), log.read_text("utf-8", "replace")


def read_from(path, offset):
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except FileNotFoundError:
        return b""


def message(said):
    """The sentence that tells what is wrong, from all that a command said."""
    lines = [line for line in said.splitlines() if line.startswith("cutover: ")]
    text = " ".join(lines[-1:]) or said.strip().rpartition("\n")[2]
    following = said.split(lines[-1], 1)[1].strip().splitlines()[:1] if lines else []
    return f"{text.removeprefix('cutover: ')} {' '.join(following)}".strip()


def again(scene, command, fault):
    """The same command again passes. While something of the first attempt is still at work it may say so, and is given anew."""
    for number in range(TRIES):
        done = subprocess.run(command, cwd=site.PROJECT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=COMMAND_SECONDS)
        said = done.stdout + done.stderr
        if done.returncode == 0 and scene.night.states()[fault.step] == "passed":
            return
        busy = "another process is at work" in said or "another conversion is at work" in said
        assert busy and number + 1 < TRIES, f"{fault.name}: the same command again: {said}"
        eventually(lambda: not left_over(scene), 30)


def left_over(scene):
    run_dir = str(scene.night.run_dir).encode()
    return processes(lambda pid, line: pid != os.getpid() and run_dir in line)


def goes_to_its_end(scene, undisturbed):
    """The whole night passes; each message sent meanwhile is there once on each side; the record holds."""
    night = scene.night
    scene.spoilt = True
    reach(scene, "rollback")
    assert [name for name in runbook.ORDER if night.states()[name] != "passed"] == []
    assert not scenes.difference(scene.state(), undisturbed(scene.lab, "production-test"))
    ledger = scene.ledger(both=True)
    assert ledger["passed"], ledger
    counted, seed = scene.counted_on_mailboxold(), manifest.read()["users"]
    tests = {each.user: 2 * len(night.site.roles.mx) for each in night.site.production_test.users}
    assert counted == {user: seed[user]["messages"] + tests.get(user, 0) for user in counted}
    settled(scene)
    outcomes.keep(f"night-{'-'.join(sorted({night.run_dir.parent.name}))}", kind="night", accepted=ledger["accepted"])
    scene.spoilt = False


def came_back(scene):
    ledger = scene.ledger(both=False)
    assert ledger["passed"], ledger
    settled(scene)


def settled(scene):
    """The record of the run is whole."""
    scene.night.run.journal.events()
    done = program("record", "verify", scene.night.run_dir)
    assert done.returncode == 0, done.stdout + done.stderr
