"""How long a restore of many small messages takes, on the running lab, from the copy and from Bacula.

A folder of so many messages is put into one user's copy on the backup host, as if she had lost it, and Bacula saves it. Each way
to bring it, and to add it, is timed; a way that costs its round trips for each message is timed with a part and scaled. What was
added is taken out again.
"""

import os
import platform
import re
import shutil
import statistics
import time

from cutover import errors, site
from cutover.changes import bacula as jobs
from cutover.changes import restore
from cutover.hosts import Hosts, bacula, copies, facts, imap, mailboxes
from cutover.lab import hosts as lab_hosts
from cutover.lab import store

NAME, USER = "misura", "alice"
PART = 100          # messages of which a slow way is timed
COPY = store.STORE / "backup/posta/mailboxvm/current" / USER
TREE = COPY / f".{NAME}"


def plant(number):
    """The folder in the copy. → bytes"""
    owner, total = lab_hosts.USERS[USER], 0
    for part in ("cur", "new", "tmp"):
        (TREE / part).mkdir(parents=True, exist_ok=True)
    with open(TREE / "dovecot-uidlist", "w") as uids:
        uids.write(f"3 V1700000000 N{number + 1} G{'0' * 31}1\n")
        for each in range(1, number + 1):
            text = f"From: a@elsewhere.test\nSubject: {each}\nMessage-ID: <{each}@bench>\n\n" + f"line {each} of it\n" * 250
            name = f"{1_600_000_000 + each}.M{each}P1.bench,S={len(text)}"
            path = TREE / "cur" / f"{name}:2,S"
            path.write_text(text)
            os.utime(path, (1_600_000_000 + each,) * 2)
            uids.write(f"{each} :{name}\n")
            total += len(text)
    for path in (TREE, *TREE.rglob("*")):
        os.chown(path, owner, owner)
    return total


def timed(function, *arguments):
    os.sync()
    began = time.monotonic()
    function(*arguments)
    return time.monotonic() - began


def quiet(event):
    pass


class Bench:
    def __init__(self, hosts, number, run):
        self.hosts, self.number, self.site = hosts, number, hosts.site
        self.account = facts.user(hosts, self.site.roles.new, USER)
        self.place = copies.tree(self.site, run, USER, NAME)
        self.where = bacula.scratch(self.site, run, USER)

    # -- beside

    def stream(self, base=""):
        copies.bring(self.hosts, copies.source(self.site, USER, [f".{NAME}"], base),
                     f"{self.account['uid']}:{self.account['gid']}", self.place)

    def file_by_file(self):
        """A get and a put for each of PART files."""
        hosts, site = self.hosts, self.site
        folder, there = f"{site.backup.target}/{USER}/.{NAME}/cur", f"{self.place}-files"
        names = hosts.run(site.roles.backup, ["ls", folder], sudo=True).text.split()[:PART]
        hosts.run(site.roles.new, ["mkdir", "-p", there], sudo=True)
        for name in names:
            data = hosts.ssh(site.roles.backup).get(f"{folder}/{name}", sudo=True)
            hosts.ssh(site.roles.new).put(data, f"{there}/{name}", sudo=True)

    # -- from Bacula

    def save(self):
        jobs.RunJob(self.site.roles.backup, bacula.NAME, 3600).apply(self.hosts, quiet)

    def folder(self):
        """By its place in the catalog: what a restore does."""
        chain = bacula.chain(self.hosts, bacula.status(self.hosts)["saved"][-1]["id"])
        found = bacula.listing(self.hosts, chain, USER)[NAME]
        jobs.restored(self.hosts, chain, found["dirids"], found["fileids"], self.where, 3600, quiet)

    def _console(self, *lines):
        """The way of the manual: the console asks, and is answered."""
        bacula.make_scratch(self.hosts, self.where)
        said = self.hosts.run(self.site.roles.backup, ["bconsole", "-n"], sudo=True, timeout=3600,
                              input="".join(f"{line}\n" for line in lines).encode()).text
        job = re.search(r"Job queued\. JobId=(\d+)", said)
        if not job:
            raise errors.CutoverError(said[-500:])
        jobs.follow(self.hosts, int(job[1]), bacula.RESTORE, 3600, quiet)

    def _command(self, more):
        return (f'restore client={self.site.backup.bacula.client} restorejob={bacula.RESTORE} fileset={bacula.NAME} current '
                f'where="{self.where}" {more}')

    def marked(self):
        """By the tree of every file that was saved, in which the folder is marked."""
        self._console(self._command("select"), f"cd {self.site.backup.target}/{USER}", f"mark .{NAME}", "done", "yes")

    def listed(self):
        """By a list of PART files' names, each of which Bacula looks for in the catalog."""
        folder = f"{self.site.backup.target}/{USER}/.{NAME}/cur"
        names = [f"{folder}/{path.name}\n" for path in sorted((TREE / "cur").iterdir())[:PART]]
        self.hosts.ssh(self.site.roles.backup).put("".join(names).encode(), "/tmp/bench-files", mode=0o644, sudo=True)
        self._console(self._command("file=</tmp/bench-files done yes"))

    # -- added

    def adding(self):
        return restore.AddMissing(self.site.roles.new, USER, self.account, self.place, [NAME], "")

    def add(self):
        self.adding().apply(self.hosts, quiet)

    def add_one_by_one(self):
        """As adding does, PART messages, one APPEND each, and out again."""
        with copies.session(self.hosts, self.account, self.place) as copy, mailboxes.new_session(self.hosts, USER) as live:
            live.create(f"{NAME}-part")
            for each, text in copy.texts(NAME, copy.read(NAME, "metadata").messages[:PART * 10]):
                live.append(f"{NAME}-part", text, sorted(each.flags), each.internaldate)

    def take_out(self):
        self.adding().inverse().apply(self.hosts, quiet)

    def tidy(self):
        with mailboxes.new_session(self.hosts, USER) as live:
            for name, _, _ in live.folders():
                if name.startswith(NAME):
                    live.client.delete_folder(imap.encode_name(name))


