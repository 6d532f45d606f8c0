"""The lab as a whole: up, down, reset, status, and root's way into a host."""

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
    paths,
    requirements,
    seed_snapshot,
    seeder,
    shared_store,
    state,
    store,
    topology,
    watch,
)


def up(fresh=False, seed=True, shared=None, say=lambda text: None):
    """Bring the lab up and return its marker (see state.read).

    Idempotent: what is up stays, a host that died is started again. `fresh` throws everything away first and gives the
    pristine state. `shared`: with a second new server, both over one store (see shared_store.py), or without; a lab that is not so
    is begun afresh. None: as it is, and a new one without. With `seed`, mailboxold holds the seeded mail, and a lab that is up
    without it is begun afresh.
    Raises errors.Missing without root or tools, errors.LabError when a host does not come up.
    """
    requirements.require()
    if shared:
        shared_store.require()
    base = base_image.ensure(say=say)
    with locks.lab():
        wanted = seed_snapshot.path(base) if seed else None
        marker = state.read()
        if fresh or _unusable(marker, base, wanted, shared):
            _clean(grace=0)
            marker = None
            if wanted is not None and not wanted.is_dir():
                _plant(base, say)
        return _up(marker, base, wanted, say, bool(shared))


def _plant(base, say):
    """Make the seed's snapshot in a lab of its own, which is thrown away."""
    say("planting the seeded mail (once; about half a minute) …")
    _up(None, base, None, say)
    seeder.plant(say)
    seed_snapshot.save(base)
    _clean(grace=0)


def reset(say=lambda text: None, shared=False):
    """A pristine, seeded lab, whatever there was before."""
    return up(fresh=True, seed=True, shared=shared, say=say)


def _unusable(marker, base, wanted, shared):
    if marker is None or marker["phase"] != "up" or marker["base"] != str(base):
        return True
    if shared is not None and shared != (topology.SECOND.name in marker["hosts"]):
        return True
    # this machine may have been switched off since, and with it a disk that was a tmpfs
    if not all(
        (disk.directory(name) / "upper/etc/cutover-lab").exists() for name in marker["hosts"]
    ):
        return True
    return wanted is not None and marker["seed"] != wanted.name


def _up(marker, base, snapshot, say, shared=False):
    new = marker is None
    if new:
        marker = _make(base, snapshot, topology.EVER if shared else topology.HOSTS)
    present = topology.of(marker)
    network.up(present)
    started = [name for name in present if not container.running(name)]
    for name in started:
        say(f"starting {name}")
        container.stop([name], 0)
        disk.mount(name, base)
        container.start(name, _binds(present[name], topology.SECOND.name in present))
    # a host that ran already stays as it is: what was stopped on it was stopped on purpose
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


def _make(base, snapshot, wanted):
    """Everything of a new lab but its processes. The marker says "starting" until they answer."""
    made = keys.make(wanted)
    authority = keys.Authority()
    lab = secrets.token_hex(8)
    marker = {
        "made_by": "mail-cutover lab",
        "lab": lab,
        "phase": "starting",
        "seed": snapshot and snapshot.name,
        "base": str(base),
        "domain": topology.DOMAIN,
        "hosts": {
            name: {
                "address": host.address,
                "fqdn": host.fqdn,
                "fingerprint": keys.fingerprint(made[name]["pub"]),
            }
            for name, host in wanted.items()
        },
    }
    state.write(marker)
    seed_snapshot.restore(snapshot)
    _new_store()
    disk.ground()
    if topology.SECOND.name in wanted:
        shared_store.ground()

    def one(host):
        disk.mount(host.name, base)
        config.prepare(host, disk.root(host.name), lab, made[host.name], authority)
        if host.role == "new" and topology.SECOND.name in wanted:
            shared_store.prepare(host, disk.root(host.name))

    _in_parallel(one, wanted.values())
    return marker


def _in_parallel(function, items):
    with concurrent.futures.ThreadPoolExecutor(len(topology.EVER)) as pool:
        list(pool.map(function, items))


def _new_store():
    """/var/imap of mailboxvm: a directory of each user's own, empty; /backup of sanbackup."""
    for user, number in topology.ACCOUNTS.items():
        store.imap(user).mkdir(mode=0o700, parents=True)
        os.chown(store.imap(user), number, number)
    store.home(topology.PROBE).mkdir(mode=0o700, exist_ok=True)
    os.chown(
        store.home(topology.PROBE),
        topology.ACCOUNTS[topology.PROBE],
        topology.ACCOUNTS[topology.PROBE],
    )
    old = store.STORE / "backup/posta/mailboxold"
    old.mkdir(parents=True)
    os.chown(old, config.OLD_BACKUP_ID, config.OLD_BACKUP_ID)


def _binds(host, shared):
    """Mail lies outside the overlays, so that mailboxvm sees mailboxold's as a SAN would show it: read-only."""
    return {
        "old": [f"--bind={store.STORE}/home:/home", f"--bind={store.STORE}/spool:/var/mail"],
        "new": [
            *(shared_store.binds(host) if shared else [f"--bind={store.STORE}/imap:/var/imap"]),
            f"--bind-ro={store.STORE}/home:/srv/mailboxold/home",
            f"--bind-ro={store.STORE}/spool:/srv/mailboxold/spool",
        ],
        "backup": [f"--bind={store.STORE}/backup:/backup"],
    }.get(host.role, [])


def down(keep_cache=True, say=lambda text: None):
    """End the lab and remove all of it; also what a killed `up` or `down` left. Quiet when there is nothing."""
    requirements.require()
    with locks.lab():
        marker = state.read()
        if marker is not None:
            state.write(marker | {"phase": "stopping"})
        # a clean poweroff is for hosts that are up; one in the middle of its boot does not listen yet
        _clean(grace=8 if marker is not None and marker["phase"] == "up" else 0)
        if not keep_cache:
            base_image.remove_all()


def _clean(grace):
    container.stop(topology.EVER, grace)
    disk.unmount()
    network.down()
    cgroups.remove()
    if disk.mounted():
        raise errors.LabError(f"still mounted, nothing was deleted: {' '.join(disk.mounted())}")
    if paths.STATE.exists():
        shutil.rmtree(paths.STATE)


def rests():
    """What is there of a lab: processes, mounts, links, namespaces, control groups, files; empty after `down`."""
    return (
        [f"process of {name}" for name in topology.EVER if container.running(name)]
        + [f"mount {point}" for point in disk.mounted()]
        + [f"link or namespace {name}" for name in network.rests()]
        + [f"control group {group}" for group in cgroups.present()]
        + ([f"directory {paths.STATE}"] if paths.STATE.exists() else [])
    )


def reboot(name, hard=False):
    """Power a host off, or with `hard` pull its plug, and start it again on the same disk."""
    with locks.lab():
        marker = state.read()
        if marker is None or marker["phase"] != "up":
            raise errors.LabError("the lab is not up; run: cutover lab up")
        container.stop([name], 0 if hard else 15)
        _up(marker, marker["base"], None, lambda text: None)


def stop(name):
    """Pull a host's plug and leave it off; `up` starts it again."""
    with locks.lab():
        container.stop([name], 0)


run = inside.run
status = watch.status
netns = network.namespace
