"""The copy of the mail store on the backup host: its timer, its last run, its completeness.

steps/checks/backup_files.py decides what is installed for it; remote/backup_copier.py runs each
day.
"""

import dataclasses
import json
import os
import re

from cutover.facts import services, users

NAME = "mailbackup"
PYTHON = "/usr/bin/python3"  # of the backup host
SHOWN = 20  # file names that are listed
ASKED = 20000  # file names per stat command
HOUR = 3600  # seconds: limit for a command that reads the whole copy

# $1 the store; on standard input pairs of a folder or nothing, and a file in it. Prints "TIME FILE"
# each, the later of both ctimes. Opens no file, and no link on the way: users make both.
_CHANGED = r"""
import os, sys
flags = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
def changed(top, path):
    handle = os.dup(top)
    try:
        *parts, last = path.split(b"/")
        for part in parts:
            inner = os.open(part, flags, dir_fd=handle)
            os.close(handle)
            handle = inner
        return int(os.lstat(last, dir_fd=handle).st_ctime)
    finally:
        os.close(handle)
top = os.open(sys.argv[1], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
given = sys.stdin.buffer.read().split(b"\0")[:-1]
for folder, name in zip(given[::2], given[1::2]):
    try:
        at = max(changed(top, path) for path in (folder, name) if path)
    except OSError:
        continue
    sys.stdout.buffer.write(b"%d %s\0" % (at, name))
"""

_COUNT = """[ -d "$1" ] || exit 0
find "$1" -type f -printf . | wc -c
find "$1" ! -type f -printf . | wc -c"""
_STATS = {
    "files": r"Number of files: ([\d,]+)",
    "regular": r"Number of files: .*\breg: ([\d,]+)",
    "copied": r"Number of regular files transferred: ([\d,]+)",
    "size": r"Total file size: ([\d,]+)",
    "received": r"Total bytes received: ([\d,]+)",
}


def name(site) -> str:
    """What everything on the backup host is called; one host may copy several stores."""
    return f"{NAME}-{site.store}" if site.store else NAME


def script(site) -> str:
    """The program that the backup host runs each day."""
    return f"/usr/local/sbin/{name(site)}"


def service_unit(site) -> str:
    """The systemd unit that runs it."""
    return f"{name(site)}.service"


def timer_unit(site) -> str:
    """The systemd unit that starts it each day."""
    return f"{name(site)}.timer"


def state(site) -> str:
    """The directory of its lock and of the report about its last run."""
    return f"/var/lib/{name(site)}"


@dataclasses.dataclass(frozen=True)
class Account:
    """The account of the new host that the backup host's key opens.

    mail_user: it is one of the mail users.
    """

    home: str
    shell: str
    mail_user: bool = False


@dataclasses.dataclass(frozen=True)
class Timer:
    """The backup's systemd timer. next: when it is due, in the host's own words, or ""."""

    running: bool
    starts_at_boot: bool
    detail: str = ""
    next: str = ""

    @property
    def due(self) -> bool:
        """Whether the timer starts a copy each day, also after a reboot."""
        return self.running and self.starts_at_boot and bool(self.next)


@dataclasses.dataclass(frozen=True)
class Pass:
    """One rsync of a run. size, received: bytes. vanished: files renamed or removed meanwhile."""

    rc: int = 0
    vanished: int = 0
    files: int = 0
    regular: int = 0
    copied: int = 0
    size: int = 0
    received: int = 0


@dataclasses.dataclass(frozen=True)
class LastRun:
    """The report of a run that ended.

    began, ended: seconds since the epoch. before, after: files in the copy. result: 0 is success.
    kept: files that are gone from the store and stay in the copy for now. unsettled: users whose
    mail moved during the whole run. lacking: messages that are missing from the copy.
    """

    began: int
    ended: int
    before: int = 0
    after: int = 0
    result: int | None = None
    error: str = ""
    removed: int = 0
    kept: int = 0
    unsettled: int = 0
    lacking: int = 0
    passes: list[Pass] = dataclasses.field(default_factory=list)

    @property
    def succeeded(self) -> bool:
        return self.result == 0

    def in_words(self) -> str:
        """The figures of the run on one line."""
        copied = sum(run.copied for run in self.passes)
        received = sum(run.received for run in self.passes)
        moving = (
            f"; mail of {self.unsettled} users moved all the time, {self.kept} old files of theirs "
            "stay in the copy"
            if self.unsettled
            else ""
        )
        return (
            f"{self.before} files before, {self.after} after; {copied} copied, "
            f"{self.removed} removed, {received} bytes transferred in "
            f"{self.ended - self.began} s and {len(self.passes)} passes{moving}"
        )


@dataclasses.dataclass(frozen=True)
class Counted:
    """Files and other entries (directories, links) of the copy."""

    regular: int
    others: int


@dataclasses.dataclass(frozen=True)
class Differences:
    """How the copy differs from the store now.

    missing: files that were in the store before the last run began and are not in the copy.
    since: other files that arrived or changed since. gone: files only the copy has.
    first: names of missing files, at most SHOWN. failed: {user: why nothing is known of their
    files}.
    """

    missing: int
    since: int
    gone: int
    first: list[str]
    failed: dict[str, str] = dataclasses.field(default_factory=dict)


