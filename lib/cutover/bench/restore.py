"""How long a restore of many small messages takes, on the running lab, from the copy and from Bacula.

Folders of so many messages are put into one user's copy on the backup host, as if she had lost them, and Bacula saves them: one
that holds all, and as many again in eight. In parts, interleaved from run to run:

- "ways": each way to bring the one folder, and to add it; a way that costs its round trips for each message is timed with some
  and scaled;
- "archive": the one folder's files, read and packed on the backup host, beside an archive of them that lies there;
- "sessions": the eight are added by so many pairs of IMAP sessions at a time;
- "whole": the step `restore` from its probe to its verify, of the eight, from either source, by phases.

What was added is taken out again.
"""

import contextlib
import os
import platform
import re
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from lab import store, topology

from cutover import model, site
from cutover.changes import bacula_jobs, bacula_restore
from cutover.changes import restored_mail as restore
from cutover.connect import imap
from cutover.connect.hosts import Hosts
from cutover.facts import bacula, bacula_files, copies, mailboxes, users
from cutover.model import errors
from cutover.record import folder
from cutover.run import engine

NAME, USER = "misura", "alice"
FOLDERS = [f"ottavi/{number}" for number in range(1, 9)]
PARTS = ("ways", "archive", "sessions", "whole")
SESSIONS = (1, 2, 3)
BOTH = ("current", "bacula")
PART = 100  # messages of which a slow way is timed
BACKUP = store.STORE / "backup"  # the backup host has it as /backup
ARCHIVE = "bench-misura.tar"
COPY = BACKUP / "posta/mailboxvm/current" / USER
TREE = COPY / f".{NAME}"
PHASES = {
    "bacula-restore": "Bacula restores it",
    "restore-beside": "brought beside",
    "bacula-tidy": "Bacula's copy removed",
    "restore-add": "compared and added",
}


def directory(name):
    return "." + name.replace("/", ".")


