"""`inspect`: what one MBX file holds, for a human."""

import os
import time

from mbx2maildir import errors, files
from mbx2maildir.formats import file_names, mbx


def task_explain(path, messages, report):
    return explain(path, messages)


def explain(path, messages=False):
    """→ {"file", "size", "uidvalidity", "uidlast", "uidnext", "keywords", "messages", "bytes",
    "expunged", "recent", "seen", "unassigned", "renumbered", "first", "last", "largest", "damage",
    "list" (when asked for)}.

    Errors: NotMbx, UnreadableMail."""
    try:
        fd = files.open_regular(path)
    except FileNotFoundError as error:
        raise errors.UnreadableMail("no such file", path, todo="Check the path.") from error
    try:
        box = mbx.Mailbox(fd, path)
        values = start(box)
        listed = count(box, values, messages)
        values.update(
            expunged=box.expunged,
            renumbered=box.renumbered,
            uidnext=box.uidnext,
            damage=box.damage,
            new_uidvalidity=box.uidvalidity,
        )
        if messages:
            values["list"] = listed
        return values
    finally:
        os.close(fd)


def start(box):
    """What the header says, and counters at zero."""
    return {
        "file": box.file,
        "size": box.size,
        "uidvalidity": box.header.uidvalidity,
        "uidlast": box.header.uidlast,
        "messages": 0,
        "bytes": 0,
        "recent": 0,
        "seen": 0,
        "deleted": 0,
        "first": None,
        "last": None,
        "largest": 0,
        "keywords": [
            errors.printable(name or b"(ignored: longer than 50)") for name in box.header.keywords
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
        "{file}: MBX, {size} bytes".format(**values),
        "  UIDVALIDITY {uidvalidity}, last UID {uidlast}, next UID {uidnext}".format(**values),
        "  keywords: {}".format(", ".join(values["keywords"]) or "none"),
        "  {messages} messages, {bytes} bytes (largest {largest}): {recent} recent, {seen} seen, "
        "{deleted} marked deleted".format(**values),
        "  {expunged} expunged messages are still in the file, hidden".format(**values),
    ]
    if values["messages"]:
        lines.append("  dated {} to {}".format(stamp(values["first"]), stamp(values["last"])))
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
