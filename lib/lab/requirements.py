"""What this machine must have for the lab: root, a few Debian packages, and inotify instances.

Missing packages are installed, and the kernel's limit is raised until the next boot.
"""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

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
    "mbsync": "isync",  # the mail program of production-test
}

# Each host's systemd and its services hold four or five inotify instances, all as root's: a booting
# lab needs about 60, one of two stores about 75. Debian's limit is 128 (inotify(7)). Above it
# systemd cannot wait for a PID file, and services of type forking fail.
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_OF_A_LAB = 64
INOTIFY_WANTED = 1024


def require(purpose="the rehearsal lab"):
    """Return if this machine can run the lab, after installing what is missing.

    Raises errors.Missing if this is not root, if a package cannot be installed, or if the kernel
    has too few inotify instances and its limit cannot be raised.
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
    if labs() < 1:
        raise errors.Missing(
            f"{purpose} needs {INOTIFY_OF_A_LAB} inotify instances, and the kernel allows "
            f"{_inotify()}. Run: sysctl -w fs.inotify.max_user_instances={INOTIFY_WANTED}"
        )


def labs():
    """How many labs fit beside each other into the kernel's inotify limit.

    A low limit is raised first; where this is not allowed, it is counted as it is.
    """
    if _inotify() < INOTIFY_WANTED:
        with contextlib.suppress(OSError):
            INOTIFY.write_text(f"{INOTIFY_WANTED}\n", encoding="ascii")
    return _inotify() // INOTIFY_OF_A_LAB


def _inotify():
    return int(INOTIFY.read_text(encoding="ascii"))


def _missing():
    return sorted({package for command, package in TOOLS.items() if shutil.which(command) is None})


def program(command, package):
    """Path of a program that some tests need; root installs its Debian package. None without."""
    if shutil.which(command) is None and os.geteuid() == 0:
        with contextlib.suppress(errors.Missing):
            _install([package], "a test")
    return shutil.which(command)


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
