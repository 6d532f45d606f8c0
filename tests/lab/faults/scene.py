"""The place of a fault: one night on one lab, what runs there, and what its end state is compared by."""

import contextlib
import hashlib
import itertools
import json
import os
import random
import re
import threading
import time
from pathlib import Path

from cutover.errors import CutoverError
from cutover.hosts import Hosts, smtp
from cutover.lab import hosts as lab_hosts
from cutover.lab import manifest, network, state, system, traffic
from night import Night, descendants, eventually, kill, on_host, processes, service_of

NEW_STORE_MB = 400
LIMITS = {"dns_spread": 6, "queue_drain": 20}       # seconds; so that a fault is not waited for too long
SENT = re.compile(rb"^(X-Ledger: |Message-ID: <[^>]*@cutover\.invalid>)", re.M)


class Scene:
    """One night, to which faults happen one after the other. `ground`: "" or "small-disk", a bounded file system of
    mailboxvm for the new store and its staging."""

    def __init__(self, lab, place, ground=""):
        self.lab, self.ground = lab, ground
        lab.reset()
        self.night = Night(place)
        self.night.values["limits"] = LIMITS
        self.night.write()
        self.runner = None      # the command that is under way
        self.spoilt = False     # a fault did not end as it should: what follows needs a lab of its own
        self._numbers = itertools.count(1)
        if ground == "small-disk":
            self.sh("mailboxvm", f"mount -t tmpfs -o size={NEW_STORE_MB}m,nr_inodes=200000,mode=0755 new-store /var/imap && "
                    "cd /var/imap && getent passwd | awk -F: '$3 >= 2000 && $3 < 3000 {print $1}' | while read user; do "
                    "install -d -m 0700 -o $user -g $user $user || exit 1; done")

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

    # -- processes

    def kernels(self):
        """The kernel of the command under way."""
        below = descendants(self.runner.pid)
        return processes(lambda pid, line: pid in below and b"ipykernel_launcher" in line)

    def sessions(self):
        """The operator's sshd sessions on every host that a step works on."""
        found = set()
        for host in self.night.site.cutover_hosts:
            there = on_host(host)
            found |= processes(lambda pid, line: line.startswith(b"sshd: operator") and there(pid))  # noqa: B023
        return found

    def mail_processes(self, host, name):
        there = on_host(host)
        return processes(lambda pid, line: name in line and there(pid))

    # -- mail that is under way while a fault happens

    def send(self):
        """One message through each MX that takes it, written into the run's ledger once it is accepted."""
        site, users = self.night.site, sorted(lab_hosts.USERS)
        for mx in site.roles.mx:
            number = next(self._numbers)
            key, user = f"{self.night.run_dir.name}-{number}", users[number % len(users)]
            text = (f"From: <traffic@elsewhere.test>\r\nTo: <{user}@{site.zone}>\r\nSubject: under way {number}\r\n"
                    f"Message-ID: <{key}@traffic.invalid>\r\n{traffic.HEADER}: {key}\r\n\r\nHere {number}.\r\n")
            with contextlib.suppress(CutoverError, OSError):
                answer = smtp.send(site.address(mx), 25, "traffic@elsewhere.test", [f"{user}@{site.zone}"], text.encode(), 3)
                entry = {"key": key, "user": user, "mx": mx, "known": True, "answer": answer, "at": round(time.time(), 3)}
                with (self.night.run_dir / traffic.LEDGER).open("a") as out:
                    out.write(json.dumps(entry, sort_keys=True) + "\n")

    def ledger(self, both):
        """How often each message accepted meanwhile is there, see traffic.count."""
        if not (self.night.run_dir / traffic.LEDGER).exists():
            self.send()
        with Hosts(self.night.site) as reached:
            return traffic.count(reached, self.night.run, both=both)

    # -- what the end state is compared by

    def state(self):
        """Routing, services, names as each server has them, and the mail on mailboxvm but for what was sent meanwhile."""
        with Hosts(self.night.site) as reached:
            names = {}
            for server in reached.site.roles.nameservers:
                asked = reached.dns(server)
                names[server] = {name: {kind: [rrset.ttl, *rrset.values] for kind, rrset in asked.all_types(
                    reached.site.fqdn(name)).items()} for name in ("mailbox", "mailboxold", "mailboxvm")}
        return {**service_of(self.lab), "names": names, "mail": {
            user: tree(self.root("mailboxvm") / f"var/imap/{user}") for user in lab_hosts.USERS}}

    def counted_on_mailboxold(self):
        """`{user: messages}` as c-client counts them, less those sent meanwhile and by the production test."""
        found = {}
        for user, each in manifest.take()["users"].items():
            found[user] = each["messages"]
        with (self.night.run_dir / traffic.LEDGER).open() as lines:
            for entry in map(json.loads, lines):
                found[entry["user"]] -= 1
        return found


def tree(place):
    """A digest over a user's Maildir: each message's folder, UID, flags, date and bytes."""
    lines = []
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
                    lines.append(f"{where} {uids.get(base)} {flags} {date} {hashlib.sha256(data).hexdigest()}")
        elif "subscriptions" in names:
            lines.append(hashlib.sha256(Path(folder, "subscriptions").read_bytes()).hexdigest())
    return [len(lines), hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()]


def uidlist(folder):
    """`{base name: UID}` by a folder's dovecot-uidlist."""
    try:
        text = Path(folder, "dovecot-uidlist").read_text("latin-1")
    except FileNotFoundError:
        return {}
    return {match[2].partition(":")[0]: int(match[1]) for match in re.finditer(r"^(\d+) [^\n]*?:(\S+)$", text, re.M)}


def difference(found, wanted, path=""):
    """Where two states differ, in words, at most some places."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return list(itertools.chain.from_iterable(
            difference(found.get(key), wanted.get(key), f"{path}/{key}") for key in sorted({*found, *wanted})))[:8]
    return [] if found == wanted else [f"{path}: {str(found)[:300]} instead of {str(wanted)[:300]}"]


def settle_processes(scene):
    """After a kill: end nothing, but wait until what it left behind has seen that it is alone."""
    run_dir = str(scene.night.run_dir).encode()
    eventually(lambda: not processes(lambda pid, line: b"ipykernel_launcher" in line and run_dir in line), 10)


def end(scene):
    """End the command under way and all below it, after a test went wrong."""
    if scene.runner is not None and scene.runner.poll() is None:
        kill(descendants(scene.runner.pid))


def seeded(rng=None):
    return rng or random.Random(4)
