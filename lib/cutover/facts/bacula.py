"""Bacula on the backup host: the Director's answers, its configuration, and its jobs.

Every question goes to the Director by bconsole, as an operator's would, so it works with any
catalog. What the jobs saved of a user: facts/bacula_files.py.
"""

import dataclasses
import re

from cutover import model
from cutover.facts import backup_copy
from cutover.model import errors

LEVELS = {"F": "Full", "D": "Differential", "I": "Incremental"}
FULL = "F"
GOOD = "T"  # a job's termination status when all went well
USABLE = "TW"  # statuses of jobs from which mail can be restored: W had warnings
WAIT = 600  # seconds for an answer

# whether the Director has read the file $1 since it was written
_READ = r"""
status=$(printf 'status director\n' | bconsole -n | sed -n 's/.*conf reloaded //p' | head -n 1)
[ "$(date -d "$status" +%s)" -ge "$(stat -c %Y "$1")" ]
"""


class BaculaRefused(errors.CutoverError):
    """The Director did not answer, or not with what was asked for; the message has its words."""


def name(site) -> str:
    """Our job, and what else of Bacula's resources belongs to it."""
    return backup_copy.name(site)


def restore_job(site) -> str:
    return f"{name(site)}-restore"


def file(site) -> str:
    """Our part of the Director's configuration."""
    return f"/etc/bacula/{name(site)}.conf"


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of a job.

    began, ended: "YYYY-MM-DD HH:MM:SS" by the Director's clock; ended is "" while it runs.
    lacking: files that were missing when they were to be saved. pruned: the catalog has forgotten
    its files. at: its end in seconds since the epoch.
    """

    id: int
    level: str
    status: str
    began: str
    ended: str
    files: int
    bytes: int
    errors: int
    lacking: int
    pruned: bool
    at: int

    @property
    def succeeded(self) -> bool:
        return self.status == GOOD and not self.errors

    def in_words(self) -> str:
        """The figures of the job on one line."""
        return (
            f"JobId {self.id}, {LEVELS.get(self.level, self.level)}, {self.began} to "
            f"{self.ended[11:]}: status {self.status}, {self.files} files, {self.bytes} bytes, "
            f"{self.errors} errors"
        )


@dataclasses.dataclass(frozen=True)
class Status:
    """What the Director knows.

    schedule: [level, "24-Nov", "05:30"] rows of the next eight days. saved: runs of our job, oldest
    first.
    """

    clients: list[str]
    storages: list[str]
    jobs: list[str]
    schedule: list[tuple[str, str, str]]
    saved: list[Job]


# --- its configuration


def included(hosts, config: str, path: str) -> bool:
    """Whether the Director's configuration includes a file."""
    argv = ["grep", "-qxF", "--", f"@{path}", config]
    return hosts.run(hosts.site.roles.backup, argv, sudo=True, check=False).rc == 0


def syntax_errors(hosts, config: str) -> str:
    """What the Director's syntax check reports about its configuration; "" when it is valid."""
    argv = ["bacula-dir", "-t", "-c", config]
    check = hosts.run(hosts.site.roles.backup, argv, sudo=True, check=False)
    if check.rc == 0:
        return ""
    output = _hidden((check.out + check.err).decode(errors="replace"))
    return re.sub(r"\s+", " ", output).strip() or f"bacula-dir -t ended with {check.rc}"


def _hidden(output: str) -> str:
    """Bacula's programs quote a line that they do not understand: it may hold a password."""
    return re.sub(r'(password\s*=\s*)("[^"\n]*"?|\S+)', r"\1(hidden)", output, flags=re.IGNORECASE)


def was_read(hosts) -> bool:
    """Whether the Director has read our file since it was written."""
    argv = ["sh", "-c", _READ, "read", file(hosts.site)]
    return hosts.run(hosts.site.roles.backup, argv, sudo=True, check=False).rc == 0


# --- the Director


def ask(hosts, *commands: str) -> list[str]:
    """The Director's answer to each command. Raises BaculaRefused when it does not answer."""
    host = hosts.site.roles.backup
    console = hosts.run(
        host,
        ["bconsole", "-n"],
        sudo=True,
        check=False,
        timeout=WAIT,
        input="".join(f"{command}\n" for command in commands).encode("utf-8", "surrogateescape"),
    )
    # the console adds this to any answer while the Director's log has news
    output = re.sub(
        r"^You have messages\.\n",
        "",
        console.out.decode("utf-8", "surrogateescape"),
        flags=re.MULTILINE,
    )
    if console.rc or "\n1000 OK" not in output:
        reason = _hidden(output + console.err.decode(errors="replace")).strip()
        raise BaculaRefused(
            f"asking Bacula's Director on {host} failed: {reason or f'bconsole: {console.rc}'}. "
            "Check `systemctl status bacula-director` and `bconsole` there."
        )
    answers = []
    for command in reversed(commands):  # it repeats each command on a line of its own
        output, there, answer = output.rpartition(f"\n{command}\n")
        if not there:
            raise BaculaRefused(
                f"Bacula's Director on {host} stopped answering at `{command}`: "
                f"{output[-300:].strip()}"
            )
        output += "\n"
        answers.insert(0, answer)
    return answers


