"""What the old server would not take of one user's mail while it was carried back: who, where, which message, in whose words."""

import dataclasses
import re

from mbx2maildir.formats import message_key as digest

from cutover.connect import imap

SHOWN = 10  # messages of one user told in full
IN_A_ROW = 20  # refusals in one folder, after which its other messages are not tried: a full disk stays full
MESSAGE_ID = re.compile(rb"^message-id:\s*(\S+)", re.IGNORECASE | re.MULTILINE)


def message_id(text: bytes) -> str:
    """A message's own name; "" when it has none."""
    found = MESSAGE_ID.search(text.replace(b"\r\n", b"\n").partition(b"\n\n")[0] + b"\n")
    return found[1].decode("utf-8", "backslashreplace") if found else ""


@dataclasses.dataclass
class Refusals:
    """`texts`: what was refused that is no message; `folders`: `{old folder: words}` of those that could not be made;
    `messages`: `{(new folder, uid): words}`. After note(): `behind`, what is on the new host only; `later`, what else was not
    done, `{"flags": [[old folder, uid, date, bytes, flags to set, to clear]], "removed": [[old folder, uid, date,
    bytes]]}`.
    """

    texts: list = dataclasses.field(default_factory=list)
    folders: dict = dataclasses.field(default_factory=dict)
    messages: dict = dataclasses.field(default_factory=dict)
    behind: list = dataclasses.field(default_factory=list)
    later: dict = dataclasses.field(default_factory=dict)
    _row: dict = dataclasses.field(default_factory=dict)

    def does(self, folder, do) -> bool:
        """Whether it could be done; `folder`: the old one that is not there when it could not."""
        try:
            do()
            return True
        except (imap.CommandRefused, imap.FolderUnreadable) as error:
            self.texts.append(str(error))
            if folder is not None:
                self.folders[folder] = str(error)
            return False

    def append(self, old, pair, message, text, flags):
        """→ the UID given, None when the server tells none, False when it refused."""
        refused = self._row.get(pair.old, 0)
        if refused >= IN_A_ROW:
            self.messages[pair.new, message.uid] = (
                f"not tried: {refused} before it were refused in a row"
            )
            return False
        try:
            uid = old.append(pair.old, text, flags, message.internaldate)
        except imap.CommandRefused as error:
            self.messages[pair.new, message.uid] = str(error)
            self._row[pair.old] = refused + 1
            return False
        except imap.SessionLost as error:
            raise imap.SessionLost(
                server=error.server,
                reason=error.reason,
                doing=(f"{error.doing} (UID {message.uid} of {pair.new} {message_id(text)})"),
            ) from error
        self._row[pair.old] = 0
        return uid

    def note(self, new, missing):
        """Write down what is still wanted, as it can be done later."""
        self.later = {
            "flags": [
                [folder, uid, *missing.known_by[folder, uid], sorted(add), sorted(clear)]
                for folder, uid, add, clear in missing.flags
            ],
            "removed": [
                [folder, message.uid, message.internaldate.isoformat(), message.size]
                for folder, message in missing.removed
            ],
        }
        listed = [
            (pair, message, flags, self.messages.get((pair.new, message.uid)))
            for pair, message, flags in missing.appends
            if (pair.new, message.uid) not in missing.elsewhere
        ]
        listed += [(pair, message, message.flags, why) for pair, message, why in missing.unread]
        by_folder = {}
        for each in listed:
            by_folder.setdefault(each[0].new, {})[each[1].uid] = each
        for name, wanted in by_folder.items():
            for message, text in new.texts(name, [each[1] for each in wanted.values()]):
                pair, _, flags, why = wanted[message.uid]
                self.behind.append(
                    {
                        "folder": name,
                        "to": pair.old,
                        "uid": message.uid,
                        "message_id": message_id(text),
                        "bytes": message.size,
                        "date": message.internaldate.isoformat(),
                        "flags": sorted(flags),
                        "key": key(text),
                        "why": why
                        or self.folders.get(pair.old)
                        or "; ".join(self.texts)
                        or "it was not tried",
                    }
                )

    def __str__(self):
        said = (
            [
                f"{len(self.behind)} message{'s are' if len(self.behind) > 1 else ' is'} on the new server only: "
                + "; ".join(map(told, self.behind[:SHOWN]))
                + (" …" if len(self.behind) > SHOWN else "")
            ]
            if self.behind
            else []
        )
        words = {each["why"] for each in self.behind}
        return "; ".join([*dict.fromkeys(text for text in self.texts if text not in words), *said])


def pending(note: dict) -> bool:
    """Whether something that a user's note tells of is still to be carried."""
    return bool(note.get("behind") or any(note.get("later", {}).values()))


def counted(note: dict) -> str:
    """`3 messages: INBOX UID 7 <…>: why; …; and 2 flags changed, 1 messages removed`"""
    listed, later = note["behind"], note.get("later", {})
    also = [
        f"{len(later.get(what, ()))} {text}"
        for what, text in (("flags", "flags changed"), ("removed", "messages removed"))
        if later.get(what)
    ]
    return (
        f"{len(listed)} message{'' if len(listed) == 1 else 's'}"
        + (": " if listed else "")
        + "; ".join(map(told, listed[:SHOWN]))
        + (" …" if len(listed) > SHOWN else "")
        + (f"; not on the old server yet: {', '.join(also)}" if also else "")
    )


def key(text: bytes) -> str:
    """The digest by which a message is known on both sides, see store.digest."""
    return digest.key(text.replace(b"\r\n", b"\n")).hex()


def told(each: dict) -> str:
    """One message in a line."""
    return f"{each['folder']} UID {each['uid']} {each['message_id'] or '(no Message-ID)'}: {each['why']}"
