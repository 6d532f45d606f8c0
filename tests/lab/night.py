"""One night's cutover of the lab, driven step by step, for tests that break things on the way.

The parameters are a copy of parameters/lab.yaml that a test may spoil and mend; the run's folder is
the test's own.
"""

import contextlib
import html
import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import yaml
from cutover import site
from cutover.connect import dns
from cutover.facts import dovecot
from cutover.model import runbook
from cutover.record import run_folder
from cutover.run import engine
from cutover.steps import registry
from lab import state, topology

RUNBOOK = [*runbook.NIGHT, "rollback"]
COMMAND_SECONDS = 600
UNITS = {"mailboxold": ["sendmail", "xinetd", "stunnel4"], "mailboxvm": ["sendmail", "dovecot"]}


class Killed(BaseException):
    """The process ends here, without a word to the journal."""


class Night:
    """A run of the lab site.

    `set` changes the parameters, `step` makes one attempt at a step, `command` is the program.
    """

    def __init__(self, place):
        self.run_dir, self.file = place / "night", place / "lab.yaml"
        self.values = yaml.safe_load((site.PROJECT / "parameters/lab.yaml").read_text())
        # a key of the run's own: it does not go away with the lab
        key = place / "record-key"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", key], check=True
        )
        self.values["record"] = {"key": str(key)}
        # with no notebook's events, or on a busy machine, much is assumed: how wide a prediction
        # is, is no matter here
        self.values["outage"] = {
            **self.values["outage"],
            "reading_minutes": 240,
            "delivery_minutes": 240,
        }
        self.write()

    def write(self):
        self.file.write_text(yaml.safe_dump(self.values, sort_keys=False))

    @property
    def site(self):
        return site.load(self.file)

    @property
    def run(self):
        return run_folder.begin(self.site, self.run_dir)

    @contextlib.contextmanager
    def set(self, key, value):
        """Have another value under a dotted key; the former one comes back afterwards."""
        *path, last = key.split(".")
        place = self.values
        for part in path:
            place = place.setdefault(part, {})
        before = dict(place)
        place[last] = value
        self.write()
        try:
            yield self
        finally:
            place.clear()
            place.update(before)
            self.write()

    @contextlib.contextmanager
    def engine(self, name, mode="execute"):
        """The engine of one step, closed afterwards."""
        driver = engine.Engine(self.site, name, mode, self.run)
        try:
            yield driver
        finally:
            driver.close()

    def step(self, name):
        """Everything a step's notebook does. → its checks, all passed; raises what stops it."""
        with self.engine(name) as driver:
            driver.probe()
            driver.plan()
            driver.approve()
            driver.apply()
            checks = driver.verify()
            driver.require(checks)
            return checks

    def states(self):
        """By the journal alone: the parameters may be spoilt just now."""
        return (
            runbook.states(run_folder.Run(self.run_dir).journal.events())
            if self.run_dir.exists()
            else {}
        )

    def up_to(self, name):
        """Have a step, and those it rests on, passed."""
        for needed in registry.step(name).requires:
            self.up_to(needed)
        if self.states().get(name) != "passed":
            self.step(name)

    def wanted(self, name):
        """The changes a step would make now."""
        with self.engine(name, "plan") as driver:
            driver.probe()
            return driver.plan().changes

    def crashing(self, name):
        """Attempt a step whose process dies right after its first change, before the journal has
        it.

        → False if the step had nothing to change
        """
        with self.engine(name) as driver:
            record = driver.record

            def dying(event, **fields):
                if event == "result" or event == "step-failed":
                    raise Killed
                return record(event, **fields)

            driver.probe()
            driver.plan()
            driver.approve()
            driver.record = dying
            try:
                driver.apply()
            except Killed:
                return True
            return False

    def command(self, *arguments, **options):
        """`cutover run` on this night's site and run. → subprocess.CompletedProcess with texts."""
        return program("run", "--site", self.file, "--run", self.run_dir, *arguments, **options)

    def executed(self, name):
        """Execute a step's notebook by the command line: maintenance, decommission or rollback.

        The executed copy must hold no error, and every check that the journal has.
        """
        asked = (
            ["rollback"]
            if name == "rollback"
            else ["maintain", name]
            if name in runbook.APART
            else ["run", "--from", name]
        )
        done = program(*asked, "--site", self.file, "--run", self.run_dir)
        assert done.returncode == 0, done.stderr
        kept = [event for event in self.events("executed") if event["of"] == name][-1]
        checks = self.events("verified", name)[-1]["checks"]
        cells = [
            cell
            for cell in nbformat.read(self.run_dir / kept["copy"], as_version=4).cells
            if cell.cell_type == "code"
        ]
        wrong = [
            output for cell in cells for output in cell.outputs if output.output_type == "error"
        ]
        assert kept["passed"] and not wrong, kept["copy"]
        (shown,) = [
            "".join(
                output.data["text/html"]
                for output in cell.outputs
                if "text/html" in output.get("data", {})
            )
            for cell in cells
            if cell.metadata.tags[0] == "verify"
        ]
        assert checks and not [
            check for check in checks if html.escape(check["question"]) not in shown
        ], kept["copy"]

    def checks(self, step, *kinds):
        """`{(id, subject): check}` of the step's last verification, or of its last gate."""
        event = runbook.latest(self.run.journal.events(), *(kinds or ["verified"]), step=step)
        return {(check["id"], check["subject"]): check for check in event["checks"]}

    def failed(self, step, *kinds):
        """The (id, subject) of each check that did not pass."""
        checks = self.checks(step, *kinds)
        return [key for key, check in checks.items() if not check["passed"]]

    def events(self, kind, step=None):
        return [
            event
            for event in self.run.journal.events()
            if event["event"] == kind and step in (None, event.get("step"))
        ]


