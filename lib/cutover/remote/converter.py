"""The converter on the new host: mbx2maildir is shipped there and run by the host's own Python."""

import json

from cutover import model
from cutover.remote import detached, ship

PROGRAM = "store/__main__.py"
FLAGS = (
    "-I",
    "-S",
)  # the store needs nothing installed; looking for it takes longer than a pass in which nothing changed


def plan(site, run: str, users: list, jobs: int) -> dict:
    """What `store convert-users` takes: where each user's old mail is seen on the new host, and where it goes."""
    old, new = site.old_store, site.new_store

    def fill(template, user):
        return template.format(user=user["user"], home=user["home"])

    return {
        "run": run,
        "work": new.work,
        "jobs": jobs,
        "host": site.fqdn(site.roles.new),
        "users": [
            {
                "user": user["user"],
                "uid": user["uid"],
                "gid": user["gid"],
                "home": user["home"],
                "inbox": [old.on_new(fill(path, user)) for path in old.inbox],
                "spool": old.on_new(fill(old.spool, user)),
                "folders": old.on_new(fill(old.folders, user)),
                "subscriptions": old.on_new(fill(old.subscriptions, user)),
                "maildir": fill(new.maildir, user),
            }
            for user in users
        ],
    }


# Runs the store package from memory, so that reading leaves nothing on the host: both files come on standard input.
_FROM_MEMORY = """
import os, runpy, sys
def held(size):
    descriptor = os.memfd_create("store")
    left = size
    while left:
        part = sys.stdin.buffer.read(min(left, 1 << 20))
        if not part:
            raise SystemExit("standard input ended early")
        left -= len(part)
        while part:
            part = part[os.write(descriptor, part):]
    return "/proc/self/fd/%d" % descriptor
program, plan = held(int(sys.argv[1])), held(int(sys.argv[2]))
sys.argv = [program, sys.argv[3], "--plan", plan] + sys.argv[4:]
runpy.run_path(program, run_name="__main__")
"""


def read(hosts, host: str, plan: dict, command: str, *options, timeout=600) -> dict:
    """Run a reading command of the store package (`state`, `survey`) on a host, from memory.

    → its JSON answer, with `users` by name. A survey that found unreadable files exits 1 and still answers.
    """
    program, text = ship.content(), json.dumps(plan).encode()
    argv = [
        hosts.site.new_store.python,
        "-c",
        _FROM_MEMORY,
        str(len(program)),
        str(len(text)),
        command,
        "--json",
        *options,
    ]
    result = hosts.run(host, argv, sudo=True, input=program + text, timeout=timeout, check=False)
    try:
        answer = json.loads(result.out)
    except ValueError:
        said = result.err.decode("utf-8", "backslashreplace").strip()[-500:]
        raise model.ChangeFailed(
            f"{host}: store {command} ended with {result.rc} and said: {said or 'nothing'}"
        ) from None
    return {**answer, "users": {each["user"]: each for each in answer["users"]}}


# Unpacks and compiles the store, whole or not at all, also when the host loses power.
_UNPACK = """
cd "$1" && rm -rf store store.new && "$2" -I -m zipfile -e store.pyz store.new && "$2" -I -m compileall -q store.new &&
find store.new -exec sync {} + && mv store.new store && rm store.pyz
"""


def install(connection, folder: str, python: str):
    """Have the store package unpacked in a folder of the host, when it is not there as it is here."""
    if connection.run(["test", "-e", f"{folder}/store/{ship.mark()}"], sudo=True, check=False).rc:
        connection.put(ship.content(), f"{folder}/store.pyz", mode=0o600, sudo=True)
        connection.run(["sh", "-c", _UNPACK, "unpack", folder, python], sudo=True)


def run(hosts, host: str, plan: dict, command: str, on_event, name: str = ""):
    """Ship the store package to the plan's work folder and have a writing command done; `on_event(dict)` takes its events.

    It runs apart from the link and from this process (see detached); `name` tells it from other work with the same command.
    → detached.Ended; its exit status is for the caller to judge.
    """
    connection = hosts.ssh(host)
    folder = f"{plan['work']}/{plan['run']}"
    connection.run(["mkdir", "-p", "-m", "0700", plan["work"], folder], sudo=True)
    install(connection, folder, hosts.site.new_store.python)
    name = name or command
    argv = [
        hosts.site.new_store.python,
        *FLAGS,
        f"{folder}/{PROGRAM}",
        command,
        "--plan",
        f"{folder}/{name}.plan.json",
        "--events",
        f"{folder}/{name}.events",
    ]
    return detached.run(hosts, host, folder, name, unit(plan["run"], name), plan, argv, on_event)


def unit(run, name):
    return f"cutover-{run}-{name}"
