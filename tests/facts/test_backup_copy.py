"""The report of a run of the copy."""

from cutover.facts import backup_copy

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
