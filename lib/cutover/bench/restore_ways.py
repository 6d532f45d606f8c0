"""The ways to restore the lost folders; each method is one that is timed."""

import contextlib
import dataclasses
import re
import time

from cutover import model
from cutover.bench.lost_folders import ARCHIVE, EIGHT, FOLDERS, NAME, TREE, USER, directory
from cutover.changes import bacula_jobs, bacula_restore, bring_beside, restored_mail
from cutover.comparison import restored
from cutover.connect import imap
from cutover.facts import bacula, bacula_files, copies, mailboxes, users
from cutover.model import errors
from cutover.record import run_folder
from cutover.run import engine

PART = 100  # messages with which a slow way is timed
PHASES = {
    "bacula-restore": "Bacula restores it",
    "restore-beside": "copied to the side tree",
    "bacula-tidy": "Bacula's copy removed",
    "restore-add": "compared and added",
}


def quiet(event):
    """Takes a change's progress and shows nothing."""


class Ways:
    """Each run has a name of its own, and so places of its own on the hosts."""

    def __init__(self, hosts, number, run):
        self.hosts, self.number, self.site, self.run = hosts, number, hosts.site, run
        self.account = users.find(hosts, self.site.roles.new, USER)
        self.place = copies.tree(self.site, run, USER, NAME)
        self.where = bacula_files.scratch(self.site, run, USER)
        self.many = copies.tree(self.site, run, USER, EIGHT)

    # --- into the side tree

    def _bring(self, packing, place):
        bring_beside.bring(self.hosts, packing, f"{self.account.uid}:{self.account.gid}", place)

    def stream(self, base=""):
        self._bring(bring_beside.folders_packing(self.site, USER, [f".{NAME}"], base), self.place)

    def archived(self):
        self._bring(["cat", f"/backup/{ARCHIVE}"], self.place)

    def pack(self):
        packing = bring_beside.folders_packing(self.site, USER, [f".{NAME}"])
        self.hosts.run(
            self.site.roles.backup,
            ["sh", "-c", 'exec 3> "$0"; exec "$@" >&3', f"/backup/{ARCHIVE}", *packing],
            sudo=True,
            timeout=3600,
        )

    def read(self, packing):
        """The backup host's part alone. tar would not read files if its output were /dev/null."""
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

    # --- from Bacula

    def save(self):
        bacula_jobs.RunJob(self.site.roles.backup, bacula.name(self.site), 3600).apply(
            model.Context(self.hosts), quiet
        )

    def folder(self):
        """By its ids in the catalog, as the step restore does it."""
        chain = bacula.chain(self.hosts, bacula.status(self.hosts).saved[-1].id)
        saved = bacula_files.listing(self.hosts, chain, USER)[NAME]
        files = bacula_restore.Files(chain, saved.dirids, saved.fileids)
        bacula_restore.restore(self.hosts, files, self.where, 3600, quiet)

    def _console(self, *lines):
        """As the manual has it: answer the console's questions."""
        bacula_restore.make_scratch(self.hosts, self.where)
        output = self.hosts.run(
            self.site.roles.backup,
            ["bconsole", "-n"],
            sudo=True,
            timeout=3600,
            input="".join(f"{line}\n" for line in lines).encode(),
        ).text
        job = re.search(r"Job queued\. JobId=(\d+)", output)
        if not job:
            raise errors.CutoverError(
                f"bconsole on {self.site.roles.backup} queued no restore job: {output[-500:]}"
            )
        bacula_jobs.follow(self.hosts, int(job[1]), bacula.restore_job(self.site), 3600, quiet)

    def _command(self, more):
        return (
            f"restore client={self.site.backup.bacula.client} "
            f"restorejob={bacula.restore_job(self.site)} "
            f'fileset={bacula.name(self.site)} current where="{self.where}" {more}'
        )

    def marked(self):
        """By marking the folder in the tree of all saved files."""
        self._console(
            self._command("select"),
            f"cd {self.site.backup.target}/{USER}",
            f"mark .{NAME}",
            "done",
            "yes",
        )

    def listed(self):
        """By a list of PART file names; Bacula looks up each of them in the catalog."""
        folder = f"{self.site.backup.target}/{USER}/.{NAME}/cur"
        names = [f"{folder}/{path.name}\n" for path in sorted((TREE / "cur").iterdir())[:PART]]
        self.hosts.ssh(self.site.roles.backup).put(
            "".join(names).encode(), "/tmp/bench-files", mode=0o644, sudo=True
        )
        self._console(self._command("file=</tmp/bench-files done yes"))

    # --- into the live mailbox

    def adding(self):
        return restored_mail.AddMissing(
            self.site.roles.new, USER, dataclasses.asdict(self.account), self.place, [NAME], ""
        )

    def add(self):
        self.adding().apply(model.Context(self.hosts), quiet)

    def add_one_by_one(self):
        """PART * 10 messages, one APPEND per message."""
        with (
            mailboxes.tree_session(self.hosts, self.account, self.place) as copy,
            mailboxes.new_session(self.hosts, USER) as live,
        ):
            live.create(f"{NAME}-part")
            for message, text in copy.texts(
                NAME, copy.read(NAME, "metadata").messages[: PART * 10]
            ):
                live.append(f"{NAME}-part", text, sorted(message.flags), message.internaldate)

    def take_out(self):
        self.adding().inverse().apply(model.Context(self.hosts), quiet)

    def look(self):
        restored.look(self.hosts, self.account, self.place, [NAME], "")

    def bring_many(self):
        self._bring(
            bring_beside.folders_packing(self.site, USER, [directory(name) for name in FOLDERS]),
            self.many,
        )

    def add_many(self, sessions):
        with _sessions_at_a_time(sessions):
            restored_mail.AddMissing(
                self.site.roles.new, USER, dataclasses.asdict(self.account), self.many, FOLDERS, ""
            ).apply(model.Context(self.hosts), quiet)

    # --- the whole step

    def whole(self, source, runs):
        """As the command does it, in a run of its own. → {phase: seconds}"""
        run = run_folder.begin(self.site, runs / f"{self.run}-{source}")
        driver = engine.Engine(
            self.site,
            "restore",
            "execute",
            run,
            chosen={"user": USER, "folder": EIGHT, "source": source},
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
        phases = _phases(run.journal.events())
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
                if name.startswith((NAME, EIGHT)) and selectable:
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


def _phases(events):
    """Seconds of each change, by the name of its phase."""
    kinds = {
        event["seq"]: event["change"]["kind"] for event in events if event["event"] == "intent"
    }
    return {
        PHASES[kinds[event["intent"]]]: event["seconds"]
        for event in events
        if event["event"] == "result"
    }


@contextlib.contextmanager
def _sessions_at_a_time(number):
    before, restored.SESSIONS = restored.SESSIONS, number
    try:
        yield
    finally:
        restored.SESSIONS = before
