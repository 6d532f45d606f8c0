"""What `cutover bench convert` runs."""

import os
import pathlib
import platform
import resource
import shutil
import time

from lab import base_image, system

from cutover.bench import mail_store, mailhost, our_converter, timing
from cutover.comparison import messages
from cutover.model import errors

EVERY = 100  # one message in EVERY is changed for the delta
SMALL = 600  # bytes of a message in a large folder
# what any program that does our work would import
MODULES = "import contextlib, ctypes, json, pickle, select"
# the fastest way in Python to turn CRLF into LF, without reading lines or writing
NEWLINES = """
import io, sys
for name in sys.argv[1:]:
    with open(name, "rb", 0) as box:
        for piece in iter(lambda: box.read(1 << 20), b""):
            text = piece.decode("latin-1")
            io.IncrementalNewlineDecoder(None, True).decode(text, True).encode("latin-1")
"""


class NotTheSame(errors.CutoverError):
    """The measured programs did not do the same work."""


def measure(options, say):
    """Run all measurements.

    → {"machine", "options", "places": {kind: {"store": bytes, "contests": {contest: {who:
    medians}}}}, "scale", "large"}.
    """
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
    """Compile the floor. → its path, or None without a compiler"""
    if shutil.which("gcc") is None:
        return None
    system.call("gcc", "-O2", "-o", place / "floor", pathlib.Path(__file__).with_name("floor.c"))
    return place / "floor"


def side_by_side(host, options, say):
    home = mail_store.write_by_cclient(host, options["messages"], options["kilobytes"] * 1000, say)
    boxes = [home / "INBOX", home / "mail/work"]
    ours, floor = our_converter.Ours(host, options["jobs"]), compiled(host.place)
    contests = {}

    def add(contest, who, result):
        contests.setdefault(contest, {}).setdefault(who, []).append(result)

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
                timing.timed(
                    [*ours.python, "-c", NEWLINES, "/bench/home/INBOX", "/bench/home/mail/work"]
                ),
            )
            for place in range(3):
                contestants[(turn + place) % 3]()
            for name in ("unchanged", "changed"):
                ours.forget(name)
                timing.timed(ours.argv("presync", ours.plan(name)))
            settle(boxes)
            for name in ("unchanged", "changed"):  # what was just written may still change
                timing.timed(ours.argv("presync", name))
            add("nothing changed", "doveadm", timing.timed(backup))
            add("nothing changed", "ours", timing.timed(ours.argv("convert-users", "unchanged")))
            contests["nothing changed"]["ours"][-1]["inside"] = ours.inside("unchanged")
            add("nothing changed", "python", timing.timed([*ours.python, "-c", MODULES]))
            ours.forget("unchanged")
            mail_store.flag(host, options["messages"], EVERY, turn)
            settle(boxes)
            add("1% changed", "doveadm", timing.timed(backup))
            add("1% changed", "ours", timing.timed(ours.argv("convert-users", "changed")))
            contests["1% changed"]["ours"][-1]["inside"] = ours.inside("changed")
            agree(host, ours.place / "changed" / mailhost.USER, host.place / "dovecot")
            ours.forget("changed")
            shutil.rmtree(host.place / "dovecot")
    return {
        "store": sum(box.stat().st_size for box in boxes),
        "contests": {
            contest: {who: timing.medians(results) for who, results in entries.items()}
            for contest, entries in contests.items()
        },
    }


def settle(boxes):
    """Wait until a change of the files would change their times (mbx2maildir.convert.index)."""
    last = max(box.stat().st_ctime for box in boxes)
    time.sleep(max(0, last + 2.1 - time.time()))


def full_ours(host, ours, add):
    ours.forget("full")
    add("full", "ours", timing.timed(ours.argv("convert-users", ours.plan("full"))))
    add("content verify", "verify", verified(host, f"/bench/full/{mailhost.USER}"))
    ours.forget("full")


def verified(host, maildir):
    """What verify does at its level "content": compare c-client's and Dovecot's messages.

    → as timing.timed(), with "servers": CPU seconds of imapd and Dovecot alone.
    """
    began, before, servers = time.perf_counter(), time.process_time(), timing.used_by_children()
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
        "cpu": time.process_time() - before + timing.used_by_children() - servers,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "servers": timing.used_by_children() - servers,
    }


def full_doveadm(host, backup, add):
    shutil.rmtree(host.place / "dovecot", ignore_errors=True)
    (host.place / "dovecot").mkdir()
    host.own(host.place / "dovecot")
    add("full", "doveadm", timing.timed(backup))


def full_floor(host, floor, boxes, add):
    """Both folders, one after the other."""
    if floor is None:
        return
    sums = {"seconds": 0.0, "cpu": 0.0, "memory": 0}
    for box in boxes:
        target = host.place / "floor-out"
        target.mkdir()
        usage = timing.timed([str(floor), str(box), str(target)])
        shutil.rmtree(target)
        sums = {
            "seconds": sums["seconds"] + usage["seconds"],
            "cpu": sums["cpu"] + usage["cpu"],
            "memory": max(sums["memory"], usage["memory"]),
        }
    add("full", "floor", sums)


def agree(host, ours, theirs):
    """Raise NotTheSame unless both trees have as many files, and flagged files, per folder."""

    def counts(tree, folder):
        names = [name for part in ("cur", "new") for name in os.listdir(tree / folder / part)]
        return len(names), sum("F" in name.partition(":2,")[2] for name in names)

    # relative to the user's home the folder is mail/work for imapd, and work for ours
    for mine, other in (("", ""), (".work", ".mail.work")):
        if counts(ours, mine) != counts(theirs, other):
            raise NotTheSame(
                f"folder {mine or 'INBOX'} differs: ours {counts(ours, mine)}, "
                f"doveadm {counts(theirs, other)} (messages, flagged)"
            )


def one_folder(host, number, size, options, say):
    """Ours alone, with one folder. → {"messages", "bytes", "seconds", "cpu", "memory", "delta"}"""
    say(f"one folder of {number} messages …")
    inbox = host.place / "home/INBOX"
    length = mail_store.write_one(inbox, number, size)
    host.own(inbox)
    ours = our_converter.Ours(host, options["jobs"])
    results = []
    for _turn in range(options["runs"] if number <= 100_000 else 1):
        ours.forget("one")
        results.append(timing.timed(ours.argv("presync", ours.plan("one"))))
    result = timing.medians(results)
    settle([inbox])
    timing.timed(ours.argv("presync", "one"))
    os.utime(inbox)  # a new ctime: the message lines are compared again
    delta = timing.timed(ours.argv("presync", "one"))
    ours.forget("one")
    return {
        "messages": number,
        "bytes": length,
        "seconds": result["seconds"],
        "cpu": result["cpu"],
        "memory": max(result["memory"], delta["memory"]),
        "delta": delta["seconds"],
    }
