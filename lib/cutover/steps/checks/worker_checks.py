"""Whether the hosts of the section `convert` can convert together."""

from collections.abc import Iterator, Mapping

from cutover import model
from cutover.facts.convert_workers import Worker
from cutover.remote import dask_files

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
