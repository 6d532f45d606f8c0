"""The command line. Each command imports what it needs when it is called, so that --help stays quick."""

import errno
import importlib
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import click
import lab.errors

from cutover import model
from cutover.model import errors
from cutover.site import secrets

GROUPS = {
    "lab": ("cutover.commands.lab", "Start, stop and enter the rehearsal lab."),
    "record": ("cutover.commands.record", "Verify the record of a run, offline; compare two runs."),
    "bench": ("cutover.commands.bench", "Measure the conversion beside other tools."),
    "lease": (
        "cutover.commands.lease",
        "See who is at work on a site, or break a lease left behind.",
    ),
}
LAB_SITE = "parameters/lab.yaml"
# printed without a traceback: the message says what to do
REPORTED = (errors.CutoverError, lab.errors.LabError)


class LazyGroup(click.Group):
    """Commands by name → module; a module is imported only when its command is called or its help is asked for."""

    def list_commands(self, ctx):
        return sorted([*super().list_commands(ctx), *GROUPS])

    def get_command(self, ctx, name):
        if name in GROUPS:
            return importlib.import_module(GROUPS[name][0]).group
        return super().get_command(ctx, name)

    def format_commands(self, ctx, formatter):
        rows = []
        for name in self.list_commands(ctx):
            own = super().get_command(ctx, name)
            rows.append((name, own.get_short_help_str(90) if own else GROUPS[name][1]))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
def cutover():
    """Move a site's mail service from UW IMAP (MBX) to Dovecot (Maildir++): rehearse it, run it, prove it, undo it."""


def _say(text):
    click.echo(text, err=True)


