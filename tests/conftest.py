"""The rehearsal lab for the whole suite. Where it cannot run, that is said loudly; where it can, it is never skipped."""

import os

import pytest
from cutover import errors
from cutover.lab import base as lab_base
from cutover.lab import control, machine, state

UNABLE = pytest.StashKey[str]()
SKIPPED = pytest.StashKey[list]()


def pytest_configure(config):
    config.stash[SKIPPED] = []


def pytest_runtest_setup(item):
    if item.get_closest_marker("lab"):
        _need(item.config, item.nodeid)


def _need(config, what):
    """Skip, or in a root CI run fail, when this machine cannot run the lab; asked of the machine once."""
    if UNABLE not in config.stash:
        try:
            machine.require()
            config.stash[UNABLE] = ""
        except errors.Missing as error:
            config.stash[UNABLE] = str(error)
    reason = config.stash[UNABLE]
    if not reason:
        return
    if os.environ.get("CI", "").lower() in ("true", "1") and os.geteuid() == 0:
        pytest.fail(f"CI runs as root, so the lab must run, and it cannot: {reason}", pytrace=False)
    config.stash[SKIPPED].append(what)
    pytest.skip(reason)


def pytest_terminal_summary(terminalreporter, config):
    if config.stash[SKIPPED]:
        terminalreporter.section("THE LAB DID NOT RUN", sep="!", red=True, bold=True)
        terminalreporter.line(f"{len(config.stash[SKIPPED])} tests against real servers were skipped: {config.stash[UNABLE]}")


@pytest.fixture(scope="session")
def base(request):
    """The lab's base root directory, built when it is not cached. Read-only: mount overlays over it."""
    _need(request.config, "base")
    return lab_base.ensure()


@pytest.fixture(scope="session")
def _lab_of_the_session(request):
    """Takes the lab down at the end, when it was not up before."""
    _need(request.config, "lab")
    before = state.read()
    yield control
    if before is None:
        control.down()


@pytest.fixture(scope="module")
def lab(_lab_of_the_session):
    """The lab, up, seeded and pristine: the module cutover.lab.control. Begun afresh for each file of tests (some seconds).

    The tests of a file share it. A test that needs the pristine state takes `fresh_lab`.
    """
    _lab_of_the_session.reset()
    return _lab_of_the_session


@pytest.fixture
def fresh_lab(lab):
    """The lab in its pristine, seeded state; takes a few seconds."""
    lab.reset()
    return lab
