"""Runs commands on this machine: no terminal, no inherited input, errors name the command."""

import subprocess

from lab import errors, locks


def call(*argv, check=True, input=None):
    """Standard output of a command as text. `input` is text for its standard input.

    Raises errors.LabError with the command and its output if it fails, unless check is False.
    """
    command = [str(part) for part in argv]
    source = {"input": input} if input is not None else {"stdin": subprocess.DEVNULL}
    done = subprocess.run(
        command, **source, capture_output=True, text=True, errors="replace", pass_fds=locks.held()
    )
    if check and done.returncode:
        raise errors.LabError(
            f"a command on this machine failed, exit {done.returncode}: {' '.join(command)}\n"
            f"{(done.stderr or done.stdout).strip()}"
        )
    return done.stdout
