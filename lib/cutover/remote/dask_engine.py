"""Conversion on several hosts of one store, by dask.distributed.

The scheduler runs in this process, and a worker on each host: a root process of its own, started
over our ssh connection and followed there (detached.py). Dask gives each free worker the next unit
of users (units.py), and a unit of a worker that is gone to another. What a worker does is one run
of the converter, which claims its users: so a worker that only seems gone publishes nothing once
another has begun its unit (mbx2maildir/publish/claims.py).

All links are TLS with a key and certificate made for one conversion, which only root can read on
the workers. Nothing is listened for but that.
"""

import dataclasses
import functools
import queue
import threading
import time
from collections.abc import Callable

from cutover import model
from cutover.model import errors
from cutover.remote import (
    converter,
    dask_cluster,
    dask_files,
    dask_worker,
    detached,
    merged_events,
    own_directories,
)

SILENCE = 30  # seconds; a worker that is silent for that long counts as gone before twice that
ALONE = 180  # seconds without any worker, after which the conversion fails
FAREWELL = 5  # seconds in which workers end by themselves, and then when they are killed
PATIENCE = 20  # seconds for a short command
TICK = 1.0
BATCH = ("unit", "attempt", "host", "first", "lines")
_COPY = 300  # seconds

# $1 the run's own directory, $2 name, $3 Python. Unpacks dask.zip next to it, whole or not at all.
# Another store's run may do the same, and may have begun to use it.
_UNPACK = """
umask 077 && cd "$1" && rm -rf dask && "$3" -I -m zipfile -e dask.zip dask &&
{ mv -T dask "../$2" || [ -d "../$2" ]; } && rm -rf dask dask.zip
"""
# $1 unit. Ends a worker, also one that is stopped.
_KILL = 'systemctl kill --signal=KILL "$1" 2>/dev/null; systemctl stop "$1" 2>/dev/null; true'


@dataclasses.dataclass(frozen=True)
class Engine:
    """Who converts. workers: host names; cores: processes on each, None for all of its own.

    ports: the first and the last that scheduler and workers listen on. place: a directory of each
    worker's own disk. units: users' names, in the order in which to begin. address: of this
    machine, or "" for the one from which it reaches the first worker.
    """

    workers: list[str]
    units: list[list[str]]
    ports: list[int]
    place: str
    cores: int | None = None
    address: str = ""


def where(engine: dict, jobs: int) -> str:
    """Where how many processes convert, in words. engine: an Engine's fields, or {}."""
    if not engine:
        return f"({jobs} processes)"
    cores = f"{engine['cores']} processes" if engine.get("cores") else "a process per core"
    hosts = ", ".join(engine["workers"])
    return f"({cores} on each of {hosts}, by Dask; {len(engine['units'])} units of users)"


def runner(engine: dict, command: str) -> Callable:
    """The function that runs a command of the converter, with the arguments of converter.run()."""
    if not engine or command == "unpublish":
        return converter.run
    return functools.partial(run, engine=Engine(**engine))


def run(
    hosts, host: str, plan: dict, command: str, on_event: Callable[[dict], None], name: str, engine
) -> detached.Ended:
    """converter.run() on the engine's workers. host: the one that prepares the store.

    A host that is lost meanwhile is reported, and the others do its work. Raises ChangeFailed when
    a unit came to no end, or no worker is left.
    """
    _prepare(hosts, host, plan, engine)
    parts = _parts(plan, engine)
    merged = merged_events.Merged(on_event, plan["run"], engine.workers, len(plan["users"]))
    python = hosts.site.new_store.python
    program = f"{plan['work']}/{plan['run']}/{converter.PROGRAM}"
    argv = [python, *converter.FLAGS, program, command]
    inbox, failures = queue.Queue(), []
    address = engine.address or dask_cluster.address_towards(hosts.site.address(engine.workers[0]))
    with dask_cluster.started(address, engine.ports, SILENCE) as (cluster, client, security):
        client.subscribe_topic(dask_worker.TOPIC, lambda event: inbox.put(("lines", event[1])))
        workers = _Workers(hosts, plan, name, engine, inbox, cluster.scheduler_address, security)
        futures = client.map(
            dask_worker.convert,
            [argv] * len(parts),
            range(len(parts)),
            parts,
            key=f"{plan['run']}-{name}",
            pure=False,
            retries=0,
        )
        for number, future in enumerate(futures):
            future.add_done_callback(lambda _, number=number: inbox.put(("done", number)))
        try:
            _collect(cluster, inbox, dict(enumerate(futures)), workers, merged, failures)
        finally:
            workers.wanted = False
            del futures
            client.close()
            cluster.close()
            workers.end(merged)
    end = merged.end(workers=len(engine.workers), lost=len(workers.lost))
    if failures:
        raise model.ChangeFailed(
            f"{command} on {', '.join(engine.workers)} came to no end: {'; '.join(failures[:5])}. "
            "The other users are done. Fix the cause and run this step again: it resumes with "
            "what is missing."
        )
    return detached.Ended(0 if end["ok"] else 1, "", False)


