"""Sessions of the old server from /proc, and the limits of the new one."""

import subprocess

from cutover import model, site
from cutover.facts import dovecot_limits, sessions
from cutover.steps.checks.sessions import checks

SITE = site.load("parameters/lab.yaml")
TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0F004D0A:008F 09004D0A:C350 01 00000000:00000000 00:00000000 00000000     0        0 501 1 0
   1: 0F004D0A:008F 09004D0A:C351 01 00000000:00000000 00:00000000 00000000     0        0 502 1 0
   2: 0F004D0A:008F 09004D0A:C352 06 00000000:00000000 00:00000000 00000000     0        0 0 1 0
   3: 0100007F:008F 0100007F:C353 01 00000000:00000000 00:00000000 00000000     0        0 504 1 0
   4: 0F004D0A:0019 09004D0A:C354 01 00000000:00000000 00:00000000 00000000     0        0 505 1 0
   5: 00000000:008F 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 506 1 0
  sl  local_address                         remote_address                        st tx_queue
   0: 0000000000000000FFFF00000F004D0A:03E1 0000000000000000FFFF000008004D0A:C350 01 \
00000000:00000000 00:00000000 00000000     0        0 507 1 0
/proc/11/status:Name:\timapd
/proc/11/status:Uid:\t2001\t2001\t2001\t2001
/proc/12/status:Name:\timapd
/proc/12/status:Uid:\t2001\t2001\t2001\t2001
/proc/13/status:Name:\tipop3d
/proc/13/status:Uid:\t2002\t2002\t2002\t2002
/proc/14/status:Name:\timapd
/proc/14/status:Uid:\t0\t0\t0\t0
/proc/15/status:Name:\tbash
/proc/15/status:Uid:\t2001\t2001\t2001\t2001
lrwx------ 1 alice alice 64 Nov 28 12:00 /proc/11/fd/0 -> socket:[501]
lrwx------ 1 alice alice 64 Nov 28 12:00 /proc/12/fd/0 -> socket:[502]
lrwx------ 1 bruno bruno 64 Nov 28 12:00 /proc/13/fd/0 -> socket:[504]
lr-x------ 1 root root 64 Nov 28 12:00 /proc/15/fd/0 -> /dev/null
"""


def counted(**limits):
    now = sessions.parse(TCP, {2001: "alice", 2002: "bruno"})
    given = {
        "per_address": 10,
        "services": {
            "imap-login": dovecot_limits.Service(100, 1000, once=True),
            "imap": dovecot_limits.Service(1024, 1, once=False),
        },
        "files": 4096,
        "inotify": 128,
    }
    return now, dovecot_limits.Limits(**{**given, **limits})


def judge(site, **limits):
    now, known = counted(**limits)
    readings = model.Reading(now), model.Reading(known)
    return {check.id: check for check in checks(*readings, site)}


def test_sessions_are_counted_by_user_by_address_and_by_both():
    now, _ = counted()
    assert now.users == {"alice": 2, "bruno": 1} and now.total == 4
    assert now.addresses == {"10.77.0.9": 2, "10.77.0.8": 1}
    assert (now.pair.user, now.pair.address, now.pair.count) == ("alice", "10.77.0.9", 2)


def test_nobody_at_work_is_no_error():
    assert sessions.parse("", {}).pair.count == 0


def test_a_users_file_name_is_no_line_of_the_answer(tmp_path):
    odd = tmp_path / "a\n/proc/1/status:Name: imapd\n/proc/1/status:Uid: x"
    odd.parent.mkdir(parents=True)
    odd.touch()
    with odd.open() as file:
        # its sh, which ls lists as well, has the file as standard input
        done = subprocess.run(["sh", "-c", sessions._SCRIPT], stdin=file, capture_output=True)
    text = done.stdout.decode("utf-8", "backslashreplace")
    assert str(tmp_path) in text
    assert not [line for line in text.split("\n") if line.startswith("/proc/1/status:Uid: x")]
    sessions.parse(text, {})


def test_the_tightest_service_counts():
    """A login process that serves one client stays for the whole TLS session."""
    _, limits = counted()
    assert limits.tightest() == ("imap-login", 100)
    many = {"imap-login": dovecot_limits.Service(4, 1000, once=False)}
    assert counted(services=many)[1].tightest() == ("imap-login", 4000)
    assert counted(services={"imap": dovecot_limits.Service(None, 1, False)})[1].tightest() is None


def test_what_is_too_little_for_now_fails_and_what_is_tight_warns():
    assert {check.mark for check in judge(SITE).values()} == {"ok"}
    assert judge(SITE, per_address=1)["sessions-per-address"].mark == "FAIL"
    assert judge(SITE, per_address=3)["sessions-per-address"].mark == "warn"
    few = {"imap": dovecot_limits.Service(3, 1, once=False)}
    assert judge(SITE, services=few)["sessions-processes"].mark == "FAIL"
    tight = {"imap": dovecot_limits.Service(5, 1, once=False)}
    assert judge(SITE, services=tight)["sessions-processes"].mark == "warn"
    pool = {"imap-login": dovecot_limits.Service(4, 1000, once=False)}
    assert judge(SITE, services=pool, files=256)["sessions-files"].mark == "warn"
    assert judge(SITE, inotify=3)["sessions-inotify"].mark == "warn"


def test_what_cannot_be_counted_is_said():
    _, limits = counted()
    unread = model.Reading(error="no /proc")
    judged = list(checks(unread, model.Reading(limits), SITE))
    assert [(check.id, check.mark) for check in judged] == [("sessions-countable", "warn")]
    assert not list(checks(None, None, SITE))
