"""The store goes to other storage of its host: copied while users work, once more in the freeze, put in the old one's place.

The new storage is mounted over the store's path, so every path that users, procmail, Dovecot and the backup know stays what it
is, and the old store lies untouched beneath. A store that has moved so before gets the new storage in place of the former, which
stays as it is in its own directory. See store/relocate.py for what is done on the host.
"""

import dataclasses
from typing import ClassVar

from cutover import model
from cutover.changes import files
from cutover.facts import storage
from cutover.facts.files import read as read_file
from cutover.remote import converter

# $1 the unit, $2 the store, $3 what a mount has put in the store's place and goes from it. As one command: with nobody between.
_EXCHANGE = r"""
! [ "$2" -ef "$3" ] || umount -- "$2" || umount -l -- "$2"
systemctl restart --quiet -- "$1"
"""


@dataclasses.dataclass(frozen=True)
class _Move(model.Change):
    host: str
    run: str
    store: str  # directory that users' maildirs lie in
    to: str  # directory of the new storage
    work: str  # directory of the host for notes, on neither

    @property
    def resource(self):
        return f"{self.store} on {self.host}"

    def _asked(self, hosts, verb, report, **more):
        """Have it done on the host, apart from the link → its events by kind, the last of each."""
        said = {}

        def event(data):
            report(data)
            said.setdefault(data.get("event"), []).append(data)

        plan = {
            "work": self.work,
            "run": self.run,
            "verb": verb,
            "jobs": hosts.site.verify.parallel,
            "minutes": hosts.site.verify.content_minutes,
            "aside": f".cutover-back/{self.run}",
            **storage.plan(hosts, self.host, self.store, self.to, self.work),
            **more,
        }
        ended = converter.run(hosts, self.host, plan, "relocate", event, f"move-store-{verb}")
        if ended.rc or "end" not in said:
            told = "; ".join(
                f"{each['file']}: {each['what']}. {each['todo']}" for each in said.get("error", [])
            )
            raise model.ChangeFailed(
                f"{self.host}: {told or ended.err.strip()[-500:] or 'it said nothing'} Then run this step "
                "again: it goes on with what is missing."
            )
        return said


def passed(said) -> str:
    """The figures of passes, in words."""
    return "; ".join(
        f"pass {each['number']}: {each['files']} entries, {each['copied']} copied ({each['bytes']} bytes), "
        f"{each['deleted']} deleted, {each['seconds']} s"
        for each in said["pass"]
    )


@dataclasses.dataclass(frozen=True)
class CopyStore(_Move):
    """Passes of rsync while users work; then all contents are read on both sides, and what the freeze will take is predicted."""

    kind: ClassVar[str] = "store-copy"
    no_inverse: ClassVar[str] = (
        "the copy stays on the new storage, where nobody reads it; nothing is deleted here"
    )
    passes: int
    minutes: float  # that the freeze may take; 0: none follows

    @property
    def resource(self):
        return f"{self.to} on {self.host}"

    def title(self):
        return f"copy the store to {self.to} while users work"

    def describe(self):
        limit = (
            f"\nstop here when the freeze is predicted to take longer than {self.minutes:g} min"
            if self.minutes
            else ""
        )
        return (
            f"rsync -aHAX --numeric-ids --delete {self.store}/ {self.to}/   (at most {self.passes} passes, until one is no "
            f"quicker than the one before)\nread contents on both sides{limit}"
        )

    def settled(self, ctx):
        return model.Settled(False, "a pass is made each time it is asked for")

    def apply(self, ctx, report):
        said = self._asked(ctx.hosts, "passes", report, passes=self.passes)
        read, state = said["read"][-1], storage.state(ctx.hosts, self.host, self.work, self.to)
        told = (
            f"{passed(said)}; {read['read']} files read on both sides and the same ({read['bytes']} bytes, "
            f"{read['seconds']} s), {read['known']} known from before; the freeze is predicted to take "
            f"{state['predicted']:.0f} s, and what stopping and starting the services takes"
        )
        if self.minutes and state["predicted"] > 60 * self.minutes:
            raise model.ChangeFailed(
                f"{self.host}: nothing was stopped: {told}. That is more than the {self.minutes:g} min "
                "of maintenance.move_store.freeze_minutes. Run this step at a quieter time, or "
                "announce more."
            )
        return told


