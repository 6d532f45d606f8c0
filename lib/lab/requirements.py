"""What this machine must have for the lab: root, and a few Debian packages.

Missing packages are installed.
"""

import contextlib
import os
import shutil
import subprocess

from lab import errors

# command → Debian package that brings it
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "arch-test": "arch-test",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "mount": "mount",
    "ssh": "openssh-client",
}


def require(purpose="the rehearsal lab"):
    """Return if this machine can run the lab, after installing what is missing.

    Raises errors.Missing if this is not root or a package cannot be installed.
    """
    if os.geteuid() != 0:
        raise errors.Missing(
            f"{purpose} needs root (network namespaces, mounts, systemd-nspawn). Run the same "
            "command as root, for example with sudo."
        )
    missing = _missing()
    if missing:
        _install(missing, purpose)
        missing = _missing()
    if missing:
        names = " ".join(missing)
        raise errors.Missing(
            f"{purpose} needs these Debian packages: {names}. Install them: apt-get install {names}"
        )


def _missing():
    return sorted({package for command, package in TOOLS.items() if shutil.which(command) is None})


def chromium():
    """Path of Debian's Chromium, for the browser tests; root installs it first. None without."""
    if shutil.which("chromium") is None and os.geteuid() == 0:
        with contextlib.suppress(errors.Missing):
            _install(["chromium"], "a browser")
    return shutil.which("chromium")


def _install(packages, purpose):
    names = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise errors.Missing(
            f"{purpose} needs the Debian packages {names}, and this machine has no apt-get. "
            "Run the lab on Debian."
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # without a package server to reach, fail in seconds
    apt = ["apt-get", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=15"]
    install = [
        *apt,
        "install",
        "-y",
        "-qq",
        "--no-install-recommends",
        "-o",
        "DPkg::Lock::Timeout=300",
    ]
    for command in ([*apt, "update", "-qq"], [*install, *packages]):
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        # a failed update matters only if the install fails too
        if done.returncode and "install" in command:
            tail = "\n".join(done.stdout.strip().splitlines()[-8:])
            raise errors.Missing(
                f"{purpose} needs {names}, and installing it failed:\n{tail}\n"
                f"Fix this, then run: apt-get install {names}"
            )
