"""Bacula on the backup host: what is configured there, its jobs, and what they saved of a user.

Everything is asked of the Director by bconsole, as an operator would, so it holds for any catalog. Files are looked for by BVFS,
Bacula's file system over the catalog: it reads one folder at a time, where the restore command would first build the tree of
every file that was saved. The first question about a job has Bacula write a list of its directories into the catalog.

Jobs are Accurate: what is gone from the copy, or was renamed in it, is known as gone. Else each flag that changed would give a
message a second name, and a restore would bring both. The File daemon holds the list of files in memory for it.
"""

import re
import time

from cutover.facts import backup_copy as backups
from cutover.facts import mailboxes
from cutover.model import errors

NAME = "mailbackup"
RESTORE = f"{NAME}-restore"
FILE = f"/etc/bacula/{NAME}.conf"
LEVELS = {"F": "Full", "D": "Differential", "I": "Incremental"}
USABLE = "TW"  # of jobs from which mail can be restored: W had warnings
GOOD = "T"  # the job's termination status when all went well
MONTH = 31 + 9  # days: a Full is made on the first of each month, and a volume is used for a week
EVERYTHING = 2_000_000_000  # rows of an answer; BVFS gives 2000 when it is not told
LISTS = ("dovecot-uidlist", "dovecot-keywords")
WAIT = 600  # seconds for an answer
END = 60  # seconds for a cancelled job to end
MARK = (
    ".mail-cutover"  # in each directory that was made for a restore: the JobId that restores to it
)

_CONFIG = """# Bacula of the copy of the mail store. Written by mail-cutover, included by one line of {config}.
Job {{
  Name = {name}
  Type = Backup
  Level = Incremental
  Accurate = yes
  Client = {client}
  FileSet = {name}
  Schedule = {name}
  Storage = {storage}
  Pool = {name}
  Messages = {name}
  Spool Attributes = yes
  # while a copy is being made, wait for its end
  Client Run Before Job = "/usr/bin/flock --timeout {wait} {lock} true"
}}
Job {{
  Name = {restore}
  Type = Restore
  Client = {client}
  FileSet = {name}
  Storage = {storage}
  Pool = {name}
  Messages = {name}
  Where = {work}
}}
# everything: the lists of UIDs and keywords are what makes files a mailbox
FileSet {{
  Name = {name}
  Include {{
    Options {{
      Signature = SHA1
      NoAtime = yes
    }}
    File = {target}
  }}
}}
Schedule {{
  Name = {name}
  Run = Level=Full on 1 at {at}
  Run = Level=Differential on 2-31 sun at {at}
  Run = Level=Incremental on 2-31 mon-sat at {at}
}}
Pool {{
  Name = {name}
  Pool Type = Backup
  Label Format = "{name}-"
  Maximum Volume Bytes = 20G
  Volume Use Duration = 7 days
  Volume Retention = {keep} days
  File Retention = {keep} days
  Job Retention = {keep} days
  AutoPrune = yes
  Recycle = yes
}}
Messages {{
  Name = {name}
  console = all, !skipped, !restored
  catalog = all, !skipped, !saved, !restored
}}
"""

# $1 the configuration, $2 the file it is to include, $3 "in" or "out". What else stands in it, passwords too, is not read by us.
_INCLUDE = r"""
line="@$2"
if [ "$3" = in ]; then
    grep -qxF -- "$line" "$1" && exit
    [ -z "$(tail -c 1 "$1")" ] || echo >> "$1"
    printf '%s\n' "$line" >> "$1"
else
    grep -qxF -- "$line" "$1" || exit 0
    kept=$(mktemp) && { grep -vxF -- "$line" "$1" || true; } > "$kept" && cat "$kept" > "$1"
    rm -f "$kept"
fi
"""
# whether the Director has read the file since it was written
_READ = r"""
said=$(printf 'status director\n' | bconsole -n | sed -n 's/.*conf reloaded //p' | head -n 1)
[ "$(date -d "$said" +%s)" -ge "$(stat -c %Y "$1")" ]
"""


