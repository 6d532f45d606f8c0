"""`cutover plan`: what each step would do now."""

import sys

import click

from cutover import model
from cutover.commands import options
from cutover.model import errors


@click.command()
@options.site_option
@options.from_option
@options.to_option
@options.json_option
def plan(site_file, first, last, as_json):
    """Print each step's plan for the current state. Reads the live site and changes nothing.

    The exit status is 1 if the site cannot be read or a preflight check fails. A step that depends
    on earlier ones may have no plan yet; that is not a failure.
    """
    from cutover import site
    from cutover.model import runbook
    from cutover.steps import registry

    parameters = site.load(site_file)
    failures, answers = 0, []
    for name in runbook.between(first, last):
        answer, shown, passed = _planned(parameters, name)
        answers.append(answer)
        failures += not passed
        if not as_json:
            title = registry.step(name).title
            click.echo(f"\n== {runbook.number(name):02d} {name}: {title}\n{shown!r}")
    if as_json:
        options.show_json(answers)
    sys.exit(1 if failures else 0)


def _planned(parameters, name):
    """`(JSON, what to print, whether it passed)` of one step."""
    from cutover.report import step_tables, tables
    from cutover.run import engine

    answer = {"step": name}
    stepper = engine.Engine(parameters, name, "plan")
    try:
        stepper.probe()
        current = stepper.plan()
        answer.update(reason=current.reason, changes=[_described(item) for item in current.changes])
        if name != "preflight":
            return answer, step_tables.plan(current), True
        checks = stepper.verify()
        answer["checks"] = [vars(check) for check in checks]
        return answer, step_tables.checks(checks), all(check.passed for check in checks)
    except model.CannotPlan as error:
        answer["not_yet"] = str(error)
        return answer, tables.Text(f"No plan in the current state: {error}"), True
    except errors.CutoverError as error:
        answer["error"] = str(error)
        return answer, tables.Text(f"FAIL {error}"), False
    finally:
        stepper.close()


def _described(change):
    return {
        "target": change.target,
        "title": change.title(),
        "text": change.describe(),
        "undo": change.undo_text(),
    }
