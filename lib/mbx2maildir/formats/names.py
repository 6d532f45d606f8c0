"""Folder names of the old store (paths, "/" between levels) → Maildir++ names ("." between levels).

What Dovecot accepts was tried with 2.3.19: canonical modified UTF-7 only, no "~" at the very start;
"cur", "new", "tmp", "dovecot" and names below INBOX are folders like any other. Control characters
become "_". A dot becomes "_" too, or, if the plan says "escape", the name is written as a Dovecot
with the escape character "\\" does (listescape in 2.3): "\\2e" is a dot, and the name stays.

Every change is deterministic and reported. Each level is mapped on its own among its siblings: a
name that need not be changed keeps its place, the others are taken in byte order, and one that
meets another gets "_2", "_3", … at its end.
"""

import re

from mbx2maildir.patterns import Pattern

ESCAPE = "escape"  # of a plan's "dots"; anything else: a dot becomes "_"
LONGEST = 255  # bytes of a directory name, the leading "." and all levels included
SHIFTED = Pattern(rb"&([^-]*)-|&")
ESCAPED = Pattern(rb"\\([0-9a-f]{2})")
PARTLY_ESCAPED = Pattern(rb"\\[0-9a-f]?\Z")


def decode_utf7(name):
    """Modified UTF-7 (RFC 3501 5.1.3) → text; None when it is not that."""
    if not (name.isascii() and name.decode("ascii").isprintable()):
        return None
    if b"&" not in name:
        return name.decode("ascii")
    parts = []
    position = 0
    for match in SHIFTED.finditer(name):
        parts.append(name[position : match.start()].decode("ascii"))
        position = match.end()
        if match.group() == b"&":
            return None
        encoded = match.group(1)
        if not encoded:
            parts.append("&")
            continue
        import base64

        try:
            raw = base64.b64decode(
                encoded.replace(b",", b"/") + b"=" * (-len(encoded) % 4), validate=True
            )
            text = raw.decode("utf-16-be")
        except ValueError:
            return None
        parts.append(text)
    return "".join(parts) + name[position:].decode("ascii")


def encode_utf7(text):
    """Text → modified UTF-7."""
    if text.isascii() and text.isprintable():
        return text.replace("&", "&-").encode("ascii")
    import base64

    out = []
    for piece in re.split("([^\x20-\x7e]+)", text):
        if re.match("[\x20-\x7e]*\\Z", piece):
            out.append(piece.replace("&", "&-").encode("ascii"))
        else:
            raw = base64.b64encode(piece.encode("utf-16-be")).rstrip(b"=").replace(b"/", b",")
            out.append(b"&" + raw + b"-")
    return b"".join(out)


def canonical(component):
    """One level's name as text: modified UTF-7 where it is that, else raw UTF-8, else Latin-1."""
    text = decode_utf7(component)
    if text is not None:
        return text
    try:
        return component.decode("utf-8")
    except UnicodeDecodeError:
        return component.decode("latin-1")


def mapped(component, top, escape=False):
    """One level's name → the name it would like to have (bytes). top: whether it is of the first
    level."""
    text = canonical(component)
    if not escape:
        text = text.replace(".", "_")
    if not text.isprintable() or "/" in text:
        text = re.sub("[\x00-\x1f\x7f-\x9f/\\ufffe\\uffff]|[\ud800-\udfff]", "_", text)
    if top and text.startswith("~") and not escape:
        text = "_" + text[1:]
    if top and text.upper() == "INBOX":
        text += "_"
    name = encode_utf7(text)
    return escaped(name) if escape else name


def escaped(name):
    """One level's name as Dovecot writes it on the disk (tried with 2.3.19 and 2.4.1)."""
    name = name.replace(b"\\", b"\\5c").replace(b".", b"\\2e")
    return b"\\7e" + name[1:] if name.startswith(b"~") else name


