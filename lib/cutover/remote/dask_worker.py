"""The program of a Dask worker on a mail host, and the task that it does: to convert a unit.

A unit is a list of users that one run of the converter converts. The worker never opens a file of
theirs: the converter does, as on one host. Python 3.10 or later; dask_files.py ships this file.
"""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid

TOPIC = "cutover"
EVERY = 0.5  # seconds between batches of events
GATHER = 0.01  # seconds in which events come together: to wake up for each costs more
PIECE = 1 << 16  # bytes
JOIN = 60  # seconds in which a worker must reach the scheduler
ERRORS = 2000  # bytes of stderr in an answer
# for both sides: no page is served, and what Dask watches of itself is watched seldom
SETTINGS = {
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}

_running = set()  # converters of this process


def convert(argv: list[str], number: int, plan: dict) -> None:
    """The task: run the converter on a unit.

    argv: the converter and its command. TOPIC has its events in batches, {"unit", "attempt",
    "host", "first", "lines"}: a JSON text each, from the first of them on. The last has "rc" and
    "err" as well. Nothing is returned: what a task returns stays here until it is asked for, and
    nobody could ask a worker that is frozen since.
    """
    import distributed

    worker = distributed.get_worker()
    batch = {"unit": number, "attempt": uuid.uuid4().hex, "host": worker.name}
    lines, first, at = [], 0, 0.0
    with _started(argv, plan, worker.local_directory) as (process, errors):
        for part in _parts(process.stdout.fileno()):
            lines += part
            if time.monotonic() - at > EVERY:
                worker.log_event(TOPIC, {**batch, "first": first, "lines": lines})
                lines, first, at = [], first + len(lines), time.monotonic()
        rc = process.wait()
        with open(errors, "rb") as file:
            err = file.read()[-ERRORS:].decode("utf-8", "backslashreplace")
    worker.log_event(TOPIC, {**batch, "first": first, "lines": lines, "rc": rc, "err": err})


def _parts(pipe):
    """The lines that come from a pipe, as lists of some."""
    rest = b""
    while data := os.read(pipe, PIECE):
        *whole, rest = (rest + data).split(b"\n")
        yield [line.decode("ascii", "backslashreplace") for line in whole]
        time.sleep(GATHER)
    if rest:
        yield [rest.decode("ascii", "backslashreplace")]


@contextlib.contextmanager
def _started(argv, plan, directory):
    """A converter at work → (process, path of its errors). If this host cannot start it, this
    worker ends, for else it would be given one unit after the other; another host gets this one."""
    try:
        place = tempfile.mkdtemp(dir=directory)
        path = os.path.join(place, "plan.json")
        with open(path, "w") as file:
            json.dump(plan, file)
        errors = os.path.join(place, "errors")
        with open(errors, "wb") as file:
            process = subprocess.Popen(
                [*argv, "--plan", path, "--events", "-"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
            )
    except OSError as error:
        print(f"the converter cannot be started: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    _running.add(process)
    try:
        yield process, errors
    finally:
        _running.discard(process)
        process.kill()
        process.stdout.close()
        process.wait()
        shutil.rmtree(place, ignore_errors=True)


def without_pages(kind):
    """A scheduler or worker that does not listen for HTTP."""

    class Quiet(kind):
        def start_http_server(self, *_arguments, **_more):
            pass

    return Quiet


def main(path: str) -> int:
    """Work for the scheduler that a file names, until it is done or gone → exit status.

    The file is removed: it holds the key.
    """
    with open(path) as file:
        plan = json.load(file)
    os.unlink(path)
    from distributed import versions

    own = versions.get_versions()["packages"]
    wrong = [
        f"{name} {own.get(name)} instead of {version}"
        for name, version in plan["versions"].items()
        if own.get(name) != version
    ]
    if wrong:
        print(f"other versions here: {', '.join(wrong)}", file=sys.stderr)
        return 1
    done = asyncio.run(_work(plan))
    # threads that wait for a converter do not keep it
    sys.stderr.flush()
    os._exit(done)


async def _work(plan):
    import dask
    import distributed

    dask.config.set(SETTINGS)
    security = distributed.Security(
        require_encryption=True,
        tls_ca_file=plan["certificate"],
        tls_worker_cert=plan["certificate"],
        tls_worker_key=plan["key"],
    )
    worker = without_pages(distributed.Worker)(
        plan["scheduler"],
        name=plan["name"],
        host=plan["address"],
        port=plan["ports"],
        nthreads=1,
        memory_limit=0,
        security=security,
        dashboard=False,
        death_timeout=JOIN,
        local_directory=plan["scratch"],
    )
    try:
        async with worker:
            ending = threading.Thread(target=_end_with, args=(worker,), daemon=True)
            ending.start()
            await worker.finished()
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def _end_with(worker):
    """End the converter when its worker closes: the scheduler is done or gone."""
    while worker.status.name in ("init", "running", "paused"):
        time.sleep(EVERY)
    for process in list(_running):
        process.kill()