def measure(number: int, runs: int, say=lambda text: None) -> dict:
    """`{"messages", "bytes", "processors", "python", "seconds": {what: [seconds of each run]}}`.

    The lab must be up, and the step `backup` done. Raises errors.CutoverError.
    """
    if not COPY.is_dir():
        raise errors.CutoverError("the running lab has no copy to restore from: `cutover rehearse --keep-lab` makes one")
    size, found = plant(number), {}

    def take(what, function, *arguments, factor=1.0):
        found.setdefault(what, []).append(timed(function, *arguments) * factor)
        say(f"{what}: {found[what][-1]:.1f} s")

    try:
        with Hosts(site.load("parameters/lab.yaml")) as hosts:
            for run in range(runs):
                bench = Bench(hosts, number, f"bench-{os.getpid()}-{run}")
                bench.tidy()
                try:
                    if not run:
                        take("Bacula saves it", bench.save)
                    take("Bacula restores it: the folder", bench.folder)
                    take("  and it is brought, one stream", bench.stream, bench.where)
                    take("Bacula restores it: marked in the tree", bench.marked)
                    take("Bacula restores it: by a list of files (scaled)", bench.listed, factor=number / PART)
                    take("copy: brought file by file (scaled)", bench.file_by_file, factor=number / PART)
                    take("copy: brought, one stream", bench.stream)
                    take("added, an APPEND each (scaled)", bench.add_one_by_one, factor=number / min(number, PART * 10))
                    take("compared and added", bench.add)
                    take("taken out again", bench.take_out)
                finally:
                    bench.tidy()
                    bacula.remove_scratch(hosts, bench.where)
    finally:
        shutil.rmtree(TREE)
    return {"messages": number, "bytes": size, "processors": os.cpu_count(), "python": platform.python_version(),
            "seconds": found}


def text(values: dict) -> str:
    """The same as lines: what, median seconds, messages a second, least and most."""
    lines = [f"{values['messages']} messages, {values['bytes'] / 1e6:.0f} MB, {values['processors']} processors, "
             f"Python {values['python']}"]
    for what, seconds in values["seconds"].items():
        median = statistics.median(seconds)
        lines.append(f"{what:48} {median:8.1f} s {values['messages'] / median:8.0f} messages/s   {min(seconds):.1f} to "
                     f"{max(seconds):.1f}")
    return "\n".join(lines)
