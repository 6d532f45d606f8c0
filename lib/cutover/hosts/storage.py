"""Where the new host's store lies, and what is known of its copy on other storage. What does the copying: store/relocate.py."""

import json
import re
import time

from cutover import errors
from cutover.hosts import facts, machine

MARK = ".cutover-copy"      # as store/relocate.py has it
BUSY = ["sendmail", "sendmail-mta", "procmail", "dmail", "deliver", "dovecot-lda", "imap", "imap-login", "pop3", "pop3-login",
        "lmtp"]


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
ExecStart=/bin/sh -c 'test -e {store}/{MARK} || {{ test -e {to}/{MARK} && mount --bind {to} {store}; }}'
ExecStop=/bin/sh -c 'test ! -e {store}/{MARK} || umount {store} || umount -l {store}'

[Install]
{f"RequiredBy={names}" if names else "WantedBy=multi-user.target"}
"""


def mounted(hosts, name: str, store: str, to: str) -> bool:
    """Whether the store's path shows the new storage."""
    result = hosts.run(name, ["stat", "-L", "-c", "%d:%i", "--", store, to], sudo=True, check=False)
    seen = result.text.split()
    return result.rc == 0 and len(seen) == 2 and seen[0] == seen[1]


def plan(hosts, name: str, store: str, to: str, work: str) -> dict:
    """What the work on the host has to know besides what is asked of it."""
    lease = f"{hosts.site.new_store.work}/lease"
    return {"store": store, "to": to, "place": place(work), "users": facts.users(hosts, name),
            "passed": [lease[len(store) + 1:]] if lease.startswith(store + "/") else []}


def place(work: str) -> str:
    return f"{work}/move-store"


def state(hosts, name: str, work: str) -> dict:
    """What is known of the copy, see store/relocate.py; {} before there is one."""
    result = hosts.run(name, ["cat", f"{place(work)}/state.json"], sudo=True, check=False)
    try:
        return json.loads(result.out) if result.rc == 0 else {}
    except ValueError:
        return {}


def new_place(hosts, name: str, to: str) -> dict:
    """`{"there": is a directory, "names": [a few of what is in it], "ours": it is a copy of ours, "filesystem": see machine,
    "lasting": its mount comes back after a reboot}`"""
    listed = hosts.run(name, ["ls", "-A", "--", to + "/"], sudo=True, check=False)
    found = {"there": listed.rc == 0, "names": [], "ours": False, "filesystem": None, "lasting": False}
    if listed.rc == 0:
        names = [line for line in listed.text.splitlines() if line != "lost+found"]
        found.update(ours=MARK in names, names=sorted(names)[:5], filesystem=machine.filesystem(hosts, name, to))
        found["lasting"] = lasting(hosts, name, found["filesystem"]["target"])
    return found


def lasting(hosts, name: str, target: str) -> bool:
    """Whether a mount point is one of /etc/fstab, or of a unit; the root is."""
    if target == "/":
        return True
    escaped = hosts.run(name, ["systemd-escape", "--path", "--suffix=mount", target], check=False)
    if escaped.rc:
        return False
    return bool(hosts.run(name, ["systemctl", "show", "--property=FragmentPath", "--value", "--", escaped.text.strip()],
                          check=False).text.strip())


def wait_for_quiet(hosts, name: str):
    """Return when nothing is delivered or read there any more; raises Busy."""
    until = time.monotonic() + hosts.site.limits.queue_drain
    while True:
        alive = facts.processes(hosts, name, BUSY)
        if not alive:
            return
        if time.monotonic() > until:
            raise Busy(f"{name}: these still work on the store: " + ", ".join(
                f"{each['command']} {each['pid']} ({each['user']})" for each in alive[:5]) + ". See what they wait for.")
        time.sleep(0.3)


def folders(hosts, name: str) -> dict:
    """`{user: {folder: [messages, uidnext, uidvalidity, unseen]}}` by Dovecot, now."""
    script = ('while read -r user uid gid home; do echo "user $user"; USER=$user HOME=$home setpriv --reuid "$uid" '
              '--regid "$gid" --init-groups doveadm -f tab mailbox status "messages uidnext uidvalidity unseen" "*" '
              '2>/dev/null; done')
    lines = "".join(f"{each['user']} {each['uid']} {each['gid']} {each['home']}\n" for each in facts.users(hosts, name))
    result = hosts.run(name, ["sh", "-c", f"cd /; {script}"], sudo=True, input=lines.encode(), timeout=600)
    return parse_folders(result.text)


def parse_folders(text: str) -> dict:
    found, user = {}, None
    for line in text.splitlines():
        if line.startswith("user "):
            user = found.setdefault(line[5:], {})
        elif user is not None and "\t" in line and not line.startswith("mailbox\t"):
            folder, *values = line.split("\t")
            user[folder] = [int(value) for value in values]
    return found
