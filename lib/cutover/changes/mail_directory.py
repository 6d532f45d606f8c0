"""The directory of a user's mail, which was gone, is made; and removed again while it is empty."""

import dataclasses
from typing import ClassVar

from cutover import model
from cutover.facts import copies

# $1 the directory, $2 UID:GID, $3 its mode; it gets its name only when it is the user's
_MAKE = r"""
[ ! -d "$1" ] || exit 0
made=$(mktemp -d -- "${1%/*}/.cutover-XXXXXX")
chown -- "$2" "$made"; chmod -- "$3" "$made"
mv -T -- "$made" "$1"
"""
_COUNT = """find "$1" -type f '(' -path '*/cur/*' -o -path '*/new/*' ')' | wc -l"""
_STATE = f'[ ! -d "$1" ] && echo gone || {_COUNT}'
# $1 the directory, $2 where it goes if it is not empty; counted once nothing can arrive any more
_AWAY = rf"""
[ -d "$1" ] || {{ echo "did not exist"; exit 0; }}
! rmdir -- "$1" 2> /dev/null || {{ echo removed; exit 0; }}
aside=$(mktemp -d -- "$2.XXXXXX")
mv -T -- "$1" "$aside/mail"
number=$(set -- "$aside/mail"; {_COUNT})
if [ "$number" != 0 ]; then
    mv -T -- "$aside/mail" "$1"; rmdir -- "$aside"; echo "stays: $number messages are in it"; exit 0
fi
echo "set aside in $aside: it held no mail"
"""


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
        argv = ["sh", "-ec", _MAKE, "make", self.path, self.owner, self.mode]
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
        argv = ["sh", "-ec", _AWAY, "away", self.path, self.aside]
        return model.Result(ctx.hosts.run(self.host, argv, sudo=True).text.strip())
