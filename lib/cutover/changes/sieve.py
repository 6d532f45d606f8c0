"""Sieve on the new host: Dovecot's settings, procmail's hand-over, and a user's script."""

import dataclasses
import time
from typing import ClassVar

from cutover import model
from cutover.changes import files
from cutover.connect import ssh
from cutover.facts import users
from cutover.facts.files import read as read_file

BEGIN, END = "# mail-cutover: sieve begins", "# mail-cutover: sieve ends"
LINK = ".dovecot.sieve"  # in a user's home: leads to the active script (Pigeonhole's default)
FORWARD = "cutover-forward"  # name of the scripts that stand for a forward of the userdb
TRY_AGAIN = 75  # sysexits.h: doveadm was not answered
PATIENCE = 20.0  # seconds until Dovecot answers again after a reload


def block(text: str) -> str | None:
    """What a configuration file holds between the two marks, or None."""
    _, begin, rest = text.partition(BEGIN + "\n")
    inside, end, _ = rest.partition(END + "\n")
    return inside if begin and end else None


def with_block(text: str, inside: str | None) -> str:
    """The file with another text between the marks, at its end; None takes the marks away as well."""
    head, begin, rest = text.partition(BEGIN + "\n")
    if begin:
        text = head + rest.partition(END + "\n")[2]
    if inside is None:
        return text
    return text + ("\n" if text and not text.endswith("\n") else "") + f"{BEGIN}\n{inside}{END}\n"


@dataclasses.dataclass(frozen=True)
class DovecotBlock(model.Change):
    """A marked block at the end of a file of Dovecot's configuration; then Dovecot reads it. What else the file holds, such as a
    password, is in no plan and no journal."""

    kind: ClassVar[str] = "dovecot-block"
    host: str
    path: str
    before: str | None  # between the marks; None: there are none
    after: str | None

    @property
    def resource(self):
        return f"{self.path} on {self.host}"

    def title(self):
        return f"{'take the block away from' if self.after is None else 'write a block at the end of'} {self.path}"

    def describe(self):
        lines = (self.after or self.before or "").splitlines()
        return "\n".join(
            [
                f"{self.path}, at its end:",
                *(("-" if self.after is None else "+") + line for line in lines),
                "doveconf -n (the file goes back as it was if this refuses it)",
                "doveadm reload",
            ]
        )

    def _now(self, hosts):
        return read_file(hosts, self.host, self.path) or ""

    def settled(self, ctx):
        done = block(self._now(ctx.hosts)) == self.after
        return model.Settled(done, f"the block is {'' if done else 'not '}as wanted")

    def apply(self, ctx, report):
        text = self._now(ctx.hosts)
        if block(text) not in (self.before, self.after):
            raise model.ChangeFailed(
                f"{self.host}: the block in {self.path} is not as it was when the plan was made. Somebody "
                "changed it: run this step again."
            )
        self._put(ctx.hosts, with_block(text, self.after))
        judged = ctx.hosts.run(self.host, ["doveconf", "-n"], sudo=True, check=False)
        if judged.rc:
            self._put(ctx.hosts, text)
            raise model.ChangeFailed(
                f"{self.host}: doveconf refuses the text; {self.path} is as it was. "
                f"{judged.err.decode(errors='replace').strip()[:500]}"
            )
        ctx.hosts.run(self.host, ["doveadm", "reload"], sudo=True)
        self._await(ctx.hosts)
        return "Dovecot has read it"

    def _put(self, hosts, text):
        hosts.ssh(self.host).put(
            text.encode("utf-8", "surrogateescape"), self.path, mode=None, sudo=True
        )

    def _await(self, hosts):
        until = time.monotonic() + PATIENCE
        while True:
            # a reload starts the auth service anew, and a delivery must find it; that there is no such user is an answer
            said = hosts.run(
                self.host, ["doveadm", "user", "cutover-nobody"], sudo=True, check=False
            )
            if said.rc != TRY_AGAIN:
                return
            if time.monotonic() > until:
                raise model.ChangeFailed(
                    f"{self.host}: Dovecot does not answer {PATIENCE:.0f} s after its reload: "
                    f"{said.err.decode(errors='replace').strip()[:300]}"
                )
            time.sleep(0.3)

    def inverse(self):
        return dataclasses.replace(self, before=self.after, after=self.before)


@dataclasses.dataclass(frozen=True)
class ProcmailSieve(files.FileChange):
    """procmail hands users' mail to Sieve, or does so no more; that is refused while a forward rests on it."""

    kind: ClassVar[str] = "procmail-sieve"

    def write(self, hosts) -> None:
        if LINK in (self.before or "") and LINK not in (self.after or ""):
            homes = [account.home for account in users.read(hosts, self.host)]
            resting = [home for home in homes if active(hosts, self.host, home) == FORWARD]
            if resting:
                raise model.ChangeFailed(
                    f"{self.host}: forwards rest on Sieve ({', '.join(resting[:5])}). Roll back the run "
                    "of `forwards` first, then do this again."
                )
        super().write(hosts)


def active(hosts, host: str, home: str) -> str:
    """The name of a user's active script, "" where there is none."""
    link = hosts.run(
        host, ["readlink", "--", f"{home}/{LINK}"], sudo=True, check=False
    ).text.strip()
    return link.rpartition("/")[2].removesuffix(".sieve")


def script(hosts, host: str, home: str) -> str | None:
    """The text of a user's active script, or None."""
    return read_file(hosts, host, f"{home}/{LINK}")


@dataclasses.dataclass(frozen=True)
class SieveScript(model.Change):
    """A user gets a Sieve script, which becomes the active one; or it goes away. Refused where the user has another."""

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
        return f"{'remove' if self.after is None else 'activate'} the Sieve script {self.name} of {self.user}"

    def describe(self):
        if self.after is None:
            return f"doveadm sieve deactivate -u {self.user}\ndoveadm sieve delete -u {self.user} {self.name}"
        return f"doveadm sieve put -u {self.user} -a {self.name}   (it is compiled first), this text:\n{self.after.rstrip()}"

    def settled(self, ctx):
        now = script(ctx.hosts, self.host, self.home)
        return model.Settled(
            now == self.after,
            "no script is active"
            if now is None
            else f"a script is active{'' if now == self.after else ', and it is another'}",
        )

    def apply(self, ctx, report):
        now = script(ctx.hosts, self.host, self.home)
        if now == self.after:
            return "already so"
        if now != self.before:
            raise model.ChangeFailed(
                f"{self.host}: the active Sieve script of {self.user} is not as it was when the plan was "
                "made: the user has changed it. Nothing was done; run this step again."
            )
        if self.after is None:
            ctx.hosts.run(self.host, ["doveadm", "sieve", "deactivate", "-u", self.user], sudo=True)
            ctx.hosts.run(
                self.host, ["doveadm", "sieve", "delete", "-u", self.user, self.name], sudo=True
            )
            return "removed"
        try:
            ctx.hosts.run(
                self.host,
                ["doveadm", "sieve", "put", "-u", self.user, "-a", self.name],
                sudo=True,
                input=self.after.encode(),
            )
        except ssh.CommandFailed as error:
            raise model.ChangeFailed(
                f"{self.host}: Pigeonhole does not take the script of {self.user}: {error}"
            ) from error
        return "active"

    def inverse(self):
        return dataclasses.replace(self, before=self.after, after=self.before)
