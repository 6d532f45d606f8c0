"""The list of folders a user subscribed to: ~/.mailboxlist on the old server, and Dovecot's."""

import os

from mbx2maildir import errors, files
from mbx2maildir.convert import source
from mbx2maildir.patterns import Pattern

HOST = Pattern(rb"\A\{[^}]*\}")  # the host; anywhere else it is part of the name


def read(path, root, home=None, passed=(), folders=()):
    """Names subscribed to, relative to the folders' root (bytes; None for INBOX), and lines that
    lie elsewhere.

    Lines are relative to the home in any spelling: see from_home. home, as the lines say it,
    defaults to the directory the list itself lies in. passed: what source.folders() passed over; a
    name that leads through another name of a directory becomes the folder's own. folders: all that
    are converted (Found). A name outside the root leads to one of them, by a further root or a
    link, or to another mailbox of the home, or to nothing; then the folder of that name below the
    root is meant. The old server opens names in this order.
    Returns (names in order without doubles, list of lines, {prefix: lines}: what the lines say
    before the names of folders of the root, as text with {home} and {user} for the user's own).
    """
    if not path:
        return [], [], {}
    try:
        fd = source.open_mail(os.fsencode(path))
    except FileNotFoundError:
        return [], [], {}
    with os.fdopen(fd, "rb") as lines:
        content = lines.read(1 << 22)
    seen = os.path.dirname(os.path.abspath(os.fsencode(path)))
    home = os.fsencode(home) if home else seen
    root = os.path.abspath(os.fsencode(root)) if root else home
    # where the old mail is mounted, this host does not have the home that the lines name
    relative = os.path.relpath(root, home if root.startswith(home + b"/") else seen)
    aliases = {item["name"]: item["alias"] for item in passed if "alias" in item}
    others = by_place(folders)
    names, elsewhere, prefixes = {}, [], {}
    for line in content.split(b"\n"):
        name = from_home(line, home)
        if line.endswith(b"\r") and not (name and os.path.lexists(source.join(seen, name))):
            line = line.rstrip(b"\r")  # a list with CRLF, not a name that ends in one
            name = from_home(line, home)
        if name is None:
            elsewhere.append(line)
        elif relative != b"." and (name + b"/").startswith(relative + b"/"):
            name = name[len(relative) + 1 :]
            if name and line.endswith(name):
                prefix = as_template(HOST.sub(b"", line[: -len(name)], count=1), home)
                prefixes[prefix] = prefixes.get(prefix, 0) + 1
            name = own_name(name, aliases)
        elif name.upper() == b"INBOX":
            names[None] = None
            continue
        elif relative != b".":
            place = source.join(seen, name)
            converted = others.get(os.path.realpath(place))
            if converted is not None:
                name = converted
            elif os.path.isfile(place):
                elsewhere.append(line)
                continue
        if name:
            names[name] = None
    return list(names), elsewhere, prefixes


def write(tree, names):
    """Dovecot's list of subscriptions in a tree, each name once."""
    names = [name for name in dict.fromkeys(names) if name and b"\n" not in name]
    files.replace_file(
        os.path.join(tree, b"subscriptions"), b"".join(name + b"\n" for name in names)
    )


def by_place(folders):
    """{path without links: name} of folders; of two names of a file the first is its own."""
    places = {}
    for folder in folders:
        places.setdefault(os.path.realpath(folder.path), folder.name)
    return places


def as_template(prefix, home):
    """A prefix of one user as text that holds for all: {home} and {user} for what is the user's."""
    for own, template in ((home, b"{home}"), (b"~" + os.path.basename(home), b"~{user}")):
        if prefix.startswith(own + b"/"):
            prefix = template + prefix[len(own) :]
    return errors.printable(prefix)


def from_home(line, home):
    """What a line of the list of subscriptions names, relative to the home: `name`, `~/name`,
    `~user/name`, `/home/user/name`, each perhaps with `{host}` before it and with empty, "." and
    ".." levels. None for what lies elsewhere."""
    name = HOST.sub(b"", line, count=1)
    for place in (b"~", b"~" + os.path.basename(home), home):
        if name.startswith(place + b"/"):
            name = name[len(place) + 1 :]
            break
    if name.startswith((b"#", b"~", b"/")):
        return None
    levels = []
    for level in name.split(b"/"):
        if level == b".." and not levels:
            return None
        if level == b"..":
            levels.pop()
        elif level not in (b"", b"."):
            levels.append(level)
    return b"/".join(levels)


def own_name(name, aliases):
    """A folder's own name for one that leads through links. aliases: {name of a link: the
    directory's own name}."""
    levels = name.split(b"/")
    for depth in range(1, len(levels) + 1):
        real = aliases.get(b"/".join(levels[:depth]))
        if real is not None:
            return own_name(b"/".join(filter(None, [real, *levels[depth:]])), aliases)
    return name
