"""Mail that a rollback went on without: kept in the Maildir on the new host, listed, and carried back later.

The notes that carrying leaves on the old host (carry.notes) say which messages they are, under "behind". Before the published
trees are set aside, the store links these messages into the ones that come back (store.leaving). A conversion finds them there.
"""

import dataclasses
import json
import os
from typing import ClassVar

from cutover import model
from cutover.carryback import carry, carrying, refusals
from cutover.connect import imap
from cutover.facts import mailboxes
from cutover.model import errors
from cutover.remote import converter

LIST = "left_behind.tsv"  # in the run's folder
# $1 the set-aside directory of the old host: what every run left there
_READ = r"""
for file in "$1"/*/.carried/*.json; do
  [ -f "$file" ] && grep -q '"behind"' "$file" && cat -- "$file" && echo
done; :
"""


def read(hosts, run: str | None = None) -> dict:
    """The notes of users whose mail is on the new host only: `{user: note}`, of one run or of all. Where the user's mail was
    converted again since, the conversion has taken it over, and there is nothing left to tell."""
    if run is not None:
        found = {
            user: note for user, note in carry.notes(hosts, run).items() if refusals.pending(note)
        }
    else:
        site = hosts.site
        text = hosts.run(
            site.roles.old, ["sh", "-c", _READ, "left", site.old_store.aside], sudo=True
        ).out
        notes = [json.loads(line) for line in text.splitlines() if line]
        found = {
            each["user"]: each
            for each in sorted(notes, key=lambda each: each["at"])
            if refusals.pending(each)
        }
    if not found:
        return {}
    plan = {
        **converter.plan(hosts.site, run or "RUN", [], 1),
        "users": [each["entry"] for each in found.values()],
    }
    holders = converter.read(hosts, hosts.site.roles.new, plan, "state")["users"]
    return {
        user: note
        for user, note in sorted(found.items())
        if not _converted_since(holders[user]["marked"], note)
    }


def _converted_since(marked, note):
    return marked is not None and marked["tree"] != note["tree"] and marked["at"] > note["at"]


def _maildir_name(folder):
    return "" if folder == "INBOX" else os.fsdecode(imap.encode_name(folder).replace(b"/", b"."))


@dataclasses.dataclass(frozen=True)
class LeaveBehind(model.Change):
    """Keep what was refused in the trees that come back on the new host, and list it in the run's folder."""

    kind: ClassVar[str] = "leave-behind"
    no_inverse: ClassVar[str] = (
        "it is the users' mail, and stays until it is carried back or converted"
    )
    host: str  # the new one
    run: str
    work: str
    users: list  # the entries of the store's plan, of those to go on without

    def title(self):
        return f"keep in the Maildirs what was refused of {', '.join(each['user'] for each in self.users)}"

    def describe(self):
        return "\n".join(
            [
                f"{self.work}/{self.run}/{converter.PROGRAM} leave --plan leave.plan.json --events leave.events",
                *(
                    f"{each['user']}: what the old server refused is linked into the tree that comes back to {each['maildir']}"
                    for each in self.users
                ),
                f"{LIST} in the run's folder names the files",
            ]
        )

    def settled(self, ctx):
        return model.Settled(False, "it is done each time it is asked for")

    def apply(self, ctx, report):
        told = carry.notes(ctx.hosts, self.run)
        behind = {each["user"]: told.get(each["user"], {}).get("behind", []) for each in self.users}
        listed = [
            {**each, "keep": _by_folder(behind[each["user"]])}
            for each in self.users
            if behind[each["user"]]
        ]
        if not listed:
            return "nothing was refused"
        failed, files = [], {}

        def event(data):
            report(data)
            if data.get("event") == "error":
                failed.append(f"{data['user']}: {data['file']}: {data['what']}")
            elif data.get("event") == "kept":
                files.update(
                    {
                        (data["user"], each["folder"], each["uid"]): each["file"]
                        for each in data["files"]
                    }
                )

        plan = {**converter.plan(ctx.site, self.run, [], 1), "users": listed}
        ended = converter.run(ctx.hosts, self.host, plan, "leave", event)
        if failed or ended.rc:
            raise model.ChangeFailed(
                f"{self.host}: not all could be kept: "
                + ("; ".join(failed) or ended.err.strip()[-500:])
                + ". Nothing was set aside yet; see why, then run this step again."
            )
        rows = [
            (
                user,
                each["folder"],
                str(each["uid"]),
                each["message_id"],
                each["to"],
                files[user, _maildir_name(each["folder"]), each["uid"]],
                each["why"],
            )
            for user, messages in sorted(behind.items())
            for each in messages
        ]
        # of this rollback and of earlier ones: what was carried since is told by verify
        ctx.keep(
            LIST,
            "".join(
                "\t".join(part.replace("\t", " ").replace("\n", " ") for part in row) + "\n"
                for row in [
                    (
                        "user",
                        "folder",
                        "UID",
                        "Message-ID",
                        "folder on the old server",
                        f"file on {self.host}",
                        "why",
                    ),
                    *rows,
                ]
            ).encode("utf-8", "surrogateescape"),
        )
        return "\n".join(
            [
                f"{len(rows)} messages of {len(listed)} users kept, listed in {LIST}",
                *(f"{row[0]}: {row[1]} UID {row[2]} {row[3]}: {row[5]}" for row in rows[:50]),
            ]
        )


