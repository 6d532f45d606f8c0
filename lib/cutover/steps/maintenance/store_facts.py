"""The facts of a move of the store: where it is, where it goes, and what runs."""

import dataclasses

from cutover import model
from cutover.facts import alias_service, mail_services, storage
from cutover.steps.maintenance import store_history, store_unit

Marks = dict[str, dict[str, str]]  # {user: {folder: "UIDVALIDITY UIDNEXT"}}


@dataclasses.dataclass(frozen=True)
class Current:
    """The store as it is. mark: of the copy that it is, None for a store that never moved.

    real: its path without links. bound: it is the directory that its mark names. alone: see
    storage.Notes.
    """

    mark: storage.Mark | None
    real: str
    bound: bool
    alone: str | None


@dataclasses.dataclass(frozen=True)
class Folders:
    """then: as Dovecot counted them when the copy took the store's place. now: as they are."""

    then: Marks
    now: Marks


@dataclasses.dataclass(frozen=True)
class Facts:
    """Only `run` is set when the parameters declare no new storage.

    served: the new storage is in the store's place. begun: this run has begun to switch. frozen:
    this run's freeze. test: the test message of this run.
    """

    run: str
    store: str = ""
    served: bool = False
    current: Current | None = None
    new: storage.NewPlace = storage.NewPlace(there=False)
    unit: storage.Unit = storage.Unit(None, False)
    imap: mail_services.ImapHost | None = None
    sendmail: mail_services.SendmailHost | None = None
    begun: bool = False
    state: storage.CopyState = storage.CopyState()
    folders: Folders | None = None
    frozen: store_history.Freeze | None = None
    test: model.Reading[alias_service.Visit] = model.Reading(error="not looked for")

    @property
    def place(self) -> str:
        """The directory that the store is, by its mark; "" for a store that never moved."""
        return self.current.mark.place if self.current and self.current.mark else ""

    @property
    def alone(self) -> str | None:
        """The directory from which mail was served last."""
        return self.current.alone if self.current else None

    @property
    def services(self):
        """All mail services of the host."""
        return [*self.imap.services, *self.sendmail.services]

    @property
    def arrived_in(self) -> str | None:
        """The folder that the test message of this run is in."""
        return self.test.value.found.get(token(self.run)) if self.test.ok else None


def token(run: str) -> str:
    """What marks the test message of a run."""
    return f"{run}-move-store"


def probe(ctx) -> Facts:
    """The state of the move; nothing but the run's name when there is nothing to move."""
    hosts, site = ctx.hosts, ctx.site
    parameters, store = site.maintenance.move_store, store_unit.store_of(site)
    if parameters is None or not store:
        return Facts(run=ctx.run_name)
    new, user = site.roles.new, site.production_test.users[0].user
    notes = storage.notes(hosts, new, parameters.work)
    copy = notes.copy(parameters.to)
    return Facts(
        run=ctx.run_name,
        store=store,
        served=storage.mounted(hosts, new, store, parameters.to),
        current=_current(hosts, new, store, notes.alone),
        new=storage.new_place(hosts, new, store, parameters.to),
        unit=storage.unit(hosts, new, store),
        imap=mail_services.read_imap(hosts, new),
        sendmail=mail_services.read_sendmail(hosts, new),
        begun=store_history.begun(ctx.history),
        state=copy.state,
        folders=Folders(_marks(copy.after), _marks(storage.counts(hosts, new)))
        if copy.after
        else None,
        frozen=store_history.freeze(ctx.history),
        test=model.read(alias_service.look, hosts, user, [(token(ctx.run_name), False)]),
    )


def _current(hosts, host, store, alone):
    mark = storage.mark(hosts, host, store)
    bound = bool(mark and mark.place) and storage.mounted(hosts, host, store, mark.place)
    return Current(mark, storage.real(hosts, host, store), bound, alone)


def _marks(counts):
    """What does not change although users work."""
    return {
        user: {folder: f"{count.uidvalidity} {count.uidnext}" for folder, count in folders.items()}
        for user, folders in counts.items()
    }


def stable(facts: Facts) -> dict:
    """What the plan rests on; not sessions, queues and figures."""
    if not facts.store:
        return {}
    return model.to_json(
        {
            "store": facts.store,
            "served": facts.served,
            "current": facts.current,
            "unit": facts.unit,
        }
    )
