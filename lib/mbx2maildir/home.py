"""A user's whole home, as c-client sees it: mail outside the folders' root, and what leads there.

c-client lists every file of the home and follows links, so mail can lie anywhere in it. Looked at
by a process that is the user. No more than MOST entries of a home are looked at, and LINKED behind
links; what was not is reported.
"""

import os
import stat

from mbx2maildir import acl, errors
from mbx2maildir.convert import source, subscriptions
from mbx2maildir.formats import directories, readers
from mbx2maildir.patterns import Pattern

MOST = 100000  # entries of a home
LINKED = 2000  # entries behind links that lead out of it
SNAPSHOTS = (b".snapshot", b".snapshots", b".zfs")  # earlier states of what is looked at anyway
LOOP = "a link to a directory above it: the old server lists what is below over and over"
OUT = "a link out of the home to what this host does not have, or has elsewhere"
HEADER_LINE = Pattern(rb"[!-9;-~]+:[ \t]")
MAILDIR = {b"cur", b"new", b"tmp"}


def format_of(path, status):
    """The mail format of a regular file, "" for what is none or is empty."""
    if not status.st_size:
        return ""
    fd = source.open_mail(path)
    try:
        return readers.kind(os.pread(fd, readers.HEAD, 0))
    finally:
        os.close(fd)


def directory_format(path, names):
    """The mail format whose mailboxes are directories like this one, or ""."""
    if format_ := directories.kind(path) if names & directories.INDEXES else "":
        return format_
    if names >= MAILDIR and all(os.path.isdir(source.join(path, name)) for name in MAILDIR):
        return "maildir"
    number = next((name for name in names if name.isdigit()), None)
    if number is None:
        return ""
    if b".mh_sequences" in names:
        return "mh"
    try:
        fd = source.open_mail(source.join(path, number))
    except (OSError, errors.StoreError):
        return ""
    try:
        return "mh" if HEADER_LINE.match(os.pread(fd, readers.HEAD, 0)) else ""
    finally:
        os.close(fd)


class Mail:
    """A mailbox outside the root: path (bytes), format, bytes, status (os.stat), link: whether a
    link led to it."""

    def __init__(self, path, format_, size, status, link):
        self.path, self.format, self.bytes, self.status, self.link = (
            path,
            format_,
            size,
            status,
            link,
        )


class Search:
    """Looks for a user's mail below directories. known: (device, inode) of what is not looked at,
    such as the root. mail: list of Mail; unsearched: list of {"file", "why"}."""

    def __init__(self, user, known, report):
        self.user, self.home = user, os.fsencode(user["old_home"])
        self.known, self.report = set(known), report
        self.mail, self.unsearched = [], []
        self.links, self.entries, self.limit, self.link = [], 0, MOST, False

    def run(self, places):
        """Search places (paths of directories and files), and then what links in them lead to."""
        self.search(places)
        # last, so that a link to a large place takes nothing from the home itself
        self.link, self.entries, self.limit = True, 0, LINKED
        while self.links:
            links, self.links = self.links, []
            self.search(links)
        self.mail.sort(key=lambda mail: mail.path)

    def search(self, places):
        waiting = list(reversed(places))
        while waiting:
            path = waiting.pop()
            try:
                status = os.stat(path)
            except OSError:
                continue  # gone, or a link to nothing
            identity = (status.st_dev, status.st_ino)
            if identity in self.known:
                continue
            self.known.add(identity)
            self.report(0, 0)
            try:
                if stat.S_ISDIR(status.st_mode):
                    waiting += reversed(self.enter(path, status))
                elif stat.S_ISREG(status.st_mode):
                    self.look_at(path, status)
            except (OSError, errors.StoreError):
                # c-client cannot read it either; what is the user's own may have a wrong mode
                if status.st_uid == os.geteuid() and not self.link:
                    self.skip(path, "its user may not read it")
            if self.entries > self.limit:
                self.skip(path, "{} entries were looked at; no more are".format(self.limit))
                return

    def skip(self, path, why):
        self.unsearched.append({"file": path, "why": why})

    def follow(self, link):
        """Look at what a link leads to later, or say why not. The old host's absolute paths are not
        this host's."""
        target, directory = os.readlink(link), os.path.realpath(os.path.dirname(link))
        if target.startswith(b"/"):
            target = as_seen(self.user, self.home, target)
            if not (target + b"/").startswith(self.home + b"/"):
                self.skip(link, OUT)
            elif (directory + b"/").startswith(os.path.realpath(target) + b"/"):
                self.skip(link, LOOP)
        elif os.path.exists(link):
            if (directory + b"/").startswith(os.path.realpath(link) + b"/"):
                self.skip(link, LOOP)
            else:
                self.links.append(link)
        elif not os.path.isdir(os.path.dirname(os.path.realpath(link))):
            self.skip(link, OUT)

    def enter(self, path, status):
        """What is to be searched in a directory. Errors: OSError."""
        names = sorted(os.listdir(path))
        self.entries += len(names)
        format_ = directory_format(path, set(names))
        below, files = [], []
        for name in names:
            entry = source.join(path, name)
            if name in SNAPSHOTS:
                self.skip(entry, "snapshots")
            elif os.path.islink(entry):
                self.follow(entry)
            elif format_ and not os.path.isdir(entry):
                files.append(entry)
            elif format_ != "maildir" or name not in MAILDIR:
                below.append(entry)
            else:
                files += [source.join(entry, file) for file in os.listdir(entry)]
        if format_:
            size = sum(os.lstat(file).st_size for file in files)
            self.mail.append(Mail(path, format_, size, status, self.link))
        return below

    def look_at(self, path, status):
        format_ = format_of(path, status)
        if format_:
            self.mail.append(Mail(path, format_, status.st_size, status, self.link))