def account(hosts) -> Account | None:
    """The backup's account on the new host, or None."""
    site = hosts.site
    result = hosts.run(site.roles.new, ["getent", "passwd", site.backup.account], check=False)
    fields = result.text.strip().split(":")
    if result.rc or len(fields) < 7:
        return None
    return Account(fields[5], fields[6], bool(users.mail_users(site, result.text)))


def host_keys(hosts) -> list[str]:
    """The new server's host keys as pinned here, `TYPE BASE64` each, for the backup host."""
    return hosts.ssh(hosts.site.roles.new).pinned()


def public_key(hosts) -> str | None:
    """The public line of the backup host's key, or None. The private key is not read."""
    site = hosts.site
    result = hosts.run(site.roles.backup, ["cat", f"{site.backup.key}.pub"], sudo=True, check=False)
    return result.text.strip() if result.rc == 0 else None


def python(hosts) -> str:
    """The version of the backup host's python3, such as "3.11". Raises ssh.CommandFailed."""
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    return hosts.run(hosts.site.roles.backup, [PYTHON, "-I", "-c", program]).text.strip()


def timer(hosts) -> Timer:
    """The state of the backup's timer."""
    host, unit = hosts.site.roles.backup, timer_unit(hosts.site)
    known = services.state(hosts, host, "systemd", unit)
    due = hosts.run(
        host, ["systemctl", "show", "--property=NextElapseUSecRealtime", "--value", unit]
    ).text.strip()
    return Timer(known.running, known.starts_at_boot, known.detail, due)


def last_run(hosts) -> LastRun | None:
    """The report of the last run that ended, or None when there was none."""
    argv = ["cat", f"{state(hosts.site)}/last"]
    result = hosts.run(hosts.site.roles.backup, argv, sudo=True, check=False)
    return parse_report(result.text) if result.rc == 0 else None


def parse_report(text: str) -> LastRun:
    """What remote/backup_copier.py wrote of a run. Figures it did not write are 0."""
    _, *passes = re.split(r"^pass\b.*\n", text, flags=re.MULTILINE)

    def number(pattern, part):
        match = re.search(pattern, part, re.MULTILINE)
        return int(match[1].replace(",", "")) if match else 0

    keys = ("began", "ended", "before", "after", "removed", "kept", "unsettled", "lacking")
    result = re.search(r"^result (\d+)$", text, re.MULTILINE)
    return LastRun(
        **{key: number(rf"^{key} (\d+)$", text) for key in keys},
        result=int(result[1]) if result else None,
        error="; ".join(re.findall(r"^error (.*)$", text, re.MULTILINE)),
        passes=[
            Pass(
                **{key: number(pattern, part) for key, pattern in _STATS.items()},
                **{key: number(rf"^{key} (\d+)$", part) for key in ("rc", "vanished")},
            )
            for part in passes
        ],
    )


def counted(hosts) -> Counted:
    """How many files and directories the copy has; both 0 without a copy."""
    numbers = hosts.run(
        hosts.site.roles.backup,
        ["sh", "-c", _COUNT, "count", hosts.site.backup.target],
        sudo=True,
        timeout=HOUR,
    ).text.split()
    return Counted(*map(int, numbers or (0, 0)))


def differences(hosts, began: float) -> Differences:
    """How the copy differs from the store now. `began`: of the last run, seconds since the epoch.

    A message counts as copied under any name that differs by its flags alone. One without any is
    missing when the copy's own UID list names it, or when nobody touched it since the run began,
    nor renamed its folder, if the copy has none of that name. Clocks may differ by limits.clock.
    """
    site = hosts.site
    report = json.loads(
        hosts.run(site.roles.backup, [script(site), "check"], sudo=True, timeout=HOUR).out
    )
    names = [os.fsencode(name) for name in report["other"]]
    changed = _changed(hosts, names, set(map(os.fsencode, report.get("new", []))))
    # a file that is gone now was renamed or deleted since the run: it is not lost
    missing = [
        name
        for name in names
        if changed.get(name, began + site.limits.clock) < began - site.limits.clock
    ]
    missing += [os.fsencode(name) for name in report["lost"]]
    return Differences(
        missing=len(missing),
        since=len(names) + len(report["lost"]) + report["renamed"] - len(missing),
        gone=report["gone"],
        first=[name.decode("utf-8", "backslashreplace") for name in missing[:SHOWN]],
        failed=report.get("failed", {}),
    )


def _changed(hosts, names, folders):
    """{name: when it last changed, in seconds since the epoch} of the files that are in the store.

    folders: those whose own time counts as well, for what is in them.
    """
    site, changed = hosts.site, {}
    argv = [site.new_store.python, "-I", "-S", "-c", _CHANGED, site.backup.store]
    for start in range(0, len(names), ASKED):
        asked = [(_within(name, folders), name) for name in names[start : start + ASKED]]
        given = b"".join(folder + b"\0" + name + b"\0" for folder, name in asked)
        listing = hosts.run(site.roles.new, argv, sudo=True, input=given, timeout=600).out
        for line in listing.split(b"\0"):
            at, _, path = line.partition(b" ")
            if path:
                changed[path] = int(at)
    return changed


def _within(name, folders):
    """Which of the folders a file of a Maildir is in, or b""."""
    own = os.path.dirname(name)
    return next((path for path in (own, os.path.dirname(own)) if path in folders), b"")
