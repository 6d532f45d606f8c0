"""What a host is built on, from the words of its tools."""

import pytest
from cutover.connect import ssh
from cutover.facts import machine

MULTIPATH = """\
mpatha (3600a0b80000f1e2d000004b54a2c1e2f) dm-2 IBM,1726-4xx  FAStT
size=500G features='1 queue_if_no_path' hwhandler='1 rdac' wp=rw
|-+- policy='service-time 0' prio=6 status=active
| `- 3:0:0:1 sdc 8:32 active ready running
`-+- policy='service-time 0' prio=1 status=enabled
  `- 4:0:0:1 sdd 8:48 failed faulty running
3600a0b80000f1e2d000004b54a2c0000 dm-3 IBM,1726-4xx  FAStT
size=1.0T features='0' hwhandler='0' wp=rw
`-+- policy='service-time 0' prio=6 status=active
  |- 3:0:0:2 sde 8:64 active ready running
  `- 4:0:0:2 sdf 8:80 active ready running
"""


def test_paths_of_each_map():
    assert machine.parse_multipath(MULTIPATH) == {
        "mpatha": {"active": 1, "failed": 1},
        "3600a0b80000f1e2d000004b54a2c0000": {"active": 2, "failed": 0},
    }
    assert machine.parse_multipath("") == {}


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("   1B-blocks   Inodes\n  1000000000    61000\n", 16393),
        ("Size Inodes\n1000 0\n", None),
        ("Size Inodes\n1000 -\n", None),
    ],
)
def test_bytes_for_an_inode(text, wanted):
    assert machine.density(text) == wanted


class Answering:
    """What one command says, whoever asks."""

    def __init__(self, rc, out=b"", err=b""):
        self.result = ssh.Result("h", "multipath -ll", rc, out, err, 0.0)

    def run(self, *_, **__):
        return self.result


@pytest.mark.parametrize(
    "said, wanted",
    [
        (Answering(127, err=b"sh: 1: exec: multipath: not found"), (None, "")),
        (Answering(0), (None, "")),
        (
            Answering(1, err=b"DM multipath kernel driver not loaded\n"),
            (None, "DM multipath kernel driver not loaded"),
        ),
        (Answering(1), (None, "exit status 1")),
        (Answering(0, MULTIPATH.encode()), (machine.parse_multipath(MULTIPATH), "")),
    ],
)
def test_only_a_command_that_is_not_there_means_no_multipath(said, wanted):
    assert machine.multipath(said, "h") == wanted
