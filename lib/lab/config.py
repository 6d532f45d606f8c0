"""What is written into a host's root before its first start.

Names, keys and accounts for all hosts, then the configuration of the host's role.
"""

import os
import secrets
import subprocess

from lab import antispam, bacula, errors, keys, locks, nis, resources, systems, topology

# on the new servers; backup.account of parameters/lab.yaml
BACKUP_ACCOUNT, BACKUP_ACCOUNT_ID = "mailbackup", 1501
OLD_BACKUP_ID = 1502  # backup-posta on sanbackup

# the user database of both MX hosts; {users} has one line per user, {lists} one line per list
USERDB = """\
# user database of the MX hosts: makemap -d btree /etc/mail/userdb.db < /etc/mail/userdb
{users}
# people who have left
former1:maildrop\tsomeone@elsewhere.test
former2:maildrop\tformer.two@elsewhere.test
alice:mailname\tAlice.Rossi@lab.test
Alice.Rossi:maildrop\talice@mailbox.lab.test
secretariat:maildrop\tcarla@mailbox.lab.test, elena@mailbox.lab.test
# mailing lists
{lists}
:default:mailname\tlab.test
"""


def prepare(host, hosts, root, lab, key, authority):
    """Configure a host's mounted root.

    hosts: name → Host of the whole lab. lab: the lab's id. key: the host's SSH key, {"key", "pub"}.
    authority: a keys.Authority.
    Raises errors.LabError with the output of the host's own tools if they refuse.
    """
    _common(host, hosts, root, lab, key)
    {
        "primary": _primary,
        "secondary": _secondary,
        "mx": _mx,
        "old": _old,
        "new": _new,
        "backup": _backup,
        "submission": _submission,
        "webmail": _webmail,
    }[host.role](host, hosts, root)
    if host.role == "submission":
        systems.client(authority)
    if host.certified:
        certificate, private = authority.issue(host.certified)
        put(root, "etc/ssl/lab/ca.pem", keys.CA.read_text())
        put(root, "etc/ssl/lab/cert.pem", certificate)
        put(root, "etc/ssl/lab/key.pem", private, 0o600)
    # users' accounts are only in NIS; its master hashes the passwords
    users = topology.accounts(hosts) if host.name == topology.NIS_SERVERS[0] else ()
    passwords = "".join(f"{user}:{(keys.SECRETS / user).read_text()}\n" for user in users)
    done = subprocess.run(
        [
            "unshare",
            "--uts",
            "sh",
            "-c",
            'hostname "$1"; exec chroot "$2" /bin/sh -c "$3" sh "$4"',
            "sh",
            host.name,
            str(root),
            resources.read("files/prepare.sh"),
            host.role,
        ],
        input=passwords,
        capture_output=True,
        text=True,
        pass_fds=locks.held(),
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
    )
    if done.returncode:
        raise errors.LabError(
            f"configuring the lab's {host.name} failed: {(done.stderr or done.stdout).strip()}"
        )


