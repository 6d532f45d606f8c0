"""Deliveries of procmail into old folders: where they lead now, and which lines are left to people.

procmail delivers into a Maildir where a path ends in a slash, and makes it if there is none. It
needs no lock file there. One that the recipe asks for would lie in the folder, and procmail waits a
minute for it if there is no folder yet (tried with 3.22).
"""

import os
import re

from mbx2maildir import pointers
from mbx2maildir.formats import names

from cutover import model

# users' own rules as a part of the site's file, once procmail has become the user
INCLUDED = ("DROPPRIVS=yes", "INCLUDERC=$HOME/.procmailrc")

# The head of a recipe for all mail, if no condition follows. Only flags that change nothing about
# the delivery: with c the mail goes on; A, a, E and e make it depend on the recipe before; h and b
# deliver a part.
UNCONDITIONAL = re.compile(r"[ \t]*:[ \t]*0+[ \tHBDWwir]*(:[^\\]*|#[^\\]*)?")
_HEAD = re.compile(r"[\s{}]*:\s*0+")
_LOCKED = re.compile(r"([\s{}]*:\s*0[^:#]*):[^#]*?((?<!\s)\s+#.*)?")
_DMAIL = re.compile(r"\|\s*(?:\S*/)?[dt]mail(?:\s+-[ksv])*(?:\s+(?P<to>[^-\s]\S*))?")
_PLAIN = re.compile(r"[^\x00-\x20\"'`$*?<>;&|\\#{}~/][^\x00-\x20\"'`$*?<>;&|\\]*")
_NUMBERED = re.compile(r"_\d+")


def reads_home(text: str | None) -> bool:
    """Whether procmail comes to users' own files.

    /etc/procmailrc includes them before a recipe that delivers everything, or has no such recipe.
    """
    lines = [line.strip() for line in model.lines(text or "")]
    lines = [line for line in lines if line and not line.startswith("#")]
    depth, awaited = 0, list(INCLUDED)
    for line, action in zip(lines, [*lines[1:], ""], strict=False):
        depth += line.startswith("{")
        depth -= line.endswith("}")
        if not depth and UNCONDITIONAL.fullmatch(line) and not action.startswith(("*", "{")):
            return False
        if not depth and awaited[:1] == [line]:
            awaited.pop(0)
        if not awaited:
            return True
    return True


def by_dmail(action: str, head: str, user: str, home: str) -> str:
    """The file into which an action hands mail by c-client's dmail or tmail; "" if it is unclear.

    The INBOX is INBOX below the home.
    """
    match = _DMAIL.fullmatch(action)
    if not match or "f" in _HEAD.sub("", head, count=1).partition(":")[0]:
        return ""
    receiver, _, folder = (match["to"] or "").partition("+")
    if receiver not in ("", user, "$LOGNAME", "${LOGNAME}", "$USER", "${USER}"):
        return ""
    if not folder:
        return f"{home}/INBOX"
    return os.path.normpath(f"{home}/{folder}") if _PLAIN.fullmatch(folder) else ""


def folder(target: str, user: str, home: str, site) -> str | None:
    """The folder that a file of the old mail became: its path below the top level, "" for INBOX.

    None if the file does not belong to the converted mail.
    """
    store = site.old_store

    def filled(template):
        return template.format(user=user, home=home)

    spool = filled(store.spool)
    inboxes = [f"{home}/INBOX", spool, spool.replace("/var/mail/", "/var/spool/mail/", 1)]
    if target in [*inboxes, *map(filled, store.inbox)]:
        return ""
    roots = [(filled(store.folders), "")]
    roots += [(filled(root.path), root.name) for root in store.roots]
    for path, name in sorted(roots, key=lambda root: -len(root[0])):
        if target.startswith(path.rstrip("/") + "/"):
            return "/".join(filter(None, (name, target[len(path.rstrip("/")) + 1 :])))
    return None


def place(path: str, maildir: str, existing: list[str], site) -> str | None:
    """The Maildir of a folder, as procmail delivers into it.

    path: see folder(). existing: names of directories in the Maildir. None where the conversion may
    have given the folder a number, because another one had its name.
    """
    if not path:
        return f"{maildir}/"
    whole = os.fsencode(path)
    mapped = os.fsdecode(names.Names([whole], site.new_store.dots).maildir(whole))
    parts = mapped.split(".")
    if parts != path.split("/"):
        for entry in existing:
            others = entry.removeprefix(".").split(".")[: len(parts)]
            for other, part in zip(others, parts, strict=False):
                if other != part and _NUMBERED.fullmatch(other.removeprefix(part)):
                    return None
    return f"{maildir}/.{mapped}/"


def unlocked(head: str) -> str:
    """The line that begins a recipe, without a lock file."""
    match = _LOCKED.fullmatch(head)
    return match[1].rstrip() + (match[2] or "") if match else head


def line(raw: str, action: str, delivery: str) -> str:
    """A line of procmail's file that delivers into another place.

    raw: the whole line. action: what it does, a path, a command or an assignment.
    """
    variable = re.match(r"\w+\s*=\s*", action)
    comment = pointers.COMMENT.search(action)
    start = raw[: raw.index(action)] + (variable.group() if variable else "")
    return start + delivery + (action[comment.start() :].rstrip() if comment else "")