def plant(tree, number):
    """A folder in the copy. → bytes"""
    owner, total = topology.USERS[USER], 0
    for part in ("cur", "new", "tmp"):
        (tree / part).mkdir(parents=True, exist_ok=True)
    with open(tree / "dovecot-uidlist", "w") as uids:
        uids.write(f"3 V1700000000 N{number + 1} G{'0' * 31}1\n")
        for each in range(1, number + 1):
            text = (
                f"From: a@elsewhere.test\nSubject: {each}\nMessage-ID: <{each}@bench>\n\n"
                + f"line {each} of it\n" * 250
            )
            name = f"{1_600_000_000 + each}.M{each}P1.bench,S={len(text)}"
            path = tree / "cur" / f"{name}:2,S"
            path.write_text(text)
            os.utime(path, (1_600_000_000 + each,) * 2)
            uids.write(f"{each} :{name}\n")
            total += len(text)
    for path in (tree, *tree.rglob("*")):
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
        self.hosts, self.number, self.site, self.run = hosts, number, hosts.site, run
        self.account = users.find(hosts, self.site.roles.new, USER)
        self.place = copies.tree(self.site, run, USER, NAME)
        self.where = bacula_files.scratch(self.site, run, USER)
        self.many = copies.tree(self.site, run, USER, "ottavi")

    # -- beside

    def _bring(self, packing, place):
        copies.bring(self.hosts, packing, f"{self.account['uid']}:{self.account['gid']}", place)

    def stream(self, base=""):
        self._bring(copies.source(self.site, USER, [f".{NAME}"], base), self.place)

    def archived(self):
        self._bring(["cat", f"/backup/{ARCHIVE}"], self.place)

    def pack(self):
        packing = copies.source(self.site, USER, [f".{NAME}"])
        self.hosts.run(
            self.site.roles.backup,
            ["sh", "-c", 'exec 3> "$0"; exec "$@" >&3', f"/backup/{ARCHIVE}", *packing],
            sudo=True,
            timeout=3600,
        )

    def read(self, packing):
        """What the backup host does for it, and no more; tar would not read what goes to /dev/null."""
        self.hosts.run(
            self.site.roles.backup,
            ["sh", "-c", '"$@" | cat > /dev/null', "read", *packing],
            sudo=True,
            timeout=3600,
        )

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
        bacula_jobs.RunJob(self.site.roles.backup, bacula.NAME, 3600).apply(
            model.Context(self.hosts), quiet
        )

    def folder(self):
        """By its place in the catalog: what a restore does."""
        chain = bacula.chain(self.hosts, bacula.status(self.hosts).saved[-1].id)
        saved = bacula_files.listing(self.hosts, chain, USER)[NAME]
        files = bacula_restore.Files(chain, saved.dirids, saved.fileids)
        bacula_restore.restore(self.hosts, files, self.where, 3600, quiet)

    def _console(self, *lines):
        """The way of the manual: the console asks, and is answered."""
        bacula_restore.make_scratch(self.hosts, self.where)
        said = self.hosts.run(
            self.site.roles.backup,
            ["bconsole", "-n"],
            sudo=True,
            timeout=3600,
            input="".join(f"{line}\n" for line in lines).encode(),
        ).text
        job = re.search(r"Job queued\. JobId=(\d+)", said)
        if not job:
            raise errors.CutoverError(said[-500:])
        bacula_jobs.follow(self.hosts, int(job[1]), bacula.RESTORE, 3600, quiet)

    def _command(self, more):
        return (
            f"restore client={self.site.backup.bacula.client} restorejob={bacula.RESTORE} fileset={bacula.NAME} current "
            f'where="{self.where}" {more}'
        )

    def marked(self):
        """By the tree of every file that was saved, in which the folder is marked."""
        self._console(
            self._command("select"),
            f"cd {self.site.backup.target}/{USER}",
            f"mark .{NAME}",
            "done",
            "yes",
        )

    def listed(self):
        """By a list of PART files' names, each of which Bacula looks for in the catalog."""
        folder = f"{self.site.backup.target}/{USER}/.{NAME}/cur"
        names = [f"{folder}/{path.name}\n" for path in sorted((TREE / "cur").iterdir())[:PART]]
        self.hosts.ssh(self.site.roles.backup).put(
            "".join(names).encode(), "/tmp/bench-files", mode=0o644, sudo=True
        )
        self._console(self._command("file=</tmp/bench-files done yes"))

    # -- added

    def adding(self):
        return restore.AddMissing(self.site.roles.new, USER, self.account, self.place, [NAME], "")

    def add(self):
        self.adding().apply(model.Context(self.hosts), quiet)

    def add_one_by_one(self):
        """As adding does, PART messages, one APPEND each, and out again."""
        with (
            copies.session(self.hosts, self.account, self.place) as copy,
            mailboxes.new_session(self.hosts, USER) as live,
        ):
            live.create(f"{NAME}-part")
            for each, text in copy.texts(NAME, copy.read(NAME, "metadata").messages[: PART * 10]):
                live.append(f"{NAME}-part", text, sorted(each.flags), each.internaldate)

    def take_out(self):
        self.adding().inverse().apply(model.Context(self.hosts), quiet)

    def look(self):
        restore.look(self.hosts, self.account, self.place, [NAME], "")

    def bring_many(self):
        self._bring(
            copies.source(self.site, USER, [directory(name) for name in FOLDERS]), self.many
        )

    def add_many(self, sessions):
        with _sessions(sessions):
            restore.AddMissing(
                self.site.roles.new, USER, self.account, self.many, FOLDERS, ""
            ).apply(model.Context(self.hosts), quiet)

    # -- the whole step

    def whole(self, source, runs):
        """As the command does it, in a run of its own. → `{phase: seconds}`"""
        run = folder.begin(self.site, runs / f"{self.run}-{source}")
        driver = engine.Engine(
            self.site,
            "restore",
            "execute",
            run,
            chosen={"user": USER, "folder": "ottavi", "source": source},
        )
        times = [time.monotonic()]
        try:
            driver.probe()
            driver.plan()
            driver.approve()
            times.append(time.monotonic())
            driver.apply()
            times.append(time.monotonic())
            driver.require(driver.verify())
            times.append(time.monotonic())
        finally:
            driver.close()
        planned, applied, verified = (
            after - before for before, after in zip(times, times[1:], strict=False)
        )
        events = run.journal.events()
        kinds = {
            event["seq"]: event["change"]["kind"] for event in events if event["event"] == "intent"
        }
        phases = {
            PHASES[kinds[event["intent"]]]: event["seconds"]
            for event in events
            if event["event"] == "result"
        }
        return {
            "read and planned": planned,
            **phases,
            "approved, journaled, read once more": applied - sum(phases.values()),
            "verified": verified,
            "in all": times[-1] - times[0],
        }

    def tidy(self):
        with mailboxes.new_session(self.hosts, USER) as live:
            for name, _, selectable in sorted(live.folders(), reverse=True):
                if name.startswith((NAME, "ottavi")) and selectable:
                    live.client.delete_folder(imap.encode_name(name))

    def end(self):
        self.tidy()
        bacula_restore.remove_scratch(self.hosts, self.where)
        for run in (self.run, f"{self.run}-current", f"{self.run}-bacula"):
            self.hosts.run(
                self.site.roles.new,
                ["rm", "-rf", "--", f"{self.site.new_store.work}/restore/{run}"],
                sudo=True,
                timeout=600,
            )


@contextlib.contextmanager
def _sessions(number):
    before, restore.SESSIONS = restore.SESSIONS, number
    try:
        yield
    finally:
        restore.SESSIONS = before


