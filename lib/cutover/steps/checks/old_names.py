"""Whether folders are found on the new server under the names that mail programs already know."""

from collections.abc import Iterator

from cutover import model
from cutover.changes import dovecot
from cutover.facts import dovecot_names, mailboxes, old_mail
from cutover.steps.checks import listing


def wanted(site) -> bool:
    """Whether the parameters ask for other names or for special folders."""
    return bool(site.new_store.compatibility or site.new_store.special.uses)


def settings(state: dovecot_names.State, site) -> str | None:
    """What our file must hold; None where the rest of the configuration is enough.

    Raises CannotPlan.
    """
    names, store = state.names, site.new_store
    missing = [
        prefix
        for prefix in store.compatibility or ()
        if not names.answers(prefix, without_ours=True)
    ]
    # what our own file declares is not there without it
    ours = [space.special for space in dovecot_names.parse(state.file or "").namespaces]
    declared = names.inbox.special if names.inbox else {}
    special = {
        folder: use
        for folder, use in store.special.uses.items()
        if declared.get(folder) != use or any(folder in space for space in ours)
    }
    return names.text(missing, special, store.listed) if missing or special else None


def change(reading: model.Reading[dovecot_names.State] | None, site) -> dovecot.DovecotFile | None:
    """The change of Dovecot's configuration that is left to make. Raises CannotPlan."""
    if reading is None:
        return None
    if not reading.ok:
        raise model.CannotPlan(f"Dovecot's configuration is unknown: {reading.error}")
    text = settings(reading.value, site)
    if text == reading.value.file:
        return None
    path = site.new_store.names_file
    return dovecot.DovecotFile(site.roles.new, path, "0644", reading.value.file, text)


def before(
    reading: model.Reading[dovecot_names.State] | None, survey: old_mail.Survey | None, site
) -> Iterator[model.Check]:
    """What preflight can say. reading: None in facts recorded by an earlier version."""
    if reading is None:
        return
    if survey:
        yield _in_use(survey, reading, site)
        yield _shadowed(survey, site)
        yield _renamed(survey, site)
    if wanted(site):
        yield from _configured(reading, site, planned=True)
    if site.new_store.escapes:
        yield _escaped(reading, site)
        if survey:
            yield _escape_consequences(survey, site)


def after(reading: model.Reading[dovecot_names.State] | None, site) -> Iterator[model.Check]:
    """Whether Dovecot is configured as the parameters ask."""
    if reading is not None and wanted(site):
        yield from _configured(reading, site, planned=False)


def asked(
    users: dict[str, model.Reading[list[str]]] | None,
    reading: model.Reading[dovecot_names.State] | None,
    site,
) -> Iterator[model.Check]:
    """Whether the prefixes that Dovecot is configured for find folders, by real commands.

    users: of prefixes.asked; nothing is asked while no prefix is configured.
    """
    if users and reading and reading.ok:
        names = reading.value.names
        yield led(users, site, [p for p in site.new_store.compatibility if names.answers(p)])


def led(
    users: dict[str, model.Reading[list[str]]], site, prefixes: list[str] | None = None
) -> model.Check:
    """Whether test users' folders are found under the old names, by real commands.

    prefixes: those that were asked, if not all of new_store.compatibility.
    """
    wrong = [
        f"{user}: {text}"
        for user, reading in sorted(users.items())
        for text in (reading.value if reading.ok else [reading.error])
    ]
    listed = ", ".join(prefixes or site.new_store.compatibility or ())
    return model.Check(
        f"LIST, LSUB, STATUS and EXAMINE find folders under {listed}",
        "every folder",
        listing.listed(wrong) if wrong else f"every folder of {', '.join(sorted(users))}",
        not wrong,
        f"Compare `doveconf -n` on {site.roles.new} with new_store.compatibility.",
        warning=not users,
        id="old-names-lead",
        subject=site.roles.new,
        data={"users": sorted(users), "differences": len(wrong)},
    )


def _in_use(survey, reading, site):
    """The prefixes that clients of the old server use lead somewhere, or are given up."""
    users = {prefix: [] for prefix in [site.old_store.imap_prefix] if prefix}
    for name, user in sorted(survey.users.items()):
        for prefix in filter(None, user.prefixes):
            users.setdefault(prefix, []).append(name)
    listed = site.new_store.compatibility
    lost = {
        prefix: names
        for prefix, names in users.items()
        if prefix not in (listed or ()) and not (reading.ok and reading.value.names.answers(prefix))
    }
    texts = [
        f"{prefix} ({len(names)} users by their subscriptions)" if names else prefix
        for prefix, names in lost.items()
    ]
    return model.Check(
        "Each prefix that clients of the old server use leads to the same folders on the new one",
        ", ".join(users) or "none in use",
        f"not {listing.listed(texts)}" if lost else "each",
        not lost or listed is not None,
        "Add these prefixes to new_store.compatibility. A list that leaves one out gives it up: "
        "its users must change the settings of their mail programs.",
        warning=bool(lost),
        id="old-names-in-use",
        data={"used": {key: len(names) for key, names in users.items()}, "lost": sorted(lost)},
    )


