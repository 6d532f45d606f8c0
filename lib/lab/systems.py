"""The systems around the mailboxes: submission (postinoauth1), webmail and lists.

They use the mailbox hosts by the alias. The submission host checks passwords by IMAP: saslauthd
logs in (rimap) through a stunnel, which connects to the alias by TLS. A list is a directory of
mlmmj and an entry of sendmail's aliases; the MX hosts have its address in the userdb.
"""

import secrets

from lab import keys, resources, topology

CLIENT = "cutover-client"  # common name of the client certificate that may send from outside
LISTS = {"staff": ("alice", "bruno")}  # name → subscribers
LISTS_DOMAIN = f"lists.{topology.DOMAIN}"
SPOOL = "var/spool/mlmmj"


def routes():
    """Lines of the MX hosts' userdb, one per list."""
    return "\n".join(f"{name}:maildrop\t{name}@{LISTS_DOMAIN}" for name in LISTS)


def client(authority):
    """Make the certificate of a client that may send from outside."""
    certificate, private = authority.issue([CLIENT], client=True)
    keys.private(keys.CLIENT_KEY, private)
    keys.CLIENT.write_text(certificate)


def submission(root, put, native):
    """Configure the submission host. `put(root, name, text, mode)` writes a file.

    native: saslauthd is a unit of systemd, which reads the same file another way.
    """
    put(root, "etc/mail/access", resources.read("files/access.submission", client=CLIENT))
    put(root, "etc/sasl2/Sendmail.conf", "pwcheck_method: saslauthd\nmech_list: PLAIN LOGIN\n")
    put(
        root,
        "etc/default/saslauthd",
        'START=yes\nDESC="SASL Authentication Daemon"\nNAME="saslauthd"\nMECHANISMS="rimap"\n'
        f'MECH_OPTIONS="{"" if native else "127.0.0.1"}"\nTHREADS=2\n'
        f'OPTIONS="-m /var/run/saslauthd{" -O 127.0.0.1" if native else ""}"\n',
    )
    put(
        root,
        "etc/stunnel/mailbox.conf",
        resources.read("files/stunnel-mailbox.conf", alias=topology.ALIAS),
    )


def webmail(host, root, put):
    """Configure webmail and lists."""
    put(
        root,
        "etc/roundcube/config.inc.php",
        resources.read(
            "files/roundcube.php",
            alias=topology.ALIAS,
            domain=topology.DOMAIN,
            key=secrets.token_hex(12),
        ),
        0o640,
    )
    put(
        root,
        "etc/apache2/sites-available/000-default.conf",
        resources.read("files/apache-webmail.conf", host=host.fqdn),
    )
    put(root, "etc/apache2/ports.conf", "Listen 443\n")
    aliases = (root / "etc/aliases").read_text()
    for name, subscribers in LISTS.items():
        place = f"{SPOOL}/{name}"
        for part in (
            "incoming",
            "queue/discarded",
            "archive",
            "subconf",
            "unsubconf",
            "bounce",
            "moderation",
            "digesters.d",
            "requeue",
            "nomailsubs.d",
        ):
            (root / place / part).mkdir(parents=True)
        put(root, f"{place}/index", "")
        put(root, f"{place}/control/owner", f"postmaster@{topology.DOMAIN}\n")
        # the list's own address first, then the one that users know
        put(
            root,
            f"{place}/control/listaddress",
            f"{name}@{LISTS_DOMAIN}\n{name}@{topology.DOMAIN}\n",
        )
        for letter in {user[0] for user in subscribers}:
            put(
                root,
                f"{place}/subscribers.d/{letter}",
                "".join(f"{user}@{topology.DOMAIN}\n" for user in subscribers if user[0] == letter),
            )
        aliases += f'{name}: "|/usr/bin/mlmmj-receive -L /{place}"\n'
    put(root, "etc/aliases", aliases)
