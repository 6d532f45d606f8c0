"""Where the new host's store lies, and what is known of its copy on other storage. What does the copying: store/relocate.py."""

import json
import pathlib
import re
import time

from cutover import model
from cutover.facts import machine, processes, users
from cutover.model import errors

MARK = ".cutover-copy"  # as store/relocate.py has it
BUSY = [
    "sendmail",
    "sendmail-mta",
    "procmail",
    "dmail",
    "deliver",
    "dovecot-lda",
    "imap",
    "imap-login",
    "pop3",
    "pop3-login",
    "lmtp",
]


class Busy(errors.CutoverError):
    """Deliveries or sessions do not end."""


def unit(store: str) -> str:
    return "cutover-store-" + re.sub(r"[^A-Za-z0-9]+", "-", store).strip("-") + ".service"


def unit_text(store: str, to: str, services) -> str:
    """The unit that mounts the new storage over the store, before anything that serves mail, which cannot start without.

    A mount unit could not do it: the store's path may be a mount point already, and systemd keeps one mount a path.
    """
    names = " ".join(f"{name}.service" if "." not in name else name for name in services)
    return f"""\
# Written by mail-cutover: the mail store lies on other storage than before; the old one is beneath.
[Unit]
Description=The new mail store in {store}
RequiresMountsFor={to} {store}
{f"Before={names}" if names else "Before=multi-user.target"}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'test -e {to}/{MARK} && {{ test {store} -ef {to} || mount --bind {to} {store}; }}'
ExecStop=/bin/sh -c 'test ! {store} -ef {to} || umount {store} || umount -l {store}'

[Install]
{f"RequiredBy={names}" if names else "WantedBy=multi-user.target"}
"""


def unit_place(text) -> str:
    """The directory that a unit's text puts in the store's place; "" for another text, or none."""
    found = re.search(r"mount --bind (\S+) ", text or "")
    return found[1] if found else ""


def mounted(hosts, name: str, store: str, to: str) -> bool:
    """Whether the store's path shows the new storage."""
    result = hosts.run(name, ["stat", "-L", "-c", "%d:%i", "--", store, to], sudo=True, check=False)
    seen = result.text.split()
    return result.rc == 0 and len(seen) == 2 and seen[0] == seen[1]


def plan(hosts, name: str, store: str, to: str, work: str) -> dict:
    """What the work on the host has to know besides what is asked of it."""
    lease = f"{hosts.site.new_store.work}/lease"
    return {
        "store": store,
        "to": to,
        "place": place(work),
        "users": model.to_json(users.read(hosts, name)),
        "passed": [lease[len(store) + 1 :]] if lease.startswith(store + "/") else [],
    }


def place(work: str) -> str:
    return f"{work}/move-store"


def notes(hosts, name: str, work: str) -> dict:
    """`{"alone", "copies"}`: what is known of the copies, see store/relocate.py."""
    result = hosts.run(name, ["cat", f"{place(work)}/state.json"], sudo=True, check=False)
    try:
        found = json.loads(result.out) if result.rc == 0 else {}
    except ValueError:
        found = {}
    return {"alone": found.get("alone"), "copies": found.get("copies", {})}


def state(hosts, name: str, work: str, to: str) -> dict:
    """What is known of one copy; {} before there is one."""
    return notes(hosts, name, work)["copies"].get(to, {})


def mark(hosts, name: str, directory: str) -> dict | None:
    """What a copy's mark says: `{"store", "place": the directory where it was made}`; None where there is none."""
    result = hosts.run(name, ["cat", "--", f"{directory}/{MARK}"], sudo=True, check=False)
    lines = [*result.text.split("\n"), ""]
    return {"store": lines[0], "place": lines[1]} if result.rc == 0 else None


def new_place(hosts, name: str, store: str, to: str) -> dict:
    """`{"there": is a directory, "names": [a few of what is in it], "ours": it is a copy of ours, "mark": see mark(), "real": its
    path without links, "inside": a directory above it is the store, "filesystem": see machine, "lasting": its mount comes back
    after a reboot}`"""
    listed = hosts.run(name, ["ls", "-A", "--", to + "/"], sudo=True, check=False)
    found = {
        "there": listed.rc == 0,
        "names": [],
        "ours": False,
        "mark": None,
        "real": to,
        "inside": False,
        "filesystem": None,
        "lasting": False,
    }
    if listed.rc == 0:
        names = [
            line for line in listed.text.splitlines() if line not in ("lost+found", MARK + ".part")
        ]
        found.update(
            ours=MARK in names,
            names=sorted(names)[:5],
            mark=mark(hosts, name, to),
            real=real(hosts, name, to),
            filesystem=machine.filesystem(hosts, name, to),
        )
        above = [str(each) for each in pathlib.PurePosixPath(found["real"]).parents]
        seen = hosts.run(
            name, ["stat", "-L", "-c", "%d:%i", "--", store, *above], sudo=True, check=False
        ).text.split()
        found["inside"] = seen[0] in seen[1:] if seen else False
        found["lasting"] = lasting(hosts, name, found["filesystem"]["target"])
    return found


def real(hosts, name: str, path: str) -> str:
    """A path with its symbolic links followed."""
    return hosts.run(name, ["readlink", "-m", "--", path], sudo=True).text.rstrip("\n")


def lasting(hosts, name: str, target: str) -> bool:
    """Whether a mount point is one of /etc/fstab, or of a unit; the root is."""
    if target == "/":
        return True
    escaped = hosts.run(name, ["systemd-escape", "--path", "--suffix=mount", target], check=False)
    if escaped.rc:
        return False
    return bool(
        hosts.run(
            name,
            ["systemctl", "show", "--property=FragmentPath", "--value", "--", escaped.text.strip()],
            check=False,
        ).text.strip()
    )


def wait_for_quiet(hosts, name: str):
    """Return when nothing is delivered or read there any more; raises Busy."""
    until = time.monotonic() + hosts.site.limits.queue_drain
    while True:
        alive = processes.running(hosts, name, BUSY)
        if not alive:
            return
        if time.monotonic() > until:
            raise Busy(
                f"{name}: these still work on the store: "
                + ", ".join(map(str, alive[:5]))
                + ". See what they wait for."
            )
        time.sleep(0.3)


def folders(hosts, name: str) -> dict:
    """`{user: {folder: [messages, uidnext, uidvalidity, unseen]}}` by Dovecot, now."""
    script = (
        'while read -r user uid gid home; do echo "user $user"; USER=$user HOME=$home setpriv --reuid "$uid" '
        '--regid "$gid" --init-groups doveadm -f tab mailbox status "messages uidnext uidvalidity unseen" "*" '
        "2>/dev/null; done"
    )
    lines = "".join(
        f"{each['user']} {each['uid']} {each['gid']} {each['home']}\n"
        for each in model.to_json(users.read(hosts, name))
    )
    result = hosts.run(
        name, ["sh", "-c", f"cd /; {script}"], sudo=True, input=lines.encode(), timeout=600
    )
    return parse_folders(result.text)


def parse_folders(text: str) -> dict:
    found, user = {}, None
    for line in text.split("\n"):  # a folder's name may hold what else counts as an end
        if line.startswith("user "):
            user = found.setdefault(line[5:], {})
        elif user is not None and "\t" in line and not line.startswith("mailbox\t"):
            folder, *values = line.split("\t")
            user[folder] = [int(value) for value in values]
    return found
