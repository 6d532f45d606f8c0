"""The rule of these tests: what c-client shows, Dovecot shows in the same way, or a check of
preflight names it. Nothing is found by verify first, and nothing is silent."""

import os
import time
import types

from cutover import model
from cutover.facts.old_mail import Survey
from cutover.steps.checks import old_mail, outside_mail
from mbx2maildir import errors
from mbx2maildir.formats import mbox_header

from store.oddities import sides

MADE_UP = 3600  # seconds around now in which a UIDVALIDITY was made up
SITE = types.SimpleNamespace(
    roles=types.SimpleNamespace(new="new"),
    old_store=types.SimpleNamespace(
        imap_prefix="mail/", to_salvage=list, accepts=lambda *place: False
    ),
)
COUNTS = ("messages", "bytes", "expunged", "inodes")
LISTS = ("folders", "passed", "errors", "damage")
CHANGES = ("renumbered", "keywords_merged", "keywords_lost", "before_1970")
PLACES = ("files-skipped", "mail-outside")  # checks that name more than mailboxes


class Preflight:
    """What preflight says of one user's survey. names: the places it names, by the check that names
    them, and those to which links lead from there; checks that are clean name nothing.

    home: the user's. place(path): where a path leads."""

    def __init__(self, entry, home, place):
        totals = {key: entry[key] for key in COUNTS} | {key: len(entry[key]) for key in LISTS}
        survey = {"totals": dict(totals, users=1), "users": {entry["user"]: entry}}
        reading = model.Reading(model.from_json(Survey, survey))
        checks = [*old_mail.readable(reading, SITE)]
        checks += outside_mail.checks(reading, model.Reading([]), SITE)
        self.alarms = {check.id for check in checks if not check.passed or check.warning}
        unopenable = [check for check in checks if check.id == "old-names-openable"]
        names = {
            "old-mail-readable": entry["errors"],
            "old-folders-undamaged": entry["damage"],
            "mail-left-out": [item for item in entry["passed"] if item["format"]],
            "files-skipped": [item for item in entry["passed"] if not item["format"]],
            "mail-outside": entry["outside"] + entry["unsearched"],
        }
        self.names = {key: {item["file"] for item in items} for key, items in names.items()}
        self.names["old-names-openable"] = {
            text.partition(": ")[2] for check in unopenable for text in check.data["folders"]
        }
        self.names["old-folders-change"] = {
            folder["file"] for folder in entry["folders"] if any(folder[key] for key in CHANGES)
        }
        for key, files in self.names.items():
            places = [place(os.fsencode(file)) for file in files]
            # what is not searched may be a link to a directory of the home that is full of mail
            files |= {
                errors.printable(path)
                for path in places
                if path and (key not in PLACES or not (path + b"/").startswith(home + b"/"))
            }

    def unsaid(self):
        """Checks that should have said what the survey holds, and did not."""
        return [key for key, names in self.names.items() if names and key not in self.alarms]

    def tells(self, path, *checks):
        """Whether one of some checks (of all) names a place, or one above it."""
        text = errors.printable(path)
        keys = checks or self.names
        return any(
            text == name or text.startswith(name.rstrip("/") + "/")
            for key in keys
            for name in self.names[key]
        )


def without_recent(message):
    return (message[0], tuple(flag for flag in message[1] if flag != b"\\recent"), *message[2:])


def without_keywords(message):
    return (message[0], [flag for flag in message[1] if flag.startswith(b"\\")], *message[2:])


def differences(old, new, as_read=(), keywords=True):
    """How Dovecot's view of a folder differs from c-client's → list of texts. \\Recent is the next
    session's; Dovecot knows it of the last messages only. It keeps no date before 1970.

    as_read: digests that are right in any case. keywords: whether they are compared."""
    texts = []
    made_up = abs(old["uidvalidity"] - time.time()) < MADE_UP
    olds, news = old["messages"], new["messages"]
    if old["uidvalidity"] != new["uidvalidity"] and not made_up:
        texts.append(f"UIDVALIDITY {old['uidvalidity']} {new['uidvalidity']}")
    if too_large(old) and not too_large(new):  # such UIDs are not kept, but the messages' order
        olds, news = ([(0, *message[1:]) for message in side] for side in (olds, news))
    elif old["uidnext"] != new["uidnext"]:
        texts.append(f"UIDNEXT {old['uidnext']} {new['uidnext']}")
    if len(olds) != len(news):
        texts.append(f"{len(olds)} messages, {len(news)}")
    for before, after in zip(olds, news, strict=False):
        before, after = without_recent(before), without_recent(after)
        before = (*before[:2], max(before[2], 0), *before[3:])
        if before[4] == after[4] or after[4] in as_read:
            # c-client's sizes of odd headers and bare LFs are its own
            before, after = before[:3], after[:3]
        before = (before[0], tuple(dict.fromkeys(before[1])), *before[2:])
        if not keywords:
            before, after = without_keywords(before), without_keywords(after)
        if before != after:
            texts.append(f"{before} {after}")
    return texts


