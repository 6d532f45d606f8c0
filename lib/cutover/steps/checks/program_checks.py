"""Whether a user's mail program notices the move."""

from collections.abc import Iterator

from cutover import model
from cutover.changes import program_run
from cutover.facts import mail_program, mailboxes
from cutover.facts.mail_program import PACKAGE, PROGRAM, State
from cutover.steps.checks import listing


def kept(site) -> bool:
    """Whether the new server answers to the prefix of users' programs, by the parameters."""
    prefix = site.old_store.imap_prefix
    return not prefix or prefix in (site.new_store.compatibility or ())


def start(state: State | None, site) -> list[model.Change]:
    """The change that sets the program up, where it can run."""
    if state is None or not state.installed or not kept(site):
        return []
    return [program_run.StartMailProgram(site.production_test.users[0].user, state.place)]


def again(state: State | None, site) -> list[model.Change]:
    """The change that runs it after the move, until it passed."""
    if state is None or not state.installed or state.before is None:
        return []
    return [program_run.RunMailProgram(site.production_test.users[0].user, state.place)]


def installed(there: bool | None, site) -> Iterator[model.Check]:
    """Before the night. there: None in facts recorded by an earlier version."""
    if there is None or not kept(site):
        return
    yield model.Check(
        f"This machine has {PROGRAM}, for a test with a user's mail program",
        "yes",
        "yes" if there else "no",
        True,
        f"Install the package {PACKAGE}. Without it no mail program is run before and after the "
        "move.",
        warning=not there,
        id="mail-program-installed",
    )


def started(state: State | None, site) -> Iterator[model.Check]:
    """After presync."""
    if not start(state, site):
        return
    before = state.before
    yield model.Check(
        f"{PROGRAM} has a copy of a test user's mail, as from before the move",
        "exit status 0",
        f"exit status {before.status}: {before.messages} messages in {before.folders} folders"
        if before
        else "there is none",
        True,
        f"Run `{PROGRAM} -c {state.place}/{mail_program.SETTINGS} all` with CUTOVER_ADDRESS and "
        "CUTOVER_PASSWORD set to see why. Then run this step again.",
        warning=before is None or before.status != 0,
        id="mail-program-started",
        data={"status": before and before.status, "folders": before.folders if before else 0},
    )


def noticed(state: State, site) -> Iterator[model.Check]:
    """After the move."""
    if state.outcome is None:
        yield _not_run(state, site)
        return
    outcome = state.outcome
    way_out = (
        f" If somebody used this account since presync, remove {state.place} and run this step "
        "again."
    )
    fault = f"exit status {outcome.status}" if outcome.status else "none"
    yield model.Check(
        f"{PROGRAM}, with the settings from before the move, opens every folder",
        f"{outcome.folders} folders, no error",
        f"cannot open {listing.listed([mailboxes.name(name) for name in outcome.lost])}"
        if outcome.lost
        else f"{outcome.folders} folders, error: {fault}",
        outcome.opened,
        f"Compare `doveconf -n` on {site.roles.new} with new_store.compatibility." + way_out,
        id="mail-program-folders",
        data={
            "folders": outcome.folders,
            "lost": outcome.lost,
            "status": outcome.status,
        },
    )
    yield model.Check(
        f"{PROGRAM} transfers no message again",
        "0",
        str(outcome.again),
        not outcome.again,
        "Compare UIDVALIDITY and UIDs of both servers: run verify again." + way_out,
        id="mail-program-messages",
        data={"again": outcome.again},
    )
    yield model.Check(
        f"{PROGRAM} shows the same messages with the same flags",
        "0 changed",
        f"{outcome.changed} changed",
        True,
        "Did somebody use this account since presync? If not, run verify again.",
        warning=outcome.changed > 0,
        id="mail-program-flags",
        data={"changed": outcome.changed},
    )


def _not_run(state, site):
    if not kept(site):
        reason = f"no: new_store.compatibility leaves out {site.old_store.imap_prefix}"
    elif not state.installed:
        reason = f"no: {PROGRAM} is not installed"
    else:
        reason = "no: presync made no copy"
    return model.Check(
        "A user's mail program ran before and after the move",
        "yes",
        reason,
        True,
        "Set up a mail program of your own for a test user: docs/clients.md.",
        warning=True,
        id="mail-program-ran",
        data={"installed": state.installed, "kept": kept(site)},
    )
