"""The runs of `cutover bench convert`."""

import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import time
import zipfile

from lab import base_image, system

from cutover.bench import mail, mailhost
from cutover.comparison import messages
from cutover.model import errors
from cutover.remote import converter, ship

EVERY = 100  # one message in so many is changed for the delta
SMALL = 600  # bytes of a message of a large folder
MODULES = "import contextlib, ctypes, json, pickle, select"  # what any program that does our work would import
# the fastest way Python has to turn CRLF into LF and to know that nothing else was there, without any reading of lines or writing
NEWLINES = """
import io, sys
for name in sys.argv[1:]:
    with open(name, "rb", 0) as box:
        for piece in iter(lambda: box.read(1 << 20), b""):
            io.IncrementalNewlineDecoder(None, True).decode(piece.decode("latin-1"), True).encode("latin-1")
"""


class NotTheSame(errors.CutoverError):
    """What is measured must have done the same work; the message says where it did not."""


# A process's memory counts from what it was forked from, so a small one starts the command.
STARTER = """
import os, sys, time
began = time.perf_counter()
_pid, status, usage = os.wait4(os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ), 0)
print(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def timed(argv, sync=True):
    """Run a command to its end → {"seconds", "cpu" (of it and its children), "memory" (KiB of the largest process)}."""
    if sync:
        os.sync()
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", STARTER, *map(str, argv)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise errors.CutoverError(
            f"{' '.join(map(str, argv))} ended with {done.returncode}: {done.stderr[-800:]}"
        )
    return dict(
        zip(
            ("seconds", "cpu", "memory"),
            map(float, done.stderr.splitlines()[-1].split()),
            strict=True,
        )
    )


class Ours:
    """The converter as the mail host runs it: unpacked and compiled there, Debian's Python, a plan."""

    def __init__(self, host, jobs):
        self.host, self.place, self.jobs = host, host.place, jobs
        self.python = ["chroot", str(host.root), "/usr/bin/python3", *converter.FLAGS]
        with zipfile.ZipFile(ship.build(self.place / "store.pyz")) as archive:
            archive.extractall(self.place / "store")
        system.call(*self.python, "-m", "compileall", "-q", "/bench/store")

    def plan(self, name, inbox="home/INBOX", folders="home/mail"):
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
        shutil.rmtree(self.place / name, ignore_errors=True)
        for suffix in (".json", ".json.events"):
            (self.place / (name + suffix)).unlink(missing_ok=True)

    def inside(self, name):
        """Seconds between the first and the last event: without Python's own start."""
        with open(self.place / f"{name}.json.events") as lines:
            return [json.loads(line) for line in lines][-1]["seconds"]


def measure(options, say):
    """→ {"machine", "options", "places": {kind: rows}, "scale", "large"}; rows: {contest: {who: medians}}."""
    values = {"machine": machine(), "options": options, "places": {}, "scale": [], "large": None}
    with mailhost.mounted(base_image.ensure()) as host:
        values["machine"]["python"] = system.call(
            "chroot", host.root, "/usr/bin/python3", "-V"
        ).split()[-1]
        for kind in ("tmpfs", "disk") if options["disk"] else ("tmpfs",):
            with host.on(kind):
                values["places"][kind] = side_by_side(
                    host, options, lambda text, kind=kind: say(f"{kind}: {text}")
                )
            shutil.rmtree(host.root.parent / "disk", ignore_errors=True)
        for number in options["scale"]:
            with host.on("tmpfs"):
                values["scale"].append(one_folder(host, number, SMALL, options, say))
        if options["large"]:
            with host.on("disk"):
                values["large"] = one_folder(
                    host, int(options["large"] * 1e9 / 50000), 50000, options, say
                )
    values["machine"]["load_after"] = os.getloadavg()[0]
    return values


def machine():
    name = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as lines:
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "cpu": names[0] if names else name,
        "cores": os.cpu_count(),
        "kernel": platform.release().partition("-")[0],
        "load_before": os.getloadavg()[0],
    }


def compiled(place):
    """The floor, compiled → its path, or None without a compiler."""
    if shutil.which("gcc") is None:
        return None
    system.call("gcc", "-O2", "-o", place / "floor", pathlib.Path(__file__).with_name("floor.c"))
    return place / "floor"


