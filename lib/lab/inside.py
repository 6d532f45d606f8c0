"""Root's way into a host, apart from its network and its services: for tests, seeding and fault injection."""

import subprocess
import tempfile

from lab import container, errors


def run(name, argv, input=None, timeout=60, check=True, user=None, text=True):
    """Run a command as root (or as `user`, a login of the host, in its home) inside a host, apart from its services.

    Returns a subprocess.CompletedProcess, its output as str, or bytes with text=False. Output goes through files: a
    daemon that the command leaves behind holds no pipe of ours. Raises errors.LabError when the host is down, when
    it takes more than `timeout` seconds, or, with check, on a non-zero exit.
    """
    found = container.leader(name)
    if found is None:
        raise errors.LabError(f"{name} is not up; run: cutover lab up")
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
        str(found[0]),
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
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
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
                f"on {name}, this command took more than {timeout} s: {' '.join(command)}"
            ) from None
        out.seek(0)
        err.seek(0)
        outputs = out.read(), err.read()
    if text:
        outputs = tuple(data.decode("utf-8", "surrogateescape") for data in outputs)
    result = subprocess.CompletedProcess(command, done.returncode, *outputs)
    if check and result.returncode:
        said = result.stderr or result.stdout
        said = said if text else said.decode("utf-8", "replace")
        raise errors.LabError(
            f"on {name}, this command failed (exit {result.returncode}): {' '.join(command)}\n"
            f"{said.strip()}"
        )
    return result
