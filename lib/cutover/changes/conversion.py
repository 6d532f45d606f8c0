"""The conversion of users' mail on the new host, and its inverse."""

import dataclasses
from typing import ClassVar

from cutover import model
from cutover.remote import back_off, converter, dask_engine

_DAMAGE = (
    "ShortHeader",
    "BadHeader",
    "BadMessageLine",
    "ShortTail",
    "BadSize",
    "BadDate",
)
# What a mailbox looks like while it is written to. An append under way looks like damage.
BUSY = ("ShortRead", "UnreadableMail", *_DAMAGE)
SALVAGEABLE = (*_DAMAGE, "StaleCopy")
LISTED = 10  # errors listed in a message
PASS_FIGURES = (
    "staged",
    "messages",
    "bytes",
    "written",
    "renamed",
    "removed",
    "unchanged",
    "seconds",
    "asleep",
)


def salvaged(site, users: list) -> list:
    """Names of the users whose damaged files the parameters allow to be salvaged.

    users: entries of converter.plan.
    """
    paths = site.old_store.to_salvage()
    return [user["user"] for user in users if any(_is_of(user, path) for path in paths)]


def _is_of(user, path):
    """Whether a path is one of a user's mail files, or below a directory of folders."""
    roots = [user["folders"], *(root["path"] for root in user["roots"])]
    return path in (*user["inbox"], user["spool"], *roots) or any(
        path.startswith(root.rstrip("/") + "/") for root in roots
    )


@dataclasses.dataclass
class _Outcome:
    """What a writing command of the converter reported.

    totals: figures summed over its runs. errors, passed: error events that fail it, or do not.
    failures: how a run ended that reported no error itself.
    """

    totals: dict = dataclasses.field(default_factory=dict)
    errors: list[dict] = dataclasses.field(default_factory=list)
    passed: list[dict] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)

    def add(self, event: dict) -> None:
        """Add the figures of an "end" event."""
        for key, value in event.items():
            if key in ("event", "time", "ok"):
                continue
            if isinstance(value, int | float):
                value += self.totals.get(key, 0)
            self.totals[key] = value

    def result(self) -> model.Result:
        return model.Result(_text(self.totals), dict(self.totals))


def _text(figures):
    return ", ".join(f"{key} {value}" for key, value in figures.items())


def _error_text(event):
    """An error event of the converter: user, file, offset, what is wrong and what to do."""
    place = event.get("file") or "no file"
    if event.get("offset") is not None:
        place += f" at byte {event['offset']}"
    todo = str(event.get("todo") or "").rstrip(".")
    if event.get("kind") in SALVAGEABLE:
        todo = "Restore the file, or list it in old_store.salvage to convert what is readable"
    return f"{event['user']}: {place}: {event['what']}" + (f" ({todo})" if todo else "")