def identities(paths):
    return {source.identity(path) for path in paths if path} - {None}


def in_root(user, mail):
    """(device, inode) of what the conversion looks at without any further root.

    mail: all that it converts (Found). Where a link would be INBOX and is not, the mail that it
    leads to is not looked at.
    """
    inboxes = [path for path in user.get("inbox") or [] if not os.path.islink(path)]
    places = [user["folders"], user.get("spool"), user.get("subscriptions"), *inboxes]
    return identities([*places, *(item.path for item in mail)])


def from_roots(user, mail, report):
    """The folders that further roots give a user → list of source.Found, sorted by name.

    user["roots"]: list of {"path", "name"}. A folder is named after its root and its path below it,
    with a number behind it where another folder has that name. mail: INBOX and the folders of the
    first root.
    """
    taken = {folder.name for folder in mail}
    further, known = [], in_root(user, mail)
    # of two roots the inner one names what is in it
    for root in sorted(user.get("roots") or [], key=lambda root: -len(root["path"])):
        path, name = os.fsencode(root["path"]), os.fsencode(root["name"])
        search = Search(user, known, report)
        search.run([path])
        known = search.known
        for mail in search.mail:
            below = os.path.relpath(mail.path, path) if mail.path != path else b""
            if below.startswith(b"../"):
                below = os.path.basename(mail.path)  # a link led out of the root
            wanted = b"/".join(filter(None, (name, below))) or os.path.basename(path)
            free = _free(wanted, taken)
            try:
                if stat.S_ISREG(mail.status.st_mode):
                    mailbox = source.identify(mail.path, free)[0]
                else:
                    mailbox = source.as_mailbox(mail.path, free)
            except FileNotFoundError:
                continue  # removed since, by a user at work
            if mailbox is not None:
                taken.add(mailbox.name)
                mailbox.old = b"/" + os.path.relpath(mail.path, os.fsencode(user["old_home"]))
                further.append(mailbox)
    return sorted(further, key=lambda mailbox: mailbox.name)


def _free(name, taken):
    number, free = 1, name
    while free in taken:
        number += 1
        free = name + b"_%d" % number
    return free


def nothing():
    """The answer about a home of which nothing is known."""
    return {"outside": [], "unsearched": [], "shared": [], "acls": [], "meant": []}


