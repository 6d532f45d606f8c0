"""The store is copied to other storage of its host: while users work, and again in the freeze.

remote/store_mover.py does it on the host; changes/store_switch.py puts the copy in the store's
place.
"""

import collections
import dataclasses
from typing import ClassVar

from cutover import model
from cutover.facts import storage, users
from cutover.remote import converter

STAYS = "the copy stays on the new storage, where nobody reads it; nothing is deleted"


class Events:
    """What the program on the host reported, by kind of event."""

    def __init__(self):
        self._events = collections.defaultdict(list)

    def add(self, event: dict) -> None:
        self._events[event.get("event")].append(event)

    @property
    def ended(self) -> bool:
        return bool(self._events["end"])

    @property
    def errors(self) -> str:
        """The errors, each with what to do."""
        return "; ".join(
            f"{event['file']}: {event['what']}. {event['todo']}" for event in self._events["error"]
        )

    def last(self, kind: str) -> dict:
        """The figures of the last event of a kind."""
        return self._events[kind][-1]

    def passes(self) -> str:
        """The figures of the passes, in words."""
        return "; ".join(
            f"pass {event['number']}: {event['files']} entries, {event['copied']} copied "
            f"({event['bytes']} bytes), {event['deleted']} deleted, {event['seconds']} s"
            for event in self._events["pass"]
        )

    def figures(self) -> dict:
        """The last event of every kind but progress, for the journal."""
        kinds = ("pass", "read", "counted", "compared")
        return {kind: self.last(kind) for kind in kinds if self._events[kind]}


@dataclasses.dataclass(frozen=True)
class StoreMove(model.Change):
    """What all changes of a move have in common."""

    host: str
    run: str
    store: str  # directory that users' maildirs are in
    to: str  # directory of the new storage
    work: str  # directory of the host for notes, on neither

    @property
    def resource(self):
        return f"{self.store} on {self.host}"

    def on_host(self, hosts, verb: str, report, **more) -> Events:
        """Have store_mover do its work on the host, apart from the link. Raises ChangeFailed."""
        events = Events()

        def event(data):
            report(data)
            events.add(data)

        plan = self._program_plan(hosts, verb) | more
        ended = converter.run(hosts, self.host, plan, "relocate", event, f"move-store-{verb}")
        if ended.rc or not events.ended:
            reason = events.errors or ended.err.strip()[-500:] or f"status {ended.rc}"
            raise model.ChangeFailed(
                f"moving {self.store} on {self.host} failed: {reason} Then run this step again: it "
                "resumes with what is missing."
            )
        return events

    def _program_plan(self, hosts, verb):
        """What the program on the host has to know."""
        site = hosts.site
        lease = f"{site.new_store.work}/lease"
        inside = lease.startswith(self.store + "/")
        return {
            "work": self.work,
            "run": self.run,
            "verb": verb,
            "jobs": site.verify.parallel,
            "minutes": site.verify.content_minutes,
            "aside": f".cutover-back/{self.run}",
            "store": self.store,
            "to": self.to,
            "place": storage.place(self.work),
            "users": model.to_json(users.read(hosts, self.host)),
            "status": storage.status_argv(hosts, self.host),
            "passed": [lease[len(self.store) + 1 :]] if inside else [],
        }


@dataclasses.dataclass(frozen=True)
class CopyStore(StoreMove):
    """Passes of rsync while users work; then contents are compared and the freeze is predicted."""

    kind: ClassVar[str] = "store-copy"
    no_inverse: ClassVar[str] = STAYS
    passes: int
    minutes: float  # that the freeze may take; 0: none follows

    @property
    def resource(self):
        return f"{self.to} on {self.host}"

    def title(self):
        return f"copy the store to {self.to} while users work"

    def describe(self):
        limit = f"\nstop here if the freeze is predicted to take longer than {self.minutes:g} min"
        return (
            f"rsync -aHAXS --no-links --numeric-ids --delete {self.store}/ {self.to}/\n"
            f"copy the links by themselves   (at most {self.passes} passes, until one is no "
            "quicker than the one before)\n"
            f"read contents on both sides{limit if self.minutes else ''}"
        )

    def settled(self, ctx):
        return model.Settled(False, "each attempt makes a pass")

    def apply(self, ctx, report):
        events = self.on_host(ctx.hosts, "passes", report, passes=self.passes)
        read = events.last("read")
        predicted = storage.notes(ctx.hosts, self.host, self.work).copy(self.to).state.predicted
        text = (
            f"{events.passes()}; {read['read']} files read on both sides and the same "
            f"({read['bytes']} bytes, {read['seconds']} s), {read['known']} known from before; the "
            f"freeze is predicted to take {predicted:.0f} s, plus stopping and starting services"
        )
        if self.minutes and predicted > 60 * self.minutes:
            raise model.ChangeFailed(
                f"nothing was stopped on {self.host}: {text}. That is more than the "
                f"{self.minutes:g} min of maintenance.move_store.freeze_minutes. Run this step at "
                "a quieter time, or announce a longer freeze."
            )
        return model.Result(text, {"predicted": predicted, **events.figures()})


@dataclasses.dataclass(frozen=True)
class LastCopy(StoreMove):
    """In the freeze: Dovecot counts, what changed is copied, both sides are compared."""

    kind: ClassVar[str] = "store-last-copy"
    no_inverse: ClassVar[str] = STAYS
    # as SwitchStore has them: written down, as nobody can see them once the store has moved
    was: str = ""
    text: str = ""

    @property
    def resource(self):
        return f"{self.to} on {self.host}"

    def title(self):
        return f"copy what changed since to {self.to}, and compare"

    def describe(self):
        return (
            "doveadm mailbox status (each folder of each user)\n"
            f"rsync -aHAXS --no-links --numeric-ids --delete {self.store}/ {self.to}/\n"
            "copy the links by themselves\n"
            "compare each entry: kind, size, mtime, mode, owner, links; contents of what changed "
            "since they were read"
        )

    def settled(self, ctx):
        return model.Settled(False, "each attempt compares again")

    def apply(self, ctx, report):
        events = self.on_host(ctx.hosts, "last", report, former=[self.was, self.text])
        counted, compared = events.last("counted"), events.last("compared")
        unread = (
            f"; contents of {compared['unread']} files NOT read for lack of time"
            if compared["unread"]
            else ""
        )
        text = (
            f"{counted['folders']} folders of {counted['users']} users counted; {events.passes()}; "
            f"{compared['entries']} entries the same, contents of {compared['read']} read "
            f"({compared['bytes']} bytes), {compared['known']} known from before{unread}; "
            f"{compared['seconds']} s"
        )
        return model.Result(text, events.figures())
