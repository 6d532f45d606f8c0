"""`inspect`: what one mailbox holds, and so what convert will take from it, for a human."""

import os
import time

from mbx2maildir import errors, files
from mbx2maildir.formats import directories, file_names, mbx, readers

NAMES = dict({name: name for name in readers.MAILBOXES}, mbx="MBX", mmdf="MMDF")


def task_explain(path, messages, report):
    return explain(path, messages)


def explain(path, messages=False):
    """→ {"file", "format", "size", "uidvalidity", "uidlast", "uidnext", "keywords", "messages",
    "bytes", "expunged", "recent", "seen", "unassigned", "renumbered", "first", "last", "largest",
    "damage", "list" (when asked for)}.

    Errors: NotMbx, UnreadableMail."""
    try:
        fd = files.open_regular(path)
    except FileNotFoundError as error:
        raise errors.UnreadableMail("no such file", path, todo="Check the path.") from error
    try:
        format_ = directories.kind(path) if os.path.isdir(path) else kind_of(fd)
        box = readers.MAILBOXES[format_](fd, path)
        values = start(box)
        listed = count(box, values, messages)
        values.update(
            expunged=box.expunged,
            renumbered=box.renumbered,
            uidnext=box.uidnext,
            damage=box.damage,
            new_uidvalidity=box.uidvalidity,
        )
        if format_ != "mbx":  # what it states is known when it is read
            values.update(uidvalidity=box.uidvalidity, uidlast=box.uidlast)
        if messages:
            values["list"] = listed
        return values
    finally:
        os.close(fd)


def kind_of(fd):
    """The format of an open file; for what is no mailbox "mbx", whose reader says what is wrong."""
    return readers.kind(os.pread(fd, readers.HEAD, 0)) or "mbx"


def start(box):
    """What the header says, and counters at zero."""
    stated = box.header if box.format == "mbx" else box
    return {
        "file": box.file,
        "format": box.format,
        "size": box.size,
        "uidvalidity": stated.uidvalidity,
        "uidlast": stated.uidlast,
        "messages": 0,
        "bytes": 0,
        "recent": 0,
        "seen": 0,
        "deleted": 0,
        "first": None,
        "last": None,
        "largest": 0,
        "keywords": [
            errors.printable(name or b"(ignored: longer than 50)") for name in box.keywords
        ],
    }


def count(box, values, listing):
    """Add up the messages in values → list of them when listing is true, else []."""
    listed = []
    for uid, recent, flags, bits, seconds, size, offset, _text in box.messages(texts=False):
        values["messages"] += 1
        values["bytes"] += size
        values["recent"] += recent
        values["seen"] += bool(flags & mbx.SEEN)
        values["deleted"] += bool(flags & mbx.DELETED)
        values["first"] = seconds if values["first"] is None else min(seconds, values["first"])
        values["last"] = max(seconds, values["last"] or 0)
        values["largest"] = max(size, values["largest"])
        if listing:
            listed.append(
                {
                    "uid": uid,
                    "recent": recent,
                    "flags": file_names.flag_letters(flags).decode("ascii"),
                    "keywords": bits,
                    "date": stamp(seconds),
                    "size": size,
                    "offset": offset,
                }
            )
    return listed


def stamp(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def text(values):
    """The explanation as lines."""
    lines = [
        "{file}: {name}, {size} bytes".format(name=NAMES[values["format"]], **values),
        "  UIDVALIDITY {uidvalidity}, last UID {uidlast}, next UID {uidnext}".format(**values),
        "  keywords: {}".format(", ".join(values["keywords"]) or "none"),
        "  {messages} messages, {bytes} bytes (largest {largest}): {recent} recent, {seen} seen, "
        "{deleted} marked deleted".format(**values),
        "  {expunged} expunged messages are still in the file, hidden".format(**values),
    ]
    if values["messages"]:
        lines.append("  dated {} to {}".format(stamp(values["first"]), stamp(values["last"])))
    if not values["uidvalidity"]:
        lines.append("  no UIDs are stated: c-client counts the messages, and so does convert")
    if values["renumbered"]:
        lines.append(
            "  UIDs are out of order: c-client would renumber them; convert does, under "
            "UIDVALIDITY {new_uidvalidity}".format(**values)
        )
    lines += [
        "  DAMAGE at byte {offset}, {length} bytes: {kind}, {what}".format(**item)
        for item in values["damage"]
    ]
    lines += [
        "  uid {uid:>8} {date} {size:>10} bytes at {offset:>12} {flags:<5}{recent}".format(
            **dict(item, recent=" recent" if item["recent"] else "")
        )
        for item in values.get("list", ())
    ]
    return "\n".join(lines)