@dataclasses.dataclass(frozen=True)
class _StoreChange(model.Change):
    """A change that the converter makes.

    users: their entries of the converter's plan. salvage: users whose damaged files are converted
    as far as they can be read; a damaged file of any other user is an error. engine: the fields of
    dask_engine.Engine, if several hosts convert; {}: the host alone does.
    """

    host: str
    run: str
    work: str
    jobs: int
    users: list
    salvage: list = dataclasses.field(default_factory=list)
    engine: dict = dataclasses.field(default_factory=dict)

    @property
    def resource(self) -> str:
        return f"mail store on {self.host}"

    def _command(self, command):
        """The command as a plan shows it."""
        return (
            f"systemd-run --unit={converter.unit(self.run, command)} "
            f"python3 {' '.join(converter.FLAGS)} {self.work}/{self.run}/{converter.PROGRAM} "
            f"{command} --plan {command}.plan.json --events {command}.events"
        )

    def _plan(self, hosts):
        return {
            "run": self.run,
            "work": self.work,
            "jobs": self.jobs,
            "host": hosts.site.fqdn(self.host),
            "users": self.users,
        }

    def _state(self, ctx):
        return converter.state(ctx.hosts, self.host, self._plan(ctx.hosts))

    def _convert(self, hosts, report, command, passable=(), without=()):
        """Run a writing command of the converter: its _Outcome. Raises ChangeFailed.

        passable: kinds of errors that do not fail it. without: entries of users to leave out.
        """
        outcome = _Outcome()

        def event(data):
            report(data)
            if data.get("event") == "error":
                passes = data["kind"] in passable
                (outcome.passed if passes else outcome.errors).append(data)
            elif data.get("event") == "end":
                outcome.add(data)

        for strict in (True, False):
            users = [user for user in self.users if (user["user"] not in self.salvage) == strict]
            plan = {**self._plan(hosts), "users": users, "strict": strict}
            if strict and without:
                users = plan["users"] = [*users, *without]
                plan["without"] = [user["user"] for user in without]
            if users:
                name = command if strict else f"{command}-salvage"
                run = dask_engine.runner(self.engine, command)
                ended = run(hosts, self.host, plan, command, event, name)
                if ended.rc and not outcome.errors and not outcome.passed:
                    output = ended.err.strip()[-500:] or "no output"
                    outcome.failures.append(f"exit status {ended.rc}, {output}")
        if outcome.errors or outcome.failures:
            self._fail(command, outcome)
        return outcome

    def _fail(self, command, outcome):
        texts = [_error_text(error) for error in outcome.errors[:LISTED]] + outcome.failures
        raise model.ChangeFailed(
            f"{self.host}: {command} failed for {len(outcome.errors)} of {len(self.users)} "
            f"users. {'; '.join(texts)}. The other users are done. Fix the cause and run this step "
            f"again: it resumes with what is missing.{self._way_out(outcome)}"
        )

    def _way_out(self, outcome):
        """How to go on without the users it failed for, in words."""
        return ""


@dataclasses.dataclass(frozen=True)
class Convert(_StoreChange):
    """Convert users' MBX folders to Maildir++ and publish each user's tree atomically."""

    kind: ClassVar[str] = "convert"
    without: list = dataclasses.field(default_factory=list)  # entries of users to leave out

    def title(self) -> str:
        names = ", ".join(user["user"] for user in self.without)
        return f"convert and publish {len(self.users)} users" + (
            f", and continue without {names}" if names else ""
        )

    def describe(self) -> str:
        aside = f"{self.work}/{self.run}/aside"
        lines = [f"{self._command('convert-users')}   {dask_engine.where(self.engine, self.jobs)}"]
        lines += [
            f"{user['user']}: LEFT OUT. Nothing of {user['folders']}, {user['inbox'][-1]} or "
            f"{user['spool']} is converted; {user['maildir']} stays as it is"
            for user in self.without
        ]
        lines += [
            f"{user['user']}: {user['folders']} + {user['inbox'][-1]} + {user['spool']} → "
            f"{user['maildir']}; what is there now is set aside in {aside}/{user['user']}"
            for user in self.users
        ]
        return "\n".join(lines)

    def settled(self, ctx) -> model.Settled:
        everybody = [*self.users, *self.without]
        plan = {**self._plan(ctx.hosts), "users": everybody}
        state = converter.state(ctx.hosts, self.host, plan)
        out = {user["user"] for user in self.without}.intersection(state.left_out())
        missing = [name for name in state.names(published=False) if name not in out]
        if missing:
            count = f"{len(missing)} of {len(state.users)}"
            return model.Settled(False, f"{count} users not published, first {missing[0]}")
        count = len(state.users) - len(out)
        return model.Settled(
            True,
            f"all {count} users published by {self.run}"
            + (f"; {len(out)} left out" if out else ""),
        )

    def apply(self, ctx, report) -> model.Result:
        return self._convert(ctx.hosts, report, "convert-users", without=self.without).result()

    def _way_out(self, outcome):
        names = sorted({error["user"] for error in outcome.errors})
        names = sorted({*names, *(user["user"] for user in self.without)})
        return (
            f" Or continue without these users: run it with `without` set to {','.join(names)} "
            "(`./cutover run --site FILE --run DIR --without USER`). Their mail then stays on the "
            "old server, unconverted."
            if outcome.errors
            else ""
        )

    def inverse(self) -> "Unpublish":
        return Unpublish(self.host, self.run, self.work, self.jobs, self.users, engine=self.engine)


