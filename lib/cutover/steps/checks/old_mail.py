"""Whether the old mail can be converted: readable, undamaged, and with room on the new host."""

import os
from collections.abc import Iterator

from cutover import model
from cutover.facts import free_space, old_mail
from cutover.steps.checks import free_space_checks, listing

LONGEST_NAME = 256  # bytes of a folder's name, its prefix included, that c-client opens
ELSEWHERE = (b"{", b"#", b"~")  # at the front: another host, a namespace, another user's home


def readable(reading: model.Reading[old_mail.Survey], site) -> Iterator[model.Check]:
    """What the survey of the old store shows."""
    question, expected = f"All old mail is readable on {site.roles.new}", "every folder"
    about = {"id": "old-mail-readable", "subject": site.roles.new}
    if not reading.ok:
        todo = "Check that the old store is mounted where old_store.seen_at says."
        yield model.Check(question, expected, reading.error, False, todo, **about)
        return
    totals, users = reading.value.totals, reading.value.users.values()
    unreadable = [f"{problem.file}: {problem.what}" for user in users for problem in user.errors]
    yield model.Check(
        question,
        expected,
        f"{totals.folders} folders, {totals.messages} messages, {totals.bytes} bytes"
        + (f"; {len(unreadable)} unreadable: {listing.listed(unreadable)}" if unreadable else ""),
        totals.folders > 0 and not unreadable,
        "Fix each file named (permissions, disk), then probe again.",
        data={
            "users": totals.users,
            "folders": totals.folders,
            "messages": totals.messages,
            "bytes": totals.bytes,
        },
        **about,
    )
    yield _undamaged(reading.value, site)
    yield from _openable(reading.value, site)
    yield from _unlike(reading.value)
    yield from _left_out(reading.value)
    if skipped := [
        f"{file.file} ({file.why})" for user in users for file in user.passed if not file.format
    ]:
        yield model.Check(
            "Files among the folders that are not folders",
            "none, or known ones",
            f"{len(skipped)} skipped: {listing.listed(skipped)}",
            True,
            "Make sure that none of them holds mail.",
            warning=True,
            id="files-skipped",
        )


def _undamaged(survey, site):
    damage = [damage for user in survey.users.values() for damage in user.damage]
    to_salvage = site.old_store.to_salvage()
    texts = [f"{item.file} at byte {item.offset}: {item.what}" for item in damage]
    return model.Check(
        "Every old folder is undamaged",
        "no damage",
        f"{len(damage)} damaged ranges: {listing.listed(texts)}" if damage else "no damage",
        all(item.file in to_salvage for item in damage),
        "c-client refuses such a file as a whole. Restore it from a backup, or list it in "
        "old_store.salvage: then the conversion skips the range and sets it aside.",
        warning=bool(damage),
        id="old-folders-undamaged",
        data={"damage": [{"file": item.file, "offset": item.offset} for item in damage]},
    )


def _left_out(survey):
    """Mail that the old server does not show either: a second INBOX."""
    files = [
        f"{file.file} ({file.format}, {file.size} bytes: {file.why})"
        for user in survey.users.values()
        for file in user.passed
        if file.format
    ]
    if files:
        yield model.Check(
            "All mail files are converted",
            "every file",
            f"not {listing.listed(files)}",
            True,
            "Ask the users whether they need this mail, which the old server does not show. Move "
            "what they need into a folder.",
            warning=True,
            id="mail-left-out",
            data={"files": len(files)},
        )


def _unlike(survey):
    """Folders that cannot look on the new server as they did."""
    folders = [folder for user in survey.users.values() for folder in user.folders]
    texts = [f"{folder.file} (new UIDs)" for folder in folders if folder.renumbered]
    texts += [
        f"{folder.file} (keyword {name} becomes {kept})"
        for folder in folders
        for name, kept in folder.keywords_merged
    ]
    texts += [
        f"{folder.file} (loses the keywords {', '.join(folder.keywords_lost)})"
        for folder in folders
        if folder.keywords_lost
    ]
    texts += [
        f"{folder.file} ({folder.before_1970} messages of 1969 get the first second of 1970)"
        for folder in folders
        if folder.before_1970
    ]
    if texts:
        yield model.Check(
            "Every folder keeps its UIDs, keywords and dates",
            "every folder",
            f"not {listing.listed(texts)}",
            True,
            "Clients download the messages of a folder with new UIDs again. Dovecot does not tell "
            "keywords apart that differ only in case, and keeps 26 per folder. A date before 1970, "
            "UTC, would be one of 2106 from its second reading on.",
            warning=True,
            id="old-folders-change",
            data={"folders": len(texts)},
        )


def _openable(survey, site):
    """Only folders that c-client does not open are worth a check: verify needs it to."""
    unopenable = [
        f"{user}: {folder.file}"
        for user, mail in sorted(survey.users.items())
        for folder in mail.folders
        if not _opens(site.old_store.imap_prefix, folder.name)
    ]
    if unopenable:
        yield model.Check(
            "The old server can open every folder by its name",
            "every folder",
            f"not {listing.listed(unopenable)}",
            False,
            f"c-client opens no name that is longer than {LONGEST_NAME} bytes, contains a line end "
            "or begins with {, # or ~ in the home itself; INBOX is no folder's name there. Tell "
            "the users, then rename the files: few programs can open them today either.",
            id="old-names-openable",
            data={"folders": unopenable},
        )


def _opens(prefix, name):
    """Whether c-client takes a folder's name (see old_mail.Folder) for that of a file."""
    if name.startswith("/"):
        prefix, name = "", name[1:]
    full = os.fsencode(prefix + name)
    if len(full) > LONGEST_NAME or b"\r" in full or b"\n" in full:
        return False
    return bool(prefix) or not full.startswith(ELSEWHERE) and full.upper() != b"INBOX"


def room(
    space: model.Reading[free_space.FreeSpace], survey: old_mail.Survey, site
) -> Iterator[model.Check]:
    """The new store will fit, in bytes and in inodes."""
    host, factor = site.roles.new, site.limits.space_factor
    if not space.ok:
        yield model.Check(
            f"{host} has room for the new store",
            "enough",
            space.error,
            False,
            f"Check the file system of {site.new_store.work}.",
            id="free-space",
            subject=host,
        )
        return
    for check_id, unit, free, needed in (
        ("free-bytes", "bytes", space.value.bytes, survey.totals.bytes),
        ("free-inodes", "inodes", space.value.inodes, survey.totals.inodes),
    ):
        yield free_space_checks.enough(check_id, unit, free, int(needed * factor), site)
