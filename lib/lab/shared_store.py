"""Two new servers over one store: a GlusterFS volume of two replicas, mounted by FUSE as /var/imap on mailboxvm and mailboxvm2.

Each has a brick; they lie on a tmpfs of this machine, so that pulling a host's plug does not lose its brick, and no disk is
waited for. Each mounts the volume from itself. What Dovecot needs for it, and why: docs/shared-store.md.
"""

import pathlib
import time

from lab import config, errors, inside, paths, resources, system, topology

BRICKS = paths.STATE / "bricks"
DEVICE = pathlib.Path("/dev/fuse")
VOLUME = "posta"
NAMES = ("mailboxvm", topology.SECOND.name)
PING = 5  # seconds after which a silent brick counts as gone (GlusterFS's default: 42)
PATIENCE = 60


# from its next boot on a host mounts the volume by itself, and serves no mail without
_AT_BOOT = """
sed -i 's/noauto,//' /etc/fstab
for unit in dovecot sendmail; do
    mkdir -p /etc/systemd/system/$unit.service.d
    printf '[Unit]\\nRequiresMountsFor=/var/imap\\n' > /etc/systemd/system/$unit.service.d/shared.conf
done
systemctl daemon-reload
systemctl enable --quiet glusterd
"""


def require():
    """Raises errors.Missing where this machine cannot mount by FUSE."""
    with open("/proc/filesystems") as kinds:
        if not DEVICE.exists() or "\tfuse\n" not in kinds.read():
            raise errors.Missing(
                f"the shared store needs FUSE: {DEVICE}, and the kernel's module (modprobe fuse)"
            )


def ground():
    """The disk for the bricks."""
    BRICKS.mkdir()
    system.call("mount", "-t", "tmpfs", "-o", "mode=0755,size=2g", "lab-bricks", BRICKS)
    for name in NAMES:
        (BRICKS / name).mkdir()


def binds(host):
    return [f"--bind={BRICKS}/{host.name}:/bricks", f"--bind={DEVICE}"]


def prepare(host, root):
    """Configure a host's mounted root: the volume is mounted before anything that serves mail."""
    config._append(
        root,
        "etc/hosts",
        "".join(f"{topology.EVER[name].address} {name}\n" for name in NAMES if name != host.name),
    )
    # noauto: before there is a volume nothing can be mounted
    options = "noauto,_netdev,x-systemd.requires=glusterd.service"
    config._append(root, "etc/fstab", f"localhost:/{VOLUME} /var/imap glusterfs {options} 0 0\n")
    config._put(
        root, "etc/dovecot/conf.d/99-shared.conf", resources.read("files/dovecot-shared.conf")
    )


def make():
    """Join the hosts, make the volume, mount it on both, and give each user a directory in it."""
    one, other = NAMES
    for name in NAMES:
        inside.run(name, ["systemctl", "start", "--no-block", "glusterd"])
    for name in NAMES:
        _until(name, ["gluster", "pool", "list"], lambda said: "Connected" in said)
    _gluster(one, "peer", "probe", other)
    _until(
        one,
        ["gluster", "peer", "status"],
        lambda said: "(Connected)" in said and "Peer in Cluster" in said,
    )
    _gluster(
        one,
        "volume",
        "create",
        VOLUME,
        "replica",
        "2",
        *(f"{name}:/bricks/{VOLUME}" for name in NAMES),
        "force",
    )
    _gluster(one, "volume", "set", VOLUME, "network.ping-timeout", str(PING))
    _gluster(one, "volume", "start", VOLUME)
    for name in NAMES:
        inside.run(name, ["mount", "/var/imap"])
        inside.run(name, ["sh", "-ec", _AT_BOOT])
    made = "".join(
        f"install -d -m 0700 -o {number} -g {number} /var/imap/{user}\n"
        for user, number in topology.ACCOUNTS.items()
    )
    inside.run(one, ["sh", "-e"], input=made)
    for name in NAMES:
        inside.run(name, ["systemctl", "restart", "dovecot"])


def _gluster(name, *words):
    inside.run(name, ["gluster", "--mode=script", *words])


def _until(name, argv, good):
    until = time.monotonic() + PATIENCE
    while not good(said := inside.run(name, argv, check=False).stdout):
        if time.monotonic() > until:
            raise errors.LabError(
                f"{name}: {' '.join(argv)} says after {PATIENCE} s: {said.strip()}"
            )
        time.sleep(0.2)


def top(name):
    """The shared store as a host sees it, as a path of this machine."""
    from lab import container

    return f"/proc/{container.leader(name)[0]}/root/var/imap"
