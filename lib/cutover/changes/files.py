"""A whole file of a host is written, replaced or removed."""

import dataclasses
import difflib
from typing import ClassVar

from cutover import model
from cutover.connect import ssh
from cutover.facts import files

UNITS = "/etc/systemd/system/"
SUDOERS = "/etc/sudoers.d/"
# $1 the file, $2 the number of bytes. sudo passes over names with a dot.
_JUDGE = r"""
beside=$(mktemp -- "${1%/*}/.cutover.XXXXXX") || exit 73
trap 'rm -f -- "$beside"' EXIT
cat > "$beside" || exit 75
[ "$(wc -c < "$beside")" -eq "$2" ] || { echo "only part of the data arrived" >&2; exit 75; }
visudo -cqf "$beside"
"""


@dataclasses.dataclass(frozen=True)
class FileChange(model.Change):
    """A file gets another text, or is removed (`after` None).

    Refused when its text is not the one the plan was made for. visudo checks a sudoers file before
    it is put in place; systemd reloads after a unit file changed.
    """

    kind: ClassVar[str] = "file"
    host: str
    path: str
    mode: str  # octal, e.g. "0644"; the file belongs to root
    before: str | None  # None: there is none
    after: str | None

    @property
    def resource(self):
        return f"{self.path} on {self.host}"

    def title(self):
        verb = "write" if self.before is None else "remove" if self.after is None else "change"
        return f"{verb} {self.path}"

    def describe(self):
        if self.after is None:
            lines = [f"rm {self.path}"]
        else:
            sides = [model.lines(text or "") for text in (self.before, self.after)]
            lines = [
                f"install -m {self.mode} -o root (this text) {self.path}",
                *difflib.unified_diff(
                    *sides,
                    f"{self.path} as it is" if self.before is not None else "/dev/null",
                    self.path,
                    lineterm="",
                ),
            ]
            if self.path.startswith(SUDOERS):
                lines.insert(0, "visudo -c (on this text, before it is in place)")
        if self.path.startswith(UNITS):
            lines.append("systemctl daemon-reload")
        return "\n".join(lines)

    def settled(self, ctx):
        now = files.read(ctx.hosts, self.host, self.path)
        state = "this text" if now == self.after else "another text"
        detail = "the file does not exist" if now is None else f"the file has {state}"
        return model.Settled(now == self.after, detail)

    def current(self, hosts) -> str | None:
        """The file's text. Raises ChangeFailed if the plan was not made for it."""
        now = files.read(hosts, self.host, self.path)
        if now not in (self.before, self.after):
            raise model.ChangeFailed(
                f"{self.path} on {self.host} was not written: its text changed since the plan "
                "was made. Run this step again. To roll back, first give it one of the two texts "
                "that the plan shows."
            )
        return now

    def apply(self, ctx, report):
        now = self.current(ctx.hosts)
        if now != self.after:
            self.write(ctx.hosts)
        if self.path.startswith(UNITS):
            ctx.hosts.run(self.host, ["systemctl", "daemon-reload"], sudo=True)
        if now == self.after:
            return model.Result("already so")
        if self.after is None:
            return model.Result("removed")
        return model.Result(f"{len(self.after)} characters written")

    def write(self, hosts) -> None:
        """Put the text in place, or remove the file, whatever is there now."""
        if self.after is None:
            hosts.run(self.host, ["rm", "-f", "--", self.path], sudo=True)
            return
        data = self.after.encode("utf-8", "surrogateescape")
        if self.path.startswith(SUDOERS):
            judge = ["sh", "-c", _JUDGE, "judge", self.path, str(len(data))]
            try:
                hosts.run(self.host, judge, sudo=True, input=data)
            except ssh.CommandFailed as error:
                raise model.ChangeFailed(
                    f"{self.path} on {self.host} was not written: visudo refuses the text. {error}"
                ) from error
        hosts.run(self.host, ["mkdir", "-p", "--", self.path.rpartition("/")[0]], sudo=True)
        hosts.ssh(self.host).put(data, self.path, mode=int(self.mode, 8), sudo=True)

    def inverse(self):
        return dataclasses.replace(self, before=self.after, after=self.before)