@dataclasses.dataclass(frozen=True)
class LastCopy(_Move):
    """In the freeze: Dovecot counts each folder, what changed since is copied, and both sides are compared."""

    kind: ClassVar[str] = "store-last-copy"
    no_inverse: ClassVar[str] = CopyStore.no_inverse
    was: str = ""  # as SwitchStore has them: noted, since what the store was is not seen any more when it has moved
    text: str = ""

    @property
    def resource(self):
        return f"{self.to} on {self.host}"

    def title(self):
        return f"copy what changed since to {self.to}, and compare"

    def describe(self):
        return (
            "doveadm mailbox status (each folder of each user)\n"
            f"rsync -aHAX --numeric-ids --delete {self.store}/ {self.to}/\n"
            "compare each entry: kind, size, mtime, mode, owner, links; contents of what was touched since they were read"
        )

    def settled(self, ctx):
        return model.Settled(False, "it is done each time it is asked for")

    def apply(self, ctx, report):
        said = self._asked(ctx.hosts, "last", report, former=[self.was, self.text])
        counted, found = said["counted"][-1], said["compared"][-1]
        unread = (
            f"; contents of {found['unread']} files NOT read for want of time"
            if found["unread"]
            else ""
        )
        return (
            f"{counted['folders']} folders of {counted['users']} users counted; {passed(said)}; {found['entries']} entries "
            f"the same, contents of {found['read']} read ({found['bytes']} bytes), {found['known']} known from "
            f"before{unread}; {found['seconds']} s"
        )


@dataclasses.dataclass(frozen=True)
class SwitchStore(_Move):
    """The new storage in the store's place, also after a reboot; then Dovecot must count what it counted before."""

    kind: ClassVar[str] = "store-switch"
    unit: str
    was: str = ""  # the directory that the store was before; "" for a store that never moved
    text: str = ""  # the unit that puts `was` in its place; "" when what was there lies beneath

    def title(self):
        return f"mount {self.to} over {self.store}" + (
            f" in place of {self.was}" if self.text else ""
        )

    def describe(self):
        first = f"; umount {self.store} (which is {self.was})" if self.text else ""
        return (
            f"systemctl enable {self.unit}{first}; systemctl restart {self.unit}   (mount --bind {self.to} {self.store})\n"
            "doveadm mailbox status (each folder of each user; compared with what was counted before)"
        )

    def settled(self, ctx):
        return _served(ctx.hosts, self, True)

    def apply(self, ctx, report):
        ctx.hosts.run(
            self.host, ["systemctl", "enable", "--quiet", "--", self.unit], sudo=True, timeout=120
        )
        if not self.settled(ctx).done:
            exchange(ctx.hosts, self.host, self.unit, self.store, self.was if self.text else "")
        settled = self.settled(ctx)
        if not settled.done:
            raise model.ChangeFailed(
                f"{self.host}: {self.unit} was started, and {settled.detail}. `systemctl status "
                f"{self.unit}` there says why; then run this step again."
            )
        counted = self._asked(ctx.hosts, "after", report)["counted"][-1]
        return f"{settled.detail}; Dovecot counts the same in {counted['folders']} folders of {counted['users']} users"

    def inverse(self):
        return SwitchBack(
            self.host, self.run, self.store, self.to, self.work, self.unit, self.was, self.text
        )


def exchange(hosts, host: str, unit: str, store: str, gone: str) -> None:
    """Have the unit put in the store's place what its text says now, instead of `gone`, or of nothing. What systemctl says
    against it is found by who looks at what is there then."""
    hosts.run(
        host,
        ["sh", "-c", _EXCHANGE, "exchange", unit, store, gone],
        sudo=True,
        timeout=120,
        check=False,
    )


