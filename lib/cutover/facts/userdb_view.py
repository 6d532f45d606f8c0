"""The userdb of an MX as a store's own steps see it.

Where one file of parameters has several stores, the same MX hosts route the users of all. Each
store moves by runs of its own, possibly at the same time, and nothing in one may depend on how far
another is: users of other stores appear as routed to their alias. A site of one store sees the
userdb as it is.
"""

from cutover.facts import recipient, userdb


def of_text(data: bytes, site) -> bytes:
    """The text with users of other stores at their alias.

    Entries that name mailboxes of two stores stay as they are.
    """
    if not site.others:
        return data
    return userdb.rewrite(data, lambda value, line: of_value(value, site)).data


def of_value(value: str, site) -> str:
    """The same for one maildrop's value."""
    if site.others and not _names(value, site):
        for other in site.others:
            both = [other.fqdn(name) for name in other.mail_hosts]
            spellings = other.spellings(other.alias, other.roles.old)
            routed = userdb.both(value, spellings, both)
            value = userdb.back(routed, other.fqdn(other.alias), both)
    return value


def of_two_stores(data: bytes, site) -> list[str]:
    """The keys of maildrops that name mailboxes of this store and of another one."""
    return [
        entry.key
        for entry in userdb.parse(data)
        if entry.field.lower() == "maildrop"
        and _names(entry.value, site)
        and any(_names(entry.value, other) for other in site.others)
    ]


def _names(value, site):
    """Whether a value has an address of one of the site's mailboxes."""
    parts = recipient.split(value)
    return any(recipient.goes_to(part, *site.mailbox_domains) for part in parts)


def read_source(hosts, name: str, path: str) -> bytes:
    """The source on a host. Raises ssh.SshError."""
    return of_text(hosts.ssh(name).get(path, sudo=True), hosts.site)


def read_backup(hosts, name: str, path: str) -> bytes | None:
    """The backup of a source; None before there is one."""
    if hosts.run(name, ["test", "-e", path], sudo=True, check=False).rc:
        return None
    return read_source(hosts, name, path)