class BaculaRefused(errors.CutoverError):
    """The Director did not answer, or not with what was asked for; the message has its words."""


def text(site) -> str:
    """What is told to the Director: job, files, schedule, pool and volumes."""
    bacula = site.backup.bacula
    return _CONFIG.format(
        name=NAME,
        restore=RESTORE,
        config=bacula.config,
        client=bacula.client,
        storage=bacula.storage,
        work=bacula.work,
        target=site.backup.target,
        at=bacula.at,
        keep=bacula.days + MONTH,
        wait=bacula.wait,
        lock=f"{backups.STATE}/lock",
    )


def include(hosts, config: str, path: str, wanted: bool) -> None:
    """Have the Director's configuration include a file, or not; everything else of it stays, to the byte."""
    hosts.run(
        hosts.site.roles.backup,
        ["sh", "-ec", _INCLUDE, "include", config, path, "in" if wanted else "out"],
        sudo=True,
    )


def included(hosts, config: str, path: str) -> bool:
    return (
        hosts.run(
            hosts.site.roles.backup,
            ["grep", "-qxF", "--", f"@{path}", config],
            sudo=True,
            check=False,
        ).rc
        == 0
    )


def check(hosts, config: str) -> str:
    """What the Director's own syntax check says against its configuration; empty when it is sound."""
    done = hosts.run(
        hosts.site.roles.backup, ["bacula-dir", "-t", "-c", config], sudo=True, check=False
    )
    said = _hidden((done.out + done.err).decode(errors="replace"))
    return (
        ""
        if done.rc == 0
        else re.sub(r"\s+", " ", said).strip() or f"bacula-dir -t ended with {done.rc}"
    )


def _hidden(said: str) -> str:
    """Bacula's programs quote the line that they do not understand: it may hold a password."""
    return re.sub(r'(password\s*=\s*)("[^"\n]*"?|\S+)', r"\1(hidden)", said, flags=re.IGNORECASE)


def was_read(hosts) -> bool:
    """Whether the Director has read our file since it was written."""
    return (
        hosts.run(
            hosts.site.roles.backup, ["sh", "-c", _READ, "read", FILE], sudo=True, check=False
        ).rc
        == 0
    )


# --- what is asked of the Director


def ask(hosts, *commands: str) -> list:
    """The Director's answer to each command, a text each. Raises BaculaRefused when it is not there."""
    done = hosts.run(
        hosts.site.roles.backup,
        ["bconsole", "-n"],
        sudo=True,
        check=False,
        timeout=WAIT,
        input="".join(f"{each}\n" for each in commands).encode("utf-8", "surrogateescape"),
    )
    # what the console adds to any answer while the Director's log has news
    said = re.sub(
        r"^You have messages\.\n",
        "",
        done.out.decode("utf-8", "surrogateescape"),
        flags=re.MULTILINE,
    )
    answers = []
    if done.rc or "\n1000 OK" not in said:
        words = _hidden(said + done.err.decode(errors="replace")).strip()
        raise BaculaRefused(
            f"{hosts.site.roles.backup}: Bacula's Director does not answer: {words or f'bconsole: {done.rc}'}. "
            "`systemctl status bacula-director` and `bconsole` there."
        )
    for each in reversed(commands):  # it repeats each command in a line of its own
        said, there, answer = said.rpartition(f"\n{each}\n")
        if not there:
            raise BaculaRefused(
                f"{hosts.site.roles.backup}: Bacula's Director broke off at `{each}`: {said[-300:].strip()}"
            )
        said += "\n"
        answers.insert(0, answer)
    return answers