@dataclasses.dataclass(frozen=True)
class SwitchBack(_Move):
    """What the store has got on the new storage is carried to where it lay before, which then is served again."""

    kind: ClassVar[str] = "store-switch-back"
    no_inverse: ClassVar[str] = "run the step again: it copies what came since"
    unit: str
    was: str = ""  # as SwitchStore has them
    text: str = ""

    def title(self):
        return (
            f"carry back what came to {self.to}, and mount {self.was} over {self.store} again"
            if self.text
            else f"carry back what came to {self.to}, and unmount it from {self.store}"
        )

    def describe(self):
        goal = f"{self.was}/" if self.text else f"(the old store beneath {self.store})"
        aside = f"{self.was if self.text else self.store}/.cutover-back/{self.run}"
        end = (
            f"give {self.unit} its former text; systemctl daemon-reload; umount {self.store}; systemctl restart {self.unit}   "
            f"(mount --bind {self.was} {self.store})"
            if self.text
            else f"systemctl stop {self.unit}; systemctl disable {self.unit}"
        )
        return (
            f"rsync -aHAX --numeric-ids --delete --backup {self.to}/ {goal}   (what it replaces or removes there is set "
            f"aside in {aside})\ncompare each entry\n{end}"
        )

    def settled(self, ctx):
        """Not mounted is not enough: the unit must be as it was, and what came to the new storage must be here. Raises
        ChangeFailed where this cannot be undone as things are: so it is said before anything is stopped for it."""
        at, there = self.host, _served(ctx.hosts, self, True).done
        alone = storage.notes(ctx.hosts, at, self.work)["alone"]
        if alone == self.to and not there:
            raise model.ChangeFailed(
                f"{at}: mail was served from {self.to}, which is not in {self.store} now: what came since is there alone. "
                f"Bring it back (`systemctl restart {self.unit}`), then roll back again."
            )
        if alone and alone not in (self.to, self.was):
            raise model.ChangeFailed(
                f"{at}: the store has moved on from {self.to} to {alone} since. Roll back the run that "
                "moved it there first."
            )
        enabled = _asks(ctx.hosts, self, "is-enabled")
        if self.text:
            back = storage.mounted(ctx.hosts, at, self.store, self.was)
            if not there and not back:
                raise model.ChangeFailed(
                    f"{at}: {self.store} is neither {self.to} nor {self.was}. `systemctl restart "
                    f"{self.unit}` there, then roll back again."
                )
            right = read_file(ctx.hosts, at, files.UNITS + self.unit) == self.text
            told = [
                f"{self.store} is {self.was if back else self.to}",
                "" if enabled else f"{self.unit} is not enabled",
                "" if right else f"{self.unit} has another text",
            ]
            return model.Settled(back and enabled and right, "; ".join(filter(None, told)))
        if there and not _asks(ctx.hosts, self, "is-active"):
            raise model.ChangeFailed(
                f"{at}: {self.to} was put in the place of {self.store} otherwise than by {self.unit}, by "
                "/etc/fstab? Have the unit do it (take the other mount away, then `systemctl restart "
                f"{self.unit}`), then roll back again."
            )
        told = [
            _served(ctx.hosts, self, False).detail,
            f"{self.unit} is enabled" if enabled else "",
        ]
        return model.Settled(not there and not enabled, "; ".join(filter(None, told)))

    def apply(self, ctx, report):
        said = None
        if _served(ctx.hosts, self, True).done:
            storage.wait_for_quiet(ctx.hosts, self.host)
            said = self._asked(
                ctx.hosts, "back", report, former=self.was if self.text else "", alone=self.was
            )
        if self.text:
            ctx.hosts.ssh(self.host).put(
                self.text.encode(), files.UNITS + self.unit, mode=0o644, sudo=True
            )
            for argv in (["daemon-reload"], ["enable", "--quiet", "--", self.unit]):
                ctx.hosts.run(self.host, ["systemctl", *argv], sudo=True, timeout=120)
            exchange(ctx.hosts, self.host, self.unit, self.store, self.to)
        else:
            for verb in ("stop", "disable") if said else ("disable",):
                ctx.hosts.run(
                    self.host,
                    ["systemctl", verb, "--quiet", "--", self.unit],
                    sudo=True,
                    timeout=120,
                )
        settled = self.settled(ctx)
        if not settled.done:
            raise model.ChangeFailed(
                f"{self.host}: {self.unit} was {'restarted' if self.text else 'stopped'}, and "
                f"{settled.detail}. `systemctl status {self.unit}` there says why; then roll back again."
            )
        return (
            f"{passed(said)}; {said['compared'][-1]['entries']} entries the same; {settled.detail}"
            if said
            else settled.detail
        )


def _asks(hosts, change, verb):
    return (
        hosts.run(
            change.host, ["systemctl", verb, "--quiet", "--", change.unit], sudo=True, check=False
        ).rc
        == 0
    )


def _served(hosts, change, wanted):
    mounted = storage.mounted(hosts, change.host, change.store, change.to)
    return model.Settled(
        mounted == wanted, f"{change.store} is {change.to if mounted else 'the old store'}"
    )