def _by_folder(messages):
    found = {}
    for each in messages:
        found.setdefault(_maildir_name(each["folder"]), []).append(each["uid"])
    return found


@dataclasses.dataclass(frozen=True)
class CarryLeft(model.Change):
    """Carry back what an earlier rollback went on without. Users may be at work on the old server: each message is appended by
    c-client unless the folder holds it. Then it goes from the Maildir on the new host, where the tree that was set aside still
    has it. Flags and removals that were refused are done to the messages that are still there."""

    kind: ClassVar[str] = "carry-left"
    no_inverse: ClassVar[str] = "it is the users' own mail, and stays on the old host"
    host: str  # the old one
    run: str
    aside: str
    users: list  # names

    def title(self):
        return f"carry back what was left behind of {', '.join(self.users)}"

    def describe(self):
        return "\n".join(
            [
                "for each message that the user's note names, by `imapd` and `doveadm exec imap` (PREAUTH):",
                "APPEND to the old folder (flags, INTERNALDATE), unless it is there by its digest; CREATE where there "
                "is no such folder",
                "UID EXPUNGE in the Maildir on the new host; the tree that was set aside keeps it",
                ", ".join(self.users),
            ]
        )

    def settled(self, ctx):
        left = sorted(set(self.users) & set(read(ctx.hosts, self.run)))
        return model.Settled(
            not left, f"left behind: {', '.join(left)}" if left else "nothing is left behind"
        )

    def apply(self, ctx, report):
        told, failed, texts = read(ctx.hosts, self.run), [], []
        for user in self.users:
            if user not in told:
                continue
            try:
                count, left = self._user(ctx.hosts, user, told[user])
            except errors.CutoverError as error:
                if error.outcome_unknown:
                    raise
                failed.append(f"{user}: {error}")
                continue
            texts.append(f"{user}: {count} messages carried back later")
            report({"event": "log", "user": user, "text": texts[-1]})
            failed += [f"{user}: {text}" for text in left]
        if failed:
            raise model.ChangeFailed(
                f"{self.host}: not all that was left behind could be carried. {'; '.join(failed[: refusals.SHOWN])}. "
                + "".join(f"Done: {text}. " for text in texts)
                + "Mend the cause and run the rollback again; until then it stays where it is."
            )
        return "\n".join(texts) or "nothing was left behind"

    def _user(self, hosts, user, note):
        """→ (messages carried, [text of each that was refused again])"""
        carried, left, refused = [], [], refusals.Refusals()
        parts = {}
        for number, each in enumerate(note["behind"]):
            parts.setdefault((each["folder"], each["to"], number // carrying.BATCH), []).append(
                each
            )
        with mailboxes.old_session(hosts, user) as old, mailboxes.new_session(hosts, user) as new:
            for (folder, to, _), listed in parts.items():
                found = _found(new, folder, listed)
                pairs = [
                    (each, found[each["key"]].pop(0)) for each in listed if found.get(each["key"])
                ]
                missing = [each for each in listed if all(each is not other for other, _ in pairs)]
                left += [
                    f"{refusals.told(each)}; it is not in {note['entry']['maildir']} any more: look there, and in the "
                    "tree set aside under the run's name"
                    for each in missing
                ]
                gone = self._folder(old, to, pairs, refused)
                carried += gone
                new.delete(folder, [message.uid for each, (message, _) in pairs if each in gone])
                left += [
                    refusals.told(
                        {
                            **each,
                            "why": refused.messages.get((folder, each["uid"]))
                            or refused.folders.get(to)
                            or "; ".join(refused.texts),
                        }
                    )
                    for each in listed
                    if each not in gone and each not in missing
                ]
            self._changes(
                old,
                note.get("later", {}),
                carry.place(hosts, self.aside, self.run, note["entry"]),
                refused,
            )
        if (
            refused.texts
        ):  # a folder that cannot be written: what was to be changed in it is tried again next time
            left += [text for text in refused.texts if text not in "; ".join(left)]
        rest = [each for each in note["behind"] if each not in carried]
        note = {
            **note,
            "behind": rest,
            "later": {} if not left else note.get("later", {}),
            "done": carry.total([note["done"], {"messages appended later": len(carried)}]),
        }
        carry.write_note(hosts, self.aside, self.run, note)
        return len(carried), left

    def _changes(self, old, later, aside, refused):
        """Flags and removals that were refused, of messages that are still what they were."""
        wanted = [*later.get("flags", ()), *later.get("removed", ())]
        for folder in sorted({each[0] for each in wanted}):
            try:
                there = {
                    (message.uid, message.internaldate.isoformat(), message.size): message
                    for message in old.stream(folder, "metadata").messages
                }
            except imap.FolderUnreadable as error:
                refused.texts.append(str(error))
                continue
            flags = [
                (folder, each[1], frozenset(each[4]), frozenset(each[5]))
                for each in later["flags"]
                if each[0] == folder and tuple(each[1:4]) in there
            ]
            gone = [
                (folder, there[tuple(each[1:])])
                for each in later["removed"]
                if each[0] == folder and tuple(each[1:]) in there
            ]
            refused.does(None, lambda flags=flags: carrying.flag(old, flags))
            refused.does(None, lambda gone=gone: carrying.remove(old, gone, aside))

    def _folder(self, old, to, listed, refused):
        """→ those of `(message of the note, (Message, text))` that are in the old folder now"""
        if not listed:
            return []
        there = {}
        try:
            for message in old.stream(to, "metadata").messages:
                there.setdefault((message.size, message.internaldate), []).append(message)
        except imap.FolderUnreadable:
            if to not in {name for name, _, _ in old.folders(to)} and not refused.does(
                to, lambda: old.create(to)
            ):
                return []
            pass
        done, words = [], []
        for each, (message, text) in listed:
            same = there.get((message.size, message.internaldate))
            if same and any(refusals.key(other) == each["key"] for _, other in old.texts(to, same)):
                done.append(each)  # killed after it was appended
                continue
            pair = carrying.Pair(each["folder"], to, to, None)
            uid = refused.append(
                old,
                pair,
                dataclasses.replace(message, uid=each["uid"]),
                text,
                [flag for flag in each["flags"] if flag.startswith("\\")],
            )
            if uid is False:
                continue
            done.append(each)
            keywords = frozenset(flag for flag in each["flags"] if not flag.startswith("\\"))
            if keywords and uid is not None:
                words.append((to, uid, keywords, frozenset()))
        refused.does(None, lambda: carrying.flag(old, words))
        return done


def _found(new, folder, listed) -> dict:
    """`{key: [(Message, text)]}` of the wanted messages that are in a folder of the Maildir."""
    found, wanted = {}, {each["key"] for each in listed}
    like = {(each["bytes"], each["date"]) for each in listed}
    try:
        candidates = [
            message
            for message in new.stream(folder, "metadata").messages
            if (message.size, message.internaldate.isoformat()) in like
        ]
        for message, text in new.texts(folder, candidates):
            key = refusals.key(text)
            if key in wanted:
                found.setdefault(key, []).append((message, text))
    except imap.FolderUnreadable:
        pass  # there is no such folder any more
    return found
