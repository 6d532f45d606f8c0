"""A user's mail is brought from the backup host to the new host, next to the live mailbox.

Neither host can reach the other for this: the backup host's key only lets it read. So the mail goes
through this machine, as one stream of tar: one file after the other would cost a round trip per
file.
"""

import dataclasses
from typing import ClassVar, NamedTuple

from cutover import model
from cutover.connect import ssh
from cutover.facts import copies
from cutover.model import errors

PIECE = 256 * 1024  # bytes read and written at once
WAIT = 600  # seconds without a byte

# $1 the tree; what was brought gets its name only when it is complete
_TAKE = r"""
umask 077
above=${1%/*}
mkdir -p -- "$above" || exit 73
if [ -L "$above" ] || [ "$(stat -c %u -- "$above")" != "$(id -u)" ]; then
    echo "$above is a link or belongs to another account" >&2; exit 77
fi
chmod 0700 -- "$above" && rm -rf -- "$1.part" && mkdir -- "$1.part" || exit 73
exec tar --extract --numeric-owner --no-same-permissions --directory "$1.part"
"""
# mail is files and directories; users chose what else there is, such as links
_PUBLISH = r"""
find -P "$1.part" -mindepth 1 ! -type d ! -type f -delete
for part in cur new tmp; do [ ! -f "$1.part/$part" ] || rm -f -- "$1.part/$part"; done
mkdir -p -- "$1.part/cur" "$1.part/new" "$1.part/tmp"
# of a message that was renamed while it was copied one name stays: Dovecot would show it twice
find -P "$1.part" -type d -name cur -exec env LC_ALL=C sh -c '
for cur; do
    cd -- "$cur" || exit
    last=
    for name in ./*:2,*; do
        [ -f "$name" ] || continue
        base=${name%%:2,*}
        [ "$base" != "${last%%:2,*}" ] || rm -f -- "$last"
        [ ! -e "../new/$base" ] || rm -f -- "../new/$base"
        last=$name
    done
done' once {} +
chown -R --no-dereference -- "$2" "$1.part"
rm -rf -- "$1"; mv -- "$1.part" "$1"
find "$1" -type f '(' -path '*/cur/*' -o -path '*/new/*' ')' | wc -l
"""
_PACK = r"""
[ ! -L "$1" ] && cd -- "$1" || exit 3
shift
for name; do
    shift
    [ -L "./${name%%/*}" ] || [ -L "./$name" ] || [ ! -e "./$name" ] || set -- "$@" "./$name"
done
exec tar --create --sparse --numeric-owner -- "$@"
"""


class NotBrought(errors.CutoverError):
    """A user's mail could not be brought from the backup host; the message quotes either side."""


class Brought(NamedTuple):
    """messages: message files. sent: bytes of the stream."""

    messages: int
    sent: int


def folders_packing(site, user: str, directories: list, base: str = "") -> list:
    """The command that packs folders of a user's copy, or of what was restored below `base`.

    INBOX, ".", is the files at the top of the tree and no folder below it.
    """
    top = ["cur", "new", "dovecot-uidlist", "dovecot-keywords"] if "." in directories else []
    folders = [directory for directory in directories if directory != "."]
    return packing(f"{base}{site.backup.target}/{user}", [*top, *folders])


def packing(directory: str, names: list) -> list:
    """The command that packs those of some names that exist in a directory."""
    return ["sh", "-c", _PACK, "pack", directory, *names]


def bring(hosts, packing: list, owner: str, place: str, report=lambda done: None) -> Brought:
    """Bring what a command of the backup host packs to `place`, in place of an earlier attempt.

    owner: `UID:GID` of the files. report(bytes): called as it goes. Raises NotBrought.
    """
    try:
        return _stream(hosts, packing, owner, place, report)
    except NotBrought:  # a part of it must not fill the store's file system
        argv = ["rm", "-rf", "--", f"{place}.part"]
        hosts.run(hosts.site.roles.new, argv, sudo=True, check=False, timeout=WAIT)
        raise


def _stream(hosts, packing, owner, place, report):
    backup, new, sent = hosts.site.roles.backup, hosts.site.roles.new, 0
    taking = ["sh", "-c", _TAKE, "take", place]
    with (
        hosts.ssh(backup).open(packing, sudo=True, timeout=WAIT) as packed,
        hosts.ssh(new).open(taking, sudo=True, timeout=WAIT) as taken,
    ):
        try:
            while piece := packed.read(PIECE):
                taken.write(piece)
                sent += len(piece)
                report(sent)
        except ssh.LinkLost as lost:
            raise NotBrought(
                f"unpacking on {new} failed: {taken.stderr_text().strip() or lost}"
            ) from lost
        packed_end = packed.finish()
        if packed_end.rc:
            taken.finish()  # else it would go on writing
            reason = packed_end.err.decode(errors="replace").strip()
            raise NotBrought(f"{backup}: tar ended with {packed_end.rc}: {reason}")
        taken_end = taken.finish()
    if taken_end.rc:
        reason = taken_end.err.decode(errors="replace").strip()
        raise NotBrought(f"unpacking on {new} failed: {reason or f'status {taken_end.rc}'}")
    argv = ["sh", "-ec", _PUBLISH, "publish", place, owner]
    return Brought(int(hosts.run(new, argv, sudo=True, timeout=WAIT).text), sent)


@dataclasses.dataclass(frozen=True)
class BringBeside(model.Change):
    """Pack some folders of a user's copy and unpack them next to the live mailbox."""

    kind: ClassVar[str] = "restore-beside"
    no_inverse: ClassVar[str] = (
        "what was brought over stays: it is a copy and belongs to no mailbox"
    )
    host: str
    user: str
    owner: str  # UID:GID
    place: str
    directories: list  # of the user's tree in the copy
    source: list  # the command that packs them
    origin: str  # the host where it runs

    @property
    def resource(self):
        return f"{self.place} on {self.host}"

    def title(self):
        return f"bring {len(self.directories)} folders of {self.user} next to the live mailbox"

    def describe(self):
        return (
            f"on {self.origin}: tar --create of {', '.join(self.directories)} in {self.source[4]}\n"
            f"on {self.host}: tar --extract --directory {self.place}; chown -R {self.owner}"
        )

    def settled(self, ctx):
        there = copies.brought(ctx.hosts, self.place)
        return model.Settled(there, f"{self.place} {'exists' if there else 'does not exist'}")

    def apply(self, ctx, report):
        def progress(sent):
            report({"event": "restore", "text": f"{sent / 1e6:.0f} MB brought"})

        brought = bring(ctx.hosts, self.source, self.owner, self.place, progress)
        return model.Result(f"{brought.messages} messages, {brought.sent} bytes", brought._asdict())