def status(hosts) -> dict:
    """`{"clients", "storages", "jobs": [names], "schedule": [[level, "24-Nov", "05:30"]] of eight days, "saved": parse_jobs() of
    our job}`."""
    clients, storages, there, saved = ask(hosts, ".clients", ".storage", ".jobs", "llist jobs")
    schedule = ask(hosts, f"status schedule job={NAME} days=8")[0] if NAME in there.split() else ""
    return {
        "clients": clients.split(),
        "storages": storages.split(),
        "jobs": there.split(),
        "schedule": [
            list(each)
            for each in re.findall(
                r"^(\w+) +Backup +\d+ +\w+ (\d\d-\w+) (\d\d:\d\d) ", schedule, re.MULTILINE
            )
        ],
        "saved": parse_jobs(saved, NAME),
    }


_KEYS = {
    "JobId": "id",
    "Level": "level",
    "JobStatus": "status",
    "StartTime": "began",
    "EndTime": "ended",
    "JobFiles": "files",
    "JobBytes": "bytes",
    "JobErrors": "errors",
    "JobMissingFiles": "lacking",
    "PurgedFiles": "pruned",
    "JobTDate": "at",
}


def parse_jobs(said: str, name: str) -> list:
    """`[{"id", "level", "status", "began", "ended" ("YYYY-MM-DD HH:MM:SS" by the Director's clock, "" while it is at work),
    "files", "bytes", "errors", "lacking", "pruned": whether its file records are gone, "at": its end in seconds since the
    epoch}]` of a job's runs, as llist prints them."""
    found = []
    for block in re.split(r"\n\s*\n", said):
        values = dict(re.findall(r"^ *(\w+): ?(.*?) *$", block, re.MULTILINE))
        if values.get("Name") != name or not set(_KEYS) <= values.keys():
            continue
        each = {key: values[said] for said, key in _KEYS.items()}
        for key in ("id", "files", "bytes", "errors", "lacking", "pruned", "at"):
            each[key] = int(each[key].replace(",", "") or 0)
        found.append(
            {
                **each,
                "pruned": bool(each["pruned"]),
                "ended": each["ended"] if each["ended"] != "0" else "",
            }
        )
    return found


def job(hosts, number: int, name: str) -> dict | None:
    """One run of a job, see parse_jobs(); None when the catalog does not know it (yet)."""
    return next(iter(parse_jobs(ask(hosts, f"llist jobid={number}")[0], name)), None)


def start(hosts, *commands: str) -> int:
    """Give commands of which the last queues a job. → its JobId. Raises BaculaRefused."""
    answers = ask(hosts, *commands)
    queued = re.search(r"Job queued\. JobId=(\d+)", answers[-1])
    if not queued:
        raise BaculaRefused(
            f"{hosts.site.roles.backup}: Bacula queued no job for `{commands[-1]}`: {answers[-1].strip()[-500:]}"
        )
    return int(queued[1])


def waiting(hosts, number: int) -> str:
    """What a running job waits for when that is a volume that somebody has to bring; else empty."""
    said = re.search(
        rf"^ *{number} .* (is waiting (?:for a mount|for an append|on.*[Vv]olume).*)$",
        ask(hosts, "status director")[0],
        re.MULTILINE,
    )
    return said[1].strip() if said else ""


def log(hosts, number: int) -> str:
    """The end of what a job said: its errors, or what it asks for."""
    said = [
        re.sub(r"\s+", " ", line.strip("|\\ "))
        for line in ask(hosts, f"list joblog jobid={number}")[0].splitlines()
    ]
    told = [line for line in said if re.search(r"\b(Error|Fatal|Warning|Please|ERR=)", line)]
    return "; ".join(told[-3:])[:600]


# --- what was saved


def chain(hosts, number: int) -> list:
    """The JobIds that hold what a job saw: the Full it rests on, what came between, and itself."""
    said = ask(hosts, f".bvfs_get_jobids jobid={number}")[0]
    found = re.search(r"^(\d+(?:,\d+)*)\s*$", said, re.MULTILINE)
    if not found:
        raise BaculaRefused(
            f"{hosts.site.roles.backup}: Bacula does not say on which jobs JobId {number} rests: {said.strip()}"
        )
    return [int(each) for each in found[1].split(",")]


