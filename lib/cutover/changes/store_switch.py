"""The copy of the store takes the store's place on its host, and goes out of it by a rollback.

The new storage is mounted over the store's path, so every path that users, procmail, Dovecot and
the backup know stays the same, and the old store lies untouched beneath. A store that has moved
before gets the new storage in place of the former, which stays as it is in its own directory.
"""

import dataclasses
import time
from typing import ClassVar

from cutover import model
from cutover.changes.store_move import StoreMove
from cutover.facts import files, processes, storage
from cutover.model import errors

BUSY = [
    "sendmail",
    "sendmail-mta",
    "procmail",
    "dmail",
    "deliver",
    "dovecot-lda",
    "imap",
    "imap-login",
    "pop3",
    "pop3-login",
    "lmtp",
]

# $1 the unit, $2 the store, $3 the mount that leaves the store's place. One command, so that nobody
# comes between.
_EXCHANGE = r"""
! [ "$2" -ef "$3" ] || umount -- "$2" || umount -l -- "$2"
systemctl restart --quiet -- "$1"
"""


class Busy(errors.CutoverError):
    """Deliveries or sessions do not end."""


def wait_for_quiet(hosts, name: str) -> None:
    """Return once nothing is delivered or read on a host. Raises Busy."""
    until = time.monotonic() + hosts.site.limits.queue_drain
    while alive := processes.running(hosts, name, BUSY):
        if time.monotonic() > until:
            raise Busy(
                f"these still work on the store of {name}: {', '.join(map(str, alive[:5]))}. Find "
                "out what they wait for."
            )
        time.sleep(0.3)


def exchange(hosts, host: str, unit: str, store: str, gone: str) -> None:
    """Have the unit put its storage in the store's place, instead of `gone`, or of nothing.

    The caller looks at the result; what systemctl reports is ignored.
    """
    argv = ["sh", "-c", _EXCHANGE, "exchange", unit, store, gone]
    hosts.run(host, argv, sudo=True, timeout=120, check=False)


@dataclasses.dataclass(frozen=True)
class _Switch(StoreMove):
    unit: str
    was: str = ""  # the directory that the store was before; "" if it never moved
    text: str = ""  # the unit that puts `was` in its place; "" when it lies beneath

    def _systemctl(self, hosts, *arguments):
        argv = ["systemctl", *arguments]
        return hosts.run(self.host, argv, sudo=True, check=False, timeout=120).rc == 0

    def _mounted(self, hosts, to):
        return storage.mounted(hosts, self.host, self.store, to)

    def _in_words(self, mounted):
        return f"{self.store} is {self.to if mounted else 'the old store'}"


@dataclasses.dataclass(frozen=True)
class SwitchStore(_Switch):
    """The new storage takes the store's place, also after a reboot; Dovecot must count the same."""

    kind: ClassVar[str] = "store-switch"

    def title(self):
        instead = f" in place of {self.was}" if self.text else ""
        return f"mount {self.to} over {self.store}{instead}"

    def describe(self):
        first = f"; umount {self.store} (which is {self.was})" if self.text else ""
        return (
            f"systemctl enable {self.unit}{first}; systemctl restart {self.unit}   (mount --bind "
            f"{self.to} {self.store})\ndoveadm mailbox status (each folder of each user; compared "
            "with what was counted before)"
        )

    def settled(self, ctx):
        mounted = self._mounted(ctx.hosts, self.to)
        return model.Settled(mounted, self._in_words(mounted))

    def apply(self, ctx, report):
        enable = ["systemctl", "enable", "--quiet", "--", self.unit]
        ctx.hosts.run(self.host, enable, sudo=True, timeout=120)
        if not self.settled(ctx).done:
            gone = self.was if self.text else ""
            exchange(ctx.hosts, self.host, self.unit, self.store, gone)
        settled = self.settled(ctx)
        if not settled.done:
            raise model.ChangeFailed(
                f"{self.unit} on {self.host} was started, but {settled.detail}. Check `systemctl "
                f"status {self.unit}` there, then run this step again."
            )
        counted = self.on_host(ctx.hosts, "after", report).last("counted")
        text = (
            f"{settled.detail}; Dovecot counts the same in {counted['folders']} folders of "
            f"{counted['users']} users"
        )
        return model.Result(text, {"folders": counted["folders"], "users": counted["users"]})

    def inverse(self):
        return SwitchBack(
            self.host, self.run, self.store, self.to, self.work, self.unit, self.was, self.text
        )


