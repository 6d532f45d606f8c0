"""The converter as the mail host runs it: unpacked and compiled there, with Debian's Python."""

import json
import shutil
import zipfile

from lab import system

from cutover.bench import mailhost
from cutover.remote import converter, ship


class Ours:
    """Makes plans, and the commands that carry them out; a plan's name is also its directory."""

    def __init__(self, host, jobs):
        self.host, self.place, self.jobs = host, host.place, jobs
        self.python = ["chroot", str(host.root), "/usr/bin/python3", *converter.FLAGS]
        with zipfile.ZipFile(ship.build(self.place / "store.pyz")) as archive:
            archive.extractall(self.place / "store")
        system.call(*self.python, "-m", "compileall", "-q", "/bench/store")

    def plan(self, name, inbox="home/INBOX", folders="home/mail"):
        """Write a plan of the user's store. → its name"""
        (self.place / name).mkdir(exist_ok=True)
        user = {
            "user": mailhost.USER,
            "uid": mailhost.UID,
            "gid": mailhost.UID,
            "inbox": [f"/bench/{inbox}"],
            "folders": f"/bench/{folders}",
            "home": "/bench/home",
            "maildir": f"/bench/{name}/{mailhost.USER}",
        }
        (self.place / f"{name}.json").write_text(
            json.dumps(
                {
                    "run": "bench",
                    "work": f"/bench/{name}/work",
                    "jobs": self.jobs,
                    "host": "bench",
                    "users": [user],
                }
            )
        )
        return name

    def argv(self, command, name):
        """The command line that carries out a plan."""
        return [
            *self.python,
            f"/bench/{converter.PROGRAM}",
            command,
            "--plan",
            f"/bench/{name}.json",
            "--events",
            f"/bench/{name}.json.events",
        ]

    def forget(self, name):
        """Remove a plan and what it made."""
        shutil.rmtree(self.place / name, ignore_errors=True)
        for suffix in (".json", ".json.events"):
            (self.place / (name + suffix)).unlink(missing_ok=True)

    def inside(self, name):
        """Seconds from the first to the last event, without Python's start."""
        with open(self.place / f"{name}.json.events") as lines:
            return [json.loads(line) for line in lines][-1]["seconds"]
