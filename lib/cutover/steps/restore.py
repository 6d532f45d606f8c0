"""Mail of one user comes back from the copy on the backup host. No step of the night: it runs alone, whenever it is asked for.

What is asked for is in `hosts.chosen`: `{"user", "folder": name as IMAP says it, or "" for all, "message": Message-ID or ""}`.
"""

from cutover import changes, steps
from cutover.changes import restore
from cutover.hosts import backups, copies, facts, imap, mailboxes

ID = "restore"
TITLE = "Restore mail from the copy"
REQUIRES = []
REVERSIBLE = True
CONFIRM = False

CHOICE = ("user", "folder", "message")      # what the notebook's parameters and the command's options are called


def probe(hosts, site):
    """`{"chosen", "account": facts.users entry or None, "place", "copy": {folder: {"directory", "messages", "lacking": by UID}}
    or None, "last": backups.last, "live": {folder: messages or None}, "beside": restore.look or None}`; the folders are those
    asked for. Only "chosen" when there is no backup."""
    chosen = {key: hosts.chosen.get(key, "") for key in CHOICE}
    if site.backup is None:
        return {"chosen": chosen}
    account = next((each for each in facts.users(hosts, site.roles.new) if each["user"] == chosen["user"]), None)
    place = copies.tree(site, hosts.run_name, chosen["user"], chosen["folder"])
    found = {"chosen": chosen, "account": account, "place": place, "copy": None, "last": backups.last(hosts), "live": {},
             "beside": None}
    if account is None:
        return found
    listed = copies.listing(hosts, account["user"])
    if listed is None:
        return found
    found["copy"] = {name: each for name, each in sorted(listed.items()) if _asked(chosen["folder"], name)}
    with mailboxes.new_session(hosts, account["user"]) as live:
        for name, each in found["copy"].items():
            there = _read(live, name)
            found["live"][name] = there and there.exists
            uids = {one.uid for one in there.messages} if there and there.uidvalidity == each["uidvalidity"] else set()
            each["lacking"] = len(set(each.pop("uids")) - uids)
    if copies.brought(hosts, found["place"]):
        found["beside"] = restore.look(hosts, account, found["place"], list(found["copy"]), chosen["message"])
    return found


def _asked(folder, name):
    """A folder means itself and what is below it."""
    return not folder or name == folder or name.startswith(f"{folder}/")


def _read(session, name):
    try:
        return session.read(name, "metadata")
    except imap.FolderUnreadable:
        return None


def plan(found, site):
    chosen = found["chosen"]
    if "account" not in found:
        raise steps.CannotPlan("the parameters name no backup: there is no copy to restore from")
    if found["account"] is None:
        raise steps.CannotPlan(f"{site.roles.new} knows no mail user {chosen['user']!r}. Give one that it knows.")
    if not found["copy"]:
        what = f"folder {chosen['folder']} of " if chosen["folder"] and found["copy"] is not None else ""
        raise steps.CannotPlan(f"the copy in {site.backup.target} on {site.roles.backup} has no {what}{chosen['user']}. "
                               f"`ls -A {site.backup.target}/{chosen['user']}` there shows what it has.")
    beside = found["beside"]
    if beside is not None and not any(each["missing"] for each in beside.values()):
        return changes.Plan(reason=f"{chosen['user']} has every message of {found['place']}")
    user, account, new = chosen["user"], found["account"], site.roles.new
    directories = [each["directory"] for each in found["copy"].values()]
    listed = []
    if beside is None:
        listed.append(restore.BringBeside(new, user, f"{account['uid']}:{account['gid']}", found["place"], directories,
                                          copies.source(site, user, directories), site.roles.backup))
    listed.append(restore.AddMissing(new, user, {key: account[key] for key in ("user", "uid", "gid", "home")}, found["place"],
                                     list(found["copy"]), chosen["message"]))
    notes = tuple((name, f"{each['messages']} messages in the copy, {_there(found['live'][name])} live; by their UIDs "
                   f"{each['lacking']} are missing") for name, each in found["copy"].items())
    return changes.Plan(tuple(listed), notes=notes)


def _there(number):
    return "no such folder" if number is None else str(number)


def stable(found):
    """What the plan rests on: what is asked for, whose it is, which folders the copy has; not how many messages there are."""
    return {"chosen": found["chosen"], "account": found.get("account"), "folders": sorted(found.get("copy") or ())}


def verify(found, site):
    user, beside = found["chosen"]["user"], found.get("beside")
    if not beside:
        return [steps.Check(f"Was {user}'s copy brought beside the live mailbox?", "yes", "no", False, "run this step")]
    total = {key: sum(each[key] for each in beside.values()) for key in ("copy", "missing", "added")}
    checks = [steps.Check("Does the copy hold what is asked for?", "messages", f"{total['copy']} messages", total["copy"] > 0,
                          "look at the folder's name and the Message-ID")]
    for name, each in beside.items():
        first = f": {'; '.join(each['first'][:3])}" if each["missing"] else ""
        checks.append(steps.Check(f"Does Dovecot show every message of the copy in {name}?", "0 missing",
                                  f"{each['missing']} missing of {each['copy']}{first}; {each['added']} were added",
                                  each["missing"] == 0, "run this step again"))
        before = each["before"]
        if before is None:
            continue
        checks.append(steps.equal(f"Have the added messages of {name} their flags and dates, and ascending UIDs?", "yes",
                                  "; ".join(each["wrong"]) or "yes", "`cutover rollback --run DIR` takes them out again"))
        checks.append(steps.equal(f"Has {name} kept its UIDVALIDITY?", before["uidvalidity"], each["uidvalidity"],
                                  f"look at Dovecot's log on {site.roles.new}"))
        fewer = before["exists"] - each["kept"]
        checks.append(steps.Check(f"Are the messages that {name} had before still there?", f"{before['exists']} messages",
                                  f"{each['kept']} messages" + (f"; {user} removed {fewer} meanwhile" if fewer > 0 else ""),
                                  fewer >= 0, f"look at Dovecot's log on {site.roles.new}", warning=fewer > 0))
    return checks