def put(root, name, text, mode=0o644):
    """Write a file below a root; its directories are made."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as output:
        output.write(text)
    os.chmod(path, mode)


def debian(root):
    """The number of the Debian release in a root."""
    return int((root / "etc/debian_version").read_text().partition(".")[0])


def append(root, name, text):
    """Append to a file below a root."""
    with open(root / name, "a") as output:
        output.write(text)


def _common(host, hosts, root, lab, key):
    put(root, "etc/hostname", host.name + "\n")
    put(root, "etc/machine-id", secrets.token_hex(16) + "\n")
    put(root, "etc/cutover-lab", lab + "\n")
    put(root, "etc/hosts", f"127.0.0.1 localhost\n{host.address} {host.fqdn} {host.name}\n")
    servers = "".join(f"nameserver {topology.HOSTS[name].address}\n" for name in ("ns1", "ns2"))
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    put(
        root,
        "etc/resolv.conf",
        f"search {topology.DOMAIN}\n{servers}options timeout:1 attempts:2\n",
    )
    put(root, "etc/ssh/sshd_config.d/lab.conf", resources.read("files/sshd.conf"))
    put(root, "etc/ssh/ssh_host_key", key["key"], 0o600)
    put(root, "etc/ssh/ssh_host_key.pub", key["pub"] + "\n")
    put(root, "etc/sudoers.d/operator", f"{topology.OPERATOR} ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440)
    for name, text in nis.files(host, topology.accounts(hosts)).items():
        put(root, name, text)
    home = f"var/lib/{topology.OPERATOR}"
    _account(root, topology.OPERATOR, topology.OPERATOR_ID, "/" + home)
    put(
        root,
        f"{home}/.ssh/authorized_keys",
        keys.OPERATOR_KEY.with_suffix(".pub").read_text(),
        0o600,
    )
    for path in (root / home, root / home / ".ssh", root / home / ".ssh/authorized_keys"):
        os.chown(path, topology.OPERATOR_ID, topology.OPERATOR_ID)


def _account(root, name, number, home):
    append(root, "etc/passwd", f"{name}:x:{number}:{number}::{home}:/bin/bash\n")
    append(root, "etc/group", f"{name}:x:{number}:\n")
    append(root, "etc/shadow", f"{name}:*:20000:0:99999:7:::\n")


def _primary(host, hosts, root):
    # no mailboxold yet: until dns-rename the old server's name is its store's alias
    addresses = {
        (other.alias if other.role == "old" else name): other.address
        for name, other in hosts.items()
    }
    put(
        root,
        "etc/bind/named.conf",
        resources.read(
            "files/named-primary.conf",
            network=topology.NETWORK,
            domain=topology.DOMAIN,
            key=topology.TSIG_NAME,
            secondary=topology.HOSTS["ns2"].address,
        ),
    )
    put(root, "etc/bind/tsig.key", keys.TSIG_KEY.read_text(), 0o640)
    put(
        root,
        f"var/cache/bind/{topology.DOMAIN}",
        resources.read(
            "files/zone.lab",
            domain=topology.DOMAIN,
            records="\n".join(
                [
                    *(f"{name} IN A {address}" for name, address in addresses.items()),
                    *(
                        f"{alias} IN CNAME {name}"
                        for name, other in hosts.items()
                        for alias in other.aliases
                    ),
                ]
            ),
        ),
    )
    put(
        root,
        "etc/bind/zone.reverse",
        resources.read(
            "files/zone.reverse",
            domain=topology.DOMAIN,
            records="\n".join(
                f"{address.rpartition('.')[2]} IN PTR {name}.{topology.DOMAIN}."
                for name, address in addresses.items()
            ),
        ),
    )
    put(root, "etc/bind/zone.root", resources.read("files/zone.root"))


def _secondary(host, hosts, root):
    put(
        root,
        "etc/bind/named.conf",
        resources.read(
            "files/named-secondary.conf",
            network=topology.NETWORK,
            domain=topology.DOMAIN,
            primary=topology.HOSTS["ns1"].address,
        ),
    )
    put(root, "etc/bind/zone.root", resources.read("files/zone.root"))


def _sendmail(root, kind, names):
    put(root, "etc/mail/sendmail.mc", resources.read(f"files/{kind}.mc"))
    put(root, "etc/mail/m4/lab.m4", resources.read("files/lab.m4"))
    put(root, "etc/mail/access", resources.read("files/access"))
    put(root, "etc/mail/mailertable", resources.read("files/mailertable"))
    put(root, "etc/mail/local-host-names", "".join(f"{name}\n" for name in ("localhost", *names)))


def _mx(host, hosts, root):
    _sendmail(root, "postino", [topology.DOMAIN])
    users = "\n".join(
        f"{user}:maildrop\t{user}@{topology.alias_of(user, hosts)}.{topology.DOMAIN}"
        for user in topology.accounts(hosts)
    )
    put(root, "etc/mail/userdb", USERDB.format(users=users, lists=systems.routes()))
    put(root, "etc/rspamd/rspamd.conf", antispam.configuration(hosts))
    put(root, "etc/rspamd/lab-tld", "test\n")
    put(
        root,
        "etc/systemd/system/rspamd.service.d/ready.conf",
        resources.read("files/rspamd-ready.conf"),
    )


def _mailboxes(host, hosts, root):
    # servers of one store take each other's mail
    likes = [
        other.name
        for other in hosts.values()
        if (other.role, other.alias) == (host.role, host.alias)
    ]
    _sendmail(root, "mailbox", [f"{name}.{topology.DOMAIN}" for name in (host.alias, *likes)])
    put(root, "etc/nsswitch.conf", nis.switch((root / "etc/nsswitch.conf").read_text()))
    for name in ("nis-answers", "procmail-nis"):
        put(root, f"usr/local/sbin/{name}", resources.read(f"files/{name}"), 0o755)


def _old(host, hosts, root):
    _mailboxes(host, hosts, root)
    put(root, "etc/procmailrc", resources.read("files/procmailrc.old"))
    for name in ("imap2", "pop3"):
        put(root, f"etc/xinetd.d/{name}", resources.read(f"files/xinetd-{name}"))
    put(root, "etc/stunnel/imaps.conf", resources.read("files/stunnel-imaps.conf"))
    if host.alias != topology.STORE:
        return
    # the old copy of the first store's mail; the step `backup` retires it
    put(root, "etc/backup-posta/key", keys.OLD_BACKUP_KEY.read_text(), 0o600)
    put(root, "etc/backup-posta/known_hosts", keys.KNOWN_HOSTS.read_text())
    for unit in ("service", "timer"):
        put(
            root,
            f"etc/systemd/system/backup-posta.{unit}",
            resources.read(f"files/backup-posta.{unit}"),
        )


def _new(host, hosts, root):
    _mailboxes(host, hosts, root)
    put(root, "etc/procmailrc", resources.read("files/procmailrc.new"))
    spelling = "2.4" if debian(root) >= 13 else "2.3"
    for path, name in (("local", "local"), ("conf.d/10-ssl", "10-ssl")):
        text = resources.read(f"files/dovecot-{name}-{spelling}.conf")
        put(root, f"etc/dovecot/{path}.conf", text)
    for user, number in topology.accounts(hosts).items():
        if topology.alias_of(user, hosts) != host.alias:
            continue
        home = root / "home" / user
        home.mkdir(mode=0o700)
        os.chown(home, number, number)
    _account(root, BACKUP_ACCOUNT, BACKUP_ACCOUNT_ID, f"/var/lib/{BACKUP_ACCOUNT}")
    (root / f"var/lib/{BACKUP_ACCOUNT}").mkdir()


def _submission(host, hosts, root):
    _sendmail(root, "submission", [host.fqdn])
    systems.submission(root, put, native=debian(root) >= 13)


def _webmail(host, hosts, root):
    _sendmail(root, "lists", [host.fqdn, systems.LISTS_DOMAIN])
    systems.webmail(host, root, put)


def _backup(host, hosts, root):
    (root / "srv/backup").mkdir(mode=0o700)
    put(root, "etc/mailbackup/key", keys.BACKUP_KEY.read_text(), 0o600)
    put(root, "etc/mailbackup/key.pub", keys.BACKUP_KEY.with_suffix(".pub").read_text())
    home = "var/lib/backup-posta"
    _account(root, "backup-posta", OLD_BACKUP_ID, "/" + home)
    put(root, f"{home}/.ssh/authorized_keys", keys.OLD_BACKUP_KEY.with_suffix(".pub").read_text())
    bacula.configure(host, root, put)
