"""One user's mail in the copy of the backup host, and the same brought beside the live mailbox of the new host.

Neither host has a way into the other for this: the backup host's key only lets it read. So what is brought goes through this
machine, as one stream of tar: one file after the other would cost a round trip each. Beside means below new_store.work, where
no user and no client sees it; Dovecot reads it there in a mount namespace of its own (mailboxes.tree_session).
"""

import collections
import hashlib
import json

from cutover import model
from cutover.connect import ssh
from cutover.facts import mailboxes, users
from cutover.model import errors

PIECE = 256 * 1024  # bytes read and written at once
WAIT = 600  # seconds without a byte
OTHERS = 50  # users whose mail directories tell how one is made

_LIST = r"""
cd -- "$1" 2> /dev/null || exit 3
for each in . .[!.]*; do
    [ -d "$each/cur" ] || continue
    printf '%s\0' "$each" "$(find "$each/cur" "$each/new" -maxdepth 1 -type f 2> /dev/null | wc -l)" \
        "$(head -n 1 "$each/dovecot-uidlist" 2> /dev/null)" "$(sed 1d "$each/dovecot-uidlist" 2> /dev/null | cut -d ' ' -f 1)"
done
"""
# the directories are on standard input
_LIKE = "xargs -0 -r stat --dereference --format '%g %a' -- 2> /dev/null; :"
# $1 the tree; what was brought is not there under its name until all of it is
_TAKE = r"""
umask 077
rm -rf -- "$1.part"; mkdir -p -- "$1.part"
exec tar --extract --numeric-owner --no-same-permissions --directory "$1.part"
"""
_PUBLISH = r"""
mkdir -p -- "$1.part/cur" "$1.part/new" "$1.part/tmp"
chown -R --no-dereference -- "$2" "$1.part"
rm -rf -- "$1"; mv -- "$1.part" "$1"
find "$1" -type f '(' -path '*/cur/*' -o -path '*/new/*' ')' | wc -l
"""
_PACK = r"""
cd -- "$1" || exit 3
shift
for each; do shift; [ ! -e "./$each" ] || set -- "$@" "./$each"; done
exec tar --create --numeric-owner -- "$@"
"""


class NotBrought(errors.CutoverError):
    """A user's mail could not be brought from the backup host; the message says what either side said."""


def listing(hosts, user: str) -> dict | None:
    """The folders of a user in the copy: `{name as IMAP says it: {"directory", "messages": files, "uidvalidity": or None, "uids":
    those the folder's uidlist names}}`; None when the copy has no such user."""
    site = hosts.site
    result = hosts.run(
        site.roles.backup,
        ["sh", "-c", _LIST, "list", f"{site.backup.target}/{user}"],
        sudo=True,
        check=False,
        timeout=WAIT,
    )
    if result.rc == 3:
        return None
    if result.rc:
        raise ssh.CommandFailed.of(result)
    parts = result.out.decode("utf-8", "surrogateescape").split("\0")[:-1]
    found = {}
    for directory, number, head, uids in zip(*[iter(parts)] * 4, strict=True):
        name = "INBOX" if directory == "." else mailboxes.name(directory[1:].replace(".", "/"))
        validity = [field[1:] for field in head.split()[1:] if field.startswith("V")]
        found[name] = {
            "directory": directory,
            "messages": int(number),
            "uidvalidity": int(validity[0]) if validity else None,
            "uids": [int(uid) for uid in uids.split() if uid.isdigit()],
        }
    return found