def survey(user, mail, passed, report):
    """What lies outside the root and is not converted → {"outside": [{"file", "format", "bytes",
    "subscribed", "link"}], "unsearched": [{"file", "why"}], "shared": [file], "acls": [{"file",
    "readers"}], "meant": [{"line", "folder"}]}.

    mail: INBOX and all folders that are converted. passed: what the walk through the root passed
    over. shared: converted folders that the group or everybody can read. acls: those with an ACL
    that lets others read them. meant: subscriptions to a name that does not exist at the old
    server, and that are taken for the folder of that name in the root.
    """
    result, folders = nothing(), [file for file in mail if file.name]
    if not user.get("old_home"):
        why = "this host does not have it, so nobody looked"
        result["unsearched"].append({"file": user.get("home") or "the home", "why": why})
        return result
    home = os.fsencode(user["old_home"])
    search = Search(user, in_root(user, mail), report)
    if not os.path.isdir(home):
        return result  # a user without a home has no mail in it
    lines = subscribed_lines(user, home)
    for item in passed:
        if os.path.islink(item["file"]) and not os.path.exists(item["file"]):
            search.follow(item["file"])
    in_the_way = [item["file"] for item in passed]
    search.run([home, *in_the_way, *(path for _line, path in lines if path)])
    subscribed = identities(path for _line, path in lines)
    result["outside"] = [
        {
            "file": errors.printable(mail.path),
            "format": mail.format,
            "bytes": mail.bytes,
            "subscribed": (mail.status.st_dev, mail.status.st_ino) in subscribed,
            "link": mail.link,
        }
        for mail in search.mail
    ]
    nowhere = {"format": "", "bytes": 0, "subscribed": True, "link": False}
    result["outside"] += [
        dict(nowhere, file=errors.printable(line)) for line, path in lines if path is None
    ]
    result["unsearched"] = [
        {"file": errors.printable(item["file"]), "why": item["why"]} for item in search.unsearched
    ]
    result["shared"] = [
        errors.printable(folder.path) for folder in folders if shared(folder.path, home)
    ]
    result["acls"] = [
        {"file": errors.printable(path), "readers": readers}
        for path, readers in acl.shared(folder.path for folder in folders)
    ]
    root = os.fsencode(user["folders"])
    result["meant"] = [
        {"line": errors.printable(line), "folder": errors.printable(folder)}
        for line, path in lines
        if path and path.startswith(home + b"/") and not os.path.lexists(path)
        for folder in [source.join(root, path[len(home) + 1 :])]
        if os.path.lexists(folder)
    ]
    return result


def subscribed_lines(user, home):
    """The lines of the list of subscriptions, each with the path it means; None for a namespace of
    the old server, such as #news. → list of (line, path)."""
    if not user.get("subscriptions"):
        return []
    try:
        fd = source.open_mail(os.fsencode(user["subscriptions"]))
    except FileNotFoundError:
        return []
    with os.fdopen(fd, "rb") as file:
        content = file.read(1 << 22)
    lines = dict.fromkeys(line.rstrip(b"\r") for line in content.split(b"\n"))
    named = [(line, meaning(user, home, line)) for line in lines]
    return [(line, path) for line, path in named if path != b""]


def meaning(user, home, line):
    """The path a subscription leads to, as this host sees it; None for a namespace, b"" for INBOX
    and for no name at all."""
    below = subscriptions.from_home(line, os.fsencode(user.get("home") or home))
    if below is not None:
        return source.join(home, below) if below and below.upper() != b"INBOX" else b""
    name = subscriptions.HOST.sub(b"", line, count=1)
    if name.startswith(b"#"):
        return None
    if name.startswith(b"~"):
        other, _, below = name[1:].partition(b"/")
        return os.path.join(os.path.dirname(home), other, below)
    return as_seen(user, home, name if name.startswith(b"/") else source.join(home, name))


def as_seen(user, home, path):
    """A path of the old host as this host sees it, if it lies near the home, whose two paths are
    known."""
    old, seen = os.fsencode(user.get("home") or ""), home
    while old and os.path.basename(old) == os.path.basename(seen) and os.path.basename(old):
        old, seen = os.path.dirname(old), os.path.dirname(seen)
    old = old.rstrip(b"/")
    return seen.rstrip(b"/") + path[len(old) :] if path.startswith(old + b"/") else path


def shared(path, home):
    """Whether the group or everybody may read a file and every directory down to it."""
    for read, search in ((0o040, 0o010), (0o004, 0o001)):
        if os.stat(path).st_mode & read and path.startswith(home + b"/"):
            directory = os.path.dirname(path)
            while os.stat(directory).st_mode & search:
                if directory == home:
                    return True
                directory = os.path.dirname(directory)
    return False