def unescaped(name):
    """The inverse of escaped()."""
    return ESCAPED.sub(lambda match: bytes([int(match.group(1), 16)]), name)


class Names:
    """The map of one user's folders. Paths are bytes, relative to the folders' root, "/" between
    levels.

    maildir(path) → the name below the Maildir without the leading "." (b"foo.bar1"). `changes`
    lists, in order, {"from": path, "to": name, "why": text} for each folder whose name is not
    simply its path with "." for "/".
    """

    def __init__(self, paths, dots=None):
        self.escape = dots == ESCAPE
        self.children = {}
        self.names = {}
        self.changes = []
        self.folders = sorted(set(paths))
        for path in self.folders:
            parts = path.split(b"/")
            for depth in range(len(parts)):
                self.children.setdefault(tuple(parts[:depth]), set()).add(parts[depth])
        self.levels = {
            parent: self.settle(parent, children) for parent, children in self.children.items()
        }
        self.finish()

    def settle(self, parent, children):
        """Unique names for the children of one directory."""
        wishes = {child: mapped(child, not parent, self.escape) for child in children}
        kept = {child for child in children if self.seen(wishes[child]) == child}
        taken = {wishes[child] for child in kept}
        result = {child: (wishes[child], None) for child in kept}
        for child in sorted(children - kept):
            name, number = wishes[child], 1
            while name in taken:
                number += 1
                name = wishes[child] + b"_%d" % number
            taken.add(name)
            why = "the name would meet another one"
            result[child] = (name, why if number > 1 else reason(child, not parent, self.escape))
        return result

    def seen(self, name):
        """A level's name as mail programs see it."""
        return unescaped(name) if self.escape else name

    def finish(self):
        taken = set()
        for path in self.folders:
            name, whys = self.join(path)
            if len(name) + 1 > LONGEST:
                name = shortened(name, path)
                whys.append("longer than {} bytes".format(LONGEST))
            while name in taken:
                name = shortened(name, path + b"\0" + name, force=True)
                whys.append("the name would meet another one")
            taken.add(name)
            self.names[path] = name
            if whys:
                self.changes.append(
                    {"from": path, "to": name, "why": "; ".join(dict.fromkeys(whys))}
                )

    def join(self, path):
        parts = path.split(b"/")
        levels, whys = [], []
        for depth, part in enumerate(parts):
            name, why = self.levels.get(tuple(parts[:depth]), {}).get(part) or (
                mapped(part, not depth, self.escape),
                None,
            )
            levels.append(name)
            if why:
                whys.append(why)
        return b".".join(levels), whys

    def maildir(self, path):
        """Name of a folder, or of a path that is no folder (a subscription to what is gone)."""
        return self.names.get(path) or self.join(path)[0]


def reason(component, top, escape=False):
    """Why a level's name had to change."""
    whys = []
    if b"." in component and not escape:
        whys.append('"." separates levels')
    if top and component.startswith(b"~") and not escape:
        whys.append('a leading "~" means another user\'s home')
    if decode_utf7(component) is None:
        whys.append("not modified UTF-7")
    if top and component.upper() == b"INBOX":
        whys.append("INBOX is another folder's name")
    return "; ".join(whys) or "not acceptable to Dovecot"


def shortened(name, path, force=False):
    """A name cut to fit, ending in a digest of the whole path; whole characters of modified UTF-7
    are kept."""
    import hashlib

    suffix = b"_" + hashlib.sha256(path).hexdigest()[:8].encode("ascii")
    levels = name.split(b".")
    while len(b".".join(levels)) + len(suffix) + 1 > LONGEST or (force and len(levels[-1]) > 200):
        longest = max(range(len(levels)), key=lambda index: len(levels[index]))
        text = decode_utf7(levels[longest])
        if text is None or len(text) < 2:
            break
        # half an escaped character is none
        levels[longest] = PARTLY_ESCAPED.sub(b"", encode_utf7(text[:-1]))
    return b".".join(levels) + suffix
