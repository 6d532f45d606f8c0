"""The files that make the daily copy of the mail store: an account's key, rsync, a timer.

The backup host pulls. Its root has a key that opens one account of the new host, and there one
command: rsync's server in daemon mode over ssh, which serves the store alone and read-only. So an
intruder on the new host cannot reach the copy, and a thief of the key can read the store and
nothing else. A push would need a key with which the new host could spoil its own backup. The server
is root's, and users change the store meanwhile: remote/confined.py keeps it from following links.

The copy is consistent while Dovecot runs. A message file is never written again once it has its
name; it is only renamed (new → cur, flags) or removed. `dovecot-uidlist` is replaced by a rename or
grows by whole lines, and Dovecot skips a torn last line. Dovecot drops what a uidlist names and a
folder does not have, and gives the next UID to what the list does not name. So any mixture of
moments is a valid Maildir. rsync misses a message that is renamed while it is being read, therefore
a run first only adds, in two passes or more, and removes at the end what is gone from the store
(remote/backup_copier.py). Dovecot's indexes are left out: Dovecot rebuilds them.
"""

import dataclasses
import pprint
import shlex
from pathlib import Path

from cutover import model
from cutover.facts import backup_copy
from cutover.remote import backup_copier, confined

MODULE = "posta"  # rsync's name for the store
CONFIG = f"/etc/{backup_copy.NAME}/rsyncd.conf"
SUDOERS = f"/etc/sudoers.d/{backup_copy.NAME}"
UNITS = "/etc/systemd/system"
SERVER = f"/usr/local/sbin/{backup_copy.NAME}-server"
SERVED = ["/usr/bin/rsync", "--server", "--daemon", f"--config={CONFIG}", "."]
EXCLUDED = ["tmp/*", "dovecot.index*", "dovecot.list.index*", "dovecot*.lock"]

_SERVICE = """[Unit]
Description=Copy of the mail store (mail-cutover)
Wants=network-online.target
After=network-online.target
# may be started by hand any number of times
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart={script}
Nice=10
IOSchedulingClass=idle
UMask=0077
"""

_TIMER = """[Unit]
Description=Daily copy of the mail store (mail-cutover)

[Timer]
OnCalendar=*-*-* {at}:00
Persistent=true

[Install]
WantedBy=timers.target
"""

_CONFIG = """# Written by mail-cutover: the mail store for the backup host, over ssh only.
# See {sudoers}.
use chroot = yes
uid = root
gid = root
numeric ids = yes
read only = yes
list = no

[{module}]
path = {store}
"""


@dataclasses.dataclass(frozen=True)
class File:
    """A file as it has to be. mode: octal."""

    host: str
    path: str
    mode: str
    text: str

    @property
    def name(self) -> str:
        """Its key in the step's facts."""
        return f"{self.host}:{self.path}"


def known_hosts(site) -> str:
    """The keys of the new host, on the backup host."""
    return f"/etc/{backup_copy.name(site)}/known_hosts"


def keys_path(account: backup_copy.Account) -> str:
    """The authorized_keys of the account on the new host."""
    return f"{account.home}/.ssh/authorized_keys"


def planned(
    site, account: backup_copy.Account, public: str, host_keys: list, keys: str | None
) -> list[File]:
    """The files that make the backup, in the order in which they are written.

    public: the key's public line. host_keys: lines `TYPE BASE64` of the new host. keys: the text of
    the account's authorized_keys, whose other lines stay.
    """
    backup, new, host = site.backup, site.roles.new, site.roles.backup
    rule = f'{backup.account} ALL=(root) NOPASSWD: {SERVER} ""\n'
    config = _CONFIG.format(sudoers=SUDOERS, module=MODULE, store=backup.store)
    known = "".join(f"{new} {key}\n" for key in host_keys)
    units = {
        backup_copy.service_unit(site): _SERVICE.format(script=backup_copy.script(site)),
        backup_copy.timer_unit(site): _TIMER.format(at=backup.at),
    }
    return [
        File(new, CONFIG, "0644", config),
        File(new, SERVER, "0755", server(site)),
        File(new, SUDOERS, "0440", rule),
        File(new, keys_path(account), "0644", _authorized(site, public, keys)),
        File(host, known_hosts(site), "0644", known),
        File(host, backup_copy.script(site), "0755", script(site)),
        *(File(host, f"{UNITS}/{name}", "0644", text) for name, text in units.items()),
    ]


def _authorized(site, public, keys):
    """The text of authorized_keys: the other lines as they are, then ours."""
    command = f"sudo -n {SERVER}"
    address = site.address(site.roles.backup)
    key = " ".join(public.split()[:2])
    granted = f'restrict,from="{address}",command="{command}" {key} {backup_copy.NAME}'
    others = [line for line in model.lines(keys or "") if line.split()[-1:] != [backup_copy.NAME]]
    return "\n".join([*others, granted]) + "\n"


def server(site) -> str:
    """The program that serves the store to the backup host: the one command of its key."""
    program = Path(confined.__file__).read_text()
    call = f"serve({site.backup.store.rstrip('/')!r}, {SERVED})"
    return (
        f"#!{site.new_store.python} -I\n# Written by mail-cutover.\n{program}\n\n"
        f'if __name__ == "__main__":\n    raise SystemExit({call})\n'
    )


def script(site) -> str:
    """The program that the backup host runs each day, with its settings."""
    backup, new = site.backup, site.roles.new
    store, work = backup.store.rstrip("/"), site.new_store.work
    options = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": known_hosts(site),
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": new,
    }
    ssh = ["ssh", "-i", backup.key, "-l", backup.account, "-p", str(site.hosts[new].ssh_port)]
    for name, value in options.items():
        ssh += ["-o", f"{name}={value}"]
    own = [work[len(store) :] + "/"] if work.startswith(f"{store}/") else []
    settings = {
        "source": f"{site.address(new)}::{MODULE}/",
        "target": backup.target.rstrip("/"),
        "rsh": shlex.join(ssh),
        "exclude": [*own, *EXCLUDED],
        "state": backup_copy.state(site),
    }
    if site.store_hosts or site.convert.workers:  # which set times by their own clocks
        settings["clock"] = site.limits.clock
    program = Path(backup_copier.__file__).read_text()
    filled = program.replace("\nSETTINGS = {}", f"\nSETTINGS = {pprint.pformat(settings)}", 1)
    return f"#!{backup_copy.PYTHON} -I\n# Written by mail-cutover.\n{filled}"
