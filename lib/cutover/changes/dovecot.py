"""A file of Dovecot's configuration gets another text, and Dovecot reads it."""

import dataclasses
import difflib
import time
from collections.abc import Callable, Sequence
from typing import ClassVar

from cutover import model
from cutover.changes.files import FileChange
from cutover.facts import services

NO_USER = 67  # sysexits.h: doveadm got an answer
PATIENCE = 20.0  # seconds until Dovecot answers again
RELOAD = ("doveadm", "reload")
SHOWN = 200  # lines of `doveconf -n` in the journal


def replace(
    hosts, host: str, path: str, put: Callable, put_back: Callable, command: Sequence[str] = RELOAD
) -> list[str]:
    """Put a file in place and have Dovecot read it; if doveconf refuses it, put it back.

    command: by which Dovecot reads it. Returns how `doveconf -n` changed: lines that begin with
    + or -. Raises ChangeFailed.
    """
    before = hosts.run(host, ["doveconf", "-n"], sudo=True, check=False).text
    put()
    check = hosts.run(host, ["doveconf", "-n"], sudo=True, check=False)
    if check.rc:
        put_back()
        reason = check.err.decode(errors="replace").strip()[:500]
        raise model.ChangeFailed(
            f"{path} on {host} is as it was: doveconf refuses the new text. {reason}"
        )
    _read_again(hosts, host, list(command))
    changed = difflib.unified_diff(before.split("\n"), check.text.split("\n"), lineterm="", n=0)
    return [line for line in list(changed)[2:] if line[0] in "+-"]


def _read_again(hosts, host, command):
    """It restarts the auth service too, and a delivery must find it."""
    done = hosts.run(host, command, sudo=True, check=False, timeout=120)
    if done.rc:
        listed = services.read(hosts, host, hosts.site.services_of(host).imap)
        if not any(service.running for service in listed):
            return  # it reads its configuration when it starts
        reason = done.err.decode(errors="replace").strip()[:300]
        raise model.ChangeFailed(
            f"Dovecot on {host} did not read its configuration again: {reason}. Fix the cause and "
            "run this step again."
        )
    until = time.monotonic() + PATIENCE
    argv = ["doveadm", "user", "cutover-nobody"]
    while True:
        answer = hosts.run(host, argv, sudo=True, check=False)
        if answer.rc == NO_USER:
            return
        if time.monotonic() > until:
            reason = answer.err.decode(errors="replace").strip()[:300]
            raise model.ChangeFailed(
                f"Dovecot on {host} does not answer after {PATIENCE:.0f} s: {reason}. Check "
                "`doveadm log errors` there."
            )
        time.sleep(0.3)


@dataclasses.dataclass(frozen=True)
class DovecotFile(FileChange):
    """A whole file of Dovecot's configuration. doveconf judges it before Dovecot reads it."""

    kind: ClassVar[str] = "dovecot-file"

    def describe(self):
        return "\n".join(
            [
                super().describe(),
                "doveconf -n (if this refuses it, the file is put back as it was)",
                "doveadm reload",
            ]
        )

    def apply(self, ctx, report):
        now = self.current(ctx.hosts)
        former = dataclasses.replace(self, after=now)
        changed = replace(
            ctx.hosts,
            self.host,
            self.path,
            lambda: self.write(ctx.hosts),
            lambda: former.write(ctx.hosts),
        )
        return model.Result(
            f"doveconf -n shows {len(changed)} lines changed", {"changed": changed[:SHOWN]}
        )