def _parts(plan, engine):
    """The plan of each unit. Users of the plan that are in no unit get one together."""
    by_name = {user["user"]: user for user in plan["users"]}
    named = [[name for name in unit if name in by_name] for unit in engine.units]
    rest = sorted(by_name.keys() - {name for unit in named for name in unit})
    shared = {key: value for key, value in plan.items() if key not in ("users", "jobs", "without")}
    if engine.cores:
        shared["jobs"] = engine.cores
    if pace := plan.get("pace"):
        speed = pace["bytes_per_second"] / len(engine.workers)
        shared["pace"] = {**pace, "bytes_per_second": speed}
    without = plan.get("without", ())
    return [
        {
            **shared,
            "claims": True,
            "users": [by_name[name] for name in names],
            "without": [name for name in names if name in without],
        }
        for names in [*named, rest]
        if names
    ]


def _prepare(hosts, host, plan, engine):
    """Put the converter on the store, and Dask on each worker."""
    work, folder = plan["work"], f"{plan['work']}/{plan['run']}"
    connection = hosts.ssh(host)
    connection.run(own_directories.command("0711", work, folder), sudo=True)
    converter.install(connection, folder, hosts.site.new_store.python)
    hosts.each(engine.workers, lambda name: _install(hosts, name, plan, engine.place))


def _install(hosts, name, plan, place):
    """Put Dask on a worker, unless it is there, and see that the worker has the store."""
    python, packed = hosts.site.new_store.python, dask_files.mark()
    folder = f"{plan['work']}/{plan['run']}"
    connection, own = hosts.ssh(name), f"{place}/{plan['run']}"
    connection.run(own_directories.command("0700", place, own), sudo=True)
    if connection.run(["test", "-e", f"{place}/{packed}"], sudo=True, check=False).rc:
        connection.put(dask_files.content(), f"{own}/dask.zip", sudo=True, timeout=_COPY)
        argv = ["sh", "-c", _UNPACK, "unpack", own, packed, python]
        connection.run(argv, sudo=True, timeout=_COPY)
    if connection.run(["test", "-e", f"{folder}/store"], sudo=True, check=False).rc:
        raise model.ChangeFailed(
            f"{name} does not see {folder}, where the converter is: it does not have the store of "
            f"the other hosts. Mount it on {name}, or take {name} out of convert.workers."
        )


