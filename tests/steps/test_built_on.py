"""What preflight advises about the machine under the new store."""

import copy
import json

import pytest
from cutover import site
from cutover.steps.night import preflight

ROMA1 = site.load("parameters/roma1.yaml")
GOOD = {
    "virtual": "kvm",
    "multipath": None,
    "density": None,
    "dovecot": {"mmap_disable": "no", "mail_fsync": "optimized"},
    "filesystem": {
        "type": "ext4",
        "source": "/dev/sda1",
        "target": "/var/imap",
        "options": ["rw", "relatime"],
    },
}


def checks(machines=None, shared=(), **changed):
    found = json.loads((ROMA1.path.parent / "roma1/preflight.json").read_bytes())["before"]
    found.update(machines=machines) if machines is not None else found.pop("machines", None)
    built = copy.deepcopy(GOOD)
    built["filesystem"] |= changed.pop("filesystem", {})
    found["machine"] = {"value": built | changed}
    return {
        check.question: check
        for check in preflight._machines(
            found,
            ROMA1.model_copy(update={"store_hosts": [site.StoreHost(**each) for each in shared]}),
        )
    }


def fit(**changed):
    return next(
        check for question, check in checks(**changed).items() if "fit for Maildir" in question
    )


def test_nothing_to_advise_about_a_plain_machine():
    found = checks()
    assert all(check.passed and not check.warning for check in found.values())
    assert any(
        "virtualisation: kvm; multipath: not present" in check.actual for check in found.values()
    )


@pytest.mark.parametrize(
    "disk, said",
    [
        ({"options": ["rw"]}, "mount with noatime"),
        ({"options": ["noatime", "barrier=0"]}, "mount with barriers"),
        ({"options": ["noatime", "data=writeback"]}, "data=ordered"),
        ({"type": "vfat"}, "unusual"),
        ({"type": "ocfs2"}, "set mmap_disable=yes, mail_fsync=always in Dovecot: ocfs2 is shared"),
    ],
)
def test_what_is_advised_and_why(disk, said):
    check = fit(filesystem=disk)
    assert check.passed and check.warning and said in check.todo


def test_a_shared_file_system_with_dovecot_set_for_it():
    assert not fit(
        filesystem={"type": "ocfs2"}, dovecot={"mmap_disable": "yes", "mail_fsync": "always"}
    ).warning


def test_each_shared_file_system_needs_its_own():
    """o2cb, OCFS2's own cluster stack, knows no fcntl locks: each host would lock for itself."""
    given = {
        "mmap_disable": "yes",
        "mail_fsync": "always",
        "mail_nfs_storage": "no",
        "mail_nfs_index": "no",
        "lock_method": "fcntl",
    }
    assert fit(filesystem={"type": "ocfs2"}, dovecot=given).todo.startswith(
        "set lock_method=flock in Dovecot: ocfs2 is shared"
    )
    assert fit(filesystem={"type": "nfs4"}, dovecot=given).todo.startswith(
        "set mail_nfs_storage=yes, mail_nfs_index=yes in"
    )
    assert not fit(filesystem={"type": "fuse.glusterfs"}, dovecot=given).warning


def test_a_path_that_failed_and_inodes_that_will_not_last():
    found = checks(multipath={"mpatha": {"active": 1, "failed": 1}}, density=1 << 20)
    assert sum(check.warning for check in found.values()) == 2
    assert any("not mpatha" in check.actual for check in found.values())


@pytest.mark.parametrize(
    "virtual, clock, said",
    [
        ("kvm", "kvm-clock", ["passes flushes on"]),
        ("kvm", "acpi_pm", ["boot with clocksource=kvm-clock", "passes flushes on"]),
        ("xen", "tsc", ["flush-cache"]),
        ("xen", "jiffies", ["boot with clocksource=xen"]),
        ("systemd-nspawn", "tsc", ["look at the machine that runs this container"]),
        ("none", "tsc", None),
        ("unknown", "", None),
    ],
)
def test_what_a_virtual_machine_does_not_see_of_itself_is_said_with_a_reason(virtual, clock, said):
    told = [
        check
        for question, check in checks(
            virtual=virtual, clocksource=clock, write_cache={"vda": "write back"}
        ).items()
        if "clock and disk" in question
    ]
    if said is None:
        assert not told
    else:
        assert told[0].mark == "warn" and f"clock source {clock}; vda: write back" == told[0].actual
        assert all(text in told[0].todo for text in said) and ("clocksource=" in told[0].todo) == (
            "clocksource=" in said[0]
        )


def test_a_multipath_that_cannot_be_read_is_not_one_that_is_not_there():
    found = checks(multipath_error="DM multipath kernel driver not loaded")
    assert any("multipath: not known" in check.actual for check in found.values())
    (told,) = [check for check in found.values() if check.mark == "warn"]
    assert told.actual == "DM multipath kernel driver not loaded"


def test_other_hosts_of_the_store_are_looked_at_as_well():
    shell = [{"host": "webmail", "path": "/var/imap"}]
    assert not any(
        "webmail" in question for question in checks(shared=shell)
    )  # facts of an earlier version
    assert checks({})["Which other hosts have the new store?"].actual == "not declared"
    found = checks(
        {"webmail": {"value": {**GOOD, "filesystem": {**GOOD["filesystem"], "options": ["rw"]}}}},
        shell,
    )
    assert (
        "mount with noatime"
        in found["Is the file system of /var/imap on webmail fit for Maildir?"].todo
    )
    assert not found["Is the file system of /var/imap/.cutover fit for Maildir?"].warning
    assert (
        found["What is webmail built on?"].actual == "virtualisation: kvm; multipath: not present"
    )
    (lost,) = [
        check
        for question, check in checks({"webmail": {"error": "no route"}}, shell).items()
        if "webmail" in question
    ]
    assert lost.mark == "warn" and lost.actual == "no route"
