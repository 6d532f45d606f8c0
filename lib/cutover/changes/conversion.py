"""The conversion of users' mail on the new host, and its inverse."""

import dataclasses
from typing import ClassVar

from cutover import model
from cutover.remote import converter

BUSY = (
    "ShortRead",
    "ShortTail",
    "ShortHeader",
    "BadHeader",
    "BadMessageLine",
    "BadSize",
    "BadDate",
    "UnreadableMail",
)


def salvaged(site, users: list) -> list:
    """Names of those users (entries of converter.plan) whose damaged files the parameters allow to be salvaged."""
    paths = site.old_store.to_salvage()
    return [
        each["user"]
        for each in users
        if any(
            path in (*each["inbox"], each["spool"]) or path.startswith(each["folders"] + "/")
            for path in paths
        )
    ]


def _command(change, command):
    """The command as a plan shows it."""
    return (
        f"systemd-run --unit={converter.unit(change.run, command)} python3 {' '.join(converter.FLAGS)} {change.work}/{change.run}/{converter.PROGRAM} "
        f"{command} --plan {command}.plan.json --events {command}.events"
    )


_DAMAGE = (
    "ShortHeader",
    "BadHeader",
    "BadMessageLine",
    "ShortTail",
    "BadSize",
    "BadDate",
    "StaleCopy",
)


def _told(error: dict) -> str:
    """One error event of the store: user, file, offset, what is wrong and what to do."""
    place = error.get("file") or "no file"
    if error.get("offset") is not None:
        place += f" at byte {error['offset']}"
    todo = str(error.get("todo") or "").rstrip(".")
    if error.get("kind") in _DAMAGE:
        todo = (
            "Restore the file, or name it in old_store.salvage to have what is readable converted"
        )
    return f"{error['user']}: {place}: {error['what']}" + (f" ({todo})" if todo else "")


@dataclasses.dataclass(frozen=True)
class _StoreChange(model.Change):
    host: str
    run: str
    work: str
    jobs: int
    users: list  # the users' entries of the store's plan
    # users whose damaged files are converted as far as they can be read; a damaged file of any other user is an error
    salvage: list = dataclasses.field(default_factory=list)

    @property
    def resource(self):
        return f"mail store on {self.host}"

    def _plan(self, hosts):
        return {
            "run": self.run,
            "work": self.work,
            "jobs": self.jobs,
            "host": hosts.site.fqdn(self.host),
            "users": self.users,
        }

    def _state(self, hosts):
        return converter.read(hosts, self.host, self._plan(hosts), "state")

    def _convert(self, hosts, report, command, passable=()):
        """Run one of the store's writing commands. → its totals, with `passed` the errors of a kind that is let pass."""
        errors, said, totals = [], [], {"passed": []}

        def event(data):
            report(data)
            if data.get("event") == "error":
                (totals["passed"] if data["kind"] in passable else errors).append(data)
            elif data.get("event") == "end":
                totals.update(
                    {
                        key: totals.get(key, 0) + value if isinstance(value, int | float) else value
                        for key, value in data.items()
                    }
                )

        for strict in (True, False):
            users = [each for each in self.users if (each["user"] not in self.salvage) == strict]
            if users:
                result = converter.run(
                    hosts,
                    self.host,
                    {**self._plan(hosts), "users": users, "strict": strict},
                    command,
                    event,
                    command if strict else f"{command}-salvage",
                )
                if result.rc and not errors and not totals["passed"]:
                    said.append(
                        f"it ended with {result.rc} and said: "
                        + (result.err.strip()[-500:] or "nothing")
                    )
        if errors or said:
            raise model.ChangeFailed(
                f"{self.host}: store {command} failed for {len(errors)} of {len(self.users)} users. "
                + "; ".join([*(_told(error) for error in errors[:10]), *said])
                + ". The other users are done. Mend the cause and run this step again: it goes on with what is missing."
            )
        return totals


def _totals(totals):
    return ", ".join(
        f"{key} {value}" for key, value in totals.items() if key not in ("event", "time", "passed")
    )