@dataclasses.dataclass(frozen=True)
class ConvertAgain(Convert):
    """Take back the published trees of users whose mail differs, and convert them again."""

    kind: ClassVar[str] = "convert-again"

    def title(self) -> str:
        return f"take back and convert again {len(self.users)} users"

    def describe(self) -> str:
        lines = [
            self._command("unpublish"),
            f"{', '.join(user['user'] for user in self.users)}: the published tree is set aside in "
            f"{self.work}/{self.run}/unpublished/",
            super().describe(),
        ]
        return "\n".join(lines)

    def settled(self, ctx) -> model.Settled:
        return model.Settled(False, "it is done each time it is asked for")

    def apply(self, ctx, report) -> model.Result:
        self._convert(ctx.hosts, report, "unpublish")
        return super().apply(ctx, report)


@dataclasses.dataclass(frozen=True)
class Presync(_StoreChange):
    """Bring users' staged trees up to date while they work.

    The outage then pays only for what changed since. pace: the parameters' section presync.
    """

    kind: ClassVar[str] = "presync"
    pace: dict = dataclasses.field(default_factory=dict)
    no_inverse: ClassVar[str] = (
        "it fills the staging area, which nobody reads; the conversion uses it or throws it away"
    )

    @property
    def resource(self) -> str:
        return f"staging area on {self.host}"

    def title(self) -> str:
        return f"stage the mail of {len(self.users)} users"

    def describe(self) -> str:
        lines = [f"{self._command('presync')}   {dask_engine.where(self.engine, self.jobs)}"]
        lines += back_off.described(self.pace) + [
            f"{user['user']}: {user['folders']} + {user['inbox'][-1]} → "
            f"{self.work}/staging/{user['user']}"
            for user in self.users
        ]
        return "\n".join(lines)

    def settled(self, ctx) -> model.Settled:
        return model.Settled(False, "a pass is made each time it is asked for")

    def _plan(self, hosts):
        pace = back_off.for_converter(self.pace, self.work, self.run)
        return super()._plan(hosts) | {"pace": pace}

    def apply(self, ctx, report) -> model.Result:
        # A mailbox that is written to while it is read is left to the next pass, or to the outage.
        # Real damage is for the conversion to judge.
        file = self.host, back_off.control(self.work, self.run)
        with back_off.Watch(ctx.hosts, self.pace.get("back_off_ms"), report, file) as watch:
            outcome = self._convert(ctx.hosts, report, "presync", passable=BUSY)
        figures = {key: outcome.totals[key] for key in PASS_FIGURES if key in outcome.totals}
        busy = [error["file"] for error in outcome.passed]
        text = _text(figures) + "".join(f"; left to the next pass: {file}" for file in busy)
        return model.Result(text + watch.words(), {**figures, "busy": busy, **watch.figures()})


@dataclasses.dataclass(frozen=True)
class Unpublish(_StoreChange):
    """Put back the trees that the conversion replaced.

    The converted trees are set aside, not deleted.
    """

    kind: ClassVar[str] = "unpublish"

    def title(self) -> str:
        return f"put back the earlier trees of {len(self.users)} users"

    def describe(self) -> str:
        aside = f"{self.work}/{self.run}/unpublished"
        lines = [self._command("unpublish")]
        lines += [
            f"{user['user']}: {user['maildir']} is set aside in {aside}/{user['user']}; "
            "the earlier tree comes back"
            for user in self.users
        ]
        return "\n".join(lines)

    def settled(self, ctx) -> model.Settled:
        state = self._state(ctx)
        left = state.names(published=True)
        if left:
            count = f"{len(left)} of {len(state.users)}"
            return model.Settled(False, f"{count} users still published, first {left[0]}")
        return model.Settled(True, f"no user is published by {self.run}")

    def apply(self, ctx, report) -> model.Result:
        return self._convert(ctx.hosts, report, "unpublish").result()

    def inverse(self) -> Convert:
        return Convert(self.host, self.run, self.work, self.jobs, self.users, engine=self.engine)
