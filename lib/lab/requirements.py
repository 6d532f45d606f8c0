"""What this machine must have for the lab: root, and a few Debian packages, installed when they are missing."""

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
    """Return when this machine can run the lab, after installing what lacks.

    Raises errors.Missing, naming what is needed, when not root or when a package cannot be had.
    """
    if os.geteuid() != 0:
        raise errors.Missing(
            f"{purpose} needs root (network namespaces, mounts, systemd-nspawn). Run the same command "
            "as root, e.g. with sudo."
        )
    lacking = sorted(
        {package for command, package in TOOLS.items() if shutil.which(command) is None}
    )
    if lacking:
        _install(lacking, purpose)
    still = sorted({package for command, package in TOOLS.items() if shutil.which(command) is None})
    if still:
        raise errors.Missing(
            f"{purpose} needs these Debian packages: {' '.join(still)}. "
            f"Install them: apt-get install {' '.join(still)}"
        )


def chromium():
    """Path of Debian's Chromium, for the browser's tests; installed when it is missing and this is root; None without."""
    if shutil.which("chromium") is None and os.geteuid() == 0:
        with contextlib.suppress(errors.Missing):
            _install(["chromium"], "a browser")
    return shutil.which("chromium")


def _install(packages, purpose):
    wanted = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise errors.Missing(
            f"{purpose} needs {wanted} (Debian's package names), and this machine has no apt-get."
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = [
        "apt-get",
        "install",
        "-y",
        "-qq",
        "--no-install-recommends",
        "-o",
        "DPkg::Lock::Timeout=300",
    ]
    for command in (["apt-get", "update", "-qq"], [*install, *packages]):
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        # a failed update matters only when the install fails as well
        if done.returncode and command[1] == "install":
            tail = "\n".join(done.stdout.strip().splitlines()[-8:])
            raise errors.Missing(
                f"{purpose} needs {wanted}, and installing it failed:\n{tail}\n"
                f"Mend that and run: apt-get install {wanted}"
            )