def forget(top):
    """Have this machine drop what it keeps in memory of a file, or of a tree's files."""
    for path in (top, *top.rglob("*")):
        if path.is_file():
            with open(path) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _ways(bench, take):
    number = bench.number
    take("Bacula restores it: the folder", bench.folder)
    take("  and it is brought, one stream", bench.stream, bench.where)
    take("Bacula restores it: marked in the tree", bench.marked)
    take("Bacula restores it: by a list of files (scaled)", bench.listed, factor=number / PART)
    take("copy: brought file by file (scaled)", bench.file_by_file, factor=number / PART)
    take("copy: brought, one stream", bench.stream)
    take(
        "added, an APPEND each (scaled)",
        bench.add_one_by_one,
        factor=number / min(number, PART * 10),
    )
    take("compared and added", bench.add)
    take("each message compared", bench.look)
    take("taken out again", bench.take_out)


def _archive(bench, take):
    files, archive = copies.source(bench.site, USER, [f".{NAME}"]), ["cat", f"/backup/{ARCHIVE}"]
    sorted_files = [
        *files[:2],
        files[2].replace("tar --create", "tar --create --sort=inode"),
        *files[3:],
    ]
    take("archive of the folder made", bench.pack)
    for memory, forgotten in (("in memory", False), ("not in memory", True)):
        for what, packing, top in (
            ("files packed", files, TREE),
            ("files packed, by inode", sorted_files, TREE),
            ("archive read", archive, BACKUP / ARCHIVE),
        ):
            if forgotten:
                os.sync()
                forget(top)
            take(f"{what}, {memory}", bench.read, packing)
    take("files packed and brought", bench.stream)
    take("archive read and brought", bench.archived)


def _many_sessions(bench, take, run):
    take("eight folders brought, one stream", bench.bring_many)
    at = run % len(SESSIONS)
    for sessions in (*SESSIONS[at:], *SESSIONS[:at]):
        take(f"eight folders added, {sessions} at a time", bench.add_many, sessions)
        bench.tidy()


def measure(number: int, runs: int, say=lambda text: None, parts=PARTS) -> dict:
    """`{"messages", "bytes", "processors", "python", "seconds": {what: [seconds of each run]}}`.

    The lab must be up, and the step `backup` done. Raises errors.CutoverError.
    """
    if not COPY.is_dir():
        raise errors.CutoverError(
            "the running lab has no copy to restore from: `cutover rehearse --keep-lab` makes one"
        )
    found = {}

    def note(what, seconds):
        found.setdefault(what, []).append(seconds)
        say(f"{what}: {seconds:.1f} s")

    def take(what, function, *arguments, factor=1.0):
        note(what, timed(function, *arguments) * factor)

    trees = [COPY / directory(name) for name in FOLDERS]
    try:
        size = plant(TREE, number)
        with (
            Hosts(site.load("parameters/lab.yaml")) as hosts,
            tempfile.TemporaryDirectory() as place,
        ):
            first = Bench(hosts, number, f"bench-{os.getpid()}")
            if "ways" in parts:
                take("Bacula saves it", first.save)
            for at, tree in enumerate(trees):
                plant(tree, len(range(at, number, len(trees))))
            if "whole" in parts:
                first.save()
            for run in range(runs):
                bench = Bench(hosts, number, f"bench-{os.getpid()}-{run}")
                bench.tidy()
                try:
                    if "ways" in parts:
                        _ways(bench, take)
                    if "archive" in parts:
                        _archive(bench, take)
                    if "sessions" in parts:
                        _many_sessions(bench, take, run)
                    if "whole" in parts:
                        bacula_restore.remove_scratch(
                            hosts, bench.where
                        )  # else the step would remove it, as somebody's left there
                        for source in BOTH if run % 2 else BOTH[::-1]:
                            bench.tidy()
                            for phase, seconds in bench.whole(source, Path(place)).items():
                                note(f"whole, from {source}: {phase}", seconds)
                finally:
                    bench.end()
    finally:
        for tree in (TREE, *trees):
            shutil.rmtree(tree, ignore_errors=True)
        (BACKUP / ARCHIVE).unlink(missing_ok=True)
    return {
        "messages": number,
        "bytes": size,
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "seconds": found,
    }


def text(values: dict) -> str:
    """The same as lines: what, median seconds, messages a second, least and most."""
    lines = [
        f"{values['messages']} messages, {values['bytes'] / 1e6:.0f} MB, {values['processors']} processors, "
        f"Python {values['python']}"
    ]
    for what, seconds in values["seconds"].items():
        median = statistics.median(seconds)
        lines.append(
            f"{what:48} {median:8.1f} s {values['messages'] / median:8.0f} messages/s   {min(seconds):.1f} to "
            f"{max(seconds):.1f}"
        )
    return "\n".join(lines)
