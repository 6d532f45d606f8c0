"""rsync and comparisons by root, over trees that their users change meanwhile.

rsync and Python's own calls open files by their paths, and a user can swap a directory of such a
path for a link between two looks. So the directories are mounted over themselves in a mount
namespace of this process, where the kernel follows no link below them (Linux 5.14 or later). rsync
since 3.5 follows links below its top directory by itself: it is kept from reading what they say
(seccomp), so it cannot copy links either. Where a FIFO took a file's place, rsync would wait for
ever: it is woken. In all cases it reports that file and goes on.

Python 3.8 or later, nothing else: ship.py puts this file into the archive for mail hosts, and
steps/checks/backup_files.py makes it the program that serves the store to the backup host.
"""

import contextlib
import ctypes
import errno
import os
import signal
import subprocess

CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MOUNT_SETATTR = 442  # the system call's number, the same on all architectures but alpha
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
ATTR_NOSYMFOLLOW = 0x00200000
WAKE_SECONDS = 5
# what rsync needs instead of --links
OPTIONS = ["--no-links", "--info=nonreg0"]

PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # classic BPF
ALLOW, RETURN_ZERO = 0x7FFF0000, 0x00050000
READLINK = {"x86_64": (89, 267), "aarch64": (78,)}  # readlink, readlinkat

_libc = ctypes.CDLL(None, use_errno=True)


class Attributes(ctypes.Structure):
    """The kernel's struct mount_attr."""

    _fields_ = [(name, ctypes.c_uint64) for name in ("set", "clear", "propagation", "userns")]


class Instruction(ctypes.Structure):
    """The kernel's struct sock_filter."""

    _fields_ = [
        ("code", ctypes.c_uint16),
        ("true", ctypes.c_uint8),
        ("false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    ]


class Program(ctypes.Structure):
    """The kernel's struct sock_fprog."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(Instruction))]


def _call(function, *arguments):
    if function(*arguments) != 0:
        code = ctypes.get_errno()
        why = "{}; root cannot be kept from following links (needs Linux 5.14 or later)"
        raise OSError(code, why.format(os.strerror(code)))


def _mount(source, target, flags):
    names = [name and os.fsencode(name) for name in (source, target)]
    _call(_libc.mount, *names, None, ctypes.c_ulong(flags), None)


def follow_no_links(*directories):
    """From here on this process and what it starts follow no link below these directories.

    Links above them are followed. Nobody else notices. Errors: OSError.
    """
    _call(_libc.unshare, CLONE_NEWNS)
    _mount(None, "/", MS_REC | MS_PRIVATE)
    for directory in directories:
        _mount(directory, directory, MS_BIND | MS_REC)
        attributes = Attributes(set=ATTR_NOSYMFOLLOW)
        _call(
            _libc.syscall,
            ctypes.c_long(MOUNT_SETATTR),
            ctypes.c_int(AT_FDCWD),
            ctypes.c_char_p(os.fsencode(directory)),
            ctypes.c_uint(AT_RECURSIVE),
            ctypes.byref(attributes),
            ctypes.c_size_t(ctypes.sizeof(attributes)),
        )


@contextlib.contextmanager
def links_off(*directories):
    """follow_no_links() for a while. As another account than root: nothing.

    No other thread may run at its beginning and end.
    """
    if os.geteuid() != 0:
        yield
        return
    before = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        follow_no_links(*directories)
        yield
    finally:
        _call(_libc.setns, before, CLONE_NEWNS)
        os.close(before)


def read_no_links():
    """From here on this process and what it starts read every link as empty. Errors: OSError.

    rsync passes over such a link with --no-links; an error would be reported for each.
    """
    machine = os.uname().machine
    if machine not in READLINK:
        raise OSError(errno.ENOSYS, f"no system calls are known of {machine}")
    numbers = READLINK[machine]
    program = [Instruction(LOAD, 0, 0, 0)]
    program += [
        Instruction(JUMP_IF_EQUAL, len(numbers) - place, 0, number)
        for place, number in enumerate(numbers)
    ]
    program += [Instruction(RETURN, 0, 0, ALLOW), Instruction(RETURN, 0, 0, RETURN_ZERO)]
    array = (Instruction * len(program))(*program)
    filter_ = Program(len(program), array)
    _call(_libc.prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filter_))


def run(argv, **more):
    """Run rsync, as subprocess.Popen does with `more`, to its end → (exit status, stdout, stderr).

    As root it reads no links, so it needs OPTIONS. SIGCHLD, which rsync handles, interrupts the
    opening of a FIFO, and nothing else.
    """
    guard = read_no_links if os.geteuid() == 0 else None
    process = subprocess.Popen(argv, preexec_fn=guard, **more)
    while True:
        try:
            out, err = process.communicate(timeout=WAKE_SECONDS)
            return process.returncode, out, err
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGCHLD)


def serve(store, argv):
    """Run rsync's server over a store → its exit status."""
    os.chdir("/")
    follow_no_links(store)
    return run(argv)[0]
