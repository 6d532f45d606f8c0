"""What of users' mail exists on the old host only, when users have worked on the new one for days; reads only.

Both sides are read by c-client and Dovecot (PREAUTH, EXAMINE). A message of the old side is accounted for when

- it has the UID and date of a message that the conversion took over and that is still there;
- the conversion took it over, by the record of the published tree, and the user has moved or removed it since;
- Dovecot has it under its digest (the store's key, which is the same for both copies of mail delivered twice);
- the new host's log says that it was delivered there: then the user removed it.

What is left is on the old host only. Where the tree that was published is lost, and another was restored, its record tells
nothing: what is not there now may have been lost with it, so only texts count, and deliveries. Files that are no folders, which
the conversion passed over and told of, are noted.
"""

import collections
import concurrent.futures
import re

from mbx2maildir.formats import message_key as digest

from cutover.connect import imap
from cutover.facts import logs, mailboxes
from cutover.model import errors
from cutover.remote import converter

SHOWN = 10  # messages of one user told in full
MESSAGE_ID = re.compile(rb"^message-id:\s*(\S+)", re.IGNORECASE | re.MULTILINE)


def look(hosts, users: list, run: str, since: float) -> dict:
    """For each user: `{"users": {user: {"old": messages there, "same", "moved", "removed", "twice": on both sides by digest,
    "delivered", "only": number, "first": [texts], "notes": [texts]}}, "errors": {user: text}}`.

    `users`: getent's; `run`: the run that converted; `since`: when the conversion began, seconds since the epoch.
    """
    site = hosts.site
    plan = converter.plan(site, run, users, 1)
    states = converter.read(hosts, site.roles.new, plan, "state")["users"]
    entries = {each["user"]: each for each in plan["users"]}
    found, failed, open_ones = {}, {}, {}
    with concurrent.futures.ThreadPoolExecutor(site.verify.parallel) as pool:
        futures = {
            user: pool.submit(_user, hosts, plan, entries[user], states[user])
            for user in sorted(entries)
        }
        for user, future in futures.items():
            try:
                found[user], open_ones[user] = future.result()
            except errors.CutoverError as error:
                failed[user] = str(error)
    if any(open_ones.values()):
        log = logs.delivered(hosts, since)
        for user, listed in open_ones.items():
            left = [(msgid, text) for msgid, text in listed if (user, msgid) not in log]
            found[user]["delivered"] = len(listed) - len(left)
            found[user]["only"], found[user]["first"] = (
                len(left),
                [text for _, text in left[:SHOWN]],
            )
    return {"users": found, "errors": failed}


def _user(hosts, plan, entry, state):
    """→ (the user's row, [(Message-ID, text)] of what neither UIDs nor digests account for)"""
    site, user = hosts.site, entry["user"]
    row = {
        "old": 0,
        "same": 0,
        "moved": 0,
        "removed": 0,
        "twice": 0,
        "delivered": 0,
        "only": 0,
        "first": [],
        "notes": [],
    }
    if not (state["published"] or state["lost"]):
        raise errors.CutoverError("no tree of this run is published for this user")
    if state["lost"]:
        row["notes"].append(
            "the tree that was published is not there any more: each message is looked for by its text alone"
        )
    folders = [] if state["lost"] else state["folders"]
    known = {mailboxes.folder_names(site, folder["old"], folder["name"])[0]: folder for folder in folders}
    with mailboxes.old_session(hosts, user) as old, mailboxes.new_session(hosts, user) as new:
        here = {
            name: new.read(name, "metadata")
            for name in sorted(
                {name for name, _, selectable in new.folders("*") if selectable} | {"INBOX"}
            )
        }
        alone = {
            (name, each.uid): each for name, folder in here.items() for each in folder.messages
        }
        gone, came, position = [], [], {}
        spool = _read(old, site.old_store.spool.format(user=user, home=entry["home"]))
        for name in mailboxes.old_folders(old, site.old_store.imap_prefix):
            folder, there = known.get(name), _read(old, name)
            if folder is None and any(
                each["file"].endswith("/" + name.split("/", 1)[-1]) for each in state["passed"]
            ):
                row["notes"].append(f"{name}: no folder; the conversion passed the file over")
                continue
            if there is None:
                if name != "INBOX":
                    row["notes"].append(
                        f"{name}: c-client cannot read it"
                        + (
                            "; the conversion salvaged its messages"
                            if folder and folder["damage"]
                            else ""
                        )
                    )
                continue
            row["old"] += len(there.messages)
            if name == "INBOX" and spool and _shape(spool) == _shape(there):
                spool, position = None, {each.uid: at for at, each in enumerate(there.messages)}
            _by_uid(site, name, there, folder, here, alone, row, gone, came)
        if spool:
            row["old"] += len(spool.messages)
            position = {each.uid: at for at, each in enumerate(spool.messages)}
            came += [(spool.name, each) for each in spool.messages]
        taken = _taken_over(hosts, plan, entry, gone)
        sizes = collections.Counter((each.size, each.internaldate) for each in alone.values())
        for name, key, each in gone:
            values = taken.get(key, {}).get(str(each.uid))
            if values is None or values[0] != int(each.internaldate.timestamp()):
                came.append((name, each))  # nothing says that it was taken over
            else:
                row["moved" if sizes[values[2], each.internaldate] else "removed"] += 1
        spooled = next((folder["spool"] for folder in folders if not folder["name"]), 0)
        return row, _by_digest(old, new, came, alone, position, spooled, row)


