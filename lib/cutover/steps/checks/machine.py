"""Advice about the platform of the hosts that have the new store. Nothing here stops the night."""

from collections.abc import Iterator, Mapping

from cutover import model
from cutover.facts import dovecot, machine, old_mail

CLOCKS = {
    "kvm": ("kvm-clock", "tsc"),
    "xen": ("xen", "tsc"),
    "microsoft": ("hyperv_clocksource_tsc_page", "tsc"),
    "vmware": ("tsc",),
    "oracle": ("kvm-clock", "tsc"),
    "qemu": ("tsc",),
}
CONTAINERS = (
    "systemd-nspawn",
    "lxc",
    "lxc-libvirt",
    "openvz",
    "docker",
    "podman",
    "container-other",
)
LOCAL = ("ext4", "ext3", "xfs", "btrfs", "zfs")
SHARED = ("nfs", "nfs4", "ocfs2", "gfs2", "ceph", "fuse.glusterfs", "cifs")


def checks(
    new: model.Reading[machine.Machine],
    others: Mapping[str, model.Reading[machine.Machine]],
    survey: old_mail.Survey | None,
    site,
) -> Iterator[model.Check]:
    """new: the new server; others: the store_hosts by name; survey: the old mail, if known."""
    mean = None
    if survey and survey.totals.messages:
        mean = survey.totals.bytes // survey.totals.messages
    yield from platform(site.roles.new, new, site.new_store.work, mean)
    if not site.store_hosts:
        yield model.Check(
            "Other hosts that have the new store",
            "those of store_hosts",
            "not declared",
            True,
            id="store-hosts",
        )
    for store_host in site.store_hosts:
        if store_host.host in others:
            yield from platform(store_host.host, others[store_host.host], store_host.path, mean)


def platform(
    name: str, reading: model.Reading[machine.Machine], path: str, mean: int | None
) -> Iterator[model.Check]:
    """The checks of one host, which has the store at `path`. mean: bytes of a mean message."""
    question, about = f"Platform of {name}", {"id": "platform", "subject": name}
    if not reading.ok:
        todo = "Check it by hand."
        yield model.Check(question, "known", reading.error, True, todo, warning=True, **about)
        return
    facts = reading.value
    paths = _paths(facts)
    actual = f"virtualisation: {facts.virtual}; multipath: {paths}"
    yield model.Check(question, "reported", actual, True, **about)
    yield from _multipath(name, facts)
    yield from _virtual(name, facts)
    disk, advice = facts.filesystem, file_system_advice(facts.filesystem, facts.dovecot)
    yield model.Check(
        f"The file system of {path} on {name} suits Maildir",
        "nothing to advise",
        f"{disk.type} of {disk.source} on {disk.target} ({', '.join(disk.options)})",
        True,
        " ".join(advice),
        warning=bool(advice),
        id="store-file-system",
        subject=name,
    )
    if facts.density is not None and mean is not None:
        yield model.Check(
            f"{name} will not run out of inodes before bytes",
            f"one inode per {mean} bytes at most, the mean message here",
            f"one per {facts.density} bytes",
            True,
            "Every message is a file. Make the file system with more inodes (mke2fs -i "
            f"{max(1024, mean // 2)}), or use one that makes them as needed (XFS).",
            warning=facts.density > mean,
            id="inode-density",
            subject=name,
            data={"density": facts.density, "mean": mean},
        )


def _paths(facts):
    if facts.multipath_error:
        return "unknown"
    if not facts.multipath:
        return "not present"
    return "; ".join(
        f"{device} {paths.active} active, {paths.failed} failed"
        for device, paths in sorted(facts.multipath.items())
    )


def _multipath(name, facts):
    if facts.multipath_error:
        yield model.Check(
            f"The multipath devices of {name} can be read",
            "yes",
            facts.multipath_error,
            True,
            "Run `multipath -ll` there as root: until it works, failed paths go unnoticed. If no "
            "disk has two paths, remove the tools.",
            warning=True,
            id="multipath-readable",
            subject=name,
        )
    if facts.multipath:
        weak = [
            device
            for device, paths in sorted(facts.multipath.items())
            if paths.active < 2 or paths.failed
        ]
        yield model.Check(
            f"Every multipath device of {name} has two working paths",
            "all",
            f"not {', '.join(weak)}" if weak else "all",
            True,
            "Fix the path before the night: the next fault would take the store away.",
            warning=bool(weak),
            id="multipath-paths",
            subject=name,
            data={"weak": weak},
        )


def _virtual(name, facts):
    """What a virtual machine, or a container, cannot see of its own disk and clock."""
    if facts.clocksource is None or facts.virtual not in {*CONTAINERS, *CLOCKS}:
        return
    if facts.virtual in CONTAINERS:
        advice = [
            "Check the machine that runs this container too: kernel, clock, multipath and disk are "
            "its own and not visible here."
        ]
    else:
        advice = _virtual_advice(facts.virtual, facts.clocksource)
    caches = [f"{disk}: {cache}" for disk, cache in sorted(facts.write_cache.items())]
    yield model.Check(
        f"Clock and disk of {name} are safe, as far as {name} can see",
        "nothing to advise",
        "; ".join([f"clock source {facts.clocksource or 'not present'}", *caches]),
        True,
        " ".join(advice),
        warning=True,
        id="virtual-clock-and-disk",
        subject=name,
        data={"virtual": facts.virtual, "clocksource": facts.clocksource},
    )


def _virtual_advice(virtual, clocksource):
    advice = []
    if clocksource not in CLOCKS[virtual]:
        advice.append(
            f"Boot with clocksource={CLOCKS[virtual][0]}: others drift or are slow under "
            f"{virtual}, and dates, TSIG and Dovecot's files depend on the time."
        )
    advice.append(
        "Check on the hypervisor that the disk cache passes flushes on (KVM: not `unsafe`; Xen: "
        "flush-cache). If not, fsync only reaches its memory, and published mail may be lost "
        "in a power failure."
    )
    return advice


def file_system_advice(disk: machine.FileSystem, settings: Mapping[str, str]) -> list[str]:
    """What to change on a file system and why, one text each; settings: Dovecot's."""
    options = {option.partition("=")[0]: option.partition("=")[2] for option in disk.options}
    advice = []
    if "noatime" not in options and "relatime" not in options:
        advice.append("Mount with noatime: without it, reading a message writes its inode.")
    if "nobarrier" in options or options.get("barrier") == "0":
        advice.append(
            "Mount with barriers: without them, published mail may be lost in a power failure."
        )
    if options.get("data") == "writeback":
        advice.append(
            "Mount with data=ordered: with writeback, messages may contain garbage after a power "
            "failure."
        )
    if disk.type in SHARED:
        advice += _shared_advice(disk.type, settings)
    elif disk.type not in LOCAL:
        advice.append(
            f"{disk.type} is unusual for a mail store: check that it survives a power failure, and "
            "how to enlarge it."
        )
    return advice


def _shared_advice(kind, settings):
    needed = {**dovecot.FOR_SHARED, **dovecot.FOR_TYPE.get(kind, {})}
    wrong = [f"{key}={value}" for key, value in needed.items() if settings.get(key, value) != value]
    if not wrong:
        return []
    caches = "caches"
    if kind == "ocfs2":  # o2cb, OCFS2's own cluster stack, has no fcntl locks
        caches += " (and with the o2cb stack its fcntl locks)"
    return [
        f"Set {', '.join(wrong)} in Dovecot: {kind} is shared, and each host has its own {caches}."
    ]
