"""Steps executed unattended: their notebooks in order by papermill, on the lab or a site."""

import contextlib

from cutover.connect import hosts
from cutover.model import runbook
from cutover.record import record_json
from cutover.rehearsal import ledger, traffic
from cutover.report import html_page
from cutover.run import kernels, lease, outage_watch, papermill
from cutover.steps import registry


def execute(parameters, run, names, say, watch=True, rate=0.0, least=0, chosen=None) -> None:
    """Execute steps in order; the first that does not pass ends it.

    Those that are over (runbook.CLOSING, once delivery was resumed) are left out if others follow.
    say: called with each line of progress.
    watch: meanwhile measure the outage from outside.
    rate: meanwhile send that many messages per second, `least` in all, with users at work; at the
        end count what the ledger has. For the lab only.
    chosen: what is asked of steps that have choices.
    Raises papermill.StepFailed, ledger.LedgerFailed, and RunBusy if another process has the run.
    """
    with (
        kernels.prepared(),
        run.alone("run"),
        hosts.Hosts(parameters) as connections,
        lease.passed_on() as give_back,
        contextlib.ExitStack() as at_end,
    ):
        run.check(parameters, run.journal.append)
        # signed last, once the watch has written its last line and the report is there
        at_end.callback(_sign, parameters, run, say)
        at_end.callback(html_page.write_if_possible, run, say)
        at_end.callback(give_back, connections)
        reversible = _still_to_do(run, names, say)
        with (
            outage_watch.Watch(connections, run) if watch else contextlib.nullcontext(),
            traffic.Traffic(connections, run, rate, least)
            if rate
            else contextlib.nullcontext() as live,
        ):
            for number, name in enumerate(reversible, 1):
                say(f"{runbook.number(name):2d}  {name} …")
                chosen_here, following = _for_step(name, chosen), reversible[number:]
                papermill.execute(parameters, run, name, chosen=chosen_here, following=following)
        if live is not None:
            say(f"    traffic: {live.accepted} messages accepted, {live.acts} acts of users")
            say("    counting them on the servers …")
            ledger.draw_up(connections, run)
        # the ledger asks both servers, and a host that is switched off is no outage
        for name in names:
            if not registry.step(name).reversible:
                say(f"{runbook.number(name):2d}  {name}: the point of no return …")
                papermill.execute(parameters, run, name)


def _still_to_do(run, names, say):
    """The steps that can be undone, without those that are over."""
    reversible = [name for name in names if registry.step(name).reversible]
    over = runbook.CLOSING if runbook.resumed(run.journal.events()) else ()
    left = [name for name in reversible if name not in over]
    for name in reversible if left else ():
        if name in over:
            say(f"{runbook.number(name):2d}  {name} is over: users may have new mail since")
    return left or reversible


def _for_step(name, chosen):
    return {key: text for key, text in (chosen or {}).items() if key in registry.step(name).choices}


def _sign(parameters, run, say):
    say(record_json.summary(record_json.pause(run, parameters, "end of this call")))