@dataclasses.dataclass(frozen=True)
class SwitchBack(_Switch):
    """What came to the new storage is carried to the former store, which then is served again."""

    kind: ClassVar[str] = "store-switch-back"
    no_inverse: ClassVar[str] = "run the step again: it copies what came since"

    def title(self):
        carry = f"carry back what came to {self.to}"
        if self.text:
            return f"{carry}, and mount {self.was} over {self.store} again"
        return f"{carry}, and unmount it from {self.store}"

    def describe(self):
        former = self.was if self.text else self.store
        goal = f"{self.was}/" if self.text else f"(the old store beneath {self.store})"
        end = f"systemctl stop {self.unit}; systemctl disable {self.unit}"
        if self.text:
            end = (
                f"restore the former text of {self.unit}; systemctl daemon-reload; umount "
                f"{self.store}; systemctl restart {self.unit}   (mount --bind {self.was} "
                f"{self.store})"
            )
        return (
            f"rsync -aHAXS --no-links --numeric-ids --delete --backup {self.to}/ {goal}\n"
            "copy the links by themselves   (what either replaces or removes is set aside in "
            f"{former}/.cutover-back/{self.run})\n"
            f"compare each entry\n{end}"
        )

    def settled(self, ctx):
        """Whether the former store is served, and the unit is as it was.

        Raises ChangeFailed where this cannot be undone, before anything is stopped for it.
        """
        hosts, mounted = ctx.hosts, self._mounted(ctx.hosts, self.to)
        self._refuse(hosts, mounted)
        enabled = self._systemctl(hosts, "is-enabled", "--quiet", "--", self.unit)
        if not self.text:
            detail = [self._in_words(mounted), f"{self.unit} is enabled" if enabled else ""]
            return model.Settled(not mounted and not enabled, _joined(detail))
        back = self._mounted(hosts, self.was)
        right = files.read(hosts, self.host, storage.UNITS + self.unit) == self.text
        detail = [
            f"{self.store} is {self.was if back else self.to}",
            "" if enabled else f"{self.unit} is not enabled",
            "" if right else f"{self.unit} has another text",
        ]
        return model.Settled(back and enabled and right, _joined(detail))

    def _refuse(self, hosts, mounted):
        alone = storage.notes(hosts, self.host, self.work).alone
        if alone == self.to and not mounted:
            raise model.ChangeFailed(
                f"mail on {self.host} was served from {self.to}, which is not in {self.store} now: "
                f"only it has what came since. Bring it back (`systemctl restart {self.unit}`), "
                "then roll back again."
            )
        if alone and alone not in (self.to, self.was):
            raise model.ChangeFailed(
                f"the store of {self.host} has moved on from {self.to} to {alone} since. Roll back "
                "the run that moved it there first."
            )
        if self.text and not mounted and not self._mounted(hosts, self.was):
            raise model.ChangeFailed(
                f"{self.store} on {self.host} is neither {self.to} nor {self.was}. Run `systemctl "
                f"restart {self.unit}` there, then roll back again."
            )
        if self.text or not mounted:
            return
        if not self._systemctl(hosts, "is-active", "--quiet", "--", self.unit):
            raise model.ChangeFailed(
                f"{self.to} was put in the place of {self.store} on {self.host}, but not by "
                f"{self.unit}; by /etc/fstab? Have the unit do it (remove the other mount, then "
                f"`systemctl restart {self.unit}`), then roll back again."
            )

    def apply(self, ctx, report):
        hosts, events = ctx.hosts, None
        if self._mounted(hosts, self.to):
            wait_for_quiet(hosts, self.host)
            former = self.was if self.text else ""
            events = self.on_host(hosts, "back", report, former=former, alone=self.was)
        self._mount_former(hosts, stop=events is not None)
        settled = self.settled(ctx)
        if not settled.done:
            verb = "restarted" if self.text else "stopped"
            raise model.ChangeFailed(
                f"{self.unit} on {self.host} was {verb}, but {settled.detail}. Check `systemctl "
                f"status {self.unit}` there, then roll back again."
            )
        if events is None:
            return model.Result(settled.detail)
        entries = events.last("compared")["entries"]
        text = f"{events.passes()}; {entries} entries the same; {settled.detail}"
        return model.Result(text, events.figures())

    def _mount_former(self, hosts, stop):
        """stop: the unit has the storage mounted."""
        if self.text:
            path = storage.UNITS + self.unit
            hosts.ssh(self.host).put(self.text.encode(), path, mode=0o644, sudo=True)
            commands = [["daemon-reload"], ["enable", "--quiet", "--", self.unit]]
        else:
            verbs = ("stop", "disable") if stop else ("disable",)
            commands = [[verb, "--quiet", "--", self.unit] for verb in verbs]
        for command in commands:
            hosts.run(self.host, ["systemctl", *command], sudo=True, timeout=120)
        if self.text:
            exchange(hosts, self.host, self.unit, self.store, self.to)


def _joined(texts):
    return "; ".join(filter(None, texts))
