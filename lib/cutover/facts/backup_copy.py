"""The copy of the new store on the backup host: what is installed for it, what its last run said, whether it is whole.

The backup host pulls. Its root has a key that opens one account of the new host, and there one command: rsync's server in
daemon mode over ssh, whose configuration serves the store alone and read-only. So who breaks into the new host cannot reach
the copy, and who holds the key can read the store and nothing else; a push would need a key by which the new host writes,
and could spoil, its own backup.

Consistent while Dovecot runs: a message file is never written again once it has its name; it is only renamed (new → cur,
flags) or removed. `dovecot-uidlist` is replaced by a rename, or grows by whole lines, and Dovecot passes over a last line
that is torn; what a uidlist names and a folder lacks is dropped, what it lacks gets the next UID. So any mixture of moments
is a Maildir. A message that is renamed while it is looked for is missed (rsync tells of a vanished file), therefore a run only
adds first, in two passes or more, and removes at the end what is gone from the store: see hosts/mailbackup.py, which is what the
backup host runs. Every message that was seen is in the copy, or the run has failed and says how many are not. Dovecot's indexes
are left out: they rebuild themselves.
"""

import json
import os
import pprint
import re
import shlex
from pathlib import Path

from cutover.facts import services
from cutover.remote import backup_copier as mailbackup

NAME = "mailbackup"
MODULE = "posta"
SCRIPT = f"/usr/local/sbin/{NAME}"
CONFIG = f"/etc/{NAME}/rsyncd.conf"
SUDOERS = f"/etc/sudoers.d/{NAME}"
KNOWN_HOSTS = f"/etc/{NAME}/known_hosts"
SERVICE, TIMER = f"{NAME}.service", f"{NAME}.timer"
STATE = f"/var/lib/{NAME}"
SERVED = ["/usr/bin/rsync", "--server", "--daemon", f"--config={CONFIG}", "."]
PYTHON = "/usr/bin/python3"  # of the backup host
LEFT_OUT = ["tmp/*", "dovecot.index*", "dovecot.list.index*", "dovecot*.lock"]
SHOWN = 20  # names of files told in full
ASKED = 20000  # names of files whose age is asked for at once

_SERVICE = """[Unit]
Description=Copy of the mail store (mail-cutover)
Wants=network-online.target
After=network-online.target
# started by hand as often as one likes
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart={script}
Nice=10
IOSchedulingClass=idle
UMask=0077
"""

_TIMER = """[Unit]
Description=Each day a copy of the mail store (mail-cutover)

[Timer]
OnCalendar=*-*-* {at}:00
Persistent=true

[Install]
WantedBy=timers.target
"""

_CONFIG = """# The mail store for the backup host, over ssh alone: see {sudoers}. Written by mail-cutover.
use chroot = yes
uid = root
gid = root
numeric ids = yes
read only = yes
list = no

[{module}]
path = {store}
"""


def wanted(site, account: dict, public: str, host_keys: list, keys_file: str | None) -> list:
    """`[{"host", "path", "mode", "text"}]`: the files that make the backup, in the order in which they are written.

    `account`: `{"home"}` on the new host; `public`: the key's public line; `host_keys`: lines `TYPE BASE64` of the new host;
    `keys_file`: the account's authorized_keys as it is, whose other lines stay.
    """
    backup, new = site.backup, site.roles.new
    command = " ".join(["sudo", "-n", *SERVED])
    granted = f'restrict,from="{site.address(site.roles.backup)}",command="{command}" {" ".join(public.split()[:2])} {NAME}'
    others = [line for line in (keys_file or "").splitlines() if line.split()[-1:] != [NAME]]
    rule = f"{backup.account} ALL=(root) NOPASSWD: {' '.join(each.replace('=', chr(92) + '=') for each in SERVED)}\n"
    files = [
        (new, CONFIG, "0644", _CONFIG.format(sudoers=SUDOERS, module=MODULE, store=backup.store)),
        (new, SUDOERS, "0440", rule),
        (
            new,
            f"{account['home']}/.ssh/authorized_keys",
            "0644",
            "\n".join([*others, granted]) + "\n",
        ),
        (site.roles.backup, KNOWN_HOSTS, "0644", "".join(f"{new} {key}\n" for key in host_keys)),
        (site.roles.backup, SCRIPT, "0755", script(site)),
        (
            site.roles.backup,
            f"/etc/systemd/system/{SERVICE}",
            "0644",
            _SERVICE.format(script=SCRIPT),
        ),
        (site.roles.backup, f"/etc/systemd/system/{TIMER}", "0644", _TIMER.format(at=backup.at)),
    ]
    return [dict(zip(("host", "path", "mode", "text"), each, strict=True)) for each in files]


def script(site) -> str:
    """What the backup host runs each day."""
    backup, new = site.backup, site.roles.new
    ssh = [
        "ssh",
        "-i",
        backup.key,
        "-l",
        backup.account,
        "-p",
        str(site.hosts[new].ssh_port),
        "-o",
        "BatchMode=yes",
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        f"UserKnownHostsFile={KNOWN_HOSTS}",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        f"HostKeyAlias={new}",
    ]
    work = site.new_store.work
    inside = (
        [work[len(backup.store.rstrip("/")) :] + "/"]
        if work.startswith(backup.store.rstrip("/") + "/")
        else []
    )
    settings = {
        "source": f"{site.address(new)}::{MODULE}/",
        "target": backup.target.rstrip("/"),
        "rsh": shlex.join(ssh),
        "exclude": [*inside, *LEFT_OUT],
        "state": STATE,
    }
    return f"#!{PYTHON} -I\n# Written by mail-cutover.\n" + Path(
        mailbackup.__file__
    ).read_text().replace("\nSETTINGS = {}", f"\nSETTINGS = {pprint.pformat(settings)}", 1)


