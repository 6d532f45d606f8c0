"""Seconds, CPU time and memory of commands."""

import os
import resource
import statistics
import subprocess
import sys

from cutover.model import errors

# a process's memory counts from what it was forked from, so a small process starts the command
STARTER = """
import os, sys, time
began = time.perf_counter()
_pid, status, usage = os.wait4(os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ), 0)
seconds, cpu = time.perf_counter() - began, usage.ru_utime + usage.ru_stime
print(seconds, cpu, usage.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def timed(argv, sync: bool = True) -> dict:
    """Run a command to its end.

    → {"seconds", "cpu" (seconds, with its children), "memory" (KiB of the largest process)}.
    Raises errors.CutoverError if the command fails.
    """
    if sync:
        os.sync()
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", STARTER, *map(str, argv)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise errors.CutoverError(
            f"a measured command failed, exit {done.returncode}: {' '.join(map(str, argv))}\n"
            f"{done.stderr[-800:]}"
        )
    return dict(
        zip(
            ("seconds", "cpu", "memory"),
            map(float, done.stderr.splitlines()[-1].split()),
            strict=True,
        )
    )


def used_by_children() -> float:
    """CPU seconds of all child processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def medians(results) -> dict:
    """The medians of timed() results, and "runs": the seconds of each."""
    keys = [key for key in results[0] if all(key in result for result in results)]
    return {
        **{key: statistics.median(result[key] for result in results) for key in keys},
        "runs": [round(result["seconds"], 4) for result in results],
    }