def argv(*arguments):
    return [sys.executable, "-m", "cutover", *[str(part) for part in arguments]]


def program(*arguments, **options):
    """Run the command line to its end; at COMMAND_SECONDS its last lines are the error."""
    options = {"stdin": subprocess.DEVNULL, "timeout": COMMAND_SECONDS, **options}
    try:
        return subprocess.run(argv(*arguments), capture_output=True, text=True, **options)
    except subprocess.TimeoutExpired as late:
        # the bytes so far: text=True does not hold for them
        last = [
            (text or b"").decode(errors="replace")[-3000:] for text in (late.stdout, late.stderr)
        ]
        raise AssertionError(f"{late}\n{last[0]}\n{last[1]}") from None


def eventually(question, seconds=180):
    """The first true answer within some seconds, else the last one."""
    until = time.monotonic() + seconds
    while not (answer := question()) and time.monotonic() < until:
        time.sleep(0.05)
    return answer


# -- the new server's Dovecot, of either version


def new_dovecot(lab):
    """How mailboxvm's Dovecot writes its settings."""
    shown = lab.run("mailboxvm", ["dovecot", "--version"]).stdout
    return dovecot.Spelling(shown.split()[0])


def keep_dots(lab):
    """Have mailboxvm's Dovecot escape dots, as docs/site.md says.

    Before the files that add to $mail_plugins, of which Dovecot 2.3 takes the last.
    """
    text = new_dovecot(lab).escaping + "\n"
    lab.run("mailboxvm", ["sh", "-c", "cat > /etc/dovecot/conf.d/09-dots.conf"], input=text)


def declare(lab, prefix):
    """Have Dovecot answer to a prefix, with the block of docs/site.md."""
    document = (site.PROJECT / "docs/site.md").read_text()
    block = re.search(r"namespace forgotten \{\n.*?\n\}\n", document, re.DOTALL)[0]
    text = re.sub(r"  +#.*", "", block).replace("#mbx/", prefix)
    if new_dovecot(lab).split:
        text = text.replace("alias_for =", "alias_for = inbox")
    script = "cat > /etc/dovecot/conf.d/98-forgotten.conf; doveconf -n && doveadm reload"
    lab.run("mailboxvm", ["sh", "-c", script], input=text)


# -- the world as it is


def dig(server):
    """Where a name server says that the users' name leads: ("A" or "CNAME", values)."""
    asked = dns.Server(server, topology.HOSTS[server].address)
    rrset = asked.lookup("mailbox.lab.test", "CNAME") or asked.lookup("mailbox.lab.test", "A")
    return rrset.type, rrset.values


def service_of(lab):
    """What a rollback has to bring back: routing to the byte, units, names."""
    return {
        "userdb": {
            name: lab.run(name, ["cat", "/etc/mail/userdb"]).stdout
            for name in ("postino3", "postino4")
        },
        "map": {
            name: lab.run(name, ["makemap", "-u", "btree", "/etc/mail/userdb.db"]).stdout
            for name in ("postino3", "postino4")
        },
        "units": {
            name: lab.run(
                name, ["systemctl", "show", "--property=ActiveState,UnitFileState", *units]
            ).stdout
            for name, units in UNITS.items()
        },
        "alias": {name: dig(name) for name in ("ns1", "ns2")},
    }


# -- processes


def processes(wanted):
    """`{pid}` of the processes that a function of (pid, command line in bytes) wants."""
    pids = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line:
                if wanted(int(pid), line.read()):
                    pids.add(int(pid))
        except OSError:
            continue
    return pids


def on_host(name):
    """Whether a process runs on a host of this lab, and on no other's: a function of its pid."""
    space = os.readlink(f"/proc/{state.read()['hosts'][name]['leader']}/ns/net")
    return lambda pid: os.readlink(f"/proc/{pid}/ns/net") == space


def converters():
    """The converter's processes on this lab's mailboxvm."""
    there = on_host("mailboxvm")
    # not `sync`, which is given each of the program's files when they are put there
    return processes(
        lambda pid, line: (
            b"/store/__main__.py" in line and b"python" in line.split(b"\0")[0] and there(pid)
        )
    )


def descendants(top):
    """A process and all below it."""
    pids, new = set(), {top}
    while new:
        pids |= new
        below = set()
        for pid in new:
            try:
                for thread in os.listdir(f"/proc/{pid}/task"):
                    with open(f"/proc/{pid}/task/{thread}/children") as children:
                        below |= set(map(int, children.read().split()))
            except OSError:
                continue
        new = below - pids
    return pids


def kill(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
