"""Programs that the cutover needs on a host: those of an old Linux, more on the new server.

Whatever reaches a host by another module is listed here, so that preflight can name what is
missing. The old server and the MX need no Python and no systemd.
"""

from cutover import model

# What is asked for by more than its name; each test only reads.
TESTS = {
    "date -f": "echo @0 | date -f - +%s.%N | grep -q '^0[.]0'",
    "env -u": "env -u TZ true",
    "ps -o user:32": "ps -eo pid=,user:32=,comm=",
    "stat -c": "stat -c %u:%A:%Y /",
    "readlink -f": "readlink -f -- /",
    "head -v -c": "head -v -c 1 -- /dev/null",
    "find -printf": "find / -maxdepth 0 -printf '%f %s'",
    "xargs -0": "printf '/\\0' | xargs -0 ls -d",
    "chown --reference": "chown --help | grep -q -e --reference",
    "df --output": "df -B1 --output=avail,iavail,itotal /",
    "findmnt --pairs": "findmnt --noheadings --nofsroot --pairs --first-only --target /",
    "setpriv --init-groups": "setpriv --reuid 0 --regid 0 --init-groups --reset-env true",
    "unshare --propagation": "unshare --mount --propagation private true",
    "chkconfig or update-rc.d": "command -v chkconfig || command -v update-rc.d",
    "python3 from 3.8": "python3 -I -c 'import sys; sys.exit(sys.version_info < (3, 8))'",
    # where the kernel can be told to follow no link; see remote/confined.py
    "Linux from 5.14": "uname -r | { IFS=.- read a b c; [ $((a * 100 + b)) -ge 514 ]; }",
    "x86_64 or aarch64": "uname -m | grep -qxE 'x86_64|aarch64'",  # whose system calls it knows
    "rsync from 3.1": (
        "rsync --version | sed -n 's/^rsync *version *v*\\([0-9]*\\)\\.\\([0-9]*\\).*/\\1 \\2/p' |"
        " { read a b && [ $((a * 100 + b)) -ge 301 ]; }"
    ),
}
BY_EVERY_HOST = ("date -f", "stat -c", "readlink -f", "mktemp")
BY_MAIL_HOSTS = ("env -u", "ps -o user:32", "getent", "sendmail")
BY_OLD = ("find -printf", "xargs -0", "head -v -c", "shutdown")
BY_NEW = (
    "find -printf",
    "flock",
    "df --output",
    "findmnt --pairs",
    "setpriv --init-groups",
    "unshare --propagation",
    "doveadm",
    "doveconf",
)
BY_MX = ("sendmail", "makemap", "setsid", "flock", "chown --reference")
BY_BACKUP = ("flock", "python3 from 3.8", "rsync from 3.1", "systemctl")
BY_COPIED_STORE = ("Linux from 5.14", "x86_64 or aarch64", "rsync from 3.1")
BY_NIS = ("ypcat", "ypwhich", "yppoll", "ypdomainname", "setsid")
BY_ANTISPAM = ("bash", "setsid")
BY_MANAGER = {
    "systemd": ("systemctl",),
    "sysv": ("service", "chkconfig or update-rc.d"),
    "xinetd": ("pidof", "awk", "cmp"),
}

# Prints the names of what is missing, of pairs of a name and its test.
_MISSING = """
while [ $# -gt 1 ]; do
    (eval "$2") > /dev/null 2>&1 < /dev/null || echo "$1"
    shift 2
done
"""


def needed(site, name: str) -> list[str]:
    """The names of what a host of the site needs."""
    roles, services = site.roles, []
    groups = [BY_EVERY_HOST]
    if name in roles.mx:
        groups += [BY_MX, BY_ANTISPAM if site.antispam else ()]
    if name in site.mail_hosts:
        groups += [BY_MAIL_HOSTS, BY_OLD if name == roles.old else BY_NEW]
        groups.append(BY_NIS if site.nis else ())
        services += [*site.services_of(name).imap, *site.services_of(name).sendmail]
    if name == roles.new and (site.backup or site.maintenance.move_store):
        groups.append(BY_COPIED_STORE)
    if site.backup:
        services += [retired for retired in site.backup.retire if retired.host == name]
        groups.append(BY_BACKUP if name == roles.backup else ())
    groups += [BY_MANAGER[manager] for manager in {service.manager for service in services}]
    return sorted({part for group in groups for part in group})


def missing(hosts, name: str) -> list[str]:
    """What a host needs and does not have, as root finds it there."""
    pairs = [
        part
        for program in needed(hosts.site, name)
        for part in (program, TESTS.get(program, f"command -v {program}"))
    ]
    return model.lines(hosts.run(name, ["sh", "-c", _MISSING, "missing", *pairs], sudo=True).text)


def sudo_account(hosts, name: str) -> str:
    """The account that `sudo -n` switches to: root."""
    return hosts.run(name, ["id", "-un"], sudo=True, timeout=20).text.strip()


def old_algorithms(hosts, name: str) -> list[str]:
    """The old algorithms that the link to a host uses."""
    return hosts.ssh(name).old_algorithms()


def python_version(hosts, name: str) -> str:
    """The version of the Python that runs the converter, such as "3.11"."""
    script = "import sys; print('%d.%d' % sys.version_info[:2])"
    return hosts.run(name, [hosts.site.new_store.python, "-I", "-c", script]).text.strip()


def imapd(hosts, name: str) -> str:
    """The path of c-client's imapd. Raises CutoverError if it is missing or not executable."""
    hosts.run(name, ["test", "-x", hosts.site.old_store.imapd])
    return hosts.site.old_store.imapd
