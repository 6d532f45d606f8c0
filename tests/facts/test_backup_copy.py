"""The report of a run of the copy."""

import json
import subprocess
import sys
import time
import types

from cutover.facts import backup_copy


class Store:
    """This machine as the backup host, whose `check` says what is given, and as the new host."""

    def __init__(self, top, **answer):
        self.answer = {"lost": [], "other": [], "renamed": 0, "gone": 0, "new": [], **answer}
        section = types.SimpleNamespace(store=str(top), target="/nowhere")
        self.site = types.SimpleNamespace(
            store="",
            backup=section,
            new_store=types.SimpleNamespace(python=sys.executable),
            roles=types.SimpleNamespace(backup="backup", new="new"),
            limits=types.SimpleNamespace(clock=2.0),
        )

    def run(self, host, argv, *, input=b"", sudo, timeout):
        if host == "backup":
            return types.SimpleNamespace(out=json.dumps(self.answer).encode())
        return types.SimpleNamespace(out=subprocess.check_output(argv, input=input))


def test_what_is_in_no_copy_was_there_before_the_run_or_came_since(tmp_path):
    for name in ("ugo/.old/cur/1", "ugo/.new/cur/1", "ugo/.new/dovecot-uidlist"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    time.sleep(0.01)
    files = ["ugo/.old/cur/1", "ugo/.new/cur/1", "ugo/.new/dovecot-uidlist", "ugo/cur/gone"]
    later = time.time() + 3600
    all_missing = backup_copy.differences(Store(tmp_path, other=files), later)
    assert (all_missing.missing, all_missing.since) == (3, 1)
    assert backup_copy.differences(Store(tmp_path, other=files), time.time() - 3600).missing == 0


def test_a_folder_renamed_since_the_run_is_not_missing(tmp_path):
    """Its files keep their times; a rename changes that of the folder."""
    (tmp_path / "ugo/.old/cur").mkdir(parents=True)
    (tmp_path / "ugo/.old/cur/1").touch()
    time.sleep(3)
    began = time.time()
    time.sleep(3)
    (tmp_path / "ugo/.old").rename(tmp_path / "ugo/.new")
    hosts = Store(tmp_path, other=["ugo/.new/cur/1"], new=["ugo/.new"])
    hosts.site.limits.clock = 1.0
    assert backup_copy.differences(hosts, began).missing == 0
    hosts.answer["new"] = []
    assert backup_copy.differences(hosts, began).missing == 1


def test_no_link_is_followed_to_ask_for_a_time(tmp_path):
    (tmp_path / "secret/cur").mkdir(parents=True)
    (tmp_path / "secret/cur/1").touch()
    (tmp_path / "store/ugo").mkdir(parents=True)
    (tmp_path / "store/ugo/.b").symlink_to(tmp_path / "secret")
    hosts = Store(tmp_path / "store", other=["ugo/.b/cur/1"], new=["ugo/.b"])
    assert backup_copy.differences(hosts, time.time() + 3600).missing == 0


def test_a_user_whose_mail_could_not_be_compared_is_named(tmp_path):
    differs = backup_copy.differences(Store(tmp_path, failed={"eva": "Permission denied"}), 0)
    assert differs.failed == {"eva": "Permission denied"}


REPORT = """began 1000
before 10
pass

Number of files: 1,234 (reg: 1,200, dir: 34)
Number of regular files transferred: 7
Total file size: 5,000,000 bytes
Total bytes received: 12,345
vanished 3
rc 24
pass
Number of files: 1,235 (reg: 1,201, dir: 34)
Number of regular files transferred: 1
Total bytes received: 55
vanished 1
rc 24
removed 2
kept 5
unsettled 1
after 1201
ended 1009
result 0
"""


def test_the_report_of_a_run():
    last = backup_copy.parse_report(REPORT)
    first, second = last.passes
    assert last == backup_copy.LastRun(
        began=1000,
        ended=1009,
        before=10,
        after=1201,
        result=0,
        removed=2,
        kept=5,
        unsettled=1,
        passes=[first, second],
    )
    assert first == backup_copy.Pass(24, 3, 1234, 1200, 7, 5_000_000, 12345)
    assert (second.copied, second.received) == (1, 55)
    assert last.in_words() == (
        "10 files before, 1201 after; 8 copied, 2 removed, 12400 bytes transferred in 9 s and 2 "
        "passes; mail of 1 users moved all the time, 5 old files of theirs stay in the copy"
    )
    broken = backup_copy.parse_report(
        "began 5\nbefore 0\nerror Permission denied\nafter 0\nended 6\nresult 3\n"
    )
    assert (broken.result, broken.error, broken.passes) == (3, "Permission denied", [])
    assert backup_copy.parse_report("began 5\n").result is None
