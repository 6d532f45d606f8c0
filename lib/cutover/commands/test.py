"""`cutover test`: the tests."""

import os
import shlex
import subprocess
import sys

import click

KEEPS_NOTHING = "PYTHONDONTWRITEBYTECODE"


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments):
    """Run the tests: units, notebooks, and the lab's real servers.

    Arguments are passed to pytest; without any, all tests run. As root it starts the lab for the
    tests that need it: a full run uses lanes with a lab each, one more than there are processors,
    since a lane often waits for its servers; fewer where the kernel's inotify limit cannot be
    raised. Without root those tests are skipped, and the end of the output says so.
    """
    from lab import requirements

    from cutover import site

    everything = ["tests", "lib/mbx2maildir/tests", "notebooks"]
    everything += ["--nbval-lax", "--nbval-cell-timeout=120", "--durations=25"]
    if os.geteuid() == 0:
        everything += ["--dist=loadfile", "--no-loadscope-reorder", "-rs"]
        lanes = min((os.cpu_count() or 1) + 1, max(requirements.labs(), 1))
        for number in range(1, lanes + 1):
            world = [sys.executable, "-m", "lab.world", f"lane{number}", sys.executable]
            python = shlex.join(world)
            everything.append(f"--tx=popen//python={python}")
    argv = [sys.executable, "-m", "pytest", *(arguments or everything)]
    # the tests start hundreds of interpreters; told to keep nothing, each would compile all it uses
    environment = {name: value for name, value in os.environ.items() if name != KEEPS_NOTHING}
    where = {"cwd": site.PROJECT, "env": environment}
    sys.exit(subprocess.run(argv, **where, stdin=subprocess.DEVNULL).returncode)
