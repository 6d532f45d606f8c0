"""The lab as a whole: up, down, reset, status, and root's access to a host."""

import concurrent.futures
import os
import secrets
import shutil

from lab import (
    base_image,
    cgroups,
    config,
    container,
    disk,
    errors,
    inside,
    keys,
    locks,
    network,
    old_world,
    paths,
    requirements,
    seed_snapshot,
    seeder,
    shared_store,
    state,
    store,
    topology,
    two_stores,
    watch,
)


def up(
    fresh=False, seed=True, shared=None, suites=None, old=None, stores=None, say=lambda text: None
):
    """Bring the lab up and return its marker (see state.read).

    Idempotent: what is up stays, and a host that died is started again.

    fresh: begin again with the pristine state.
    seed: with the seeded mail on mailboxold; a lab without it is begun again.
    shared: with a second new server over the same store (shared_store.py), or without; a lab that
        differs is begun again. None: a lab that is up stays as it is, a new one is without.
    old: with some hosts of 2007 (old_world.py), or without; else as `shared`.
    stores: 1, or 2 for a second old and a second new server (two_stores.py); else as `shared`. Two
        stores go neither with `shared` nor with `old`.
    suites: base_image.suites(); a lab that differs is begun again. None: a lab that is up stays as
        it is, a new one has the default for every role.
    Raises errors.Missing without root or tools, errors.LabError if a host does not come up.
    """
    if stores == 2 and (shared or old):
        raise ValueError("a lab of two stores has neither a shared store nor hosts of 2007")
    requirements.require()
    if shared:
        shared_store.require()
    marker = state.read()
    if suites is None and marker is not None and not fresh:
        suites = marker.get("suites")
    suites = suites or base_image.suites()
    bases = base_image.ensure_all(suites.values(), say)
    with locks.lab():
        # the old server's programs write the seeded mail
        base = bases[suites["old"]]
        snapshot = seed_snapshot.path(base) if seed else None
        marker = state.read()
        if fresh or _unusable(marker, bases, suites, snapshot, shared, old, stores):
            _clean(grace=0)
            marker = None
            if snapshot is not None and not snapshot.is_dir():
                _plant(suites, base, say)
        hosts = topology.of_kind(shared, stores)
        return _up(marker, suites, snapshot, say, hosts, bool(old))


def _plant(suites, base, say):
    """Make the snapshot of the seeded mail in a temporary lab."""
    say("creating the seeded mail (once; about half a minute) …")
    _up(None, suites, None, say)
    seeder.plant(say)
    seed_snapshot.save(base)
    _clean(grace=0)


def reset(say=lambda text: None, shared=False, suites=None, old=False, stores=1):
    """A pristine, seeded lab, whatever was there before; without `suites` the default."""
    suites = suites or base_image.suites()
    return up(fresh=True, seed=True, shared=shared, suites=suites, old=old, stores=stores, say=say)


def _unusable(marker, bases, suites, snapshot, shared, old, stores):
    if marker is None or marker["phase"] != "up" or marker.get("suites") != suites:
        return True
    if any(host["base"] not in map(str, bases.values()) for host in marker["hosts"].values()):
        return True
    if shared is not None and shared != (topology.SECOND.name in marker["hosts"]):
        return True
    if old is not None and old != marker.get("old_world", False):
        return True
    if stores is not None and (stores == 2) != topology.has_two_stores(marker["hosts"]):
        return True
    # this machine may have been rebooted since, and a disk on tmpfs is then lost
    if not all(
        (disk.directory(name) / "upper/etc/cutover-lab").exists() for name in marker["hosts"]
    ):
        return True
    return snapshot is not None and marker["seed"] != snapshot.name


def _up(marker, suites, snapshot, say, hosts=topology.HOSTS, old=False):
    """hosts, old: of a new lab; one that is up keeps its own."""
    new = marker is None
    if new:
        marker = _make(suites, snapshot, hosts, old)
    present = topology.of(marker)
    network.up(present)
    started = [name for name in present if not container.running(name)]
    for name in started:
        say(f"starting {name}")
        container.stop([name], 0)
        disk.mount(name, marker["hosts"][name]["base"])
        container.start(name, _binds(present[name], topology.SECOND.name in present))
    # a host that already ran stays as it is: its stopped services were stopped on purpose
    _in_parallel(watch.wait if new else watch.wait_booted, [present[name] for name in started])
    if new and topology.SECOND.name in present:
        say("making the shared store")
        shared_store.make()
    for name in present:
        pid, start = container.process(name)
        leader, leader_start = container.leader(name)
        marker["hosts"][name].update(pid=pid, start=start, leader=leader, leader_start=leader_start)
    if new and snapshot is None:
        seeder.skeleton()
    marker["phase"] = "up"
    state.write(marker)
    return marker


