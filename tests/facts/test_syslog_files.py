"""Mail's lines in syslog's own files: their times, rotated and compressed ones."""

import bz2
import gzip
import lzma
import os
import shutil
import subprocess
import zoneinfo
from datetime import datetime

import pytest
from cutover.facts import clock, logs, syslog_files
from cutover.model import errors

ROME = zoneinfo.ZoneInfo("Europe/Rome")
HOUR = 3600


def epoch(*local, fold=0):
    return datetime(*local, tzinfo=ROME, fold=fold).timestamp()


class Hosts:
    """This machine in Rome, with another /var/log; it answers as a host does."""

    def __init__(self, place):
        self.place = place

    def ssh(self, name):
        return self

    def run(self, name, argv, sudo=False, input=b"", check=True):
        if "journalctl" in argv[-1]:
            return subprocess.CompletedProcess(argv, 0, b"")
        done = subprocess.run(
            [*argv[:1], "TZ=Europe/Rome", *argv[3:]] if argv[0] == "env" else argv,
            input=input,
            capture_output=True,
            check=True,
        )
        done.text = done.stdout.decode()
        return done

    def stream(self, argv, sudo, on_line, idle_timeout):
        script = argv[2].replace("/var/log", str(self.place))
        done = subprocess.run([*argv[:2], script, *argv[3:]], stdout=subprocess.PIPE, check=True)
        for line in done.stdout.split(b"\n")[:-1]:
            on_line(line)


def put(path, text, written, pack=bytes):
    path.write_bytes(pack(text.encode()))
    os.utime(path, (written, written))


def read(place, since):
    seen = []
    first = syslog_files.read(Hosts(place), "old", since, lambda *line: seen.append(line))
    return first, seen


@pytest.mark.parametrize("end, pack", [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress)])
def test_lines_of_all_files_have_the_hosts_time(tmp_path, monkeypatch, end, pack):
    if end == ".bz2" and not shutil.which("bzip2"):
        pytest.skip("bzip2 is not installed")
    monkeypatch.setattr(clock, "now", lambda hosts, name: int(epoch(2026, 1, 4, 12)))
    old = "Dec 27 04:02:01 old imapd[1]: before\nDec 28 04:02:01 old imapd[1]: Login user=alice\n"
    put(tmp_path / f"maillog.2{end}", old, epoch(2025, 12, 28, 4, 3), pack)
    middle = "Dec 31 23:59:59 old imapd[1]: one\nJan  1 00:00:01 old imapd[1]: two\n"
    put(tmp_path / f"maillog-20260101{end}", middle, epoch(2026, 1, 1, 0, 1), pack)
    put(tmp_path / "maillog", "Jan  4 11:00:00 old sm[2]: three\nodd\n", epoch(2026, 1, 4, 11))
    put(tmp_path / "maillog.offset", "123\n", epoch(2026, 1, 4, 11))
    first, seen = read(tmp_path, epoch(2025, 12, 30))
    assert first == epoch(2025, 12, 27, 4, 2, 1)
    assert sorted(seen) == [
        (epoch(2025, 12, 31, 23, 59, 59), "imapd", "one"),
        (epoch(2026, 1, 1, 0, 0, 1), "imapd", "two"),
        (epoch(2026, 1, 4, 11), "sm", "three"),
    ]


def test_summer_time_and_whole_dates(tmp_path, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda hosts, name: int(epoch(2026, 10, 26)))
    text = (
        "Oct 24 12:00:00 old imapd[1]: in summer\nOct 25 12:00:00 old imapd[1]: in winter\n"
        "2026-10-25T01:30:00.5+02:00 old imapd[1]: whole\n"
    )
    put(tmp_path / "mail.log", text, epoch(2026, 10, 25, 13))
    _, seen = read(tmp_path, epoch(2026, 10, 24))
    assert {words: at for at, _, words in seen} == {
        "in summer": epoch(2026, 10, 24, 12),
        "in winter": epoch(2026, 10, 25, 12),
        "whole": epoch(2026, 10, 25, 1, 30) + 0.5,
    }


def test_a_damaged_file_is_not_passed_over(tmp_path, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda hosts, name: int(epoch(2026, 1, 4, 12)))
    data = lzma.compress(b"Jan  4 11:00:00 old imapd[1]: x\n" * 999)
    (tmp_path / "maillog.1.xz").write_bytes(data[:-20])
    with pytest.raises(errors.Unreadable, match="old: /var/log/maillog.1.xz"):
        read(tmp_path, epoch(2026, 1, 4))
    assert read(tmp_path / "nothing", epoch(2026, 1, 4)) == (None, [])


def test_the_log_of_a_host_without_a_journal(tmp_path, monkeypatch):
    monkeypatch.setattr(clock, "now", lambda hosts, name: int(epoch(2026, 1, 4, 12)))
    monkeypatch.setattr(logs, "_journal_begins", lambda hosts, name: float("inf"))
    put(
        tmp_path / "maillog",
        "Jan  4 11:00:00 o imapd[1]: Login user=al host=x\n",
        epoch(2026, 1, 4, 11),
    )
    reader = logs.read(Hosts(tmp_path), "old", epoch(2026, 1, 4, 10))
    assert (reader.first, [login.user for login in reader.logins]) == (
        epoch(2026, 1, 4, 11),
        ["al"],
    )