def tree(site, run: str, user: str, folder: str, other: str = "") -> str:
    """Where on the new host a run has what it brought of a user, or of one folder. `other`: from where, if not from the copy."""
    what = "\0".join([folder, other]) if other else folder
    part = (
        "-" + hashlib.sha256(what.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        if what
        else ""
    )
    return f"{site.new_store.work}/restore/{run}/{user}{part}"


def source(site, user: str, directories: list, base: str = "") -> list:
    """The command that packs folders of a user's copy, or of what was restored below `base`. INBOX, ".", is the files of the
    tree's top and no folder below it."""
    top = ["cur", "new", "dovecot-uidlist", "dovecot-keywords"] if "." in directories else []
    return packing(
        f"{base}{site.backup.target}/{user}", [*top, *(each for each in directories if each != ".")]
    )


def packing(directory: str, names: list) -> list:
    """The command that packs what is there of some names in a directory."""
    return ["sh", "-c", _PACK, "pack", directory, *names]


def bring(hosts, packing: list, owner: str, place: str, report=lambda done: None) -> tuple:
    """Bring what a command of the backup host packs to `place`, instead of what a broken attempt left there. → (message files,
    bytes sent).

    `owner`: `UID:GID`, whose the files are; `report(bytes)` is told as it goes. Raises NotBrought.
    """
    try:
        return _brought(hosts, packing, owner, place, report)
    except (
        NotBrought
    ):  # what came of it is on the store's own file system: it must not stay and fill it
        hosts.run(
            hosts.site.roles.new,
            ["rm", "-rf", "--", f"{place}.part"],
            sudo=True,
            check=False,
            timeout=WAIT,
        )
        raise


def _brought(hosts, packing, owner, place, report):
    site, sent = hosts.site, 0
    with (
        hosts.ssh(site.roles.backup).open(packing, sudo=True, timeout=WAIT) as packed,
        hosts.ssh(site.roles.new).open(
            ["sh", "-c", _TAKE, "take", place], sudo=True, timeout=WAIT
        ) as taken,
    ):
        try:
            while piece := packed.read(PIECE):
                taken.write(piece)
                sent += len(piece)
                report(sent)
        except ssh.LinkLost as lost:
            raise NotBrought(
                f"{site.roles.new} did not take it all: {taken.stderr_text().strip() or lost}"
            ) from lost
        done = packed.finish()
        if done.rc:
            taken.finish()  # else it would go on writing
            raise NotBrought(
                f"{site.roles.backup}: tar ended with {done.rc}: {done.err.decode(errors='replace').strip()}"
            )
        taking = taken.finish()
    if taking.rc:
        raise NotBrought(
            f"{site.roles.new}: {taking.err.decode(errors='replace').strip() or f'it ended with {taking.rc}'}"
        )
    done = hosts.run(
        site.roles.new, ["sh", "-ec", _PUBLISH, "publish", place, owner], sudo=True, timeout=WAIT
    )
    return int(done.text), sent


def brought(hosts, place: str) -> bool:
    """Whether a tree lies there, whole."""
    return is_directory(hosts, f"{place}/cur")


def mail_directory(hosts, account: dict) -> dict:
    """Where a user's mail lies: `{"path", "there": bool}`; and when it is not there: "parent": whether the directory that it was
    in is, "asked", "found": how many of some other users were asked for and have theirs, "group": the gid that most of those
    have, or None where each has its user's own, "mode": the mode of most, in octal."""
    new, path = hosts.site.roles.new, mailboxes.maildir(hosts.site, account)
    if is_directory(hosts, path):
        return {"path": path, "there": True}
    others = [
        each for each in model.to_json(users.read(hosts, new)) if each["user"] != account["user"]
    ][:OTHERS]
    listed = "".join(f"{mailboxes.maildir(hosts.site, each)}\0" for each in others)
    seen = [
        line.split()
        for line in hosts.run(
            new, ["sh", "-c", _LIKE], sudo=True, input=listed.encode()
        ).text.splitlines()
    ]
    own = {str(each["gid"]) for each in others}
    groups = collections.Counter(None if group in own else int(group) for group, _ in seen)
    modes = collections.Counter(mode for _, mode in seen)
    return {
        "path": path,
        "there": False,
        "parent": is_directory(hosts, path.rpartition("/")[0]),
        "asked": len(others),
        "found": len(seen),
        "group": groups.most_common(1)[0][0] if seen else None,
        "mode": modes.most_common(1)[0][0] if seen else "700",
    }


def is_directory(hosts, path: str) -> bool:
    """Whether a directory is on the new host."""
    return hosts.run(hosts.site.roles.new, ["test", "-d", path], sudo=True, check=False).rc == 0


def session(hosts, account: dict, place: str):
    """Dovecot over a tree that was brought; it writes nothing there. → context manager of imap.Session"""
    return mailboxes.tree_session(hosts, account, place)


def note(hosts, place: str) -> dict:
    """What a restore wrote down before it added anything: `{folder: {"uidvalidity", "uidnext", "exists"}}`; empty when none."""
    try:
        return json.loads(hosts.ssh(hosts.site.roles.new).get(f"{place}.json", sudo=True))
    except ssh.NoSuchFile:
        return {}


def write_note(hosts, place: str, values: dict):
    hosts.ssh(hosts.site.roles.new).put(
        json.dumps(values, sort_keys=True).encode(), f"{place}.json", sudo=True
    )
