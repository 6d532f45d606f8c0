"""The rehearsal lab for the whole suite.

Where it cannot run, that is said loudly; where it can, it is never skipped.
"""

import contextlib
import gc
import os
from pathlib import Path

import pytest
from cutover import site
from cutover.connect import dns, ssh
from hypothesis import settings
from lab import base_image, control, errors, requirements, state, world

PARAMETERS = Path(__file__).resolve().parents[1] / "parameters" / "lab.yaml"
UNABLE = pytest.StashKey[str]()
TIDY = pytest.StashKey[str]()
# a busy machine is no failure
settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")
NO_LAB = "the lab cannot run: "
# these take minutes, the longest first: a lane that began one of them last would run on alone
LONG = (
    "test_maintenance.py",
    "test_one_release.py",
    "test_restore.py",
    "test_cutover.py",
    "test_cockpit.py",
    "test_faults.py",
    "test_bad_input.py",
    "test_dask.py",
    "test_after.py",
    "test_several_stores.py",
    "test_matrix.py",
    "test_record.py",
)


def pytest_xdist_setupnodes(config):
    """What the lanes need of the network is had before: there is none in their worlds.

    The browser first: `./cutover test` may have begun the bases, and builds them meanwhile.
    """
    programs = {"chromium": "chromium", "repquota": "quota", "tcsh": "tcsh", "bsd-csh": "csh"}
    for command, package in programs.items():
        requirements.program(command, package)
    with contextlib.suppress(errors.LabError):  # the tests that need it say so, each
        base_image.ensure_all(base_image.SUITES)


def pytest_collection_modifyitems(items):
    """The long files first, then what else needs the lab; in a file the order stays."""

    def place(item):
        name = item.path.name
        return (
            LONG.index(name)
            if name in LONG
            else len(LONG) + (item.get_closest_marker("lab") is None)
        )

    items.sort(key=place)


def pytest_collection_finish():
    """Thousands of tests are no garbage: no collection need look through them."""
    gc.freeze()


def pytest_runtest_setup(item):
    if item.get_closest_marker("lab"):
        _need(item.config)


def _need(config):
    """Skip, or in a root CI run fail, when this machine cannot run the lab.

    Asked of the machine once.
    """
    if UNABLE not in config.stash:
        try:
            requirements.require()
            config.stash[UNABLE] = ""
        except errors.Missing as error:
            config.stash[UNABLE] = str(error)
    reason = config.stash[UNABLE]
    if not reason:
        return
    if os.environ.get("CI", "").lower() in ("true", "1") and os.geteuid() == 0:
        pytest.fail(f"CI runs as root, so the lab must run, and it cannot: {reason}", pytrace=False)
    pytest.skip(NO_LAB + reason)


def pytest_terminal_summary(terminalreporter):
    reasons = [
        report.longrepr[2]
        for report in terminalreporter.stats.get("skipped", ())
        if NO_LAB in str(report.longrepr)
    ]
    if reasons:
        terminalreporter.section("THE LAB DID NOT RUN", sep="!", red=True, bold=True)
        terminalreporter.line(
            f"{len(reasons)} tests against real servers were skipped: "
            f"{reasons[0].partition(NO_LAB)[2]}"
        )


@pytest.fixture(scope="session")
def base(request):
    """The lab's base root directory, built when it is not cached.

    Read-only: mount overlays over it.
    """
    _need(request.config)
    return base_image.ensure()


@pytest.fixture(scope="session")
def _lab_of_the_session(request):
    """Takes the lab down at the end, when it was not up before. A lane's ends with its world."""
    _need(request.config)
    before = state.read()
    yield control
    if before is None and not world.inside():
        control.down()


@pytest.fixture(scope="module")
def lab(_lab_of_the_session):
    """The lab, up, seeded and pristine: the module lab.control. Takes some seconds.

    It begins again for each file; the tests of a file share it. A test that needs the pristine
    state takes `fresh_lab`.
    """
    _lab_of_the_session.reset()
    return _lab_of_the_session


@pytest.fixture
def fresh_lab(lab):
    """The lab in its pristine, seeded state; takes a few seconds."""
    lab.reset()
    return lab


class LabHosts:
    """Connections to the lab's hosts, made from the parameters alone; all closed at the end.

    `ssh(name, **other)` takes other arguments of the connection where a test gives them.
    """

    def __init__(self):
        self.site = site.load(PARAMETERS)
        self.opened = []

    def ssh(self, name, **other):
        given = {
            "host": name,
            "address": self.site.address(name),
            "port": self.site.hosts[name].ssh_port,
            "user": self.site.ssh.user,
            "key_file": Path(self.site.ssh.key),
            "known_hosts": Path(self.site.ssh.known_hosts),
        }
        self.opened.append(ssh.Connection(**{**given, **other}))
        return self.opened[-1]

    def dns(self, name):
        return dns.Server(name, self.site.address(name))

    def key(self):
        return dns.Key.load(self.site.dns.tsig_key)


@pytest.fixture(scope="module")
def _tidy_lab(request, _lab_of_the_session):
    """The lab, pristine except for traces of other files' tests of single modules."""
    if (state.read() or {}).get("lab") != request.config.stash.get(TIDY, ""):
        _lab_of_the_session.reset()
        request.config.stash[TIDY] = state.read()["lab"]


@pytest.fixture
def real(_tidy_lab):
    """The lab's hosts, for tests of single modules, which tidy up. Files share the lab: to make
    one takes 8 s of processor time.
    """
    made = LabHosts()
    yield made
    for connection in made.opened:
        connection.close()
