"""Two new servers over one store: a GlusterFS volume of two replicas.

mailboxvm and mailboxvm2 mount it by FUSE as /var/imap, each from itself. Their bricks are on a
tmpfs of this machine: cutting a host's power does not lose its brick, and nothing waits for a disk.
docs/shared-store.md says what Dovecot needs for it, and why.
"""

import pathlib
import time

from lab import config, container, errors, inside, paths, resources, system, topology

BRICKS = paths.STATE / "bricks"
DEVICE = pathlib.Path("/dev/fuse")
VOLUME = "posta"
NAMES = ("mailboxvm", topology.SECOND.name)
PING = 5  # seconds after which a silent brick counts as lost (GlusterFS's default: 42)
PATIENCE = 120


# from the next boot on, a host mounts the volume and serves no mail without it
_AT_BOOT = """
sed -i 's/noauto,//' /etc/fstab
for unit in dovecot sendmail; do
    place=/etc/systemd/system/$unit.service.d
    mkdir -p $place
    printf '[Unit]\\nRequiresMountsFor=/var/imap\\n' > $place/shared.conf
done
systemctl daemon-reload
systemctl enable --quiet glusterd
"""


def require():
    """Raises errors.Missing if this machine cannot mount by FUSE."""
    with open("/proc/filesystems") as kinds:
        if not DEVICE.exists() or "\tfuse\n" not in kinds.read():
            raise errors.Missing(
                f"the lab's shared store needs FUSE: {DEVICE} and the kernel module. "
                "Run: modprobe fuse"
            )


def ground():
    """Mount the bricks' disk."""
    BRICKS.mkdir()
    system.call("mount", "-t", "tmpfs", "-o", "mode=0755,size=2g", "lab-bricks", BRICKS)
    for name in NAMES:
        (BRICKS / name).mkdir()


def binds(host):
    """A host's brick and the FUSE device, as options of container.start."""
    return [f"--bind={BRICKS}/{host.name}:/bricks", f"--bind={DEVICE}"]


def prepare(host, root):
    """Configure a host's mounted root: the volume is mounted before any mail service starts."""
    config.append(
        root,
        "etc/hosts",
        "".join(f"{topology.EVER[name].address} {name}\n" for name in NAMES if name != host.name),
    )
    # noauto: there is no volume to mount yet
    options = "noauto,_netdev,x-systemd.requires=glusterd.service"
    config.append(root, "etc/fstab", f"localhost:/{VOLUME} /var/imap glusterfs {options} 0 0\n")
    config.put(
        root, "etc/dovecot/conf.d/99-shared.conf", resources.read("files/dovecot-shared.conf")
    )


def make():
    """Join the hosts, make the volume, mount it on both, and make a directory per user."""
    first, second = NAMES
    for name in NAMES:
        inside.run(name, ["systemctl", "start", "--no-block", "glusterd"])
    for name in NAMES:
        _until(name, ["gluster", "pool", "list"], lambda output: "Connected" in output)
    _gluster(first, "peer", "probe", second)
    _until(
        first,
        ["gluster", "peer", "status"],
        lambda output: "(Connected)" in output and "Peer in Cluster" in output,
    )
    _gluster(
        first,
        "volume",
        "create",
        VOLUME,
        "replica",
        "2",
        *(f"{name}:/bricks/{VOLUME}" for name in NAMES),
        "force",
    )
    _gluster(first, "volume", "set", VOLUME, "network.ping-timeout", str(PING))
    _gluster(first, "volume", "start", VOLUME)
    for name in NAMES:
        inside.run(name, ["mount", "/var/imap"])
        inside.run(name, ["sh", "-ec", _AT_BOOT])
    made = "".join(
        f"install -d -m 0700 -o {number} -g {number} /var/imap/{user}\n"
        for user, number in topology.ACCOUNTS.items()
    )
    inside.run(first, ["sh", "-e"], input=made)
    for name in NAMES:
        inside.run(name, ["systemctl", "restart", "dovecot"])


def _gluster(name, *words):
    inside.run(name, ["gluster", "--mode=script", *words])


def _until(name, argv, good):
    until = time.monotonic() + PATIENCE
    while not good(output := inside.run(name, argv, check=False).stdout):
        if time.monotonic() > until:
            raise errors.LabError(
                f"joining the lab's {name} to the shared store failed: after {PATIENCE} s, "
                f"{' '.join(argv)} answers: {output.strip()}"
            )
        time.sleep(0.2)


def top(name):
    """The shared store as a host sees it, as a path of this machine."""
    return f"/proc/{container.leader(name)[0]}/root/var/imap"
