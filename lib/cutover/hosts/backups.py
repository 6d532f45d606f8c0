"""The copy of the new store on the backup host: what is installed for it, what its last run said, whether it is whole.

The backup host pulls. Its root has a key that opens one account of the new host, and there one command: rsync's server in
daemon mode over ssh, whose configuration serves the store alone and read-only. So who breaks into the new host cannot reach
the copy, and who holds the key can read the store and nothing else; a push would need a key by which the new host writes,
and could spoil, its own backup.

Consistent while Dovecot runs: a message file is never written again once it has its name; it is only renamed (new → cur,
flags) or removed. `dovecot-uidlist` is replaced by a rename, or grows by whole lines, and Dovecot passes over a last line
that is torn; what a uidlist names and a folder lacks is dropped, what it lacks gets the next UID. So any mixture of moments
is a Maildir. A message renamed while it is looked for is missed (rsync tells of a vanished file and ends with 24, which is
counted and no failure), therefore two passes: the first also deletes what users deleted, the second only adds, and is made
again while files vanish. A message may then be there under two names until the next run, but none is missing. Dovecot's
indexes are left out: they rebuild themselves.
"""

import re
import shlex

from cutover.hosts import facts

NAME = "mailbackup"
MODULE = "posta"
SCRIPT = f"/usr/local/sbin/{NAME}"
CONFIG = f"/etc/{NAME}/rsyncd.conf"
SUDOERS = f"/etc/sudoers.d/{NAME}"
KNOWN_HOSTS = f"/etc/{NAME}/known_hosts"
SERVICE, TIMER = f"{NAME}.service", f"{NAME}.timer"
STATE = f"/var/lib/{NAME}"
SERVED = ["/usr/bin/rsync", "--server", "--daemon", f"--config={CONFIG}", "."]
LEFT_OUT = ["tmp/*", "dovecot.index*", "dovecot.list.index*", "dovecot*.lock"]
SHOWN = 20      # names of files told in full
ASKED = 20000   # names of files whose age is asked for at once

_RUN = r"""#!/bin/sh
# One copy of the mail store in two passes or more; `check` only lists what differs. Written by mail-cutover.
# Figures of the last run: {state}/last
set -u
LC_ALL=C; export LC_ALL
target={target}
state={state}

copy() {{
    rsync --archive --numeric-ids {excludes} \
        --rsh={rsh} "$@"
}}

if [ "${{1:-}}" = check ]; then
    exec 2>&1
    copy --dry-run --delete --itemize-changes --out-format='%i %n' {source} "$target/"
    exit
fi

mkdir -p "$target" "$state"
exec 9>"$state/lock"
flock -n 9 || {{ echo "another run is at work" >&2; exit 75; }}
report=$state/last.part
files() {{ find "$target" -type f | wc -l; }}
ended() {{
    printf 'after %s\nended %s\nresult %s\n' "$(files)" "$(date +%s)" "$1" >> "$report"
    mv "$report" "$state/last"
    cat "$state/last"
    exit "$1"
}}
said() {{ tail -n 5 "$state/err" | sed 's/^/error /' >> "$report"; }}
printf 'began %s\nbefore %s\n' "$(date +%s)" "$(files)" > "$report"

# a store that is not mounted looks as if everybody had deleted everything
there=$(copy --no-recursive --dirs --list-only {source} 2> "$state/err") || {{ said; ended 3; }}
there=$(printf '%s\n' "$there" | grep -c '^d')
here=$(find "$target" -mindepth 1 -maxdepth 1 -type d | wc -l)
if [ $((there * 2)) -lt "$here" ]; then
    echo "error the store shows $there directories, the copy has $here: is it mounted?" >> "$report"
    ended 3
fi

passes=0
for options in --delete "" "" "" ""; do
    echo "pass $options" >> "$report"
    copy --stats $options {source} "$target/" >> "$report" 2> "$state/err"
    rc=$?
    vanished=$(grep -c 'has vanished' "$state/err")
    echo "vanished $vanished" >> "$report"
    echo "rc $rc" >> "$report"
    # 24: files vanished while they were looked for; the next pass finds them under their new names
    case $rc in
        0 | 24) ;;
        *) said; ended "$rc" ;;
    esac
    passes=$((passes + 1))
    [ $passes -ge 2 ] && [ "$vanished" -eq 0 ] && break
done
ended 0
"""

_SERVICE = """[Unit]
Description=Copy of the mail store (mail-cutover)
Wants=network-online.target
After=network-online.target

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
        (new, f"{account['home']}/.ssh/authorized_keys", "0644", "\n".join([*others, granted]) + "\n"),
        (site.roles.backup, KNOWN_HOSTS, "0644", "".join(f"{new} {key}\n" for key in host_keys)),
        (site.roles.backup, SCRIPT, "0755", script(site)),
        (site.roles.backup, f"/etc/systemd/system/{SERVICE}", "0644", _SERVICE.format(script=SCRIPT)),
        (site.roles.backup, f"/etc/systemd/system/{TIMER}", "0644", _TIMER.format(at=backup.at)),
    ]
    return [dict(zip(("host", "path", "mode", "text"), each, strict=True)) for each in files]


def script(site) -> str:
    """What the backup host runs each day."""
    backup, new = site.backup, site.roles.new
    ssh = ["ssh", "-i", backup.key, "-l", backup.account, "-p", str(site.hosts[new].ssh_port), "-o", "BatchMode=yes", "-o",
           "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={KNOWN_HOSTS}", "-o", "StrictHostKeyChecking=yes", "-o",
           f"HostKeyAlias={new}"]
    work = site.new_store.work
    inside = [work[len(backup.store.rstrip("/")):] + "/"] if work.startswith(backup.store.rstrip("/") + "/") else []
    return _RUN.format(state=STATE, target=shlex.quote(backup.target), rsh=shlex.quote(shlex.join(ssh)),
                       source=shlex.quote(f"{site.address(new)}::{MODULE}/"),
                       excludes=" ".join(f"--exclude={shlex.quote(each)}" for each in [*inside, *LEFT_OUT]))


# --- what is so


def account(hosts) -> dict | None:
    """`{"home", "shell"}` of the account on the new host, or None when there is none."""
    result = hosts.run(hosts.site.roles.new, ["getent", "passwd", hosts.site.backup.account], check=False)
    fields = result.text.strip().split(":")
    return {"home": fields[5], "shell": fields[6]} if result.rc == 0 and len(fields) > 6 else None


def public_key(hosts) -> str | None:
    """The public line of the backup host's key, or None when there is none. The private key is not read."""
    site = hosts.site
    result = hosts.run(site.roles.backup, ["cat", f"{site.backup.key}.pub"], sudo=True, check=False)
    return result.text.strip() if result.rc == 0 else None