class _Workers:
    """The workers, each started and followed by a thread. lost: why, by host. wanted: whether there
    is still work for one that ends."""

    def __init__(self, hosts, plan, name, engine, inbox, scheduler, security):
        self.hosts, self.inbox, self.lost, self.wanted = hosts, inbox, {}, True
        self.converter = plan
        self.name = f"{name}-worker"
        self.unit = converter.unit(plan["run"], self.name)
        self.folder, self.program = f"{engine.place}/{plan['run']}", dask_files.mark()
        self.plan = {
            "scheduler": scheduler,
            "certificate": security.tls_ca_file,
            "key": security.tls_worker_key,
            "versions": _versions(),
            "ports": "{}:{}".format(*engine.ports),
            "scratch": self.folder,
        }
        self.threads = {
            host: threading.Thread(
                target=self._follow,
                args=(host, engine.place),
                name=f"worker on {host}",
                daemon=True,
            )
            for host in engine.workers
        }
        for thread in self.threads.values():
            thread.start()

    def _follow(self, host, place):
        """Start a worker and follow it to its end; once again, if it was killed, or ended as one
        whose scheduler is gone."""
        try:
            why, lasting = self._once(host, place)
            if self.wanted and not lasting:
                self.inbox.put(("again", host, why))
                _install(self.hosts, host, self.converter, place)
                why, _ = self._once(host, place)
        except Exception as error:
            why = str(error)
        self.inbox.put(("gone", host, why))

    def _once(self, host, place):
        """→ (why it ended, whether another would end in the same way)."""
        plan = {**self.plan, "name": host, "address": self.hosts.site.address(host)}
        argv = [
            self.hosts.site.new_store.python,
            *("-I", "-S"),
            f"{place}/{self.program}/__main__.py",
            f"{self.folder}/{self.name}.plan.json",
        ]
        self._kill(host)  # one that an earlier attempt left works for nobody
        try:
            ended = detached.run(
                self.hosts, host, self.folder, self.name, self.unit, plan, argv, lambda event: None
            )
        except detached.Interrupted as error:
            return str(error), False
        why = f"exit status {ended.rc}" + (f", {ended.err.strip()}" if ended.err else "")
        return why, ended.rc != 0

    def left(self):
        return [host for host in self.threads if host not in self.lost]

    def _kill(self, host):
        argv = ["sh", "-c", _KILL, "kill", self.unit]
        self.hosts.ssh(host).run(argv, sudo=True, check=False, timeout=PATIENCE)

    def end(self, merged):
        """Wait for the workers, whose scheduler is gone, and end those that stay."""
        for host in self._join():
            try:
                self._kill(host)
            except errors.CutoverError as error:
                merged.log(
                    f"the worker on {host} could not be ended: {error}. It cannot publish a user "
                    "whom another host has begun. See that it is gone before that host is used."
                )
        self._join()

    def _join(self):
        """The hosts whose workers have not ended after some seconds."""
        until = time.monotonic() + FAREWELL
        for thread in self.threads.values():
            thread.join(max(0.0, until - time.monotonic()))
        return [host for host, thread in self.threads.items() if thread.is_alive()]


def _versions():
    from distributed import versions

    own = versions.get_versions()["packages"]
    return {name: own[name] for name in versions.required_packages}


def _collect(cluster, inbox, waiting, workers, merged, failures):
    """Take what comes until each unit is done."""
    alone_since, answers = time.monotonic(), {}
    while waiting:
        if cluster.scheduler.workers:
            alone_since = time.monotonic()
        if not workers.left() or time.monotonic() - alone_since > ALONE:
            whys = (f"{host}: {why}" for host, why in sorted(workers.lost.items()))
            raise model.ChangeFailed(
                f"no worker is left: {'; '.join(whys) or 'none is heard of'}. Fix the cause and "
                "run this step again: it resumes with what is missing."
            )
        try:
            kind, *values = inbox.get(timeout=TICK)
        except queue.Empty:
            continue
        if kind == "lines":
            (batch,) = values
            if batch["unit"] in waiting:
                merged.take(*(batch[key] for key in BATCH))
                answers[batch["unit"]] = batch
        elif kind == "gone":
            host, workers.lost[host] = values[0], values[1]
            merged.log(f"the worker on {host} is gone: {workers.lost[host]}")
        elif kind == "again":
            merged.log("the worker on {} is gone, and is started again: {}".format(*values))
        else:
            (number,) = values
            future, answer = waiting.pop(number), answers.pop(number, {})
            if why := _failure(future, answer, merged.ended(number)):
                failures.append(f"unit {number}: {why}")


def _failure(future, answer, ended):
    """Why a unit that is done came to no end; "" if it did. answer: its last batch."""
    if future.status == "error":
        error = future.exception()
        return f"{type(error).__name__}: {error}"
    if ended:
        return ""
    return f"exit status {answer.get('rc')}, {answer.get('err', '').strip() or 'no output'}"
