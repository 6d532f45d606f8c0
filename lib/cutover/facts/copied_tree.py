"""A user's tree that was copied from the store: its lists and files, by a program on its host.

Users chose the names and kinds of all that is in it. So nothing is followed, only plain files are
opened, and no more than LIMIT bytes of one are read.
"""

from cutover.connect import ssh
from cutover.facts import backup_copy

WAIT = 600  # seconds for a command that reads a user's tree
LIMIT = 1 << 28  # bytes of a UID list
NO_TREE = 3  # exit status

_READING = f"""
import os, stat, sys
def directory(name, above=None):
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
def plain(name, above):
    return stat.S_ISREG(os.lstat(name, dir_fd=above).st_mode)
def files(name, above):
    try:
        opened = directory(name, above)
    except OSError:
        return None
    listed = [name for name in map(os.fsencode, os.listdir(opened)) if plain(name, opened)]
    os.close(opened)
    return listed
def lines(name, above):
    try:
        if not plain(name, above):
            return []
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=above)
    except OSError:
        return []
    with open(handle, "rb") as file:
        return file.read({LIMIT}).split(b"\\n") if os.fstat(handle).st_size <= {LIMIT} else []
try:
    tree = directory(sys.argv[1])
except OSError:
    sys.exit({NO_TREE})
"""

# prints of each folder: its directory, the number of its messages, the first line of its UID list,
# and the UIDs of the others
_FOLDERS = rf"""{_READING}
for name in [b"."] + sorted(map(os.fsencode, os.listdir(tree))):
    if name != b"." and (name[:1] != b"." or name[1:2] == b"."):
        continue
    try:
        folder = directory(name, tree)
    except OSError:
        continue
    cur = files("cur", folder)
    if cur is not None:
        head, *rest = lines("dovecot-uidlist", folder) or [b""]
        uids = b"\n".join(line.split(b" ")[0] for line in rest)
        number = str(len(cur + (files("new", folder) or []))).encode()
        for part in (name, number, head, uids):
            sys.stdout.buffer.write(part.replace(b"\0", b"") + b"\0")
    os.close(folder)
"""

# $2 how many; prints the files of messages that the UID list names, latest last
_NEWEST = rf"""{_READING}
places = {{}}
for part in (b"cur", b"new"):
    for name in files(part, tree) or []:
        for key in {{name, name.partition(b":2,")[0]}}:
            places.setdefault(key, []).append(part + b"/" + name)
named = [line for line in lines("dovecot-uidlist", tree)[1:] if line][-int(sys.argv[2]):]
for line in named:
    record, _, name = line.partition(b":")
    if record[:1].isdigit():
        sys.stdout.buffer.writelines(place + b"\0" for place in places.get(name, []))
"""

_UIDS = rf"""{_READING}
for line in lines("dovecot-uidlist", tree)[1:]:
    if line.split(b" ")[0].isdigit():
        print(int(line.split(b" ")[0]))
"""


def folders(hosts, tree: str) -> list[list[str]] | None:
    """Of each folder of a tree on the backup host: directory, messages, the UID list's first line,
    and the UIDs in it. None without the tree. Raises ssh.CommandFailed.
    """
    result = _run(hosts, hosts.site.roles.backup, backup_copy.PYTHON, _FOLDERS, tree)
    if result.rc == NO_TREE:
        return None
    if result.rc:
        raise ssh.CommandFailed.of(result)
    parts = result.out.decode("utf-8", "surrogateescape").split("\0")[:-1]
    return [list(row) for row in zip(*[iter(parts)] * 4, strict=True)]


def newest(hosts, tree: str, number: int) -> list[str]:
    """Files of the messages that a tree's UID list names last, on the backup host; latest last."""
    result = _run(hosts, hosts.site.roles.backup, backup_copy.PYTHON, _NEWEST, tree, str(number))
    return [name.decode("utf-8", "surrogateescape") for name in result.out.split(b"\0")[:-1]]


def uids(hosts, tree: str) -> set[int]:
    """The UIDs that the UID list of a tree on the new host names."""
    site = hosts.site
    return set(
        map(int, _run(hosts, site.roles.new, site.new_store.python, _UIDS, tree).text.split())
    )


def _run(hosts, host, python, program, *arguments):
    argv = [python, "-I", "-c", program, *arguments]
    return hosts.run(host, argv, sudo=True, check=False, timeout=WAIT)
