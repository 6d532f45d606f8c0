"""The outage of a night beside a floor, on the lab.

Both have the same mail: a fresh lab each, moved as far as presync by `cutover run`, then mail that
comes at a rate until the end. One after the other, in turns from run to run:

- "floor": what the services themselves need. A script over warm ssh connections stops both IMAP
  servers, then both sendmails at once, makes the delta pass, starts both sendmails, flushes both
  MX, sends one DNS update and starts Dovecot. It verifies nothing, records nothing, and is not
  safe: mail may be lost or come twice.
- "ours": `cutover run --from stop-imap --to restore-imap`, with every check and the record. presync
  has compared the contents (`verify.ahead`).
"""

import contextlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import yaml
from lab import control, seeder, topology

from cutover import model, site
from cutover.connect import smtp
from cutover.connect.hosts import Hosts
from cutover.facts import services
from cutover.model import errors, runbook
from cutover.record import history, run_folder
from cutover.steps import registry

SENDER = "bench@elsewhere.test"
WHO = ("floor", "ours")
PHASES = runbook.OUTAGE
TOTALS = ("reading refused", "delivery held")


def measure(fill: int, runs: int, rate: float, say=lambda text: None) -> dict:
    """Measure `runs` of each; `fill` more messages of old mail, `rate` new ones per second.

    → {"fill", "rate", "processors", "python", "load": [before, after], "seconds": {who: [{phase or
    total: seconds}]}}. Takes the lab down. Raises errors.CutoverError if a run does not pass.
    """
    values = yaml.safe_load(Path("parameters/lab.yaml").read_text())
    values["verify"]["ahead"] = True
    seconds, load = {who: [] for who in WHO}, [os.getloadavg()[0]]
    try:
        for number in range(runs):
            for who in WHO if number % 2 == 0 else WHO[::-1]:
                with tempfile.TemporaryDirectory() as place:
                    file = Path(place) / "lab.yaml"
                    file.write_text(yaml.safe_dump(values, sort_keys=False))
                    took = _once(site.load(file), Path(place) / "night", who, fill, rate, say)
                seconds[who].append(took)
                say(f"{who}: " + ", ".join(f"{name} {took[name]:.1f} s" for name in TOTALS))
    finally:
        control.down()
    return {
        "fill": fill,
        "rate": rate,
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "load": [*load, os.getloadavg()[0]],
        "seconds": seconds,
    }


def _once(parameters, place, who, fill, rate, say):
    say(f"{who}: preparing a lab, as far as presync …")
    control.up(fresh=True, seed=True)
    if fill:
        seeder.more(fill)
    execute(parameters, place, "--to", "presync")
    with Hosts(parameters) as hosts, _Mail(parameters, rate):
        if who == "floor":
            return _floor(hosts, parameters, run_folder.Run(place))
        execute(parameters, place, "--from", PHASES[0], "--to", PHASES[-1])
    return _ours(run_folder.Run(place).journal.events())