def moved(before, after):
    """INBOX as it should be once the spool's mail is in it. before, after: c-client's views.

    c-client takes another UIDVALIDITY once it finds a bad X-UID in what it moved, and loses keywords
    behind one of more than 50 bytes once it writes. It believes an X-UID that a sender wrote, so
    new mail may get a UID below UIDNEXT, and mail programs pass it over. It counts an expunged
    message without a UID each time it opens a MBX file.
    """
    return numbered(before, before["messages"], after["messages"][len(before["messages"]) :])


def as_moved(before, inbox, format_):
    """INBOX with that of the spool which c-client moves: into mx nothing, into mix what is not
    marked as deleted. All goes into the new INBOX."""
    first = len(before["messages"])
    spooled = inbox["messages"][first:] if format_ == "mix" else []
    spooled = [message for message in spooled if b"\\deleted" not in message[1]]
    return numbered({**inbox, "uidnext": before["uidnext"]}, inbox["messages"][:first], spooled)


def numbered(view, messages, new):
    """A view with some messages and new ones, whose UIDs begin with its UIDNEXT."""
    new = [(view["uidnext"] + at, *message[1:]) for at, message in enumerate(new)]
    return {**view, "uidnext": view["uidnext"] + len(new), "messages": [*messages, *new]}


def too_large(view):
    """Whether c-client shows numbers that IMAP does not allow, or nearly so."""
    return view["uidvalidity"] > 0xFFFFFFFF or view["uidnext"] > mbox_header.LARGEST + 1