def status(hosts) -> Status:
    """What the Director knows of clients, storages, jobs, the schedule and the runs of our job."""
    clients, storages, jobs, saved = ask(hosts, ".clients", ".storage", ".jobs", "llist jobs")
    ours, schedule = name(hosts.site), ""
    if ours in jobs.split():
        (schedule,) = ask(hosts, f"status schedule job={ours} days=8")
    return Status(
        clients=clients.split(),
        storages=storages.split(),
        jobs=jobs.split(),
        schedule=re.findall(
            r"^(\w+) +Backup +\d+ +\w+ (\d\d-\w+) (\d\d:\d\d) ", schedule, re.MULTILINE
        ),
        saved=parse_jobs(saved, ours),
    )


_TEXTS = {
    "Level": "level",
    "JobStatus": "status",
    "StartTime": "began",
    "EndTime": "ended",
}
_NUMBERS = {
    "JobId": "id",
    "JobFiles": "files",
    "JobBytes": "bytes",
    "JobErrors": "errors",
    "JobMissingFiles": "lacking",
    "PurgedFiles": "pruned",
    "JobTDate": "at",
}


def parse_jobs(output: str, name: str) -> list[Job]:
    """The runs of a job, as `llist jobs` prints them."""
    jobs = []
    for block in re.split(r"\n\s*\n", output):
        values = dict(re.findall(r"^ *(\w+): ?(.*?) *$", block, re.MULTILINE))
        if values.get("Name") != name or not {*_TEXTS, *_NUMBERS} <= values.keys():
            continue
        texts = {key: values[label] for label, key in _TEXTS.items()}
        numbers = {key: int(values[label].replace(",", "") or 0) for label, key in _NUMBERS.items()}
        texts["ended"] = texts["ended"] if texts["ended"] != "0" else ""
        jobs.append(Job(**{**texts, **numbers, "pruned": bool(numbers["pruned"])}))
    return jobs


def job(hosts, number: int, name: str) -> Job | None:
    """One run of a job; None when the catalog does not know it (yet)."""
    return next(iter(parse_jobs(ask(hosts, f"llist jobid={number}")[0], name)), None)


def waiting(hosts, number: int) -> str:
    """What a running job waits for when that is a volume that a person has to bring; else ""."""
    match = re.search(
        rf"^ *{number} .* (is waiting (?:for a mount|for an append|on.*[Vv]olume).*)$",
        ask(hosts, "status director")[0],
        re.MULTILINE,
    )
    return match[1].strip() if match else ""


def log(hosts, number: int) -> str:
    """The end of a job's log: its errors, or what it asks for."""
    lines = [
        re.sub(r"\s+", " ", line.strip("|\\ "))
        for line in model.lines(ask(hosts, f"list joblog jobid={number}")[0])
    ]
    wrong = [line for line in lines if re.search(r"\b(Error|Fatal|Warning|Please|ERR=)", line)]
    return "; ".join(wrong[-3:])[:600]


def chain(hosts, number: int) -> list[int]:
    """The JobIds that hold what a job saw: its Full, the jobs between, and itself."""
    answer = ask(hosts, f".bvfs_get_jobids jobid={number}")[0]
    match = re.search(r"^(\d+(?:,\d+)*)\s*$", answer, re.MULTILINE)
    if not match:
        raise BaculaRefused(
            f"Bacula on {hosts.site.roles.backup} does not name the jobs that JobId {number} "
            f"rests on: {answer.strip()}"
        )
    return [int(jobid) for jobid in match[1].split(",")]


@dataclasses.dataclass(frozen=True)
class SavedState:
    """jobs: the runs that hold it, oldest first. first: when the first good run began, or ""."""

    jobs: list[Job]
    first: str


def saved_by(hosts, moment: str) -> SavedState:
    """The state of the last usable run that began by `moment` ("YYYY-MM-DD HH:MM:SS", or "")."""
    runs = status(hosts).saved
    usable = [run for run in runs if run.status in USABLE]
    before = [run for run in usable if not moment or run.began <= moment]
    numbers = chain(hosts, before[-1].id) if before else []
    return SavedState(
        jobs=[run for run in runs if run.id in numbers],
        first=usable[0].began if usable else "",
    )
