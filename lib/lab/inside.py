"""Root's access to a host without its network and services: for tests, seeding and faults."""

import subprocess
import tempfile

from lab import container, errors


def run(name, argv, input=None, timeout=180, check=True, user=None, text=True):
    """Run a command inside a host as root, or as `user` in that user's home.

    Returns a subprocess.CompletedProcess with its output as str, or as bytes with text=False.
    Output goes through files, so a daemon that the command leaves behind holds no pipe of ours.
    Raises errors.LabError if the host is down, after `timeout` seconds and, with check, if the
    command fails.
    """
    init = container.leader(name)
    if init is None:
        raise errors.LabError(f"the lab's {name} is not up. Run: cutover lab up")
    command = [str(part) for part in argv]
    if user is not None:
        command = [
            "setpriv",
            "--reuid",
            user,
            "--regid",
            user,
            "--init-groups",
            "--reset-env",
            "sh",
            "-c",
            'cd && exec "$@"',
            "sh",
            *command,
        ]
    enter = [
        "nsenter",
        "-t",
        str(init[0]),
        "-m",
        "-u",
        "-i",
        "-n",
        "-p",
        "-C",
        "-r",
        "-w",
        *command,
    ]
    return _captured(enter, name, command, input, timeout, check, text)


def _captured(enter, name, command, input, timeout, check, text):
    environment = {
        # the last is of old_world.py
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/lab",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "SYSTEMD_PAGER": "",
    }
    payload = input.encode("utf-8", "surrogateescape") if isinstance(input, str) else input
    source = {"input": payload} if payload is not None else {"stdin": subprocess.DEVNULL}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            done = subprocess.run(
                enter, **source, stdout=out, stderr=err, timeout=timeout, env=environment, cwd="/"
            )
        except subprocess.TimeoutExpired:
            raise errors.LabError(
                f"a command on the lab's {name} took more than {timeout} s: {' '.join(command)}"
            ) from None
        out.seek(0)
        err.seek(0)
        outputs = out.read(), err.read()
    if text:
        outputs = tuple(data.decode("utf-8", "surrogateescape") for data in outputs)
    result = subprocess.CompletedProcess(command, done.returncode, *outputs)
    if check and result.returncode:
        output = result.stderr or result.stdout
        output = output if text else output.decode("utf-8", "replace")
        raise errors.LabError(
            f"a command on the lab's {name} failed, exit {result.returncode}: {' '.join(command)}\n"
            f"{output.strip()}"
        )
    return result
