"""The directory of a user's mail, which was gone, is made; and removed again while it is empty."""

import dataclasses
from typing import ClassVar

from cutover import model
from cutover.facts import copies

# The directory, UID:GID, its mode; it gets its name only when it is the user's. Links above it are
# followed where they are root's. The directory above may be the user's, who can put another in its
# place at any time: what is given to the user is what was made here, by its descriptor.
_MAKE = r"""
import os, secrets, sys
path, owner, mode = sys.argv[1:]
uid, gid = map(int, owner.split(":"))
above, _, name = path.rpartition("/")
if os.path.isdir(path):
    sys.exit()
links = 0
def enter(parent, parts):
    global links
    for part in filter(None, parts):
        try:
            into = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        except NotADirectoryError:
            links += 1
            if os.lstat(part, dir_fd=parent).st_uid != os.geteuid() or links > 40:
                sys.exit(f"{part} in {path} is a link that belongs to a user")
            text = os.readlink(part, dir_fd=parent)
            start = os.open("/", os.O_RDONLY) if text.startswith("/") else parent
            into = enter(start, text.split("/"))
        parent = into
    return parent
parent = enter(os.open("/", os.O_RDONLY), above.split("/"))
if os.fstat(parent).st_uid not in (os.geteuid(), uid):
    sys.exit(f"{above} belongs to another account")
made = ".cutover-" + secrets.token_hex(8)
os.mkdir(made, 0o700, dir_fd=parent)
handle = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
if os.fstat(handle).st_uid != os.geteuid() or os.listdir(handle):
    sys.exit(f"{above}/{made} was replaced")
os.fchown(handle, uid, gid)
os.fchmod(handle, int(mode, 8))
os.rename(made, name, src_dir_fd=parent, dst_dir_fd=parent)
"""
_COUNT = """find "$1" -type f '(' -path '*/cur/*' -o -path '*/new/*' ')' | wc -l"""
_STATE = f'[ ! -d "$1" ] && echo gone || {_COUNT}'
# A rename, which takes a link as it is; `mv` would copy from another file system as root.
_RENAME = "import os, sys; os.rename(*sys.argv[1:])"
# $1 the directory, $2 where it goes if it is not empty, $3 Python; counted once nothing can arrive
# any more
_AWAY = rf"""
rename() {{ "$python" -I -c '{_RENAME}' "$1" "$2"; }}
python=$3
[ ! -L "$1" ] || {{ echo "stays: it is a link"; exit 0; }}
[ -d "$1" ] || {{ echo "did not exist"; exit 0; }}
! rmdir -- "$1" 2> /dev/null || {{ echo removed; exit 0; }}
aside=$(mktemp -d -- "$2.XXXXXX")
rename "$1" "$aside/mail"
number=$(set -- "$aside/mail"; {_COUNT})
if [ "$number" != 0 ]; then
    rename "$aside/mail" "$1"; rmdir -- "$aside"; echo "stays: $number messages are in it"; exit 0
fi
echo "set aside in $aside: it held no mail"
"""


def _python(ctx):
    return ctx.site.new_store.python


@dataclasses.dataclass(frozen=True)
class MakeMailDirectory(model.Change):
    """Make the directory of a user's mail, which is gone; Dovecot makes what belongs in it."""

    kind: ClassVar[str] = "restore-directory"
    host: str
    user: str
    path: str
    owner: str  # UID:GID
    mode: str  # octal
    aside: str  # where the rollback puts what Dovecot made in it

    @property
    def resource(self):
        return f"{self.path} on {self.host}"

    def title(self):
        return f"make the mail directory of {self.user}, which is gone"

    def describe(self):
        return f"mkdir -m {self.mode} {self.path}\nchown {self.owner} {self.path}"

    def settled(self, ctx):
        there = copies.is_directory(ctx.hosts, self.path)
        return model.Settled(there, f"{self.path} {'exists' if there else 'does not exist'}")

    def inverse(self):
        return RemoveMailDirectory(self.host, self.user, self.path, self.aside)

    def apply(self, ctx, report):
        argv = [_python(ctx), "-I", "-c", _MAKE, self.path, self.owner, self.mode]
        ctx.hosts.run(self.host, argv, sudo=True)
        return model.Result("made")


@dataclasses.dataclass(frozen=True)
class RemoveMailDirectory(model.Change):
    """Remove a mail directory that a restore made; with mail in it, it stays."""

    kind: ClassVar[str] = "restore-directory-away"
    no_inverse: ClassVar[str] = "restore again"
    host: str
    user: str
    path: str
    aside: str

    @property
    def resource(self):
        return f"{self.path} on {self.host}"

    def title(self):
        return f"remove the mail directory of {self.user}, which a restore made"

    def describe(self):
        return (
            f"rmdir {self.path}; what Dovecot made in it is set aside in {self.aside}.*\n"
            "It stays if mail has arrived in it since."
        )

    def settled(self, ctx):
        argv = ["sh", "-c", _STATE, "count", self.path]
        state = ctx.hosts.run(self.host, argv, sudo=True).text.strip()
        if state == "gone":
            return model.Settled(True, f"{self.path} does not exist")
        stays = int(state) > 0
        detail = f"{self.path} holds {state} messages{' and stays' if stays else ''}"
        return model.Settled(stays, detail)

    def apply(self, ctx, report):
        argv = ["sh", "-ec", _AWAY, "away", self.path, self.aside, _python(ctx)]
        return model.Result(ctx.hosts.run(self.host, argv, sudo=True).text.strip())
