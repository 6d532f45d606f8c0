"""One mailbox as a server reads it, while the services are closed to users.

Old host: c-client's imapd, started as the user, begins its session in PREAUTH. New host: Dovecot's
imap by `doveadm exec`, the same way.
"""

import contextlib
import math
import os
from collections.abc import Collection, Iterable

from mbx2maildir.formats import names

from cutover.connect import imap
from cutover.facts import dovecot_programs, users

# The user may put a link in the Maildir's place at any time, so it is entered once and looked at
# from inside: mounted elsewhere, such as over /etc, the tree would be read by root.
# $1 tree, $2 the Maildir in whose place it is read, $3 and $4 the uid and gid, $5 whether the
# directory above is root's alone, so that a Maildir may be made in its place; then the program
_SCRIPT = """
set -e
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/tree
tree=$1
if [ "$5" ] && [ ! -e "$2" ] && [ ! -L "$2" ]; then
    mount --bind "$tree" /mnt/tree
    tree=/mnt/tree
    mount -t tmpfs tmpfs "$(dirname "$2")"
    mkdir "$2"
    chown "$3:$4" "$2"
fi
[ -d "$2" ] || { echo "$2: no such directory on this host" >&2; exit 1; }
cd -- "$2"
if [ "$(stat -c %u .)" != "$3" ]; then echo "$2: not a directory of its user" >&2; exit 1; fi
chown --reference "$tree" /mnt/upper
chmod --reference "$tree" /mnt/upper
mount --no-canonicalize -t overlay overlay \
    -o "lowerdir=$tree,upperdir=/mnt/upper,workdir=/mnt/work" .
cd /
uid=$3 gid=$4
shift 5
exec setpriv --reuid "$uid" --regid "$gid" --init-groups --reset-env "$@"
"""


def name(text: str) -> str:
    """The name imap.Session gives a folder named so on disk (modified UTF-7 or raw bytes)."""
    return imap.decode_name(os.fsencode(text))


def shown(site, directory: str) -> str:
    """The name, as IMAP says it, of a folder of the new host with this Maildir++ name.

    directory: without the leading dot; "" is INBOX.
    """
    return name(levels(site, directory)) or "INBOX"


def levels(site, directory: str) -> str:
    """A Maildir++ name with "/" between its levels, in the encoding of the disk."""
    text = directory.replace(".", "/")
    return os.fsdecode(names.unescaped(os.fsencode(text))) if site.new_store.escapes else text


def directory(site, folder: str) -> str:
    """The inverse of shown(): a folder's Maildir++ name without the leading dot."""
    if folder == "INBOX":
        return ""
    parts = imap.encode_name(folder).split(b"/")
    if site.new_store.escapes:
        parts = [names.escaped(part) for part in parts]
    return os.fsdecode(b".".join(parts))


def besides(site) -> tuple[str, ...]:
    """The prefixes under which the new host lists all folders a second time."""
    return tuple(site.new_store.listed)


def maildir(site, account: users.Account) -> str:
    """The path of a user's mail on the new host."""
    return account.fill(site.new_store.maildir)


def may_lack_maildir(site) -> bool:
    """Whether tree_session() can read a tree of a user who has no Maildir yet.

    The directory above has to be one that no user can shape.
    """
    return "{" not in os.path.dirname(site.new_store.maildir)


def folder_names(site, old: str | None, converted: str) -> tuple[str | None, str]:
    """(old, new) names of a converted folder, as IMAP says them.

    old: its name in the old store, "" for INBOX; "/" and a path below the home for a folder of a
    further root; None for a folder of the new side only.
    converted: its Maildir++ name without the leading dot, "" for INBOX.
    """
    new = shown(site, converted)
    if old and old.startswith("/"):
        return name(old[1:]), new
    if old:
        return name(site.old_store.imap_prefix + old), new
    return ("INBOX" if new == "INBOX" else None), new


@contextlib.contextmanager
def old_session(hosts, user: str):
    """c-client as the user, on the old host. Yields imap.Session."""
    site = hosts.site
    with preauth(hosts.ssh(site.roles.old).open([site.old_store.imapd], as_user=user)) as session:
        yield session


