"""The platform of a host, from the output of its tools."""

import pytest
from cutover.connect import ssh
from cutover.facts import free_space, machine

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


def test_paths_of_each_device():
    assert machine.parse_multipath(MULTIPATH) == {
        "mpatha": machine.Paths(active=1, failed=1),
        "3600a0b80000f1e2d000004b54a2c0000": machine.Paths(active=2, failed=0),
    }
    assert machine.parse_multipath("") == {}


@pytest.mark.parametrize(
    "text, density",
    [
        ("   1B-blocks   Inodes\n  1000000000    61000\n", 16393),
        ("Size Inodes\n1000 0\n", None),
        ("Size Inodes\n1000 -\n", None),
    ],
)
def test_bytes_per_inode(text, density):
    assert machine.density(text) == density


@pytest.mark.parametrize(
    "row, space",
    [
        ("1000 50 100", free_space.FreeSpace(1000, 50)),
        ("1000 0 0", free_space.FreeSpace(1000, None)),
        ("1000 - -", free_space.FreeSpace(1000, None)),
    ],
)
def test_free_space(row, space):
    assert free_space.parse(f"     Avail IFree Inodes\n{row}\n") == space


def test_file_system():
    line = 'FSTYPE="xfs" SOURCE="/dev/sda1" TARGET="/var/imap" OPTIONS="rw,noatime"\n'
    disk = machine.FileSystem("xfs", "/dev/sda1", "/var/imap", ["rw", "noatime"])
    assert machine.parse_findmnt(line, "/var/imap/x") == disk
    assert machine.parse_findmnt("", "/var/imap/x").target == "/var/imap/x"


class Answering:
    """What one command prints, on any host."""

    def __init__(self, rc, out=b"", err=b""):
        self.result = ssh.Result("h", "multipath -ll", rc, out, err, 0.0)

    def run(self, *_, **__):
        return self.result


@pytest.mark.parametrize(
    "hosts, paths, error",
    [
        (Answering(127, err=b"sh: 1: exec: multipath: not found"), None, ""),
        (Answering(0), None, ""),
        (Answering(1, err=b"DM multipath not loaded\n"), None, "DM multipath not loaded"),
        (Answering(1), None, "exit status 1"),
        (Answering(0, MULTIPATH.encode()), machine.parse_multipath(MULTIPATH), ""),
    ],
)
def test_only_a_missing_command_means_no_multipath(hosts, paths, error):
    assert machine.multipath(hosts, "h") == (paths, error)
