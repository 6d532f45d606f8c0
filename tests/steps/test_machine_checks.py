"""What preflight advises about the platform of the new store."""

import dataclasses

import example
import pytest
from cutover import facts, model, site
from cutover.steps.checks import machine
from cutover.steps.night import preflight
from example import ROMA1

SURVEY = model.from_json(preflight.Facts, example.recorded("preflight", "before")).survey.value
DISK = facts.machine.FileSystem("ext4", "/dev/sda1", "/var/imap", ["rw", "relatime"])
GOOD = facts.machine.Machine(
    virtual="kvm",
    multipath=None,
    filesystem=DISK,
    density=None,
    dovecot={"mmap_disable": "no", "mail_fsync": "optimized"},
)


def checks(others=None, store_hosts=(), filesystem=(), **changed):
    """{(check id, host): check}"""
    built = dataclasses.replace(
        GOOD, filesystem=dataclasses.replace(DISK, **dict(filesystem)), **changed
    )
    hosts = [site.StoreHost(host=host, path="/var/imap") for host in store_hosts]
    parameters = ROMA1.model_copy(update={"store_hosts": hosts})
    listed = list(machine.checks(model.Reading(built), others or {}, SURVEY, parameters))
    assert len({(check.id, check.subject) for check in listed}) == len(listed)
    return {(check.id, check.subject): check for check in listed}


def warned(judged):
    return {key for key, check in judged.items() if check.mark == "warn"}


def file_system(**changed):
    return checks(**changed)["store-file-system", "mailboxvm"]


def test_nothing_to_advise_about_a_plain_machine():
    judged = checks()
    assert {check.mark for check in judged.values()} == {"ok"}
    text = "virtualisation: kvm; multipath: not present"
    assert judged["platform", "mailboxvm"].actual == text


@pytest.mark.parametrize(
    "disk, advice",
    [
        ({"options": ["rw"]}, "Mount with noatime"),
        ({"options": ["noatime", "barrier=0"]}, "Mount with barriers"),
        ({"options": ["noatime", "data=writeback"]}, "data=ordered"),
        ({"type": "vfat"}, "unusual"),
        ({"type": "ocfs2"}, "Set mmap_disable=yes, mail_fsync=always in Dovecot: ocfs2 is shared"),
    ],
)
def test_advice_about_the_file_system_has_a_reason(disk, advice):
    check = file_system(filesystem=disk)
    assert check.mark == "warn" and advice in check.todo


def test_a_shared_file_system_with_dovecot_set_for_it():
    settings = {"mmap_disable": "yes", "mail_fsync": "always"}
    assert file_system(filesystem={"type": "ocfs2"}, dovecot=settings).mark == "ok"


def test_each_shared_file_system_needs_its_own_settings():
    """o2cb, OCFS2's own cluster stack, knows no fcntl locks: each host would lock for itself."""
    settings = {
        "mmap_disable": "yes",
        "mail_fsync": "always",
        "mail_nfs_storage": "no",
        "mail_nfs_index": "no",
        "lock_method": "fcntl",
    }
    for kind, advice in (
        ("ocfs2", "Set lock_method=flock in Dovecot: ocfs2 is shared"),
        ("nfs4", "Set mail_nfs_storage=yes, mail_nfs_index=yes in"),
    ):
        assert file_system(filesystem={"type": kind}, dovecot=settings).todo.startswith(advice)
    assert file_system(filesystem={"type": "fuse.glusterfs"}, dovecot=settings).mark == "ok"


def test_a_failed_path_and_too_few_inodes():
    judged = checks(multipath={"mpatha": facts.machine.Paths(1, 1)}, density=1 << 20)
    assert warned(judged) == {("multipath-paths", "mailboxvm"), ("inode-density", "mailboxvm")}
    assert judged["multipath-paths", "mailboxvm"].data == {"weak": ["mpatha"]}
    assert judged["inode-density", "mailboxvm"].data["density"] == 1 << 20


@pytest.mark.parametrize(
    "virtual, clock, advice",
    [
        ("kvm", "kvm-clock", ["passes flushes on"]),
        ("kvm", "acpi_pm", ["clocksource=kvm-clock", "passes flushes on"]),
        ("xen", "tsc", ["flush-cache"]),
        ("xen", "jiffies", ["clocksource=xen"]),
        ("systemd-nspawn", "tsc", ["the machine that runs this container"]),
        ("none", "tsc", None),
        ("unknown", "", None),
    ],
)
def test_what_a_virtual_machine_cannot_see_of_itself(virtual, clock, advice):
    cache = {"vda": "write back"}
    judged = checks(virtual=virtual, clocksource=clock, write_cache=cache)
    check = judged.get(("virtual-clock-and-disk", "mailboxvm"))
    if advice is None:
        assert check is None
    else:
        assert check.mark == "warn"
        assert check.actual == f"clock source {clock}; vda: write back"
        assert all(text in check.todo for text in advice)
        assert ("clocksource=" in check.todo) == ("clocksource=" in advice[0])


def test_multipath_that_cannot_be_read_is_not_missing_multipath():
    judged = checks(multipath_error="DM multipath kernel driver not loaded")
    assert "multipath: unknown" in judged["platform", "mailboxvm"].actual
    assert warned(judged) == {("multipath-readable", "mailboxvm")}
    check = judged["multipath-readable", "mailboxvm"]
    assert check.actual == "DM multipath kernel driver not loaded"


def test_other_hosts_that_have_the_store():
    assert checks()["store-hosts", ""].actual == "not declared"
    # facts of an earlier version know no other host
    assert not any(subject == "webmail" for _, subject in checks(store_hosts=["webmail"]))
    other = dataclasses.replace(GOOD, filesystem=dataclasses.replace(DISK, options=["rw"]))
    judged = checks({"webmail": model.Reading(other)}, ["webmail"])
    assert warned(judged) == {("store-file-system", "webmail")}
    assert "noatime" in judged["store-file-system", "webmail"].todo
    judged = checks({"webmail": model.Reading(error="no route")}, ["webmail"])
    assert warned(judged) == {("platform", "webmail")}
    assert judged["platform", "webmail"].actual == "no route"
