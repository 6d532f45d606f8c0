"""Whole files of a host written, replaced or removed."""

import dataclasses
import difflib
from typing import ClassVar

from cutover import model
from cutover.connect import ssh

UNITS = "/etc/systemd/system/"
SUDOERS = "/etc/sudoers.d/"
_JUDGE = 'f=$(mktemp) && cat > "$f" && visudo -cqf "$f"; rc=$?; rm -f "$f"; exit $rc'


@dataclasses.dataclass(frozen=True)
class FileChange(model.Change):
    """A file gets another text, or goes away (`after` None). Refused when its text is not the one that was planned on.

    A sudoers file is judged by visudo before it is put in place; systemd is told of a unit's new text.
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
        return f"{'write' if self.before is None else 'remove' if self.after is None else 'change'} {self.path}"

    def describe(self):
        if self.after is None:
            lines = [f"rm {self.path}"]
        else:
            sides = [(text or "").splitlines() for text in (self.before, self.after)]
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
        return "\n".join(
            [*lines, *(["systemctl daemon-reload"] if self.path.startswith(UNITS) else [])]
        )

    def settled(self, ctx):
        now = read(ctx.hosts, self.host, self.path)
        if now == self.after:
            return model.Settled(
                True, "there is no such file" if now is None else "the file has this text"
            )
        return model.Settled(
            False, "there is no such file" if now is None else "the file has another text"
        )

    def apply(self, ctx, report):
        now = read(ctx.hosts, self.host, self.path)
        if now != self.after:
            if now != self.before:
                raise model.ChangeFailed(
                    f"{self.host}: {self.path} is not as it was when the plan was made. Somebody changed "
                    "it: run this step again."
                )
            self._write(ctx.hosts)
        if self.path.startswith(UNITS):
            ctx.hosts.run(self.host, ["systemctl", "daemon-reload"], sudo=True)
        return (
            "already so"
            if now == self.after
            else "removed"
            if self.after is None
            else f"{len(self.after)} characters written"
        )

    def _write(self, hosts):
        if self.after is None:
            hosts.run(self.host, ["rm", "-f", "--", self.path], sudo=True)
            return
        data = self.after.encode("utf-8", "surrogateescape")
        if self.path.startswith(SUDOERS):
            try:
                hosts.run(self.host, ["sh", "-c", _JUDGE, "judge"], sudo=True, input=data)
            except ssh.CommandFailed as error:
                raise model.ChangeFailed(
                    f"{self.host}: visudo refuses the text for {self.path}; nothing was written. "
                    f"{error}"
                ) from error
        hosts.run(self.host, ["mkdir", "-p", "--", self.path.rpartition("/")[0]], sudo=True)
        hosts.ssh(self.host).put(data, self.path, mode=int(self.mode, 8), sudo=True)

    def inverse(self):
        return dataclasses.replace(self, before=self.after, after=self.before)


def read(hosts, host: str, path: str) -> str | None:
    """A file's text (surrogates for bytes that are no UTF-8), or None when there is none."""
    try:
        return hosts.ssh(host).get(path, sudo=True).decode("utf-8", "surrogateescape")
    except ssh.NoSuchFile:
        return None