@contextlib.contextmanager
def new_session(hosts, user: str, host: str = ""):
    """Dovecot as the user, on the new host or on another one of its store. Yields imap.Session."""
    host = host or hosts.site.roles.new
    program = dovecot_programs.argv(hosts, host, "imap")
    with preauth(hosts.ssh(host).open(program, as_user=user)) as session:
        session.besides = besides(hosts.site)
        yield session


@contextlib.contextmanager
def tree_session(hosts, account: users.Account, tree: str | None = None):
    """Dovecot over a user's staged tree, or over another tree of the user. Yields imap.Session.

    It reads the tree in the place of the user's Maildir, in a mount namespace of its own with a
    memory file system laid over it. It sees what will be published, and whatever it writes is gone
    with the session. Nothing outside notices. tree: "." for the Maildir as it is.
    """
    new, tree = hosts.site.roles.new, tree or staged(hosts.site, account)
    argv = over_tree(hosts, account, tree, "imap")
    with preauth(hosts.ssh(new).open(argv, sudo=True), f"{new}: Dovecot over {tree}") as opened:
        opened.besides = besides(hosts.site)
        yield opened


def staged(site, account: users.Account) -> str:
    """The path of a user's staged tree."""
    return f"{site.new_store.work}/staging/{account.user}"


def over_tree(hosts, account: users.Account, tree: str, protocol: str) -> list[str]:
    """The command of tree_session(), for root. protocol: "imap" or "pop3"."""
    return [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        _SCRIPT,
        "staged",
        tree,
        maildir(hosts.site, account),
        str(account.uid),
        str(account.gid),
        "made" if may_lack_maildir(hosts.site) else "",
        *dovecot_programs.argv(hosts, hosts.site.roles.new, protocol),
    ]


@contextlib.contextmanager
def preauth(stream, server: str | None = None):
    """The IMAP session that a command on a host begins by itself; it ends with the command.

    server: what errors call it instead of the command. Yields imap.Session.
    """
    try:
        session = imap.preauth(stream, timeout=300, server=server)
        yield session
        session.logout()
    finally:
        stream.close()


def old_names(site, paths: Iterable[str]) -> list[str]:
    """The names, as IMAP says them, of files by their paths below the old folders' root."""
    return [name(site.old_store.imap_prefix + path) for path in paths if path]


def is_below(folder: str, places: Collection[str]) -> bool:
    """Whether a folder is one of these, or lies below one."""
    return any(folder == place or folder.startswith(place + "/") for place in places)


def old_listing(
    session,
    prefix: str,
    passed: Collection[str] = (),
    further: Iterable[str] = (),
    most: float = math.inf,
) -> dict[str, bool]:
    """`{name: whether it can be selected}` of what c-client lists below a prefix.

    passed: names below which nothing is listed. A list of everything follows links that lead back
    20 levels deep: two of them make a million names of a few. further: names, wherever they lie,
    that are listed if they exist. most: no more is listed once there are so many names.
    """
    listing, places = {}, [prefix]
    for outside in further:
        if not outside.startswith(prefix) and outside != "INBOX":
            for listed, _, selectable in session.folders(outside):
                if listed == outside:  # which may be a pattern
                    listing[listed] = selectable
    while places and len(listing) < most:
        place = places.pop()
        for listed, _, selectable in session.folders(place + "%"):
            # the place itself is listed too, and "%" or "*" in its name makes it a pattern
            if listed in listing or not listed.startswith(place) or listed == place:
                continue
            listing[listed] = selectable
            if not selectable and not is_below(listed, passed):
                places.append(listed + "/")
    return listing


def old_folders(
    session, prefix: str, passed: Collection[str] = (), further: Iterable[str] = ()
) -> list:
    """The folders c-client lists: INBOX, and all below the prefix that the site's clients use.

    passed, further: see old_listing.
    """
    listing = old_listing(session, prefix, passed, further)
    names = [name for name, selectable in listing.items() if selectable]
    return ["INBOX", *sorted(name for name in names if name.upper() != "INBOX")]
