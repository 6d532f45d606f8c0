"""A user's own files that deliver into the old mail or read it: they break when the mail moves.

Looked at by a process that is the user. ~/.procmailrc and ~/.forward are parsed; in the settings of
mail programs and shells, the lines that name an old path are listed.
"""

import collections
import os

from mbx2maildir import errors
from mbx2maildir.convert import source
from mbx2maildir.patterns import Pattern

LIMIT = 1 << 18  # bytes read of a file
MOST = 50  # findings per user
LONGEST = 2048  # characters of a line of procmail's and of a value: its own default, LINEBUF
PROCMAILRC, FORWARD = b".procmailrc", b".forward"
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
COMMENT = Pattern(r"(?<!\s)\s+#.*", 16)  # tried once per run of blanks, however long that is
RECIPE = Pattern(r":\s*\d*")
COMPUTED = Pattern(r"[$`\s\\\"'*?\[<>;&|]")  # what no plain path holds
CAPTURE = Pattern(r"\w+\s*=\s*\|")  # an action that sets a variable
WRITERS = Pattern(r"\b(dmail|tmail|mailutil|formail|mail\.local)\b")

# number: of the line, from 1. target: the path of a delivery, "" if only procmail knows it.
# head: (number, text) of the line that begins its recipe, or None.
Line = collections.namedtuple("Line", "number kind text target head")
Line.__new__.__defaults__ = ("", None)


class Places:
    """Where a user's mail is, as the user's files name it. home, root (the folders' directory)."""

    def __init__(self, user):
        self.home = user.get("home") or ""
        old_home = user.get("old_home") or ""
        below = os.path.relpath(user["folders"], old_home) if old_home else ""
        self.root = "" if below.startswith("..") else below
        self.maildir = user["maildir"].rstrip("/") + "/"
        name = user["user"]
        self.user = name
        who = (name, "$USER", "${USER}", "$LOGNAME", "${LOGNAME}")
        self.names = [
            spool + login for spool in ("/var/mail/", "/var/spool/mail/") for login in who
        ]
        if self.root not in ("", "."):
            homes = ("~", "$HOME", "${HOME}", self.home, "~" + name)
            self.names += [home + "/" + self.root for home in homes]
        self.names += ["$MAIL", "${MAIL}"]

    def named_in(self, text):
        """Whether a text names the folders, or the spool file."""
        return any(not rest[:1].isalnum() for name in self.names for rest in text.split(name)[1:])

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
    for name in (PROCMAILRC, FORWARD, *SETTINGS):
        path = source.join(user["old_home"], name)
        entries += [
            {
                "file": errors.printable(path),
                "line": line.number,
                "kind": line.kind,
                "text": errors.printable(os.fsencode(line.text))[:200],
            }
            for line in lines(name, content(path), places)
        ]
    if len(entries) > MOST:
        text = "and {} more lines".format(len(entries) - MOST)
        entries[MOST:] = [dict(entries[MOST], text=text)]
    return entries


def lines(name, text, places):
    """The lines of a file of the home that lead to old mail → list of Line."""
    parser = {PROCMAILRC: procmail, FORWARD: forward}.get(name, settings)
    return list(parser(text, places))


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
    """Recipes that deliver into files, and variables that say where. Yields Line.

    A variable that is set inside a block, by a program or from such a variable may have another
    value when procmail delivers: such a delivery has no target. No value grows beyond LONGEST,
    whatever variables it is made of.
    """
    variables = {"HOME": places.home, "MAILDIR": places.home}
    variables.update(LOGNAME=places.user, USER=places.user)
    unsure = set()
    head, depth = None, 0

    def expanded(value):
        value = COMMENT.sub("", value[:LONGEST]).strip().strip("\"'")
        whole = VARIABLE.sub(lambda match: variables.get(match[1] or match[2], match[0]), value)
        return whole[:LONGEST]

    def known(text, value):
        """Whether procmail's value of a text is this one."""
        used = {match[1] or match[2] for match in VARIABLE.finditer(text)}
        whole = max(len(text), len(value)) < LONGEST
        return whole and not COMPUTED.search(value) and not used & unsure

    def target(line, value):
        relative = not value.startswith(("/", "~/"))
        if not known(line, value) or (relative and "MAILDIR" in unsure):
            return ""
        return os.path.normpath(places.full(value, variables["MAILDIR"]))

    for number, line in logical(text):
        depth += line.startswith("{")
        depth -= line.endswith("}")
        line = line.lstrip("{} \t") if head is None else line
        assigned = ASSIGNMENT.match(line)
        if head and not line.startswith("*"):
            recipe, head = head, None
            if line.startswith("|"):
                if WRITERS.search(line) or places.named_in(line):
                    yield Line(number, "pipes", line, "", recipe)
            elif CAPTURE.match(line):
                unsure.add(assigned[1])
            elif not line.startswith(("{", "!")) and mailbox(expanded(line), variables, places):
                yield Line(number, "delivers", line, target(line, expanded(line)), recipe)
        elif RECIPE.match(line):
            head = (number, line)
        elif assigned:
            name, value = assigned[1], expanded(assigned[2])
            variables[name] = places.full(value, None) if name == "MAILDIR" else value
            if depth or not known(assigned[2], value):
                unsure.add(name)
            if name in ("DEFAULT", "ORGMAIL") and mailbox(value, variables, places):
                yield Line(number, "delivers", line, target(line, value))
            elif name in ("INCLUDERC", "SWITCHRC"):
                yield Line(number, "includes", line)


def mailbox(path, variables, places):
    """Whether what procmail writes there lies elsewhere than in the new Maildir."""
    full = places.full(path, variables["MAILDIR"])
    return full != "/dev/null" and not (full + "/").startswith(places.maildir)


def forward(text, places):
    """Files and programs among the addresses. Yields Line."""
    for number, line in logical(text):
        for part in line.split(","):
            target = part.strip().strip('"').strip()
            if target.startswith("/") and mailbox(target, {"MAILDIR": ""}, places):
                yield Line(number, "delivers", target)
            elif target.startswith("|"):
                yield Line(number, "pipes", target)
            elif target.startswith(":include:"):
                yield Line(number, "includes", target)


def settings(text, places):
    """Lines that name an old path. Yields Line."""
    for number, line in logical(text):
        if places.named_in(line):
            yield Line(number, "names", line)
