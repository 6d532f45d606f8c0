"""Users' procmail rules that deliver into the old folders deliver into the new ones.

Only simple lines of ~/.procmailrc are changed, by a process that is the user. Everything else that
leads to the old mail is listed by user: .forward, included files, shell settings, crontabs.
"""

import dataclasses
import os

from mbx2maildir import pointers

from cutover import model
from cutover.changes.home_file import EditHomeFile
from cutover.facts import crontabs, files, home_files, mailboxes, users
from cutover.steps.checks import listing, outside_mail
from cutover.steps.maintenance import procmail_rules

PROCMAILRC = os.fsdecode(pointers.PROCMAILRC)
FILES = [os.fsdecode(name) for name in (pointers.PROCMAILRC, pointers.FORWARD, *pointers.SETTINGS)]
TEXT = 200  # characters of a line that is not changed


@dataclasses.dataclass(frozen=True)
class Line:
    """A line that leads to the old mail; kind: see mbx2maildir.pointers.read().

    raw: the whole line, "" for one that is not simple. text: what it does. folder: that it delivers
    into, see procmail_rules.folder(); None where it is unclear, or no folder. head: [number, line]
    of the line that begins its recipe.
    """

    file: str
    line: int
    kind: str
    text: str
    raw: str = ""
    folder: str | None = None
    head: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class User:
    """digest: of ~/.procmailrc, "" if it may not be changed. existing: directories in the Maildir,
    of a user whose rules need it."""

    home: str
    maildir: str
    digest: str
    lines: list[Line]
    existing: list[str]


@dataclasses.dataclass(frozen=True)
class Facts:
    """asked: number of users; users: those whose files lead to the old mail.

    read: procmail comes to users' own files. cron: lines of their crontabs on the new host.
    unread: by name, why a user's files could not be looked at.
    """

    run: str
    asked: int
    read: bool
    users: dict[str, User]
    cron: model.Reading[list[crontabs.Line]]
    unread: dict[str, str] = dataclasses.field(default_factory=dict)


def probe(ctx) -> Facts:
    """Look at the files of every home on the new host, each as its user."""
    hosts, site = ctx.hosts, ctx.site
    new = site.roles.new
    accounts = users.read(hosts, new)
    by_user = {account.user: model.read(_of_user, hosts, account) for account in accounts}
    return Facts(
        ctx.run_name,
        len(accounts),
        procmail_rules.reads_home(files.read(hosts, new, site.maintenance.procmailrc)),
        {name: user.value for name, user in by_user.items() if user.ok and user.value.lines},
        model.read(_cron, hosts, by_user),
        {name: user.error for name, user in by_user.items() if not user.ok},
    )


def _cron(hosts, names):
    return [line for line in crontabs.read(hosts, hosts.site.roles.new) if line.user in names]


def _of_user(hosts, account):
    site = hosts.site
    new, home, maildir = site.roles.new, account.home, mailboxes.maildir(site, account)
    places = pointers.Places(
        {
            "user": account.user,
            "home": home,
            "old_home": home,
            "folders": site.old_store.folders.format(user=account.user, home=home),
            "maildir": maildir,
        }
    )
    texts = home_files.read(hosts, new, account.user, home, FILES)
    lines = [
        _line(name, entry, file.text, account, site)
        for name, file in texts.items()
        for entry in pointers.lines(os.fsencode(name), file.text, places)
    ]
    rules, digest, existing = texts.get(PROCMAILRC), "", []
    if any(line.folder is not None for line in lines):
        # a link leads to a file of which nothing is known, and of a long file only a part was read
        digest = home_files.digest(rules.data) if rules.whole and not rules.link else ""
        existing = home_files.directories(hosts, new, account.user, maildir)
    return User(home, maildir, digest, lines, existing)


def _line(name, entry, text, account, site):
    lines, folder, head = text.split("\n"), None, []
    raw = lines[entry.number - 1]
    if name == PROCMAILRC and raw.strip("{} \t") == entry.text:
        target = entry.target
        if entry.head:
            number, recipe = entry.head
            head = [number, lines[number - 1]]
            if recipe not in head[1]:
                target = ""  # it goes on in another line
        if entry.kind == "pipes":
            target = procmail_rules.by_dmail(entry.text, head[1], account.user, account.home)
        if target and not entry.text.endswith("/"):  # else a Maildir of the user's own
            folder = procmail_rules.folder(target, account.user, account.home, site)
    if folder is None:
        return Line(name, entry.number, entry.kind, entry.text[:TEXT])
    return Line(name, entry.number, entry.kind, entry.text, raw, folder, head)