def _read(session, name):
    try:
        return session.read(name, "metadata")
    except imap.FolderUnreadable:
        return None


def _shape(folder):
    return sorted((each.size, each.internaldate) for each in folder.messages)


def _by_uid(site, name, there, folder, here, alone, row, gone, came):
    """Messages that are still there under their UIDs; the others go to `gone` (below the conversion's UIDNEXT) or `came`."""
    new_name = mailboxes.folder_names(site, folder["old"], folder["name"])[1] if folder else None
    limit = folder["uidnext"] - folder["spool"] - folder["appended"] if folder else 0
    now = here.get(new_name)
    same = (
        {}
        if now is None or now.uidvalidity != folder["uidvalidity"]
        else {each.uid: each for each in now.messages}
    )
    for each in there.messages:
        other = same.get(each.uid) if each.uid < limit else None
        if other is not None and other.internaldate == each.internaldate:
            alone.pop((new_name, other.uid), None)
            row["same"] += 1
        elif each.uid < limit:
            gone.append((name, folder["name"], each))
        else:
            came.append((name, each))


def _taken_over(hosts, plan, entry, gone):
    """What the published tree's own record says of messages: `{Maildir name: {UID as text: [seconds, bytes, bytes, flags]}}`."""
    asked = {}
    for _, key, each in gone:
        asked.setdefault(key, []).append(each.uid)
    if not asked:
        return {}
    answer = converter.read(
        hosts, hosts.site.roles.new, {**plan, "users": [{**entry, "asked": asked}]}, "base"
    )
    return answer["users"][entry["user"]]["folders"]


def _by_digest(old, new, came, alone, position, spooled, row):
    if not came:
        return []
    folders, left = {}, []
    for name, uid in alone:
        folders.setdefault(name, []).append(alone[name, uid])
    keys = {
        _key(text) for name, messages in folders.items() for _, text in new.texts(name, messages)
    }
    waiting = {}
    for name, each in came:
        waiting.setdefault(name, []).append(each)
    for name, messages in waiting.items():
        for each, text in old.texts(name, messages):
            if _key(text) in keys:
                row["twice"] += 1
            elif (name == "INBOX" or name.startswith("/")) and position.get(
                each.uid, spooled
            ) < spooled:
                row["removed"] += (
                    1  # it lay in the spool, which the conversion took over from its beginning
                )
            else:
                msgid = MESSAGE_ID.search(text.partition(b"\r\n\r\n")[0] + b"\r\n")
                msgid = msgid[1].decode("utf-8", "backslashreplace") if msgid else ""
                left.append(
                    (
                        msgid,
                        f"{name} UID {each.uid} of {each.internaldate:%Y-%m-%d %H:%M} {msgid}".rstrip(),
                    )
                )
    return left


def _key(text):
    return digest.key(text.replace(b"\r\n", b"\n"))
