"""The place of a fault.

One night on one lab, what runs there, and what its end state is compared by.
"""

import contextlib
import hashlib
import itertools
import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from cutover import site
from cutover.connect import smtp
from cutover.connect.hosts import Hosts
from cutover.model.errors import CutoverError
from cutover.record import journal
from cutover.rehearsal import ledger
from cutover.run import kernels
from lab import manifest, network, people, state, store, system, topology
from night import COMMAND_SECONDS, Night, descendants, kill, on_host, processes, service_of

NEW_STORE_MB, RUN_MB = 400, 64
LIMITS = {"dns_spread": 6, "queue_drain": 20}  # seconds; so that a fault is not waited for too long
ANNOUNCED = {
    "reading_minutes": 240,
    "delivery_minutes": 240,
}  # a prediction on a busy machine is no matter here
SENT = re.compile(rb"^(X-Ledger: |Message-ID: <[^>]*@cutover\.invalid>)", re.M)
TEST = re.compile(rb"^Message-ID: <[^>]*@cutover\.invalid>", re.M)


class Scene:
    """One night, to which faults happen one after the other, the last of them in the step `last`.

    `ground`: "" or "small-disk", a bounded file system of mailboxvm for the new store and its
    staging; "small-run", one of this side for the run's folder.
    """

    def __init__(self, lab, place, ground="", last=""):
        self.lab, self.ground, self.last = lab, ground, last
        lab.reset()
        self.night = Night(place)
        for key, values in (("limits", LIMITS), ("outage", ANNOUNCED)):
            self.night.values[key] = {**self.night.values.get(key, {}), **values}
        self.night.write()
        self.runner = self.command = None  # the process that is under way, and its arguments
        self.journal, self.log = (
            self.night.run_dir / journal.NAME,
            self.night.file.with_suffix(".log"),
        )
        self.spoilt = False  # a fault did not end as it should: what follows needs a lab of its own
        self._numbers = itertools.count(1)
        if ground == "small-run":
            self.night.run_dir.mkdir()
            subprocess.run(
                [
                    "mount",
                    "-t",
                    "tmpfs",
                    "-o",
                    f"size={RUN_MB}m,mode=0700",
                    "run",
                    self.night.run_dir,
                ],
                check=True,
            )
        if ground == "small-disk":
            self.sh(
                "mailboxvm",
                f"mount -t tmpfs -o size={NEW_STORE_MB}m,nr_inodes=200000,mode=0755 new-store /var/imap && "
                f"cd /var/imap && for user in {' '.join(topology.ACCOUNTS)}; do "
                "install -d -m 0700 -o $user -g $user $user || exit 1; done",
            )

    # -- hands on the hosts, apart from their network and services

    def on(self, host, *argv, **options):
        return self.lab.run(host, argv, **options).stdout

    def sh(self, host, script, **options):
        return self.on(host, "sh", "-c", script, **options)

    def root(self, host):
        """A host's file system, as a path of this machine."""
        return Path(f"/proc/{state.read()['hosts'][host]['leader']}/root")

    def link(self, host, way):
        """Cut a host off (`down`) or join it again (`up`)."""
        system.call("ip", "link", "set", network.link(host), way)

    def cut(self, host, seconds):
        """Cut a host off for some seconds."""
        self.link(host, "down")
        timer = threading.Timer(seconds, self.link, (host, "up"))
        timer.daemon = True
        timer.start()

    # -- the command of the night

    def start(self, command):
        """Give a command, unless it is the one under way."""
        if self.running() and command == self.command:
            return
        assert not self.running(), "another command is still under way"
        self.command, self.offset = command, self._size()
        self.changes = 0
        with self.log.open("wb") as out:
            self.runner = subprocess.Popen(
                command, cwd=site.PROJECT, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def running(self):
        return self.runner is not None and self.runner.poll() is None

    def output(self):
        return self.log.read_text("utf-8", "replace")

    def follow(self, wanted, besides=lambda: False):
        """Until an event of the journal is wanted, or `besides()` is so: True.

        Until the command has ended: False.
        """
        self.thaw()
        until = time.monotonic() + COMMAND_SECONDS
        while True:
            ended = (
                not self.running()
            )  # asked before reading: what was written last is read all the same
            for event in self._events():
                if event["event"] == "planned":
                    self.changes = len(event["changes"])
                if wanted(event):
                    return True
            if besides():
                return True
            if ended:
                return False
            if time.monotonic() > until:
                self.close()
                raise AssertionError(f"the command does not end: {self.output()}")
            time.sleep(0.002)

    def _size(self):
        return self.journal.stat().st_size if self.journal.exists() else 0

    def _events(self):
        """The next whole lines of the journal, one at a time: what is not taken is read again."""
        data = read_from(self.journal, self.offset)
        for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
            self.offset += len(line)
            yield json.loads(line)

    def close(self):
        """End what is under way, when the night is over or a test went wrong."""
        if self.running():
            kill(descendants(self.runner.pid))
            self.runner.wait()
        if self.ground == "small-run":
            subprocess.run(["umount", "--lazy", self.night.run_dir], check=True)

    def freeze(self):
        """Between two steps: the command does not go on while the world is looked at."""
        if self.running():
            os.kill(self.runner.pid, signal.SIGSTOP)

    def thaw(self):
        if self.running():
            os.kill(self.runner.pid, signal.SIGCONT)

    @contextlib.contextmanager
    def held(self):
        """The step waits meanwhile, as it does for a person who thinks about its plan."""
        waiting = self.kernels() or {self.runner.pid}

        def tell(number):
            for pid in waiting:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

        tell(signal.SIGSTOP)
        try:
            yield
        finally:
            tell(signal.SIGCONT)

    # -- processes

    def kernels(self):
        """The kernel of the command under way."""
        below = descendants(self.runner.pid)
        return {
            pid
            for pid in below
            if read_from(Path(f"/proc/{pid}/comm"), 0).strip() == kernels.NAME.encode()
            or b"ipykernel_launcher" in read_from(Path(f"/proc/{pid}/cmdline"), 0)
        }

    def sessions(self):
        """The operator's sshd sessions on every host that a step works on."""
        pids = set()
        for host in self.night.site.cutover_hosts:
            there = on_host(host)
            pids |= processes(lambda pid, line: line.startswith(b"sshd: operator") and there(pid))  # noqa: B023
        return pids

    def mail_processes(self, host, name):
        there = on_host(host)
        return processes(lambda pid, line: name in line and there(pid))

    # -- mail that is under way while a fault happens

    def send(self):
        """Send a message through each MX that takes it.

        Note it in the run's ledger, if there is one.
        """
        if not self.night.run_dir.is_dir():
            return
        # one user's mail waits in the spool, behind what is delivered: their UIDs would move
        parameters, users = self.night.site, sorted({*topology.USERS} - {people.LEFTOVERS})
        for mx in parameters.roles.mx:
            number = next(self._numbers)
            key, user = f"{self.night.run_dir.name}-{number}", users[number % len(users)]
            text = (
                f"From: <traffic@elsewhere.test>\r\nTo: <{user}@{parameters.zone}>\r\n"
                f"Subject: under way {number}\r\nMessage-ID: <{key}@traffic.invalid>\r\n"
                f"{ledger.HEADER}: {key}\r\n\r\nHere {number}.\r\n"
            )
            with contextlib.suppress(CutoverError, OSError):
                answer = smtp.send(
                    parameters.address(mx),
                    25,
                    "traffic@elsewhere.test",
                    [f"{user}@{parameters.zone}"],
                    text.encode(),
                    3,
                )
                entry = {
                    "key": key,
                    "user": user,
                    "mx": mx,
                    "known": True,
                    "answer": answer,
                    "at": round(time.time(), 3),
                }
                with (self.night.run_dir / ledger.NAME).open("a") as out:
                    out.write(json.dumps(entry, sort_keys=True) + "\n")

    def ledger(self, both):
        """How often each message accepted meanwhile is there, see ledger.count.

        None when none was sent.
        """
        if not (self.night.run_dir / ledger.NAME).exists():
            return None
        with Hosts(self.night.site) as reached:
            return ledger.count(reached, self.night.run, both=both)

    # -- what the end state is compared by

    def state(self):
        """Routing, services, names on each server, and mailboxvm's mail except what was sent
        meanwhile.
        """
        with Hosts(self.night.site) as reached:
            names = {}
            for server in reached.site.roles.nameservers:
                asked = reached.dns(server)
                names[server] = {
                    name: {
                        kind: [rrset.ttl, *rrset.values]
                        for kind, rrset in asked.all_types(reached.site.fqdn(name)).items()
                    }
                    for name in ("mailbox", "mailboxold", "mailboxvm")
                }
        return {
            **service_of(self.lab),
            "names": names,
            "mail": {
                user: tree(self.root("mailboxvm") / f"var/imap/{user}") for user in topology.USERS
            },
        }

    def counted_on_mailboxold(self):
        """`{user: messages}` as c-client counts them, without those sent meanwhile.

        Those of the production test are left out too: killed before it knew of one, it sent a
        second.
        """
        counts = {}
        for user, figures in manifest.take()["users"].items():
            home = store.home(user)
            tests = sum(
                len(TEST.findall(read_from(path, 0))) for path in home.rglob("*") if path.is_file()
            )
            counts[user] = figures["messages"] - tests
        for line in read_from(self.night.run_dir / ledger.NAME, 0).splitlines():
            counts[json.loads(line)["user"]] -= 1
        return counts


def tree(place):
    """A user's Maildir, without what was sent meanwhile.

    `{folder and UID: flags, date and digest of the bytes}`.
    """
    files = {}
    for folder, _, names in sorted(os.walk(place)):
        where = os.path.relpath(folder, place)
        if os.path.basename(folder) in ("cur", "new"):
            uids = uidlist(os.path.dirname(folder))
            for name in names:
                base, _, flags = name.partition(":")
                with open(os.path.join(folder, name), "rb") as file:
                    data = file.read()
                if not SENT.search(data[:4096]):
                    date = int(os.stat(os.path.join(folder, name)).st_mtime)
                    digest = hashlib.sha256(data).hexdigest()[:16]
                    files[f"{where} {uids.get(base, digest)}"] = f"{flags} {date} {digest}"
        elif "subscriptions" in names:
            files[f"{where} subscriptions"] = Path(folder, "subscriptions").read_text(
                "utf-8", "replace"
            )
    return files


def uidlist(folder):
    """`{base name: UID}` by a folder's dovecot-uidlist."""
    try:
        text = Path(folder, "dovecot-uidlist").read_text("latin-1")
    except FileNotFoundError:
        return {}
    return {
        match[2].partition(":")[0]: int(match[1])
        for match in re.finditer(r"^(\d+) [^\n]*?:(\S+)$", text, re.M)
    }


def difference(actual, wanted, path=""):
    """Where two states differ, in words, at most some places."""
    if isinstance(actual, dict) and isinstance(wanted, dict):
        return list(
            itertools.chain.from_iterable(
                difference(actual.get(key), wanted.get(key), f"{path}/{key}")
                for key in sorted({*actual, *wanted})
            )
        )[:8]
    return (
        [] if actual == wanted else [f"{path}: {str(actual)[:300]} instead of {str(wanted)[:300]}"]
    )


def read_from(path, offset):
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read()
    except OSError:
        return b""
