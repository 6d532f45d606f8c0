"""Quotas as repquota and doveadm print them, and whether users' mail fits them."""

import dataclasses
import subprocess
import types

import pytest
from cutover import model, site
from cutover.facts import quotas, users
from cutover.steps.checks.quotas import checks
from lab import requirements

ROMA1 = site.load("parameters/roma1.yaml")
# as repquota 4.06 prints it, with grace times of each kind
REPQUOTA = """\
*** Report for user quotas on device /dev/sdb1
Block grace time: 7days; Inode grace time: 7days
                        Block limits                File limits
User            used    soft    hard  grace    used  soft  hard  grace
----------------------------------------------------------------------
#0        --      20       0       0              2     0     0
#2001     --     100    1000    2000              5     0     0
#2002     +-    1500    1000    2000  6days       3    10    20
#2003     -+     300       0       0             15    10    20  none
#2004     --     300       0       0             15     0     0
#2005     ++    3000    1000    4000  none       15    10    20  23:59
#9999     --     100    1000    2000              5     0     0

"""
NAMES = {2001: "alice", 2002: "bruno", 2003: "carla", 2004: "davide", 2005: "elena"}
# written by hand in the form of doveadm -f tab quota get -A
DOVEADM = """\
Username\tQuota name\tType\tValue\tLimit\t%
alice\tUser quota\tSTORAGE\t10\t1000\t1
alice\tUser quota\tMESSAGE\t3\t-\t0
bruno\tUser quota\tSTORAGE\t0\t-\t0
carla\tUser quota\tMESSAGE\t3\t50\t6
carla\tsecond\tMESSAGE\t3\t20\t15
"""
K = 1024


def test_what_repquota_prints():
    Quota = quotas.Quota
    assert quotas.parse(REPQUOTA, NAMES) == {
        "alice": Quota(100 * K, 1000 * K, 2000 * K, 5, None),
        "bruno": Quota(1500 * K, 1000 * K, 2000 * K, 3, 20),
        "carla": Quota(300 * K, None, None, 15, 20),
        "elena": Quota(3000 * K, 1000 * K, 4000 * K, 15, 20),
    }
    assert quotas.parse("", NAMES) == {}


@pytest.mark.lab
def test_what_repquota_itself_prints(tmp_path):
    """It reads quota files of ext4 also where the kernel knows none of their formats."""
    if not requirements.program("repquota", "quota"):
        pytest.skip("needs Debian's package quota")
    image, home = tmp_path / "image", tmp_path / "home of all"
    home.mkdir()
    mount = 'truncate -s 16M "$1"; mkfs.ext4 -q -F "$1"; mount -o loop,usrquota "$1" "$2"'
    script = """
for uid in 2001 2002 2003 2004; do
    mkdir "$2/$uid"; head -c "${uid#200}00000" /dev/zero > "$2/$uid/mail"; chown -R "$uid" "$2/$uid"
done
sync; quotacheck -cum "$2"
setquota -u 2001 1000 2000 0 0 "$2"
setquota -u 2002 100 2000 0 20 "$2"; setquota -T -u 2002 518400 unset "$2"
setquota -u 2003 0 0 1 20 "$2"; setquota -T -u 2003 unset 3600 "$2"
"""
    hosts, users = types.SimpleNamespace(run=run_here), people(NAMES)
    assert quotas.of_file_system(hosts, "old", str(tmp_path), users) == {}
    if subprocess.run(["sh", "-euc", mount, "sh", image, home]).returncode:
        pytest.skip("no ext4 image can be mounted here")
    try:
        subprocess.run(["sh", "-euc", script, "sh", image, home], check=True)
        limits = quotas.of_file_system(hosts, "old", str(home / "2001"), users)
    finally:
        subprocess.run(["umount", home], check=True)
    figures = {name: dataclasses.replace(quota, used=0) for name, quota in limits.items()}
    assert figures == {
        "alice": quotas.Quota(0, 1000 * K, 2000 * K, 2, None),
        "bruno": quotas.Quota(0, 100 * K, 2000 * K, 2, 20),
        "carla": quotas.Quota(0, None, None, 2, 20),
    }
    assert [limits[name].used // 100_000 for name in ("alice", "bruno", "carla")] == [1, 2, 3]


def run_here(name, argv, **options):
    done = subprocess.run(argv, capture_output=True, text=True)
    return types.SimpleNamespace(rc=done.returncode, text=done.stdout)


def people(names):
    return [users.Account(name, uid, uid, f"/home/{name}") for uid, name in names.items()]


def test_what_doveadm_prints():
    assert quotas.parse_dovecot(DOVEADM) == {
        "alice": quotas.Quota(10 * K, None, 1000 * K),
        "carla": quotas.Quota(0, None, None, 3, 20),
    }


def judged(limits, **users):
    surveyed = {
        name: types.SimpleNamespace(bytes=size, messages=count, inodes=count + 10)
        for name, (size, count) in users.items()
    }
    survey = model.Reading(types.SimpleNamespace(users=surveyed))
    judgement = checks(model.Reading(limits), survey, ROMA1)
    return {(check.id, check.subject): check for check in judgement}


def test_who_does_not_fit_is_named_before_the_night():
    by_files = quotas.parse(REPQUOTA, NAMES)
    limits = quotas.Quotas({}, by_files, {"zoe": quotas.Quota(0, None, 500 * K)})
    named = judged(
        limits,
        alice=(2000 * K, 1),  # without the rounding it would fit
        bruno=(100, 1),  # fits, but is over its soft limit already
        carla=(10, 11),  # too many files
        davide=(10**9, 10**6),  # has no quota
        zoe=(600 * K, 1),
    )
    failed = {name for (_, name), check in named.items() if not check.passed}
    assert failed == {"alice", "carla", "zoe"}
    assert named["quota-fits", "bruno"].warning
    assert ("quota-fits", "davide") not in named
    assert "Dovecot" in named["quota-fits", "zoe"].actual


def test_quotas_are_compared():
    quota = quotas.Quota(0, None, 500)
    same = judged(quotas.Quotas({"a": quota}, {"a": quota}, {}))["quotas-same", ""]
    assert same.passed and not same.warning
    for old, new, dovecot in (({"a": quota}, {}, {}), ({}, {}, {"a": quota})):
        check = judged(quotas.Quotas(old, new, dovecot))["quotas-same", ""]
        assert check.passed and check.warning
    smaller = quotas.Quota(0, None, 400)
    assert judged(quotas.Quotas({"a": quota}, {"a": quota}, {"a": smaller}))[
        "quotas-same", ""
    ].warning
    assert not list(checks(None, model.Reading(error="x"), ROMA1))
    (unread,) = checks(model.Reading(error="x"), model.Reading(error="x"), ROMA1)
    assert unread.warning