@dataclasses.dataclass(frozen=True)
class Convert(_StoreChange):
    """Convert users' MBX folders to Maildir++ and publish each user's tree atomically."""

    kind: ClassVar[str] = "convert"

    def title(self):
        return f"convert and publish {len(self.users)} users"

    def describe(self):
        lines = [f"{_command(self, 'convert-users')}   ({self.jobs} processes)"]
        lines += [
            f"{each['user']}: {each['folders']} + {each['inbox'][-1]} + {each['spool']} → {each['maildir']}; what is "
            f"there now is set aside in {self.work}/{self.run}/aside/{each['user']}"
            for each in self.users
        ]
        return "\n".join(lines)

    def settled(self, ctx):
        state = self._state(ctx.hosts)["users"]
        missing = [user for user, each in sorted(state.items()) if not each["published"]]
        if missing:
            return model.Settled(
                False, f"{len(missing)} of {len(state)} users not published, first {missing[0]}"
            )
        return model.Settled(True, f"all {len(state)} users published by {self.run}")

    def apply(self, ctx, report):
        return _totals(self._convert(ctx.hosts, report, "convert-users"))

    def inverse(self):
        return Unpublish(self.host, self.run, self.work, self.jobs, self.users)


@dataclasses.dataclass(frozen=True)
class ConvertAgain(Convert):
    """Take back the published trees of users whose mail was found different, and convert them anew."""

    kind: ClassVar[str] = "convert-again"

    def title(self):
        return f"take back and convert again {len(self.users)} users"

    def describe(self):
        lines = [
            _command(self, "unpublish"),
            f"{', '.join(each['user'] for each in self.users)}: the published tree is set aside in "
            f"{self.work}/{self.run}/unpublished/",
            super().describe(),
        ]
        return "\n".join(lines)

    def settled(self, ctx):
        return model.Settled(False, "it is done each time it is asked for")

    def apply(self, ctx, report):
        self._convert(ctx.hosts, report, "unpublish")
        return super().apply(ctx, report)


@dataclasses.dataclass(frozen=True)
class Presync(_StoreChange):
    """Bring each user's staged tree up to date while users still work, so that the outage pays for what changed since."""

    kind: ClassVar[str] = "presync"
    no_inverse: ClassVar[str] = (
        "it fills the staging area, which nobody reads; the conversion uses it or throws it away"
    )

    @property
    def resource(self):
        return f"staging area on {self.host}"

    def title(self):
        return f"stage the mail of {len(self.users)} users"

    def describe(self):
        lines = [f"{_command(self, 'presync')}   ({self.jobs} processes)"]
        lines += [
            f"{each['user']}: {each['folders']} + {each['inbox'][-1]} → {self.work}/staging/{each['user']}"
            for each in self.users
        ]
        return "\n".join(lines)

    def settled(self, ctx):
        return model.Settled(False, "a pass is made each time it is asked for")

    def apply(self, ctx, report):
        # a mailbox that is written to while it is read is left to the next pass, or to the outage; an append that is
        # under way looks like damage, and real damage is for the conversion to judge
        totals = self._convert(ctx.hosts, report, "presync", passable=BUSY)
        busy = "".join(f"; left to the next pass: {each['file']}" for each in totals["passed"])
        return (
            ", ".join(
                f"{key} {totals[key]}"
                for key in (
                    "staged",
                    "messages",
                    "bytes",
                    "written",
                    "renamed",
                    "removed",
                    "unchanged",
                    "seconds",
                )
                if key in totals
            )
            + busy
        )


@dataclasses.dataclass(frozen=True)
class Unpublish(_StoreChange):
    """Put back the trees that the conversion replaced; the converted ones are set aside, not deleted."""

    kind: ClassVar[str] = "unpublish"

    def title(self):
        return f"put back the earlier trees of {len(self.users)} users"

    def describe(self):
        lines = [_command(self, "unpublish")]
        lines += [
            f"{each['user']}: {each['maildir']} is set aside in {self.work}/{self.run}/unpublished/{each['user']}; "
            "the earlier tree comes back"
            for each in self.users
        ]
        return "\n".join(lines)

    def settled(self, ctx):
        state = self._state(ctx.hosts)["users"]
        left = [user for user, each in sorted(state.items()) if each["published"]]
        if left:
            return model.Settled(
                False, f"{len(left)} of {len(state)} users still published, first {left[0]}"
            )
        return model.Settled(True, f"no user is published by {self.run}")

    def apply(self, ctx, report):
        return _totals(self._convert(ctx.hosts, report, "unpublish"))

    def inverse(self):
        return Convert(self.host, self.run, self.work, self.jobs, self.users)
