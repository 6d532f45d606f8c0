"""Whether mail would be left where nobody looks: outside the folders, or in another format."""

from collections.abc import Iterator

from cutover import model
from cutover.facts import crontabs, old_mail, users
from cutover.steps.checks import listing

TODO = (
    "Convert it: name its place in old_store.roots. Or let it stay behind: name the path, or a "
    "directory above it, in old_store.accepted. Ask the user which."
)
WHAT = {
    "delivers": "delivers into a file",
    "pipes": "pipes mail to a program",
    "includes": "includes another file",
    "names": "names an old path",
    "cron": "runs",
}


def checks(
    reading: model.Reading[old_mail.Survey], accounts: model.Reading[list[users.Account]], site
) -> Iterator[model.Check]:
    """By user, what the survey found in the home besides what is converted."""
    if not reading.ok:
        return  # another check reports it
    homes = {account.user: account.home for account in accounts.value or ()}
    left, files, size = 0, 0, 0
    for name, user in reading.value.users.items():
        home = homes.get(name, "")
        refused = [
            item
            for item in [*user.outside, *user.unsearched]
            if not site.old_store.accepts(item.file, name, home)
        ]
        if refused:
            yield _refused(name, refused)
        left += len(refused)
        files += len(user.outside)
        size += sum(item.bytes for item in user.outside)
        yield from _notes(name, user)
    yield model.Check(
        "Mail outside the folders is converted or accepted",
        "all of it",
        f"{files} mailboxes of {size} bytes outside, {left} places not accepted",
        not left,
        TODO,
        warning=files > 0,
        id="mail-outside-accepted",
        data={"mailboxes": files, "bytes": size, "not_accepted": left},
    )


def _refused(name, refused):
    """A user's mail, and places of the home, that nobody decided about."""
    mail = [item for item in refused if isinstance(item, old_mail.Outside)]
    places = [item for item in refused if isinstance(item, old_mail.Unsearched)]
    texts = [_described(item) for item in mail]
    texts += [f"{item.file}: not searched ({item.why})" for item in places]
    return model.Check(
        f"{name}'s mail is all among the folders",
        "nothing outside",
        f"{len(mail)} mailboxes, {sum(item.bytes for item in mail)} bytes: "
        + listing.listed(texts),
        False,
        TODO,
        id="mail-outside",
        subject=name,
        data={
            "files": [{"file": item.file, "bytes": item.bytes} for item in mail],
            "unsearched": [item.file for item in places],
        },
    )


def _described(item):
    remarks = [item.format or "a subscription", f"{item.bytes} bytes"]
    remarks += ["subscribed"] if item.subscribed and item.format else []
    remarks += ["by a link"] if item.link else []
    return f"{item.file} ({', '.join(remarks)})"


def _notes(name, user):
    """What loses no mail, but changes for the user."""
    if user.shared:
        yield model.Check(
            f"{name} shares no folders by their file modes",
            "none",
            f"{len(user.shared)} can be read by others: {listing.listed(user.shared)}",
            True,
            "Nobody but the user can read them on the new server. Tell those who read them.",
            warning=True,
            id="folders-shared",
            subject=name,
        )
    if user.acls:
        texts = [f"{item.file} ({', '.join(item.readers)})" for item in user.acls]
        yield model.Check(
            f"{name} shares no folders by ACLs",
            "none",
            f"{len(user.acls)} can be read by others: {listing.listed(texts)}",
            True,
            "ACLs are not copied: nobody but the user can read these on the new server. Tell those "
            "who read them, or give them access by Dovecot's acl plugin.",
            warning=True,
            id="folders-acl",
            subject=name,
            data={"folders": len(user.acls)},
        )
    if user.meant:
        texts = [f"{item['line']} → {item['folder']}" for item in user.meant]
        yield model.Check(
            f"{name}'s subscriptions lead to the same folders on both servers",
            "all",
            f"{len(user.meant)} lead nowhere on the old server: {listing.listed(texts)}",
            True,
            "On the new server they lead to the folders named. Remove the lines if that is wrong.",
            warning=True,
            id="subscriptions-meant",
            subject=name,
        )


def pointers(
    reading: model.Reading[old_mail.Survey], cron: model.Reading[list[crontabs.Line]], site
) -> Iterator[model.Check]:
    """By user, the files that deliver into old mail or read it."""
    if not cron.ok:
        yield model.Check(
            f"The crontabs of {site.roles.old} are readable",
            "all",
            cron.error,
            True,
            "Look through them by hand for lines that read mail or deliver it.",
            warning=True,
            id="crontabs-read",
            subject=site.roles.old,
        )
    by_user = {}
    for name, user in reading.value.users.items() if reading.ok else ():
        by_user[name] = [
            (f"{pointer.file} line {pointer.line}", pointer.kind, pointer.text)
            for pointer in user.pointers
        ]
    for line in cron.value or ():
        if line.user in by_user:
            by_user[line.user].append((f"crontab line {line.line}", "cron", line.text))
    for name, lines in by_user.items():
        if lines:
            yield _pointers(name, lines)


def _pointers(name, lines):
    texts = [f"{where} {WHAT[kind]}: {text}" for where, kind, text in lines]
    return model.Check(
        f"No file of {name} leads to the old mail",
        "none",
        f"{len(lines)} lines: {listing.listed(texts)}",
        True,
        "On the new server these lines write where nobody reads, or read what no longer changes. "
        "Tell the user, or change them.",
        warning=True,
        id="files-point-at-old-mail",
        subject=name,
        data={"lines": [{"where": where, "kind": kind} for where, kind, _ in lines]},
    )