def _rows(said):
    """(PathId, FileId, name) of what BVFS lists; what was deleted has no mode."""
    for line in said.splitlines():
        fields = line.split("\t")
        if len(fields) == 6 and fields[4].split()[2:3] != ["A"]:
            yield int(fields[0]), int(fields[2]), fields[5]


def listing(hosts, jobs: list, user: str) -> dict | None:
    """The folders of a user as these jobs saved them: `{name as IMAP says it: {"directory", "messages": files, "dirids":
    [PathIds], "fileids": [FileIds]}}`, the last two being what has to be restored of it; None when there is no such user."""
    numbers, every = ",".join(map(str, jobs)), f"limit={EVERYTHING}"
    top = f"{hosts.site.backup.target}/{user}/"
    _, dirs, files = ask(
        hosts,
        f".bvfs_update jobid={numbers}",
        f'.bvfs_lsdirs jobid={numbers} path="{top}" {every}',
        f'.bvfs_lsfiles jobid={numbers} path="{top}" {every}',
    )
    below = {name.rstrip("/"): number for number, _, name in _rows(dirs)}
    if "." not in below:
        return None
    folders = {
        name: number
        for name, number in below.items()
        if name.startswith(".") and name not in (".", "..")
    }
    inside = (
        dict(
            zip(
                folders,
                ask(
                    hosts,
                    *(
                        f".bvfs_lsdirs jobid={numbers} pathid={number} {every}"
                        for number in folders.values()
                    ),
                ),
                strict=True,
            )
        )
        if folders
        else {}
    )
    parts = {".": {name: below[name] for name in ("cur", "new") if name in below}}
    for name, said in inside.items():
        parts[name] = {
            each.rstrip("/"): number for number, _, each in _rows(said) if each in ("cur/", "new/")
        }
    wanted = [
        (name, number)
        for name, there in parts.items()
        if "cur" in there
        for number in there.values()
    ]
    counted = dict.fromkeys(parts, 0)
    answers = (
        ask(
            hosts,
            *(f".bvfs_lsfiles jobid={numbers} pathid={number} {every}" for _, number in wanted),
        )
        if wanted
        else []
    )
    for (name, _), said in zip(wanted, answers, strict=True):
        counted[name] += sum(1 for _ in _rows(said))
    lists = [number for _, number, name in _rows(files) if name in LISTS]
    return {
        "INBOX" if name == "." else mailboxes.name(name[1:].replace(".", "/")): {
            "directory": name,
            "messages": counted[name],
            "dirids": [*there.values()] if name == "." else [folders[name]],
            "fileids": lists if name == "." else [],
        }
        for name, there in parts.items()
        if "cur" in there
    }


def inbox(hosts, jobs: list, user: str) -> tuple:
    """A user's INBOX as these jobs saved it: (`{message's file in the user's tree: FileId}`, [FileIds of its lists])."""
    numbers, top = ",".join(map(str, jobs)), f"{hosts.site.backup.target}/{user}"
    parts = ("cur/", "new/", "")
    _, *said = ask(
        hosts,
        f".bvfs_update jobid={numbers}",
        *(
            f'.bvfs_lsfiles jobid={numbers} path="{top}/{part}" limit={EVERYTHING}'
            for part in parts
        ),
    )
    found = {
        f"{part}{name}": number
        for part, each in zip(parts, said, strict=True)
        for _, number, name in _rows(each)
    }
    return (
        {name: number for name, number in found.items() if "/" in name},
        [found[name] for name in LISTS if name in found],
    )


