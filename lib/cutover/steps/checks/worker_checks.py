"""Whether the hosts of the section `convert` can convert together, and read the new mail."""

import dataclasses
from collections.abc import Iterator, Mapping

from cutover import model
from cutover.facts import dovecot
from cutover.facts.convert_workers import Reader, Worker
from cutover.remote import dask_files

# settings of what serves clients: not of how a user's own process reads a Maildir
SERVING = ("hostname", "listen", "login", "service", "ssl")
ROOM = 100 << 20  # bytes on a worker's own disk: Dask twice, and what Python compiles


def checks(workers: Mapping[str, model.Reading[Worker]] | None, site) -> Iterator[model.Check]:
    """workers: those of the parameters and the new host; None where the new host works alone."""
    for name in site.convert.workers if workers else ():
        reading = workers[name]
        wrong = _wrong(reading.value, site) if reading.ok else [reading.error]
        yield model.Check(
            f"{name} can be a worker of the conversion",
            "yes",
            "; ".join(wrong) or f"Python {'.'.join(map(str, reading.value.python))}",
            not wrong,
            f"Fix it, or take {name} out of convert.workers.",
            id="worker-usable",
            subject=name,
        )
        new = workers[site.roles.new]
        if reading.ok and new.ok:
            yield _same_stores(name, reading.value, new.value, site)
            if name != site.roles.new:
                yield _same_dovecot(name, reading.value, new.value, site)


def _wrong(worker, site):
    wrong = []
    if refusal := dask_files.refusal(worker.python, worker.machine):
        version = f"Python {'.'.join(map(str, worker.python))} on {worker.machine}"
        wrong.append(f"{site.new_store.python} is {version}: {refusal}")
    if not worker.systemd:
        wrong.append("no systemd, under which a worker runs")
    if not worker.ports:
        wrong.append("no TCP port from {} to {} is free".format(*site.convert.ports))
    if worker.free < ROOM:
        wrong.append(f"{site.convert.place} has {worker.free >> 20} MiB free, needs {ROOM >> 20}")
    return wrong


def _same_stores(name, worker, new, site):
    different = {
        path: place for path, place in worker.places.items() if not place.is_same(new.places[path])
    }
    other = [
        f"{path}: {place.type} {place.source}, {place.total >> 20} MiB"
        for path, place in different.items()
    ]
    return model.Check(
        f"{name} has the old mail and the new store where {site.roles.new} has them",
        "the same file systems",
        f"others: {'; '.join(other)}" if other else f"{len(worker.places)} directories, the same",
        not other,
        f"Mount them on {name} as on {site.roles.new}, or take {name} out of convert.workers. If "
        "they are the same, and mail came in while the hosts were asked, run this step again.",
        id="worker-same-stores",
        subject=name,
        data={"different": sorted(different)},
    )


def _same_dovecot(name, worker, new, site):
    different = _other_reader(worker.reader, new.reader, site)
    return model.Check(
        f"{name} can read the new mail as {site.roles.new} does",
        f"the Dovecot and the users of {site.roles.new}",
        different or "the same",
        True,
        f"verify then reads its users on {site.roles.new}, which takes longer",
        warning=bool(different),
        id="worker-reads",
        subject=name,
    )


def cannot_read(
    worker: model.Reading[Worker], new: model.Reading[Worker], folder: str, site
) -> str:
    """Why a worker cannot read users' new mail in the place of the new host now, or "".

    folder: the run's own on the store. Only there can it be, so its times, which change with the
    lease and the work, need not be the same.
    """
    for reading in (worker, new):
        if not reading.ok:
            return reading.error
    ours, theirs = (reading.value.places[folder] for reading in (worker, new))
    if ours.path != folder or not ours.is_same(dataclasses.replace(theirs, mtime=ours.mtime)):
        return f"{folder} is not the same directory as on {site.roles.new}"
    return _other_reader(worker.value.reader, new.value.reader, site)


def _other_reader(worker, new, site):
    for reading in (worker, new):
        if reading is None or not reading.ok:
            return reading.error if reading else "Dovecot was not looked at"
    ours, theirs = worker.value, new.value
    if ours.version != theirs.version:
        return f"Dovecot {ours.version} instead of {theirs.version}"
    # since 2.4 the new host's own are used on each (dovecot_programs.read_once)
    different = [] if dovecot.Spelling(theirs.version).split else sorted(_differing(ours, theirs))
    if different:
        return f"other settings in `doveconf -n`: {', '.join(different)}"
    if ours.users != theirs.users:
        return f"other users than {site.roles.new} (`getent passwd`)"
    return ""


def _differing(ours: Reader, theirs: Reader) -> Iterator[str]:
    for key in ours.settings.keys() | theirs.settings.keys():
        if ours.settings.get(key) != theirs.settings.get(key) and not key.startswith(SERVING):
            yield key