def _shadowed(survey, site):
    """No folder of the new server is hidden behind a prefix."""
    prefixes = tuple(site.new_store.compatibility or ())
    hidden = [
        f"{name}: {folder.folder}"
        for name, user in sorted(survey.users.items())
        for folder in user.folders
        if prefixes and f"{folder.folder}/".startswith(prefixes)
    ]
    return model.Check(
        "No folder's new name begins with one of these prefixes",
        "none",
        listing.listed(hidden) or "none",
        not hidden,
        "Dovecot would look for it among the others. Have its user rename it, or leave the prefix "
        "out of new_store.compatibility.",
        id="old-names-shadow",
        data={"folders": len(hidden)},
    )


def _renamed(survey, site):
    """Users whose folders get another name: their mail programs lose these folders."""
    renamed = [
        f"{name}: {change['from']} → {mailboxes.levels(site, change['to'])} ({change['why']})"
        for name, user in sorted(survey.users.items())
        for change in user.renamed
    ]
    return model.Check(
        "Every folder keeps its name",
        "every folder",
        f"{len(renamed)} get another: {listing.listed(renamed)}" if renamed else "every folder",
        True,
        "Tell these users. The old name does not lead to the folder.",
        warning=bool(renamed),
        id="folders-renamed",
        data={"renamed": renamed},
    )


def _escaped(reading, site):
    """Every protocol that looks at folders reads their names as the converter writes them."""
    new, state = site.roles.new, reading.value
    wrong = {
        protocol: character
        for protocol, character in (state.escapes if state else {}).items()
        if character != dovecot_names.ESCAPE
    }
    spelling = (state.names if state else dovecot_names.Names("2.3", [])).spelling
    texts = [f"{name}: {character or 'no character'}" for name, character in wrong.items()]
    separator = state.names.inbox.separator if state and state.names.inbox else ""
    if separator != "/":
        texts.append(f"the separator of INBOX's namespace is {separator or 'not set'}")
    return model.Check(
        f"Dovecot on {new} escapes dots in folder names, so that folders keep their names",
        f"{dovecot_names.ESCAPE} in each protocol, and the separator /",
        (", ".join(texts) or "so it does") if reading.ok else reading.error,
        reading.ok and bool(state.escapes) and not texts,
        f"Set `{spelling.escaping}` for all protocols "
        "and `separator = /` before presync, or set new_store.dots to underscore.",
        id="dots-escaped",
        subject=new,
        data={"wrong": wrong},
    )


def _escape_consequences(survey, site):
    """What else changes with escaped names: whoever names these directories must escape, too."""
    names = [
        f"{name}: {folder.folder}"
        for name, user in sorted(survey.users.items())
        for folder in user.folders
        if "." in folder.folder or "\\" in folder.folder or folder.folder.startswith("~")
    ]
    return model.Check(
        f"Programs on {site.roles.new} that name a Maildir by its directory know the escaped names",
        "none, or known",
        f"{len(names)} folders are escaped: {listing.listed(names)}" if names else "none",
        True,
        "list.x is the directory `.list\\2ex`: procmail recipes and programs on shell hosts must "
        "name it so. Do not switch the escaping off later: these folders would change their names.",
        warning=bool(names),
        id="dots-escaped-directories",
        subject=site.roles.new,
        data={"folders": len(names)},
    )


def _configured(reading, site, planned):
    new = site.roles.new
    if not reading.ok:
        yield model.Check(
            f"Dovecot's configuration on {new} is readable",
            "yes",
            reading.error,
            False,
            "`doveconf -n` there",
            id="old-names-answered",
            subject=new,
        )
        return
    names, adds = reading.value.names, ""
    if planned:
        try:
            adds = settings(reading.value, site) or ""
        except model.CannotPlan as error:
            adds = str(error)
    can_add = planned and bool(names.inbox)
    for check_id, question, expected, left in (
        (
            "old-names-answered",
            f"Dovecot on {new} finds folders under the old server's names",
            list(site.new_store.compatibility or ()),
            [prefix for prefix in site.new_store.compatibility or () if not names.answers(prefix)],
        ),
        (
            "special-folders-declared",
            f"Dovecot on {new} declares the special folders",
            [f"{folder} {use}" for folder, use in site.new_store.special.uses.items()],
            [
                f"{folder} {use}"
                for folder, use in site.new_store.special.uses.items()
                if names.inbox is None or names.inbox.special.get(folder) != use
            ],
        ),
    ):
        if not expected:
            continue
        actual = f"not {', '.join(left)}" if left else "all"
        if left and planned:
            actual += "; dual-delivery adds them" if can_add else f"; {adds}"
        yield model.Check(
            question,
            ", ".join(expected),
            actual,
            not left or can_add,
            f"Does Dovecot include {site.new_store.names_file}? Is a setting that contradicts it "
            "read later?",
            id=check_id,
            subject=new,
            data={"missing": left},
        )