site_option = click.option(
    "--site", "site_file", required=True, metavar="FILE", help="Parameters file of the site."
)
run_option = click.option(
    "--run", "run_dir", required=True, metavar="DIR", help="The run's folder."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for scripts.")
from_option = click.option(
    "--from", "first", metavar="STEP", help="First step; without it, the runbook's first."
)
to_option = click.option(
    "--to",
    "last",
    metavar="STEP",
    help="Last step; without it, backup. "
    "What cannot be undone (decommission) runs only when named.",
)


@cutover.command()
@json_option
@to_option
@click.option(
    "--traffic",
    "rate",
    type=click.FloatRange(0, 200),
    default=0.0,
    metavar="N",
    help="Meanwhile send N messages a second through both MX, let users read and move mail, and find every "
    "accepted message exactly once on each side at the end.",
)
@click.option(
    "--messages",
    "least",
    type=int,
    default=0,
    metavar="N",
    help="With --traffic: at least N messages in all.",
)
@click.option(
    "--fill",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="First put N messages more into the old store.",
)
@click.option("--without-presync", is_flag=True, help="Leave presync out, to see what it saves.")
@click.option(
    "--rollback-from", metavar="STEP", help="Go as far as STEP, then roll everything back."
)
@click.option("--keep-lab", is_flag=True, help="Leave the lab running afterwards.")
def rehearse(as_json, last, rate, least, fill, without_presync, rollback_from, keep_lab):
    """Move the whole mail service of the lab, unattended, and prove that it worked.

    Starts the lab with its seeded mail, executes every notebook in order, and ends with a summary. Exit status 0 only
    when every step passed its verify according to the journal, and with --traffic only when no message is lost or double.
    """
    from lab import control, seeder

    from cutover import site
    from cutover.model import runbook
    from cutover.record import folder
    from cutover.rehearsal import unattended as rehearsal
    from cutover.steps import registry

    names = runbook.between(None, rollback_from or last)
    if without_presync:
        names = [name for name in names if name != "presync"]
    if rollback_from and not registry.step(rollback_from).reversible:
        raise click.UsageError(
            f"{rollback_from} is the point of no return: there is no rollback from it"
        )
    if rollback_from:
        names.append("rollback")
    parameters = site.load(LAB_SITE)
    run = failed = None
    _say("lab: up, with its seeded mail …")
    control.up(fresh=True, seed=True, say=_say)
    try:
        if fill:
            _say(f"lab: {fill} messages of old mail more …")
            seeder.more(fill)
        run = folder.create(parameters, "rehearse")
        _say(f"run: {run.path}")
        rehearsal.steps(parameters, run, names, _say, rate=rate, least=least)
    except REPORTED as error:
        failed = error
    finally:
        if not keep_lab:
            control.down()
    if run is not None:
        click.echo(
            json.dumps(rehearsal.as_json(run), indent=1) if as_json else repr(rehearsal.told(run))
        )
    if failed is not None:
        raise failed


@cutover.command()
@site_option
@from_option
@to_option
@click.option(
    "--run",
    "run_dir",
    metavar="DIR",
    help="Go on with this run's folder; without it, a new one is made.",
)
@json_option
def run(site_file, first, last, run_dir, as_json):
    """Execute steps of the runbook, unattended, through papermill. The same command goes on after a failure."""
    from cutover import site
    from cutover.model import runbook
    from cutover.record import folder
    from cutover.rehearsal import unattended as rehearsal

    parameters = site.load(site_file)
    names = runbook.between(first, last)
    current = (
        folder.begin(parameters, Path(run_dir)) if run_dir else folder.create(parameters, "run")
    )
    _say(f"run: {current.path}")
    states = runbook.states(current.journal.events())
    if first is None:
        names = names[
            next(
                (place for place, name in enumerate(names) if states.get(name) != "passed"),
                len(names),
            ) :
        ]
    try:
        rehearsal.steps(parameters, current, names, _say)
    finally:
        click.echo(
            json.dumps(rehearsal.as_json(current), indent=1)
            if as_json
            else repr(rehearsal.told(current))
        )


def _apart(parameters, kind, name, run_dir, as_json, **options):
    """Execute one step that is no part of the night, in a run of its own."""
    from cutover.record import folder
    from cutover.rehearsal import unattended as rehearsal

    current = (
        folder.begin(parameters, Path(run_dir)) if run_dir else folder.create(parameters, kind)
    )
    _say(f"run: {current.path}")
    try:
        rehearsal.steps(parameters, current, [name], _say, watch=False, **options)
    finally:
        click.echo(
            json.dumps(rehearsal.as_json(current), indent=1)
            if as_json
            else repr(rehearsal.told(current))
        )


@cutover.command()
@click.argument("name", metavar="STEP")
@site_option
@click.option(
    "--run",
    "run_dir",
    metavar="DIR",
    help="Go on with this run's folder; without it, a new one is made.",
)
@json_option
def maintain(name, site_file, run_dir, as_json):
    """Execute one step of maintenance, days after the cutover: a run of its own, which `rollback` undoes.

    The steps: vacation, forwards, old-spam, spam-digest, move-store.
    """
    from cutover import site
    from cutover.model import runbook

    if name not in runbook.MAINTENANCE:
        raise runbook.UnknownStep(
            f"{name} is no step of maintenance; they are {', '.join(runbook.MAINTENANCE)}"
        )
    _apart(site.load(site_file), "maintenance", name, run_dir, as_json)


@cutover.command()
@site_option
@from_option
@to_option
@json_option
def plan(site_file, first, last, as_json):
    """Print each step's plan as things stand now. Reads the live site; changes nothing.

    Exit status 1 when the site cannot be read, or a preflight check fails. A step that rests on earlier ones may have no
    plan yet; that is no failure.
    """
    from cutover import site
    from cutover.model import runbook
    from cutover.report import tables
    from cutover.run import engine
    from cutover.steps import registry

    parameters = site.load(site_file)
    failures, answer = 0, []
    for name in runbook.between(first, last):
        one = {"step": name}
        stepper = engine.Engine(parameters, name, "plan")
        try:
            stepper.probe()
            current = stepper.plan()
            one.update(
                reason=current.reason,
                changes=[
                    {
                        "target": each.target,
                        "title": each.title(),
                        "text": each.describe(),
                        "undo": each.undo_text(),
                    }
                    for each in current.changes
                ],
            )
            shown = tables.plan(current)
            if name == "preflight":
                checks = stepper.verify()
                failures += not all(check.passed for check in checks)
                one["checks"] = [vars(check) for check in checks]
                shown = tables.checks(checks)
        except model.CannotPlan as error:
            one["not_yet"] = str(error)
            shown = tables.Text(f"No plan as things stand: {error}")
        except errors.CutoverError as error:
            failures += 1
            one["error"] = str(error)
            shown = tables.Text(f"FAIL {error}")
        finally:
            stepper.close()
        answer.append(one)
        if not as_json:
            click.echo(
                f"\n== {runbook.number(name):02d} {name}: {registry.step(name).title}\n{shown!r}"
            )
    if as_json:
        click.echo(json.dumps(answer, indent=1))
    sys.exit(1 if failures else 0)


@cutover.command()
@run_option
@click.option(
    "--report",
    "with_report",
    is_flag=True,
    help="Write report.html anew, with the notebooks' pages.",
)
@json_option
def status(run_dir, with_report, as_json):
    """Where a run stands, from its journal."""
    from cutover.record import folder
    from cutover.rehearsal import unattended as rehearsal
    from cutover.report import page as report

    current = folder.Run(run_dir)
    if with_report:
        _say(f"report: {report.write(current)}")
    click.echo(
        json.dumps(rehearsal.as_json(current), indent=1)
        if as_json
        else repr(rehearsal.told(current))
    )


@cutover.command()
@run_option
@click.option(
    "--site",
    "site_file",
    metavar="FILE",
    help="Parameters file; without it, the copy in the run's folder.",
)
@click.option(
    "--without",
    multiple=True,
    metavar="USER",
    help="Go on although the old server refuses mail of this user: it "
    "stays in the Maildir on the new one. May be given several times.",
)
@json_option
def rollback(run_dir, site_file, without, as_json):
    """Undo a run's changes in reverse, from its journal, and verify that the old service is back.

    The same command again goes on with what is missing, also with mail that an earlier one went on without.
    """
    from cutover.record import folder
    from cutover.rehearsal import unattended as rehearsal

    current = folder.Run(run_dir)
    parameters = current.parameters(site_file)
    try:
        rehearsal.steps(
            parameters,
            current,
            ["rollback"],
            _say,
            watch=False,
            chosen={"without": ",".join(without)},
        )
    finally:
        click.echo(
            json.dumps(rehearsal.as_json(current), indent=1)
            if as_json
            else repr(rehearsal.told(current))
        )


@cutover.command()
@site_option
@click.option("--user", required=True, metavar="USER", help="Whose mail.")
@click.option(
    "--folder",
    default="",
    metavar="FOLDER",
    help="This folder and those below it; without it, all.",
)
@click.option(
    "--message",
    default="",
    metavar="ID",
    help="Only the message with this Message-ID, <…> included.",
)
@click.option(
    "--from",
    "source",
    type=click.Choice(["current", "bacula"]),
    default="current",
    show_default=True,
    help="The copy of last night, or what Bacula saved of it.",
)
@click.option(
    "--day",
    default="",
    metavar="DAY",
    help="From bacula: as it was saved last by the end of that day, YYYY-MM-DD, or "
    "by a time of it, 'YYYY-MM-DD HH:MM'. Without it, the latest.",
)
@click.option(
    "--run",
    "run_dir",
    metavar="DIR",
    help="Go on with this run's folder; without it, a new one is made.",
)
@json_option
def restore(site_file, user, folder, message, source, day, run_dir, as_json):
    """Bring a user's mail back from the backup host: beside the live mailbox first, then what is missing is added.

    Nothing live is written over or removed. `cutover rollback --run DIR` takes out again what was added.
    """
    from cutover import site

    _apart(
        site.load(site_file),
        "restore",
        "restore",
        run_dir,
        as_json,
        chosen={"user": user, "folder": folder, "message": message, "source": source, "day": day},
    )


@cutover.command()
@run_option
@click.option("--step", "step_id", metavar="STEP", help="The step whose plan is approved.")
@click.option(
    "--plan", "plan_hash", metavar="HASH", help="The plan's hash, 16 digits or more, as shown."
)
@click.option(
    "--drift",
    is_flag=True,
    help="Instead: approve that the run goes on with other code, notebooks or parameters.",
)
@click.option(
    "--site",
    "site_file",
    metavar="FILE",
    help="Parameters file; without it, the copy in the run's folder.",
)
@click.option(
    "--key",
    metavar="FILE",
    help="Signing key: a private key file, or a public one whose private key ssh-agent holds. "
    "Without it, the first key of ssh-agent that may approve.",
)
def approve(run_dir, step_id, plan_hash, drift, site_file, key):
    """Approve one plan of a step, by its hash, after typing what it asks for. The approval is a signature (ssh-keygen -Y).

    Where two people have to approve, each runs this command with a key of their own.
    """
    from cutover.record import approval, folder, journal
    from cutover.record import drift as drifting
    from cutover.report import tables
    from cutover.steps import registry

    if drift == bool(step_id or plan_hash) or bool(step_id) != bool(plan_hash):
        raise click.UsageError("give --step and --plan, or --drift")
    current = folder.Run(run_dir)
    parameters = current.parameters(site_file)
    if drift:
        given = drifting.approve(
            current,
            parameters,
            lambda what: click.prompt(
                f"This run would go on with other {what}.\nTo approve, type {current.name}"
            ),
            key,
        )
        click.echo(f"approved by {given.signer.principal} until {given.expires}")
        return
    step = registry.step(step_id)
    planned = [
        event
        for event in current.journal.events()
        if event["event"] == "planned" and event["step"] == step_id
    ]
    if len(plan_hash) < 16 or not planned or not planned[-1]["hash"].startswith(plan_hash):
        raise approval.NotConfirmed(
            f"{step_id}: {plan_hash} is not the hash of its latest plan"
            + (f" ({planned[-1]['hash'][:16]})" if planned else ": nothing was planned yet")
        )
    for change in planned[-1]["changes"]:
        text = journal.whole(change["text"], current.path)
        click.echo(tables.printable(f"- {change['target']}: {change['title']}\n{text}\n"))
    for note in planned[-1].get("notes", []):
        click.echo(
            tables.printable(f"! {note['title']}: {journal.whole(note['text'], current.path)}\n")
        )
    asked = approval.chosen(current, step, planned[-1]["hash"])
    typed = click.prompt(f"To approve, type {step.confirmation(parameters, asked)}")
    given = approval.give(current, parameters, step, planned[-1]["hash"], typed, key)
    click.echo(
        f"approved by {given.by} at {given.time}"
        + (f"; this step needs {step.signers} people" if step.signers > 1 else "")
    )


@cutover.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments):
    """Run the tests: units, notebooks, and the lab's real servers.

    Arguments are handed to pytest; without any, everything runs. As root it starts the lab for the tests that need it,
    everything in two lanes with a lab each; elsewhere those tests are skipped, and the end of the output says so.
    """
    from cutover import site

    everything = ["tests", "notebooks", "--nbval-lax", "--nbval-cell-timeout=120"]
    if os.geteuid() == 0:
        everything += ["--dist=loadfile", "--no-loadscope-reorder", "-rs"]
        for lane in ("lane1", "lane2"):
            python = shlex.join([sys.executable, "-m", "lab.world", lane, sys.executable])
            everything.append(f"--tx=popen//python={python}")
    argv = [sys.executable, "-m", "pytest", *(arguments or everything)]
    sys.exit(subprocess.run(argv, cwd=site.PROJECT, stdin=subprocess.DEVNULL).returncode)


