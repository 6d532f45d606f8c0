"""Who writes to a store, and what Dovecot counts in it."""

import concurrent.futures
import os
import subprocess
import time

from mbx2maildir import errors

from cutover.remote import store_copies

QUIET = 30  # seconds for files of the store to be closed


class InUse(errors.StoreError):
    """A process still writes to the store."""

    todo = "Stop that process, then run the same command again."


def writers(path):
    """[text] of processes that have a file below `path` open for writing."""
    texts = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        try:
            for number in os.listdir(f"/proc/{pid}/fd"):
                if not os.readlink(f"/proc/{pid}/fd/{number}").startswith(path.rstrip("/") + "/"):
                    continue
                with open(f"/proc/{pid}/fdinfo/{number}") as info:
                    flags = int(
                        next(line.split()[1] for line in info if line.startswith("flags:")), 8
                    )
                if flags & os.O_ACCMODE:
                    with open(f"/proc/{pid}/comm") as name:
                        texts.append(f"{name.read().strip()} ({pid})")
                    break
        except (OSError, StopIteration):
            continue  # it has ended
    return texts


def quiet(path):
    until = time.monotonic() + QUIET
    while True:
        open_files = writers(path)
        if not open_files:
            return
        if time.monotonic() > until:
            raise InUse("open for writing by {}".format(", ".join(open_files[:5])), path)
        time.sleep(0.2)


def counts(values):
    """{user: {folder: [messages, uidnext, uidvalidity, unseen]}} as Dovecot reads the store, for
    each user as that user, so that it works also while Dovecot's services are stopped."""
    with concurrent.futures.ThreadPoolExecutor(values["jobs"]) as pool:
        return dict(pool.map(lambda user: count(user, values["status"]), values["users"]))


def count(user, status):
    environment = dict(
        USER=user["user"],
        HOME=user["home"],
        PATH=os.environ.get("PATH", "/usr/bin:/bin"),
        LC_ALL="C",
    )
    argv = [
        "setpriv",
        "--reuid",
        str(user["uid"]),
        "--regid",
        str(user["gid"]),
        "--init-groups",
        *status,
    ]
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment,
        cwd="/",
    )
    lines = done.stdout.decode("utf-8", "surrogateescape").split("\n")[
        :-1
    ]  # a name may hold what else counts as an end
    if done.returncode or not lines or not lines[0].startswith("mailbox\t"):
        raise store_copies.Different(
            "Dovecot cannot read the mail of {}: {}".format(
                user["user"], done.stderr.decode("utf-8", "backslashreplace").strip()[-300:]
            ),
            todo="See Dovecot's log.",
        )
    rows = (line.split("\t") for line in lines[1:])
    return user["user"], {row[0]: [int(value) for value in row[1:]] for row in rows}
