"""A conversion as a step makes it, on this machine: `python -m cutover.bench.dask_here PLAN`.

PLAN: {"plan": the converter's, "units": lists of users, "place", "ports", "workers": how many,
"cores": of each}. workers: 0 for one host's pool, without Dask. When it ends, so has all that it
began: its CPU time is that of the whole.
"""

import contextlib
import ctypes
import json
import os
import subprocess
import sys
import types

from cutover.remote import converter, dask_engine, detached

PR_SET_CHILD_SUBREAPER = 36


class Here:
    """As ssh.Connection, on this machine. A worker's directory of the run is its own: shared is
    replaced by own wherever it is named."""

    def __init__(self, shared: str, own: str):
        self.places = shared, own

    def run(self, argv, *, check=True, input=b"", **_more):
        argv = [str(word).replace(*self.places) for word in argv]
        input = input.decode().replace(*self.places).encode()
        done = subprocess.run(argv, input=input, capture_output=True)
        if check:
            done.check_returncode()
        return types.SimpleNamespace(rc=done.returncode, out=done.stdout, err=done.stderr)

    def put(self, data, path, **_more):
        with open(path.replace(*self.places), "wb") as file:
            file.write(data)

    def stream(self, argv, *, on_line, **_more):
        argv = [str(word).replace(*self.places) for word in argv]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            for line in process.stdout:
                on_line(line.rstrip(b"\n"))


def main(path: str) -> int:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    # a service of systemd would not be our child
    detached._START = detached._START.replace("/run/systemd/system", "/nowhere")
    with open(path) as file:
        given = json.load(file)
    site = types.SimpleNamespace(
        new_store=types.SimpleNamespace(python=sys.executable), address=lambda name: "127.0.0.1"
    )
    plan, place = given["plan"], given["place"]
    names = [f"here{number}" for number in range(given["workers"])]
    shared = f"{place}/{plan['run']}"
    connections = {name: Here(shared, f"{shared}-{name}") for name in names}
    hosts = types.SimpleNamespace(
        ssh=connections.get,
        site=site,
        each=lambda names, function: {name: function(name) for name in names},
    )
    command = "convert-users"
    if given["workers"]:
        engine = dask_engine.Engine(
            names, given["units"], given["ports"], place, given["cores"], "127.0.0.1"
        )
        _wait_for(len(names))
        ended = dask_engine.run(hosts, names[0], plan, command, lambda event: None, command, engine)
    else:
        hosts.ssh = lambda _name: Here("", "")
        ended = converter.run(hosts, "here", plan, command, lambda event: None)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    return ended.rc


def _wait_for(workers):
    """Have all workers join before the first unit: one that joins later would wait for a scheduler
    that is gone."""
    import distributed

    submit = distributed.Client.map

    def submit_to_all(client, *arguments, **more):
        client.wait_for_workers(workers)
        return submit(client, *arguments, **more)

    distributed.Client.map = submit_to_all


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
