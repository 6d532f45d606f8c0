"""mailboxold and one MX as hosts of 2007.

An sshd of old algorithms, a sudo without -n and without secure_path, SysV scripts and xinetd
instead of systemctl, syslog's files and no journal; Python and what coreutils and util-linux got
later are out of the way. systemd still boots the hosts, and the lab's own commands find everything:
TOOLS is on their PATH.
"""

import yaml

from lab import config, keys, paths, resources, topology

HOSTS = ("postino4", "mailboxold")
TOOLS = "usr/lib/lab"
PARAMETERS = paths.STATE / "old-world.yaml"
SSH_OPTIONS = [
    part
    for option in (
        "KexAlgorithms=+diffie-hellman-group14-sha1",
        "HostKeyAlgorithms=+ssh-rsa",
        "PubkeyAcceptedAlgorithms=+ssh-rsa",
        "Ciphers=+aes128-cbc",
    )
    for part in ("-o", option)
]
HIDDEN = (  # of usr/bin
    "systemctl",
    "journalctl",
    "systemd-run",
    "systemd-detect-virt",
    "python3",
    "python3.11",
    "python3.13",
    "timeout",
    "truncate",
    "realpath",
    "nproc",
    "stdbuf",
    "numfmt",
    "setpriv",
    "unshare",
    "nsenter",
    "findmnt",
    "lsblk",
    "fallocate",
    "ss",
    "ip",
)
# Debian's script says "not running" with exit status 0; Red Hat's follows LSB
END_OF_HEADER = "### END INIT INFO\n"
STATUS = """
if [ "$1" = status ]; then
    kill -0 "$(head -n 1 /run/sendmail/mta/sendmail.pid)" 2> /dev/null || exit 3
    exit 0
fi
"""
# links to systemctl, in usr/sbin
POWER = ("halt", "poweroff", "reboot", "runlevel", "shutdown", "telinit")


def prepare(root):
    """Make an old host of a configured, mounted root."""
    tools, programs = root / TOOLS, root / "usr/bin"
    tools.mkdir()
    for name in (*HIDDEN, "sudo"):
        if (programs / name).is_symlink() or (programs / name).exists():
            (programs / name).rename(tools / name)
    (programs / "pidof").rename(root / "usr/sbin/pidof")
    for name in POWER:
        (root / "usr/sbin" / name).unlink()
        (root / "usr/sbin" / name).symlink_to(f"/{TOOLS}/systemctl")
    (root / "lib/lsb/init-functions.d/40-systemd").unlink()
    script = root / "etc/init.d/sendmail"
    script.write_text(script.read_text().replace(END_OF_HEADER, END_OF_HEADER + STATUS, 1))
    for name, place in (
        ("service", "usr/sbin/service"),
        ("sudo", "usr/bin/sudo"),
        ("syslogd", f"{TOOLS}/syslogd"),
    ):
        config.put(root, place, resources.read(f"files/old-{name}"), 0o755)
    config.append(root, "etc/ssh/sshd_config.d/lab.conf", resources.read("files/sshd-old.conf"))
    config.append(root, "etc/sudoers.d/operator", "Defaults !secure_path\n")
    home = f"var/lib/{topology.OPERATOR}/.ssh/authorized_keys"
    config.append(root, home, keys.OLD_OPERATOR_KEY.with_suffix(".pub").read_text())
    _syslog(root)


def _syslog(root):
    config.put(
        root,
        "etc/systemd/journald.conf.d/old.conf",
        "[Journal]\nStorage=none\nForwardToSyslog=yes\n",
    )
    units = "etc/systemd/system"
    config.put(root, f"{units}/old-syslog.service", resources.read("files/old-syslog.service"))
    wanted = root / units / "multi-user.target.wants/old-syslog.service"
    wanted.parent.mkdir(parents=True, exist_ok=True)
    wanted.symlink_to(f"/{units}/old-syslog.service")
    # its socket would be ours otherwise
    (root / units / "syslog.socket").symlink_to("/dev/null")


def parameters(values):
    """Change the values of the lab's parameters file to those of the old world."""
    for name in HOSTS:
        key = str(keys.OLD_OPERATOR_KEY)
        values["hosts"][name] |= {"legacy_ssh": True, "legacy_sudo": True, "ssh_key": key}
    values["services"]["old"] = {
        "imap": [
            {"manager": "sysv", "name": "stunnel4"},
            {"manager": "xinetd", "name": "imap2"},
            {"manager": "xinetd", "name": "pop3"},
        ],
        "sendmail": [{"manager": "sysv", "name": "sendmail"}],
    }
    values["backup"]["retire"] = []  # a systemd timer


def write_parameters(lab_file):
    """Write the parameters file of the old world, made of the lab's. Returns its path."""
    values = yaml.safe_load(lab_file.read_text())
    parameters(values)
    PARAMETERS.write_text(yaml.safe_dump(values, sort_keys=False))
    return PARAMETERS
