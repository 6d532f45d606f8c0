"""Why a store cannot move: said in the plan, before anything is stopped."""

from cutover import model
from cutover.facts import storage
from cutover.steps.maintenance.store_facts import Facts


def refuse(facts: Facts, site) -> None:
    """Raises CannotPlan where the move cannot work."""
    _refuse_nesting(facts, site)
    _refuse_paths(facts, site)
    if not facts.served:
        _refuse_place(facts, site)
        _refuse_source(facts, site)


def _below(path, directory):
    return (path + "/").startswith(directory + "/")


def _refuse_nesting(facts, site):
    parameters, store = site.maintenance.move_store, facts.store
    to, inside = parameters.to, facts.new.inside and not facts.served
    if _below(to, store) or _below(store, to) or inside:
        raise model.CannotPlan(
            f"maintenance.move_store.to: {to} and {store} overlap: one is inside the other. "
            "Mount the new storage outside the store."
        )


def _refuse_paths(facts, site):
    parameters, store = site.maintenance.move_store, facts.store
    to = parameters.to
    if not facts.new.there:
        raise model.CannotPlan(
            f"the directory {to} does not exist. Mount the new storage there, then run this step "
            "again."
        )
    real = facts.current.real if facts.current else store
    for parameter, path, target in (
        ("maintenance.move_store.to", to, facts.new.real or to),
        ("new_store.maildir", store, real),
    ):
        if path != target:
            raise model.CannotPlan(
                f"{parameter}: {path} is {target} by another name. Use the latter in the "
                "parameters: the directory itself is mounted and compared."
            )
    for directory in (store, to):
        if _below(parameters.work, directory):
            raise model.CannotPlan(
                f"maintenance.move_store.work: {parameters.work} is in {directory}, but the notes "
                "of a move must be on neither storage. Name another directory."
            )


def _refuse_place(facts, site):
    new, to = facts.new, site.maintenance.move_store.to
    if new.names and not new.ours:
        raise model.CannotPlan(
            f"{to} has entries that this program did not put there ({', '.join(new.names)}). Use "
            "an empty directory; what is there is not touched."
        )
    if new.mark and new.mark.store != facts.store:
        raise model.CannotPlan(
            f"{to} has the copy of another store, of {new.mark.store}. Use an empty directory; "
            "what is there is not touched."
        )
    if "ro" in new.filesystem.options:
        raise model.CannotPlan(
            f"{to} is mounted read-only. Mount it read-write, then run this step again."
        )


def _refuse_source(facts, site):
    """The store must be what mail was served from last: anything else is out of date."""
    store, unit, host = facts.store, storage.unit_name(facts.store), site.roles.new
    parameters, alone, named = site.maintenance.move_store, facts.alone, facts.unit.place
    if alone and facts.place != alone:
        raise model.CannotPlan(
            f"mail was served from {alone} last, and {store} on {host} is not that now: only "
            f"{alone} has what came since. Mount its storage and `systemctl restart {unit}` there, "
            f"then run this step again. If {store} is right as it is, remove "
            f"{storage.place(parameters.work)}/state.json."
        )
    expected = ("", parameters.to, facts.place)
    if facts.current and facts.unit.enabled and named not in expected:
        raise model.CannotPlan(
            f"{unit} on {host} puts {named} in the place of {store} at each boot, but {store} is "
            "not that now: a move to it was interrupted. Roll back the run that began it, or give "
            "it as maintenance.move_store.to. If mail is not to be served from there, `systemctl "
            f"disable {unit}`."
        )