def timer(hosts) -> dict:
    """`{"running", "starts_at_boot", "detail", "next"}` of the timer; `next` in the host's own words, empty when none is due."""
    name = hosts.site.roles.backup
    found = facts.service(hosts, name, {"manager": "systemd", "name": TIMER})
    text = hosts.run(name, ["systemctl", "show", "--property=NextElapseUSecRealtime", "--value", TIMER]).text.strip()
    return {**found, "next": text}


def last(hosts) -> dict | None:
    """What the last run that ended said of itself, see parse(), or None when there was none."""
    result = hosts.run(hosts.site.roles.backup, ["cat", f"{STATE}/last"], sudo=True, check=False)
    return parse(result.text) if result.rc == 0 else None


_STATS = {"files": r"Number of files: ([\d,]+)", "regular": r"Number of files: .*\breg: ([\d,]+)",
          "copied": r"Number of regular files transferred: ([\d,]+)", "deleted": r"Number of deleted files: ([\d,]+)",
          "size": r"Total file size: ([\d,]+)", "received": r"Total bytes received: ([\d,]+)"}


def parse(text: str) -> dict:
    """The report of a run: `{"began", "ended" (seconds since the epoch), "before", "after" (files of the copy), "result" (0 is
    well), "error", "passes": [{"rc", "vanished", "files", "regular", "copied", "deleted", "size", "received" (bytes)}]}`."""
    head, *passes = re.split(r"^pass .*\n", text, flags=re.MULTILINE)

    def number(pattern, part):
        found = re.search(pattern, part, re.MULTILINE)
        return int(found[1].replace(",", "")) if found else 0

    told = {key: number(rf"^{key} (\d+)$", text) for key in ("began", "before", "after", "ended")}
    result = re.search(r"^result (\d+)$", text, re.MULTILINE)
    return {**told, "result": int(result[1]) if result else None,
            "error": "; ".join(re.findall(r"^error (.*)$", text, re.MULTILINE)),
            "passes": [{**{key: number(pattern, part) for key, pattern in _STATS.items()},
                        **{key: number(rf"^{key} (\d+)$", part) for key in ("rc", "vanished")}} for part in passes]}


def counted(hosts) -> dict:
    """`{"regular", "others"}`: numbers of files and of directories in the copy."""
    script = '[ -d "$1" ] || exit 0; find "$1" -type f -printf . | wc -c; find "$1" ! -type f -printf . | wc -c'
    said = hosts.run(hosts.site.roles.backup, ["sh", "-c", script, "count", hosts.site.backup.target], sudo=True,
                     timeout=3600).text.split()
    return dict(zip(("regular", "others"), map(int, said or (0, 0)), strict=True))


def differs(hosts, began: float) -> dict:
    """How the copy differs from the store now, by rsync itself: `{"missing": files that were so before the last run began and
    are not in the copy, "since": others that changed since, "gone": files only the copy has, "first": names of the missing}`.

    `began`: the run's beginning, seconds since the epoch. A clock may be off by limits.clock.
    """
    site = hosts.site
    out = hosts.run(site.roles.backup, [SCRIPT, "check"], sudo=True, timeout=3600).out
    names, gone = parse_itemized(out)
    aged = {}
    for start in range(0, len(names), ASKED):
        wanted = b"".join(f"{site.backup.store}/".encode() + name + b"\0" for name in names[start:start + ASKED])
        told = hosts.run(site.roles.new, ["xargs", "-0", "stat", "--printf=%Z %n\\0", "--"], sudo=True, input=wanted,
                         check=False, timeout=600).out
        for each in told.split(b"\0"):
            at, _, path = each.partition(b" ")
            if path:
                aged[path[len(site.backup.store) + 1:]] = int(at)
    # what is not there any more was renamed or deleted since: it is no loss
    missing = [name for name in names if aged.get(name, began + site.limits.clock) < began - site.limits.clock]
    return {"missing": len(missing), "since": len(names) - len(missing), "gone": gone,
            "first": [name.decode("utf-8", "backslashreplace") for name in missing[:SHOWN]]}


def parse_itemized(out: bytes) -> tuple:
    """What `--itemize-changes --out-format='%i %n'` printed: (names of files that would be copied, number that would be
    deleted). Changed directories are no news: their times change with each message."""
    names, gone = [], 0
    for line in out.split(b"\n"):
        if line.startswith((b">f", b"cf", b".f")):
            escaped = line.split(b" ", 1)[1]
            names.append(re.sub(rb"\\#(\d{3})", lambda found: bytes([int(found[1], 8)]), escaped))
        elif line.startswith(b"*deleting") and not line.endswith(b"/"):
            gone += 1
    return names, gone