def edits(user: User, site) -> list[list]:
    """[number, line, new line] that change the simple lines of a user's rules."""
    if not user.digest:
        return []
    pairs = []
    for line in user.lines:
        if line.folder is not None:
            place = procmail_rules.place(line.folder, user.maildir, user.existing, site)
            if place:
                pairs.append([line.line, line.raw, procmail_rules.line(line.raw, line.text, place)])
                pairs += _unlocked(line)
    return sorted(pairs)


def _unlocked(line):
    if line.head:
        number, raw = line.head
        if (without := procmail_rules.unlocked(raw)) != raw:
            yield [number, raw, without]


def left(user: User, site) -> list[Line]:
    """The lines that are left to people."""
    changed = {number for number, _, _ in edits(user, site)}
    return [line for line in user.lines if line.file != PROCMAILRC or line.line not in changed]


def plan(facts: Facts, site) -> model.Plan:
    """One change per user with a simple line."""
    changes = tuple(
        EditHomeFile(
            site.roles.new,
            name,
            user.home,
            PROCMAILRC,
            f"{PROCMAILRC}.{facts.run}",
            edits(user, site),
            user.digest,
        )
        for name, user in sorted(facts.users.items())
        if edits(user, site)
    )
    if changes and not facts.read:
        raise model.CannotPlan(
            f"{site.maintenance.procmailrc} on {site.roles.new} delivers every message, so "
            "procmail never reads users' own rules. Put these lines before its last recipe: "
            f"{', '.join(procmail_rules.INCLUDED)}. Then run this step again."
        )
    notes = tuple(
        (name, "\n".join(_texts(lines)))
        for name, user in sorted(facts.users.items())
        if (lines := left(user, site))
    )
    reason = f"no simple rule of {facts.asked} users delivers into the old mail"
    return model.Plan(changes, reason="" if changes else reason, notes=notes)


def _texts(lines):
    return [
        f"{line.file} line {line.line} {outside_mail.WHAT[line.kind]}: {line.text}"
        for line in lines
    ]


def stable(facts: Facts) -> dict:
    """What the plan rests on."""
    return {"read": facts.read, "users": model.to_json(facts.users)}


def verify(facts: Facts, site) -> list[model.Check]:
    """Whether the simple lines are changed; and what is left, by user."""
    simple = {
        name: len(lines) for name, user in facts.users.items() if (lines := edits(user, site))
    }
    checks = [
        model.holds(
            "No simple procmail rule delivers into the old mail",
            not simple,
            "none",
            f"{sum(simple.values())} lines of {listing.listed(sorted(simple))}",
            "Run this step again.",
            id="rules-rewritten",
            data={"users": sorted(simple)},
        )
    ]
    lines = {name: _texts(left(user, site)) for name, user in sorted(facts.users.items())}
    for line in facts.cron.value or ():
        lines.setdefault(line.user, []).append(f"crontab line {line.line} runs: {line.text}")
    if not facts.cron.ok:
        lines[site.roles.new] = [f"the crontabs were not read: {facts.cron.error}"]
    checks += [_unread(name, why) for name, why in sorted(facts.unread.items())]
    return checks + [_left(subject, texts) for subject, texts in lines.items() if texts]


def _unread(name, why):
    return model.Check(
        f"Were the files of {name} looked at?",
        "yes",
        why,
        True,
        "See whether the home is there. Then run this step again, or ask the user.",
        warning=True,
        id="rules-unread",
        subject=name,
    )


def _left(subject, texts):
    return model.Check(
        f"Nothing of {subject} is left that leads to the old mail",
        "nothing",
        f"{len(texts)} lines: {listing.listed(texts)}",
        True,
        "These lines were not changed. Ask the user to change them.",
        warning=True,
        id="rules-left",
        subject=subject,
        data={"lines": len(texts)},
    )


STEP = model.Step(
    id="mail-rules",
    title="Users' procmail rules, led to the new folders",
    requires=(),
    probe=probe,
    plan=plan,
    verify=verify,
    stable=stable,
    facts=Facts,
)