def _make(suites, snapshot, hosts, old):
    """Make everything of a new lab except its processes. The marker's phase is "starting"."""
    made = keys.make(hosts, old_world.HOSTS if old else ())
    authority = keys.Authority()
    lab = secrets.token_hex(8)
    marker = {
        "made_by": "mail-cutover lab",
        "lab": lab,
        "phase": "starting",
        "seed": snapshot and snapshot.name,
        "suites": suites,
        "old_world": old,
        "domain": topology.DOMAIN,
        "hosts": {
            name: {
                "address": host.address,
                "fqdn": host.fqdn,
                "fingerprint": keys.fingerprint(made[name]["pub"]),
                "base": str(base_image.path(suites[host.role])),
            }
            for name, host in hosts.items()
        },
    }
    state.write(marker)
    seed_snapshot.restore(snapshot)
    if topology.has_two_stores(hosts):
        two_stores.split()
    _new_store(topology.accounts(hosts))
    disk.ground()
    if topology.SECOND.name in hosts:
        shared_store.ground()

    def set_up(host):
        disk.mount(host.name, marker["hosts"][host.name]["base"])
        config.prepare(host, hosts, disk.root(host.name), lab, made[host.name], authority)
        if host.role == "new" and topology.SECOND.name in hosts:
            shared_store.prepare(host, disk.root(host.name))
        if old and host.name in old_world.HOSTS:
            old_world.prepare(disk.root(host.name))

    _in_parallel(set_up, hosts.values())
    return marker


def _in_parallel(function, items):
    with concurrent.futures.ThreadPoolExecutor(len(topology.EVER)) as pool:
        list(pool.map(function, items))


def _new_store(accounts):
    """A new server's /var/imap with an empty directory per user; sanbackup's /backup."""
    for user, number in accounts.items():
        store.imap(user).mkdir(mode=0o700, parents=True)
        os.chown(store.imap(user), number, number)
    for probe in set(accounts) - set(topology.USERS):
        store.home(probe).mkdir(mode=0o700, exist_ok=True)
        os.chown(store.home(probe), accounts[probe], accounts[probe])
    old = store.STORE / "backup/posta/mailboxold"
    old.mkdir(parents=True)
    os.chown(old, config.OLD_BACKUP_ID, config.OLD_BACKUP_ID)


def _binds(host, shared):
    """Mail is outside the overlays: a new server sees its old one's read-only, as over a SAN."""
    if host.role == "backup":
        return [f"--bind={store.STORE}/backup:/backup"]
    if not host.has_users:
        return []
    place = store.DIRECTORIES[host.alias]
    if host.role == "old":
        return [f"--bind={place}/home:/home", f"--bind={place}/spool:/var/mail"]
    old = topology.old_server(host.alias)
    return [
        *(shared_store.binds(host) if shared else [f"--bind={place}/imap:/var/imap"]),
        f"--bind-ro={place}/home:/srv/{old}/home",
        f"--bind-ro={place}/spool:/srv/{old}/spool",
    ]


def down(keep_cache=True, say=lambda text: None):
    """End the lab and remove all of it, also what a killed `up` or `down` left behind."""
    requirements.require()
    with locks.lab():
        marker = state.read()
        if marker is not None:
            state.write(marker | {"phase": "stopping"})
        # a clean poweroff works only on hosts that are up, not while they boot
        _clean(grace=8 if marker is not None and marker["phase"] == "up" else 0)
        if not keep_cache:
            base_image.remove_all()


def _clean(grace):
    container.stop(topology.EVER, grace)
    disk.unmount()
    network.down()
    cgroups.remove()
    if disk.mounted():
        raise errors.LabError(
            f"removing the lab failed: still mounted: {' '.join(disk.mounted())}. "
            "Nothing was deleted. Unmount them, then run: cutover lab down"
        )
    if paths.STATE.exists():
        shutil.rmtree(paths.STATE)


def rests():
    """What exists of a lab: processes, mounts, links, namespaces, control groups, files.

    Empty after `down`.
    """
    return (
        [f"process of {name}" for name in topology.EVER if container.running(name)]
        + [f"mount {point}" for point in disk.mounted()]
        + [f"link or namespace {name}" for name in network.rests()]
        + [f"control group {group}" for group in cgroups.present()]
        + ([f"directory {paths.STATE}"] if paths.STATE.exists() else [])
    )


def reboot(name, hard=False):
    """Power a host off, or with `hard` cut its power, and start it again on the same disk."""
    with locks.lab():
        marker = state.read()
        if marker is None or marker["phase"] != "up":
            raise errors.LabError("the lab is not up. Run: cutover lab up")
        container.stop([name], 0 if hard else 15)
        _up(marker, marker["suites"], None, lambda text: None)


def stop(name):
    """Cut a host's power and leave it off; `up` starts it again."""
    with locks.lab():
        container.stop([name], 0)


run = inside.run
status = watch.status
netns = network.namespace
