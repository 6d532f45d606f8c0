"""What Bacula's Director prints, read.

And what is asked of it. The Director itself: tests/lab/test_restore.py.
"""

from types import SimpleNamespace

import pytest
from cutover import model
from cutover.facts import bacula, bacula_files

LLIST = """Automatically selected Catalog: MyCatalog
Using Catalog "MyCatalog"
           JobId: 1
             Job: mailbackup.2026-11-24_14.24.43_03
            Name: mailbackup
     PurgedFiles: 0
            Type: B
           Level: F
       JobStatus: T
       SchedTime: 2026-11-24 14:24:43
       StartTime: 2026-11-24 14:24:45
         EndTime: 2026-11-24 14:24:46
     RealEndTime: 2026-11-24 14:24:46
        JobTDate: 1795530286
        JobFiles: 1411
        JobBytes: 2345432
       JobErrors: 0
 JobMissingFiles: 0
         FileSet: mailbackup
         Comment:

           JobId: 4
            Name: mailbackup-restore
     PurgedFiles: 0
           Level: F
       JobStatus: R
       StartTime: 2026-11-24 14:27:13
         EndTime: 0
        JobTDate: 1795530433
        JobFiles: 0
        JobBytes: 0
       JobErrors: 0
 JobMissingFiles: 0

"""
LSDIRS = """2\t0\t1419\t3\tP4A JeAs EHt BI A A A BAA BAA I BrBZ5U BrBZ5r BrBZ5r A A C\t.
1\t0\t1411\t1\tP4A JeAh EHt D A A A BAA BAA I BrBZ4q BrBZ4q BrBZ4q A A C\t..
4\t0\t1520\t3\tA A A A A A A A A A A BrBZ0S BrBZ4q A A C\t.gone/
21\t0\t1160\t1\tP4A JeO5 EHt D A A A BAA BAA I BrBZ4S BrBZ4q BrBZ4q A A C\t.a b/
"""


class Answering:
    """Hosts whose bconsole says what is given for each command, which it repeats as the real one
    does.
    """

    def __init__(self, answers, rc=0):
        self.answers, self.rc, self.given = answers, rc, []
        self.site = SimpleNamespace(
            roles=SimpleNamespace(backup="sanbackup"),
            new_store=SimpleNamespace(escapes=False),
            backup=SimpleNamespace(
                target="/backup/current", bacula=SimpleNamespace(work="/var/lib/r", client="fd")
            ),
        )

    def run(self, host, argv, input=b"", **options):
        output = "Connecting to Director localhost:9101\n"
        if not self.rc:
            output += "1000 OK: 103 dir Version: 9.6.7\nEnter a period to cancel a command.\n"
        for line in input.decode().splitlines():
            self.given.append(line)
            output += f"{line}\n{self.answers.get(line, self.answers.get(line.split()[0], ''))}"
        return SimpleNamespace(rc=self.rc, out=output.encode(), err=b"")


def test_runs_of_a_job_and_one_that_is_at_work():
    (job,) = bacula.parse_jobs(LLIST, "mailbackup")
    assert model.to_json(job) == {
        "id": 1,
        "level": "F",
        "status": "T",
        "began": "2026-11-24 14:24:45",
        "ended": "2026-11-24 14:24:46",
        "files": 1411,
        "bytes": 2345432,
        "errors": 0,
        "lacking": 0,
        "pruned": False,
        "at": 1795530286,
    }
    assert [run.ended for run in bacula.parse_jobs(LLIST, "mailbackup-restore")] == [""]
    assert bacula.parse_jobs("No results to list.\n", "mailbackup") == []


def test_each_command_has_its_own_answer_and_a_director_that_is_away_is_said():
    hosts = Answering({"a": "one\n", "b": "two\nb or so\n"})
    assert bacula.ask(hosts, "a", "b", "a") == ["one\n", "two\nb or so\n", "one\n"]
    assert bacula.ask(Answering({"a": "one\nYou have messages.\n"}), "a", "a") == ["one\n", "one\n"]
    with pytest.raises(bacula.BaculaRefused, match="Director on sanbackup failed"):
        bacula.ask(Answering({}, rc=1), "a")


def test_a_folder_that_was_deleted_is_not_listed_though_bacula_names_it():
    hosts = Answering(
        {
            '.bvfs_lsdirs jobid=1,3 path="/backup/current/u/" limit=2000000000': LSDIRS,
            ".bvfs_lsdirs jobid=1,3 pathid=21 limit=2000000000": LSDIRS.replace(".a b/", "cur/"),
            ".bvfs_lsfiles jobid=1,3 pathid=21 limit=2000000000": LSDIRS.replace(
                ".a b/", "1.x:2,S"
            ),
        }
    )
    assert bacula_files.listing(hosts, [1, 3], "u") == {
        "a b": bacula_files.SavedFolder(".a b", messages=3, dirids=[21], fileids=[])
    }
    assert bacula_files.listing(Answering({}), [1, 3], "u") is None


def test_a_job_that_waits_for_a_volume_is_told_from_one_that_waits_for_its_turn():
    output = (
        "     5  Rest Rest          0         0  mailbackup-restore is waiting for a mount request\n"
        "     6  Back Incr          0         0  mailbackup is waiting on max Job jobs\n"
    )
    hosts = Answering({"status": output})
    assert (
        bacula.waiting(hosts, 5) == "is waiting for a mount request"
        and bacula.waiting(hosts, 6) == ""
    )