@cutover.command()
@click.option(
    "--site", "site_file", metavar="FILE", help="Parameters file: work on a run of this site."
)
@click.option(
    "--run",
    "run_dir",
    metavar="DIR",
    help="Go on with this run; without it, --site begins a new one.",
)
@click.option(
    "--edit-templates", is_flag=True, help="Let the notebooks' templates be edited, for developers."
)
@click.option("--port", default=8888, show_default=True, help="Port on 127.0.0.1.")
def jupyter(site_file, run_dir, edit_templates, port):
    """Start JupyterLab on 127.0.0.1, with a token.

    Without a site it opens the templates, read-only, which explain the worked example. With --site or --run it makes working
    copies in the run's folder (by-hand/), filled in for that run, and opens the board there.
    """
    import secrets

    from cutover import site
    from cutover.notebook import server
    from cutover.record import folder
    from cutover.run import workspace

    opened = site.PROJECT / "notebooks"
    if site_file or run_dir:
        parameters = site.load(site_file) if site_file else folder.Run(run_dir).parameters()
        current = (
            folder.begin(parameters, Path(run_dir)) if run_dir else folder.create(parameters, "run")
        )
        _say(f"run: {current.path}")
        opened = workspace.prepare(parameters, current) / workspace.BOARD
    os.chdir(site.PROJECT)
    token = secrets.token_urlsafe(24)
    command = server.argv(port, opened, edit_templates)
    _say(f"open {server.address(port, opened, token)}")
    os.execve(command[0], command, server.environment(token))


@cutover.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def store(arguments):
    """Inspect, convert and compare mail stores."""
    from mbx2maildir import __main__ as store_main

    sys.exit(store_main.main(list(arguments)))


def main():
    try:
        cutover(prog_name="cutover")
    except REPORTED as error:
        # what a host said may hold control sequences: they must not reach the terminal
        from cutover.report import tables

        click.echo(f"cutover: {tables.printable(secrets.redact(str(error)))}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        click.echo(
            f"cutover: {error.filename or 'this machine'}: {error.strerror}. Make room, above all where the run's folder "
            "lies, and give the same command again: it goes on with what is missing.",
            err=True,
        )
        sys.exit(1)