def restore(hosts, jobs: list, dirids: list, fileids: list, where: str) -> int:
    """Queue a restore of directories, with all below them, and of files to a directory of the backup host. → its JobId

    They come to lie there below their own path. Nothing is asked of whoever sits at the console.
    """
    table = f"b2{jobs[-1]}{(dirids or fileids)[0]}"
    which = [
        f"{key}={','.join(map(str, numbers))}"
        for key, numbers in (("dirid", dirids), ("fileid", fileids))
        if numbers
    ]
    return start(
        hosts,
        f".bvfs_cleanup path={table}",
        f".bvfs_restore jobid={','.join(map(str, jobs))} path={table} " + " ".join(which),
        f"restore file=?{table} client={hosts.site.backup.bacula.client} restorejob={RESTORE} "
        f'where="{where}" done yes',
    )


def scratch(site, run: str, name: str) -> str:
    """Where on the backup host a run has what Bacula restored for it."""
    return f"{site.backup.bacula.work}/{run}/{name}"


def make_scratch(hosts, where: str) -> None:
    """An empty directory that only root may enter, with our mark; what a broken attempt left there goes."""
    remove_scratch(hosts, where)
    script = 'umask 077; mkdir -p -- "$1"; : > "$1/$2"'
    hosts.run(hosts.site.roles.backup, ["sh", "-ec", script, "make", where, MARK], sudo=True)


def note_job(hosts, where: str, number: int) -> None:
    """Write down in a scratch directory which job restores to it: whoever removes it cancels that one first."""
    hosts.ssh(hosts.site.roles.backup).put(f"{number}\n".encode(), f"{where}/{MARK}", sudo=True)


def scratches(hosts) -> list:
    """The paths of all scratch directories that are there, of whatever run. What somebody restored there by hand has no mark."""
    result = hosts.run(
        hosts.site.roles.backup,
        [
            "find",
            hosts.site.backup.bacula.work,
            "-mindepth",
            "3",
            "-maxdepth",
            "3",
            "-name",
            MARK,
            "-printf",
            "%h\\0",
        ],
        sudo=True,
        check=False,
    )
    return sorted(result.out.decode("utf-8", "surrogateescape").split("\0")[:-1])


def remove_scratch(hosts, where: str) -> None:
    """Remove what was restored; only ever below our own directory. A job that still restores to it is cancelled first: it would
    go on writing there."""
    work = hosts.site.backup.bacula.work.rstrip("/")
    if not re.fullmatch(re.escape(work) + r"/[^/]+/[^/]+", where) or ".." in where.split("/"):
        raise BaculaRefused(f"{where} is no directory of a restore below {work}: it is not removed")
    noted = hosts.run(
        hosts.site.roles.backup, ["cat", "--", f"{where}/{MARK}"], sudo=True, check=False
    ).text.strip()
    if noted.isdigit():
        end_restore(hosts, int(noted))
    script = 'rm -rf -- "$1"; rmdir -- "${1%/*}" 2> /dev/null; [ ! -e "$1" ]'
    hosts.run(
        hosts.site.roles.backup, ["sh", "-c", script, "remove", where], sudo=True, timeout=WAIT
    )


def end_restore(hosts, number: int) -> None:
    """Cancel a restore that is at work, and wait for its end. Raises BaculaRefused when it does not end; without a Director
    there is no job."""
    until = time.monotonic() + END
    try:
        run = job(hosts, number, RESTORE)
        if run is None or run["ended"]:
            return
        ask(hosts, f"cancel jobid={number} yes")
    except BaculaRefused:
        return
    while not job(hosts, number, RESTORE)["ended"]:
        if time.monotonic() > until:
            raise BaculaRefused(
                f"{hosts.site.roles.backup}: JobId {number}, a restore that was broken off, was cancelled and "
                "does not end. See `status director` and `status storage` in bconsole; then run this step again."
            )
        time.sleep(0.3)


def scratch_there(hosts, where: str) -> bool:
    return hosts.run(hosts.site.roles.backup, ["test", "-d", where], sudo=True, check=False).rc == 0
