"""`signatures`: what tells whether anybody touched a folder of a Maildir since.

Into a folder's signature goes what its messages depend on. Of every file in cur and new: name,
device, inode, mode, size, mtime and ctime. Only root can set a ctime. A mapped file may be written
without a new one (on tmpfs, or before the page is written back). Of dovecot-uidlist and
dovecot-keywords the content: a pass writes them anew, with what they had, as soon as the old file's
times have changed. Not what says nothing of its own: maildirfolder, and Dovecot's indexes, which it
makes when somebody only lists the folders. Into INBOX's goes the content of subscriptions too.
"""

import hashlib
import os
import stat
import time

from mbx2maildir import each_user, files
from mbx2maildir.formats import maildir, uidlist
from mbx2maildir.publish import containers

PARTS = (b"cur", b"new", b"tmp")
BY_CONTENT = (b"dovecot-uidlist", b"dovecot-keywords", b"subscriptions")
# and what begins so
LEFT_OUT = (b"maildirfolder", b"dovecot.index", b"dovecot.list.index", b"dovecot-uidvalidity")


def signatures(plan, area):
    """The signatures of all folders in an area of containers.paths(): live or staging.

    → {"run", "users": [{"user", "at", "folders": {Maildir name: [signature, newest ctime]},
    "odd"}]}; INBOX's name is "".
    at: seconds since the epoch, before anything was looked at; so is the newest ctime. A folder
    that holds anything but files has none and is counted as odd; nor have those of a user who
    cannot be looked at.
    """
    looks = each_user.ask_all(
        plan, task_signatures, lambda user: containers.paths(plan, user)[area], {"folders": {}}
    )
    return {
        "run": plan["run"],
        "users": [dict(looks[user["user"]][0], user=user["user"]) for user in plan["users"]],
    }


def task_signatures(root, report):
    """Those of one tree, by a process that is its user."""
    at, folders, odd = time.time(), {}, 0
    for name in maildir.folder_names(root):
        known = signature(os.path.join(root, maildir.folder_directory(name)))
        if known:
            folders[os.fsdecode(name)] = known
        else:
            odd += 1
        report(0, 0)
    return {"at": at, "folders": folders, "odd": odd}


def signature(folder):
    """→ [signature, newest ctime]; None for a folder with an entry that is not as it should be."""
    digest, newest = hashlib.sha256(), 0
    for part in (b"", *PARTS[:2]):
        directory = os.path.join(folder, part)
        if not files.is_directory(directory):
            return None
        for entry in maildir.entries_of(directory):
            path = os.path.join(directory, entry)
            status = os.lstat(path)
            is_part = entry in PARTS or entry.startswith(b".")  # a folder in INBOX's directory
            if not part and is_part and stat.S_ISDIR(status.st_mode):
                continue
            if not stat.S_ISREG(status.st_mode):
                return None
            if not part and entry.startswith(LEFT_OUT):
                continue
            if not part and entry in BY_CONTENT:
                fields = part, entry, files.read_small(path, uidlist.LARGEST)
            else:
                fields = (
                    *(part, entry, status.st_dev, status.st_ino, status.st_mode),
                    *(status.st_size, status.st_mtime_ns, status.st_ctime_ns),
                )
                newest = max(newest, status.st_ctime_ns)
            digest.update(repr(fields).encode("ascii"))
    return [digest.hexdigest(), newest / 1e9]
