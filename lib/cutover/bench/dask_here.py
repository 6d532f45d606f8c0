"""A conversion by Dask with one worker on this machine: `python -m cutover.bench.dask_here PLAN`.

PLAN: {"plan": the converter's, "units": lists of users, "place", "ports"}. When it ends, so has all
that it began: its CPU time is that of the whole.
"""

import contextlib
import ctypes
import json
import os
import subprocess
import sys
import types

from cutover.remote import dask_engine, detached

PR_SET_CHILD_SUBREAPER = 36
HOST = "here"


class Here:
    """As ssh.Connection, on this machine."""

    def run(self, argv, *, check=True, input=b"", **_more):
        done = subprocess.run(argv, input=input, capture_output=True)
        if check:
            done.check_returncode()
        return types.SimpleNamespace(rc=done.returncode, out=done.stdout, err=done.stderr)

    def put(self, data, path, **_more):
        with open(path, "wb") as file:
            file.write(data)

    def stream(self, argv, *, on_line, **_more):
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
    here = Here()
    hosts = types.SimpleNamespace(
        ssh=lambda name: here,
        site=site,
        each=lambda names, function: {name: function(name) for name in names},
    )
    engine = dask_engine.Engine(
        [HOST], given["units"], given["ports"], given["place"], os.cpu_count(), "127.0.0.1"
    )
    plan = given["plan"]
    ended = dask_engine.run(
        hosts, HOST, plan, "convert-users", lambda event: None, "convert-users", engine
    )
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    return ended.rc


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
