"""A user's own files that deliver into the old mail or read it: they break when the mail moves.

Looked at by a process that is the user. ~/.procmailrc and ~/.forward are parsed; in the settings of
mail programs and shells, the lines that name an old path are listed.
"""

import os

from mbx2maildir import errors
from mbx2maildir.convert import source
from mbx2maildir.patterns import Pattern

LIMIT = 1 << 18  # bytes read of a file
MOST = 50  # findings per user
SETTINGS = (
    b".mailrc",
    b".muttrc",
    b".mutt/muttrc",
    b".pinerc",
    b".profile",
    b".bash_profile",
    b".bashrc",
    b".cshrc",
    b".login",
)
ASSIGNMENT = Pattern(r"([A-Za-z_]\w*)\s*=\s*(.*)", 16)  # re.DOTALL
VARIABLE = Pattern(r"\$(?:\{(\w+)\}|(\w+))")
COMMENT = Pattern(r"\s#.*", 16)
RECIPE = Pattern(r":\s*\d*")
WRITERS = Pattern(r"\b(dmail|tmail|mailutil|formail|mail\.local)\b")


class Places:
    """Where a user's mail is, as the user's files name it. home, root (the folders' directory)."""

    def __init__(self, user):
        self.home = user.get("home") or ""
        old_home = user.get("old_home") or ""
        below = os.path.relpath(user["folders"], old_home) if old_home else ""
        self.root = "" if below.startswith("..") else below
        self.maildir = user["maildir"].rstrip("/") + "/"
        name = user["user"]
        self.names = ["/var/mail/" + name, "/var/spool/mail/" + name]
        if self.root not in ("", "."):
            homes = ("~", "$HOME", "${HOME}", self.home, "~" + name)
            self.names += [home + "/" + self.root for home in homes]
        self.names += ["$MAIL", "${MAIL}"]

    def named_in(self, text):
        """Whether a text names the folders, or the spool file."""
        return any(
            not text[end : end + 1].isalnum()
            for name in self.names
            for end in [text.find(name) + len(name)]
            if name in text
        )

    def full(self, path, base):
        """A path as a file says it, in full."""
        if path.startswith("~/"):
            return os.path.join(self.home, path[2:])
        return os.path.join(base or self.home, path)


def read(user):
    """→ list of {"file", "line", "kind", "text"}: kind is "delivers", "pipes", "includes" or
    "names". Files that cannot be read are left out: the old server cannot read them either."""
    if not user.get("old_home"):
        return []
    places, entries = Places(user), []
    for name, parser in [
        (b".procmailrc", procmail),
        (b".forward", forward),
        *((name, settings) for name in SETTINGS),
    ]:
        path = source.join(user["old_home"], name)
        entries += [
            {
                "file": errors.printable(path),
                "line": number,
                "kind": kind,
                "text": errors.printable(os.fsencode(text))[:200],
            }
            for number, kind, text in parser(content(path), places)
        ]
    return entries[:MOST]


def content(path):
    """The text of a file, "" without one."""
    try:
        fd = source.open_mail(path)
    except (OSError, errors.StoreError):
        return ""
    with os.fdopen(fd, "rb") as file:
        return file.read(LIMIT).decode("utf-8", "surrogateescape")


def logical(text):
    """Lines without comments, joined where one ends in a backslash → (number, line)."""
    start, parts = 0, []
    for number, line in enumerate(text.split("\n"), 1):
        start = start or number
        if line.endswith("\\"):
            parts.append(line[:-1])
            continue
        whole = "".join([*parts, line]).strip()
        if whole and not whole.startswith("#"):
            yield start, whole
        start, parts = 0, []


def procmail(text, places):
    """Recipes that deliver into files, and variables that say where. Yields (line, kind, text)."""
    variables = {"HOME": places.home, "MAILDIR": places.home}
    in_recipe = False

    def expanded(value):
        value = COMMENT.sub("", value).strip().strip("\"'")
        return VARIABLE.sub(lambda match: variables.get(match[1] or match[2], match[0]), value)

    for number, line in logical(text):
        line = line.lstrip("{} \t") if not in_recipe else line
        assigned = ASSIGNMENT.match(line)
        if in_recipe and not line.startswith("*"):
            in_recipe = False
            if line.startswith("|"):
                if WRITERS.search(line) or places.named_in(line):
                    yield number, "pipes", line
            elif not line.startswith(("{", "!")) and mailbox(expanded(line), variables, places):
                yield number, "delivers", line
        elif RECIPE.match(line):
            in_recipe = True
        elif assigned:
            name, value = assigned[1], expanded(assigned[2])
            variables[name] = places.full(value, None) if name == "MAILDIR" else value
            if name in ("DEFAULT", "ORGMAIL") and mailbox(value, variables, places):
                yield number, "delivers", line
            elif name == "INCLUDERC":
                yield number, "includes", line


def mailbox(path, variables, places):
    """Whether what procmail writes there lies elsewhere than in the new Maildir."""
    full = places.full(path, variables["MAILDIR"])
    return full != "/dev/null" and not (full + "/").startswith(places.maildir)


def forward(text, places):
    """Files and programs among the addresses. Yields (line, kind, text)."""
    for number, line in logical(text):
        for part in line.split(","):
            target = part.strip().strip('"').strip()
            if target.startswith("/") and mailbox(target, {"MAILDIR": ""}, places):
                yield number, "delivers", target
            elif target.startswith("|"):
                yield number, "pipes", target
            elif target.startswith(":include:"):
                yield number, "includes", target


def settings(text, places):
    """Lines that name an old path. Yields (line, kind, text)."""
    for number, line in logical(text):
        if places.named_in(line):
            yield number, "names", line