def execute(parameters, place, *options):
    """`cutover run` with these options. Raises errors.CutoverError if it does not pass."""
    argv = [sys.executable, "-m", "cutover", "run", "--site", parameters.reference, "--run", place]
    done = subprocess.run(
        [*argv, *options], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode:
        raise errors.CutoverError(f"cutover run did not pass: {done.stderr[-2000:]}")


class _Mail:
    """Mail that comes through each MX in turns while this is entered."""

    def __init__(self, parameters, rate):
        self.site, self.rate, self.ended = parameters, rate, threading.Event()
        self.thread = threading.Thread(target=self._send, daemon=True)

    def __enter__(self):
        if self.rate:
            self.thread.start()

    def __exit__(self, *_):
        self.ended.set()
        if self.rate:
            self.thread.join()

    def _send(self):
        users, number = sorted(topology.USERS), 0
        while not self.ended.wait(1 / self.rate):
            mx = self.site.roles.mx[number % len(self.site.roles.mx)]
            to = f"{users[number % len(users)]}@{self.site.zone}"
            text = f"Subject: {number}\r\nMessage-ID: <{number}@bench.invalid>\r\n\r\nMail.\r\n"
            with contextlib.suppress(errors.CutoverError):
                smtp.send(self.site.address(mx), 25, SENDER, [to], text.encode(), timeout=30)
            number += 1


def _floor(hosts, parameters, run):
    """Seconds by phase and in all, without a check or a record."""
    old, new, mx = parameters.roles.old, parameters.roles.new, parameters.roles.mx
    both = list(parameters.mail_hosts)
    context = model.Context(hosts, run_name=run.name, history=run.journal.events())
    planned = {name: _planned(name, context) for name in ("convert", "switch-alias")}
    hosts.each([*both, *mx], lambda name: hosts.run(name, ["true"], sudo=True))

    def apply(name):
        for change in planned[name]:
            change.apply(context, lambda event: None)

    def switch(name, which, argvs):
        for service in getattr(parameters.services_of(name), which):
            for argv in argvs(service.manager, service.name):
                hosts.run(name, argv, sudo=True)

    def resume():
        hosts.each((old, new), lambda name: switch(name, "sendmail", services.start_argvs))
        ends["delivery"] = time.monotonic()
        hosts.each(mx, lambda name: hosts.run(name, ["sendmail", "-q"], sudo=True))

    def stop(which):
        hosts.each(both, lambda name: switch(name, which, services.stop_argvs))

    work = {
        "stop-imap": lambda: stop("imap"),
        "stop-sendmail": lambda: stop("sendmail"),
        "convert": lambda: apply("convert"),
        "verify": lambda: None,
        "restore-sendmail": resume,
        "switch-alias": lambda: apply("switch-alias"),
        "restore-imap": lambda: switch(new, "imap", services.start_argvs),
    }
    ends = {"": time.monotonic()}
    for name in PHASES:
        work[name]()
        ends[name] = time.monotonic()
    took = {
        name: ends[name] - ends[before] for before, name in zip(("", *PHASES), PHASES, strict=False)
    }
    return {
        **took,
        TOTALS[0]: sum(took.values()),
        TOTALS[1]: ends["delivery"] - ends["stop-imap"],
    }


def _planned(name, context):
    step = registry.step(name)
    return step.plan(step.probe(context), context.site).changes


def _ours(events):
    """The same by the journal: a phase lasts from the end of the one before to its own end."""
    attempts = history.attempts(events)
    ends = {name: attempts[name].ended for name in PHASES}
    starts = {name: times(events, name, "intent")[0] for name in ("stop-imap", "stop-sendmail")}
    opened = times(events, "restore-imap", "result")[-1]
    services_of = {
        event["seq"]
        for event in events
        if event["event"] == "intent" and event["change"]["kind"] == "service"
    }
    resumed = [
        history.at(event)
        for event in events
        if event["event"] == "result" and event["step"] == "restore-sendmail"
        if event["intent"] in services_of
    ]
    took = {PHASES[0]: ends[PHASES[0]] - starts[PHASES[0]]}
    for before, name in zip(PHASES, PHASES[1:], strict=False):
        took[name] = ends[name] - ends[before]
    took["restore-imap"] = opened - ends["switch-alias"]
    return {
        **took,
        TOTALS[0]: opened - starts["stop-imap"],
        TOTALS[1]: resumed[-1] - starts["stop-sendmail"],
    }


def times(events, step, kind):
    return [
        history.at(event)
        for event in events
        if event["event"] == kind and event.get("step") == step
    ]


def text(values: dict) -> str:
    """The medians as a table in Markdown, with the ratio."""
    lines = [
        f"{values['fill']:,} messages added to the seeded mail, {values['rate']:g} new ones per "
        f"second; {values['processors']} processors, Python {values['python']}; load "
        f"{values['load'][0]:.1f} at the beginning, {values['load'][1]:.1f} at the end; medians of "
        f"{len(values['seconds']['ours'])}.",
        "",
        "| seconds | floor | ours | ratio |",
        "|---|---|---|---|",
    ]
    for name in (*PHASES, *TOTALS):
        floor, ours = (
            statistics.median(took[name] for took in values["seconds"][who]) for who in WHO
        )
        ratio = f"{ours / floor:.1f}" if floor > 0.05 else ""
        lines.append(f"| {name} | {floor:.1f} | {ours:.1f} | {ratio} |")
    return "\n".join(lines)