# --- what is so


def account(hosts) -> dict | None:
    """`{"home", "shell"}` of the account on the new host, or None when there is none."""
    result = hosts.run(
        hosts.site.roles.new, ["getent", "passwd", hosts.site.backup.account], check=False
    )
    fields = result.text.strip().split(":")
    return {"home": fields[5], "shell": fields[6]} if result.rc == 0 and len(fields) > 6 else None


def public_key(hosts) -> str | None:
    """The public line of the backup host's key, or None when there is none. The private key is not read."""
    site = hosts.site
    result = hosts.run(site.roles.backup, ["cat", f"{site.backup.key}.pub"], sudo=True, check=False)
    return result.text.strip() if result.rc == 0 else None


def python(hosts) -> str:
    """The version of the backup host's python3, "3.11". Raises ssh.CommandFailed."""
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    return hosts.run(hosts.site.roles.backup, [PYTHON, "-I", "-c", program]).text.strip()


def timer(hosts) -> dict:
    """`{"running", "starts_at_boot", "detail", "next"}` of the timer; `next` in the host's own words, empty when none is due."""
    name = hosts.site.roles.backup
    found = services.read(hosts, name, {"manager": "systemd", "name": TIMER})
    text = hosts.run(
        name, ["systemctl", "show", "--property=NextElapseUSecRealtime", "--value", TIMER]
    ).text.strip()
    return {**found, "next": text}


def last(hosts) -> dict | None:
    """What the last run that ended said of itself, see parse(), or None when there was none."""
    result = hosts.run(hosts.site.roles.backup, ["cat", f"{STATE}/last"], sudo=True, check=False)
    return parse(result.text) if result.rc == 0 else None


REMOVED = ("removed", "kept", "unsettled", "lacking")
_STATS = {
    "files": r"Number of files: ([\d,]+)",
    "regular": r"Number of files: .*\breg: ([\d,]+)",
    "copied": r"Number of regular files transferred: ([\d,]+)",
    "size": r"Total file size: ([\d,]+)",
    "received": r"Total bytes received: ([\d,]+)",
}


def parse(text: str) -> dict:
    """The report of a run: `{"began", "ended" (seconds since the epoch), "before", "after" (files of the copy), "result" (0 is
    well), "error", "removed": files, "kept": files that are gone from the store and stay for now, "unsettled": users whose mail
    moved all the time, "lacking": messages that are not in the copy, "passes": [{"rc", "vanished", "files", "regular", "copied",
    "size", "received" (bytes)}]}`."""
    head, *passes = re.split(r"^pass\b.*\n", text, flags=re.MULTILINE)

    def number(pattern, part):
        found = re.search(pattern, part, re.MULTILINE)
        return int(found[1].replace(",", "")) if found else 0

    told = {
        key: number(rf"^{key} (\d+)$", text)
        for key in ("began", "before", "after", "ended", *REMOVED)
    }
    result = re.search(r"^result (\d+)$", text, re.MULTILINE)
    return {
        **told,
        "result": int(result[1]) if result else None,
        "error": "; ".join(re.findall(r"^error (.*)$", text, re.MULTILINE)),
        "passes": [
            {
                **{key: number(pattern, part) for key, pattern in _STATS.items()},
                **{key: number(rf"^{key} (\d+)$", part) for key in ("rc", "vanished")},
            }
            for part in passes
        ],
    }


def counted(hosts) -> dict:
    """`{"regular", "others"}`: numbers of files and of directories in the copy."""
    script = '[ -d "$1" ] || exit 0; find "$1" -type f -printf . | wc -c; find "$1" ! -type f -printf . | wc -c'
    said = hosts.run(
        hosts.site.roles.backup,
        ["sh", "-c", script, "count", hosts.site.backup.target],
        sudo=True,
        timeout=3600,
    ).text.split()
    return dict(zip(("regular", "others"), map(int, said or (0, 0)), strict=True))


def differs(hosts, began: float) -> dict:
    """How the copy differs from the store now: `{"missing": files that were there before the last run began and are not in the
    copy, "since": others that came or changed since, "gone": files only the copy has, "first": names of the missing}`.

    A message is in the copy under any name that differs by its flags alone. One that is not is missing when the copy's own list
    of UIDs names it, or when nobody touched it since the run began: `began`, seconds since the epoch. A clock may be off by
    limits.clock.
    """
    site = hosts.site
    said = json.loads(hosts.run(site.roles.backup, [SCRIPT, "check"], sudo=True, timeout=3600).out)
    names, aged = [os.fsencode(each) for each in said["other"]], {}
    for start in range(0, len(names), ASKED):
        wanted = b"".join(
            f"{site.backup.store}/".encode() + name + b"\0" for name in names[start : start + ASKED]
        )
        told = hosts.run(
            site.roles.new,
            ["xargs", "-0", "stat", "--printf=%Z %n\\0", "--"],
            sudo=True,
            input=wanted,
            check=False,
            timeout=600,
        ).out
        for each in told.split(b"\0"):
            at, _, path = each.partition(b" ")
            if path:
                aged[path[len(site.backup.store) + 1 :]] = int(at)
    # what is not there any more was renamed or deleted since: it is no loss
    missing = [
        name
        for name in names
        if aged.get(name, began + site.limits.clock) < began - site.limits.clock
    ]
    missing += [os.fsencode(each) for each in said["lost"]]
    since = len(names) + len(said["lost"]) + said["renamed"] - len(missing)
    return {
        "missing": len(missing),
        "since": since,
        "gone": said["gone"],
        "first": [name.decode("utf-8", "backslashreplace") for name in missing[:SHOWN]],
    }
