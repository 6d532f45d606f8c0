"""Sieve on the new host: Dovecot's settings, procmail's recipe, and a user's script."""

import dataclasses
from typing import ClassVar

from cutover import model
from cutover.changes import dovecot
from cutover.changes.files import FileChange
from cutover.connect import ssh
from cutover.facts import files, sieve, users

FORWARD = "cutover-forward"  # name of the scripts that replace a forward of the userdb


def with_block(text: str, inside: str | None) -> str:
    """The file with another text between our marks, at its end; None removes the marks too."""
    head, begin, rest = text.partition(sieve.BEGIN + "\n")
    if begin:
        text = head + rest.partition(sieve.END + "\n")[2]
    if inside is None:
        return text
    gap = "\n" if text and not text.endswith("\n") else ""
    return f"{text}{gap}{sieve.BEGIN}\n{inside}{sieve.END}\n"


@dataclasses.dataclass(frozen=True)
class DovecotBlock(model.Change):
    """A marked block at the end of a file of Dovecot's configuration, which Dovecot then reads.

    The rest of the file, such as a password, is in no plan and no journal.
    """

    kind: ClassVar[str] = "dovecot-block"
    host: str
    path: str
    before: str | None  # between the marks; None: there are none
    after: str | None
    restart: str = ""  # the unit to restart: since 2.4 a reload adds no protocol. "": reload

    @property
    def resource(self):
        return f"{self.path} on {self.host}"

    def title(self):
        if self.after is None:
            return f"remove the block from {self.path}"
        return f"write a block at the end of {self.path}"

    def describe(self):
        lines = model.lines(self.after or self.before or "")
        return "\n".join(
            [
                f"{self.path}, at its end:",
                *(("-" if self.after is None else "+") + line for line in lines),
                "doveconf -n (if this refuses it, the file is put back as it was)",
                " ".join(self._restart()),
            ]
        )

    def _now(self, hosts):
        return files.read(hosts, self.host, self.path) or ""

    def settled(self, ctx):
        done = sieve.block(self._now(ctx.hosts)) == self.after
        return model.Settled(done, f"the block is {'' if done else 'not '}as planned")

    def apply(self, ctx, report):
        text = self._now(ctx.hosts)
        if sieve.block(text) not in (self.before, self.after):
            raise model.ChangeFailed(
                f"{self.path} on {self.host} was not written: its block changed since the plan was "
                "made. Run this step again. To roll back, first give it one of the two texts that "
                "the plan shows."
            )
        dovecot.replace(
            ctx.hosts,
            self.host,
            self.path,
            lambda: self._put(ctx.hosts, with_block(text, self.after)),
            lambda: self._put(ctx.hosts, text),
            self._restart(),
        )
        return model.Result("Dovecot has read it")

    def _restart(self):
        unit = self.restart
        return ["systemctl", "restart", "--", unit] if unit else ["doveadm", "reload"]

    def _put(self, hosts, text):
        hosts.ssh(self.host).put(
            text.encode("utf-8", "surrogateescape"), self.path, mode=None, sudo=True
        )

    def inverse(self):
        return dataclasses.replace(self, before=self.after, after=self.before)


@dataclasses.dataclass(frozen=True)
class ProcmailSieve(FileChange):
    """procmail hands users' mail to Sieve, or stops doing so, unless a forward depends on it."""

    kind: ClassVar[str] = "procmail-sieve"

    def write(self, hosts) -> None:
        if sieve.LINK in (self.before or "") and sieve.LINK not in (self.after or ""):
            forwards = [
                account.home
                for account in users.read(hosts, self.host)
                if sieve.active(hosts, self.host, account.user, account.home) == FORWARD
            ]
            if forwards:
                raise model.ChangeFailed(
                    f"{self.path} on {self.host} was not written: forwards depend on Sieve "
                    f"({', '.join(forwards[:5])}). Roll back the run of `forwards` first."
                )
        super().write(hosts)


@dataclasses.dataclass(frozen=True)
class SieveScript(model.Change):
    """A user gets a Sieve script, which becomes the active one; or it is removed.

    Refused where the user has another.
    """

    kind: ClassVar[str] = "sieve-script"
    host: str
    user: str
    home: str
    name: str
    before: str | None  # None: no script is active
    after: str | None

    @property
    def resource(self):
        return f"the Sieve script of {self.user} on {self.host}"

    def title(self):
        verb = "remove" if self.after is None else "activate"
        return f"{verb} the Sieve script {self.name} of {self.user}"

    def describe(self):
        if self.after is None:
            return "\n".join(" ".join(argv) for argv in self._removal())
        return (
            f"{' '.join(self._activation())}   (compiled first), this text:\n{self.after.rstrip()}"
        )

    def _removal(self):
        return [
            ["doveadm", "sieve", "deactivate", "-u", self.user],
            ["doveadm", "sieve", "delete", "-u", self.user, self.name],
        ]

    def _activation(self):
        return ["doveadm", "sieve", "put", "-u", self.user, "-a", self.name]

    def settled(self, ctx):
        now = sieve.script(ctx.hosts, self.host, self.user, self.home)
        other = "" if now == self.after else ", and it is another"
        detail = "no script is active" if now is None else f"a script is active{other}"
        return model.Settled(now == self.after, detail)

    def apply(self, ctx, report):
        now = sieve.script(ctx.hosts, self.host, self.user, self.home)
        if now == self.after:
            return model.Result("already so")
        if now != self.before:
            raise model.ChangeFailed(
                f"the Sieve script of {self.user} on {self.host} was not changed: the user has "
                "changed it since the plan was made. Run this step again."
            )
        if self.after is None:
            for argv in self._removal():
                ctx.hosts.run(self.host, argv, sudo=True)
            return model.Result("removed")
        try:
            ctx.hosts.run(self.host, self._activation(), sudo=True, input=self.after.encode())
        except ssh.CommandFailed as error:
            raise model.ChangeFailed(
                f"Pigeonhole on {self.host} refuses the script of {self.user}: {error}"
            ) from error
        return model.Result("active")

    def inverse(self):
        return dataclasses.replace(self, before=self.after, after=self.before)