class Judge:
    """One store before and after. faults: what breaks the rule, as texts."""

    def __init__(self, store, old, survey, failed, state):
        self.store, self.old, self.failed = store, old, failed
        self.root, self.own = store.host.root, store.own
        self.preflight, self.survey = Preflight(survey, self.own, self.within), survey
        self.folders = state["folders"]
        # a folder may have these names as well, but not this place
        self.sources = [item for item in survey["folders"] if not item["name"]]
        self.faults = [f"{check} is silent" for check in self.preflight.unsaid()]

    def within(self, name):
        return sides.within(self.root, os.path.join(self.own, name))

    def run(self):
        if self.failed is not None:
            if not self.survey["errors"]:
                self.faults.append(f"convert fails first: {self.failed}")
        elif self.survey["errors"]:
            self.faults.append(f"preflight fails, convert does not: {self.survey['errors']}")
        else:
            self.converted()
        return [f"{self.store.seed}: {fault}" for fault in self.faults]

    def converted(self):
        new_names = {}  # by place: a link to a file is a folder, too
        for folder in self.folders:
            if folder["old"]:
                old = os.fsencode(folder["old"])
                place = self.within(old[1:] if old.startswith(b"/") else b"mail/" + old)
                name = os.fsencode(folder["name"].replace(".", "/"))
                new_names.setdefault(place, []).append(name)
        names = {name for names in new_names.values() for name in names}
        new = sides.New(self.store.user, names)
        for path, old in self.old.views.items():
            self.folder(path, old, new_names.get(path, []), new)
        for path in new_names.keys() - self.old.views.keys():
            if not self.preflight.tells(path, "old-names-openable"):
                self.faults.append(f"{path} is converted, though nobody knows of it")
        self.listed(new, names)
        self.subscriptions(new, new_names)
        self.inbox(new.views[b"INBOX"])

    def folder(self, path, old, names, new):
        """Compare a mailbox with the folders it became. old: c-client's view of it."""
        shown = old not in (None, "text")
        if not names:
            if shown and old["messages"] and not self.is_inbox(path) and not self.told(path):
                self.faults.append(f"{path} is left out, silently")
        elif not shown:
            if not self.preflight.tells(path, "old-folders-undamaged", "old-names-openable"):
                self.faults.append(f"{path}: c-client does not open it, and preflight is silent")
        elif not self.preflight.tells(path, "old-folders-undamaged"):
            early = any(message[2] < 0 for message in old["messages"])
            if early != self.changes(path, "before_1970"):
                self.faults.append(f"{path}: dates before 1970, and preflight says the contrary")
            for name in names:
                keywords = not self.changes(path, "keywords_lost")
                texts = differences(old, new.views[name], keywords=keywords)
                if self.changes(path, "renumbered"):  # UIDNEXT is that of another UIDVALIDITY
                    texts = [text for text in texts if not text.startswith(("UIDV", "UIDN"))]
                self.faults += [f"{path}: {text}" for text in texts]

    def changes(self, path, what):
        """Whether a converted file changes in some way, as far as preflight knows."""
        changed = [entry["file"] for entry in self.survey["folders"] if entry[what]]
        places = {self.within(os.fsencode(file)) for file in changed}
        return path in places or errors.printable(path) in changed

    def told(self, path):
        """Whether preflight says of a mailbox that it is not converted."""
        return self.preflight.tells(path, "mail-left-out", "mail-outside")

    def is_inbox(self, path):
        places = {self.within(os.fsencode(item["file"])) for item in self.sources}
        return path in places or path == self.within(b".mailboxlist")

    def listed(self, new, names):
        """Dovecot lists what was converted, and nothing else."""
        parents = {b"/".join(name.split(b"/")[:end]) for name in names for end in range(1, 20)}
        if names - set(new.listed) or set(new.listed) - parents - {b"INBOX"}:
            self.faults.append(f"converted {sorted(names)}, listed {sorted(new.listed)}")

    def subscriptions(self, new, new_names):
        """Whatever c-client opens and lists as subscribed is subscribed under its new name."""
        for line in self.old.subscribed:
            path = self.within(self.below_home(line))
            names = [b"INBOX"] if line.upper() == b"INBOX" else new_names.get(path, [])
            if self.preflight.tells(path or b"", "old-names-openable"):
                continue
            if names and not set(names) & set(new.subscribed) and not line.startswith(b"#"):
                self.faults.append(f"{line} → {names} is not subscribed: {new.subscribed}")

    def below_home(self, line):
        """The path that a subscription means."""
        for place in (b"~/", b"~" + os.fsencode(self.store.user.name) + b"/"):
            if line.startswith(place):
                return line[len(place) :]
        return line if not line.startswith(b"~") else b"../" + line[1:]

    def inbox(self, inbox):
        """INBOX, with the spool's mail as a read-write session of c-client moves it there."""
        survey, sources = self.survey, self.sources
        before = (self.old.inbox, self.old.spool)
        files = [item["file"] for item in sources]
        if any(self.preflight.tells(os.fsencode(file), "old-folders-undamaged") for file in files):
            return
        delivered = self.store.delivered
        if delivered:
            del inbox["messages"][-delivered:]
            inbox["uidnext"] -= delivered
        old = before[0]
        waits = old is None or old != "text" and not old["messages"]  # in the spool, perhaps
        if sources and waits or len(sources) == 2:
            old = sides.snarfed(self.store.user)
            if old is None and before[0] is not None:
                return  # a mailbox at which its session ends
            if "From" in self.store.cut or "spool" in self.store.cut and len(sources) == 1:
                return  # c-client reads it otherwise once it has written
        other = any(item["why"].startswith("not INBOX") for item in survey["passed"])
        if other and len(sources) == 2:
            return  # with the spool emptied, c-client may take another file for INBOX
        renumbered = sources and sources[0]["renumbered"]
        if old in (None, "text"):
            # c-client crashes at some numbers that IMAP does not allow, and at some ends
            if inbox["messages"] and not renumbered and "spool" not in self.store.cut:
                self.faults.append(f"INBOX ({', '.join(files)}): c-client opens none")
            return
        if len(sources) == 2 and "mbox" in self.store.cut and sources[0]["format"] == "mbox":
            return  # c-client takes what it appends for the rest of the last line
        known = before[0] not in (None, "text") and before[0]["uidvalidity"]
        if known and (len(sources) == 2 or not old["messages"]):
            old = moved(before[0], old)
        if known and sources and sources[0]["format"] in ("mx", "mix"):
            inbox = as_moved(before[0], inbox, sources[0]["format"])
        # c-client adds blank lines where it writes a mailbox anew
        views = [view for view in before if view not in (None, "text")]
        as_read = {message[4] for view in views for message in view["messages"]}
        keywords = not any(item["keywords_lost"] for item in sources)
        if "spool" in self.store.cut and inbox["messages"]:
            as_read.add(inbox["messages"][-1][4])
        for text in differences(old, inbox, as_read, keywords):
            if not (renumbered and text.startswith(("UIDV", "UIDN"))):
                self.faults.append(f"INBOX ({', '.join(files)}): {text}")
