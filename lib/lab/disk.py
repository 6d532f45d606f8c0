"""The hosts' disks: overlays of the base, and all other mounts below the lab's state."""

import subprocess
import time

from lab import paths, system

HOSTS = paths.STATE / "hosts"


def directory(name):
    """What belongs to a host's container: its overlay, its console log, its process record."""
    return HOSTS / name


def root(name):
    """The host's root directory as this machine sees it, while mounted."""
    return directory(name) / "root"


def ground():
    """Make the directory of the hosts' upper layers.

    On a tmpfs if the disk is an overlay itself, since it cannot carry another.
    """
    HOSTS.mkdir(parents=True, exist_ok=True)
    if system.call("stat", "--file-system", "--format=%T", HOSTS).strip() == "overlayfs":
        system.call("mount", "-t", "tmpfs", "-o", "mode=0755", "lab-hosts", HOSTS)


def mounted(below=None):
    """Mount points below a directory (default: the lab's state), deepest last."""
    prefix = f"{below or paths.STATE}"
    with open("/proc/self/mounts") as mounts:
        points = [line.split()[1] for line in mounts]
    return [point for point in points if point == prefix or point.startswith(prefix + "/")]


def mount(name, base):
    """Mount the host's overlay of the base, if it is not mounted. The upper layer is its disk."""
    place = directory(name)
    for part in ("upper", "work", "root"):
        (place / part).mkdir(parents=True, exist_ok=True)
    if str(root(name)) in mounted():
        return
    system.call(
        "mount",
        "-t",
        "overlay",
        "-o",
        f"lowerdir={base},upperdir={place}/upper,workdir={place}/work",
        f"lab-{name}",
        root(name),
    )


def unmount():
    """Unmount everything below the lab's state, deepest first."""
    for point in reversed(mounted()):
        for _ in range(20):
            if (
                subprocess.run(
                    ["umount", point], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                ).returncode
                == 0
            ):
                break
            time.sleep(0.05)
        else:
            system.call("umount", "--lazy", point, check=False)