def side_by_side(host, options, say):
    home = mail.write_by_cclient(host, options["messages"], options["kilobytes"] * 1000, say)
    boxes = [home / "INBOX", home / "mail/work"]
    ours, floor = Ours(host, options["jobs"]), compiled(host.place)
    found = {}

    def add(contest, who, result):
        found.setdefault(contest, {}).setdefault(who, []).append(result)

    with host.imapd() as port:
        backup = host.argv(
            "doveadm",
            "-c",
            host.configure("dovecot", "/bench/dovecot", port),
            "backup",
            "-R",
            "imapc:",
        )
        for turn in range(options["runs"]):
            say(f"run {turn + 1} of {options['runs']}")
            contestants = [
                lambda: full_ours(host, ours, add),
                lambda: full_doveadm(host, backup, add),
                lambda: full_floor(host, floor, boxes, add),
            ]
            add(
                "full",
                "python",
                timed([*ours.python, "-c", NEWLINES, "/bench/home/INBOX", "/bench/home/mail/work"]),
            )
            for place in range(3):
                contestants[(turn + place) % 3]()
            for name in ("unchanged", "changed"):
                ours.forget(name)
                timed(ours.argv("presync", ours.plan(name)))
            settle(boxes)
            for name in ("unchanged", "changed"):  # files just written may still be changing
                timed(ours.argv("presync", name))
            add("nothing changed", "doveadm", timed(backup))
            add("nothing changed", "ours", timed(ours.argv("convert-users", "unchanged")))
            found["nothing changed"]["ours"][-1]["inside"] = ours.inside("unchanged")
            add("nothing changed", "python", timed([*ours.python, "-c", MODULES]))
            ours.forget("unchanged")
            mail.flag(host, options["messages"], EVERY, turn)
            settle(boxes)
            add("1% changed", "doveadm", timed(backup))
            add("1% changed", "ours", timed(ours.argv("convert-users", "changed")))
            found["1% changed"]["ours"][-1]["inside"] = ours.inside("changed")
            agree(host, ours.place / "changed" / mailhost.USER, host.place / "dovecot")
            ours.forget("changed")
            shutil.rmtree(host.place / "dovecot")
    return {
        "store": sum(box.stat().st_size for box in boxes),
        "contests": {
            contest: {who: medians(results) for who, results in entries.items()}
            for contest, entries in found.items()
        },
    }


def settle(boxes):
    """Wait until the files' times are past doubt (see mbx2maildir.convert.index)."""
    last = max(box.stat().st_ctime for box in boxes)
    time.sleep(max(0, last + 2.1 - time.time()))


def full_ours(host, ours, add):
    ours.forget("full")
    add("full", "ours", timed(ours.argv("convert-users", ours.plan("full"))))
    add("content verify", "verify", verified(host, f"/bench/full/{mailhost.USER}"))
    ours.forget("full")


def verified(host, maildir):
    """What verify does with its level "content": c-client and Dovecot give each message, digests are compared.

    → as timed(), with "servers": CPU seconds of imapd and Dovecot alone.
    """
    began, before, servers = time.perf_counter(), time.process_time(), used_by_children()
    config = host.configure("verify", maildir)
    with (
        mailhost.session(host.argv("/usr/sbin/imapd")) as old,
        mailhost.session(host.argv("doveadm", "-c", config, "exec", "imap")) as new,
    ):
        for mine, other in (("INBOX", "INBOX"), ("mail/work", "work")):
            result = messages.compare(old.stream(mine, "content"), new.stream(other, "content"))
            if result.differing or result.extra or not 0 < result.contents == result.old:
                raise NotTheSame(f"{mine}: {result}")
    return {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - before + used_by_children() - servers,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "servers": used_by_children() - servers,
    }


def used_by_children():
    """CPU seconds of the processes that were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def full_doveadm(host, backup, add):
    shutil.rmtree(host.place / "dovecot", ignore_errors=True)
    (host.place / "dovecot").mkdir()
    host.own(host.place / "dovecot")
    add("full", "doveadm", timed(backup))


def full_floor(host, floor, boxes, add):
    """Both folders, one after the other."""
    if floor is None:
        return
    sums = {"seconds": 0.0, "cpu": 0.0, "memory": 0}
    for box in boxes:
        target = host.place / "floor-out"
        target.mkdir()
        one = timed([str(floor), str(box), str(target)])
        shutil.rmtree(target)
        sums = {
            "seconds": sums["seconds"] + one["seconds"],
            "cpu": sums["cpu"] + one["cpu"],
            "memory": max(sums["memory"], one["memory"]),
        }
    add("full", "floor", sums)


def agree(host, ours, theirs):
    """Both trees hold the same messages: number and flags of files, by folder."""

    def counts(tree, folder):
        names = [name for part in ("cur", "new") for name in os.listdir(tree / folder / part)]
        return len(names), sum("F" in name.partition(":2,")[2] for name in names)

    # seen from the user's home, the folder is mail/work to imapd, and work to ours
    for mine, other in (("", ""), (".work", ".mail.work")):
        if counts(ours, mine) != counts(theirs, other):
            raise NotTheSame(
                f"folder {mine or 'INBOX'}: ours {counts(ours, mine)}, doveadm {counts(theirs, other)} "
                "(messages, flagged)"
            )


def medians(results):
    keys = [key for key in results[0] if all(key in result for result in results)]
    return {
        **{key: statistics.median(result[key] for result in results) for key in keys},
        "runs": [round(result["seconds"], 4) for result in results],
    }


def one_folder(host, number, size, options, say):
    """Ours alone over one folder → {"messages", "bytes", "seconds", "cpu", "memory", "delta" (seconds)}."""
    say(f"one folder of {number} messages …")
    inbox = host.place / "home/INBOX"
    length = mail.write_one(inbox, number, size)
    host.own(inbox)
    ours = Ours(host, options["jobs"])
    results = []
    for _turn in range(options["runs"] if number <= 100_000 else 1):
        ours.forget("one")
        results.append(timed(ours.argv("presync", ours.plan("one"))))
    result = medians(results)
    settle([inbox])
    timed(ours.argv("presync", "one"))
    os.utime(inbox)  # ctime: the message lines have to be looked at again
    delta = timed(ours.argv("presync", "one"))
    ours.forget("one")
    return {
        "messages": number,
        "bytes": length,
        "seconds": result["seconds"],
        "cpu": result["cpu"],
        "memory": max(result["memory"], delta["memory"]),
        "delta": delta["seconds"],
    }
