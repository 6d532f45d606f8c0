"""Both sides counted and compared, read by c-client on the old server and by Dovecot on the new.

The parameters' level says how deep: counts; metadata (UIDs, flags, keywords, dates, sizes);
contents (a digest of each message as well). The metadata of all messages is read. Contents may
take `verify.content_minutes`: if presync predicted more, a share of the messages is read, chosen by
the seed, which is the run's name. No content is read after that time. The checks report either.

With `verify.ahead`, folders that presync has read and nobody has touched since are carried over
(comparison/carried.py). Of these, only some messages are read again. Users of whom nothing at all
was touched since are not opened (comparison/carried_users.py), unless they are among these.
"""

import dataclasses
import functools
import secrets
import time

from cutover import model
from cutover.comparison import carried, elsewhere, folders
from cutover.comparison.contents import Contents
from cutover.facts import mailboxes, pop3
from cutover.steps.checks import left_out
from cutover.steps.night import convert, verify_contents, verify_hosts


@dataclasses.dataclass(frozen=True)
class UserMail:
    """One user's folders, compared. passed_over: names of what the conversion took for no folders.

    added: by folder of the new side, messages that the conversion added (spool, dual delivery).
    besides: what the old server lists besides; None in records of earlier versions.
    unopened: all of it is as presync found it.
    """

    rows: list[folders.Row]
    passed_over: list[str] = dataclasses.field(default_factory=list)
    added: dict[str, int] = dataclasses.field(default_factory=dict)
    besides: elsewhere.Elsewhere | None = None
    unopened: bool = False


@dataclasses.dataclass(frozen=True)
class Facts:
    """users: by name. errors: by name, the users whose mail could not be read.

    left_out: those the conversion went on without.
    uidls: whether POP3 identifiers were compared, since Dovecot serves POP3.
    hosts: None if the new host alone converts and reads, and in records of earlier versions.
    """

    run: str
    level: str
    users: dict[str, UserMail]
    errors: dict[str, str] = dataclasses.field(default_factory=dict)
    contents: verify_contents.ContentsRead = verify_contents.ContentsRead()
    left_out: list[str] = dataclasses.field(default_factory=list)
    uidls: bool = False
    hosts: verify_hosts.HostsRead | None = None


@dataclasses.dataclass
class Sums:
    """Numbers of messages and folders.

    contents, uidls: messages whose content and whose POP3 identifier was compared. carried, again:
    of these, in how many folders how many were compared before the outage, and how many of them
    once more.
    """

    folders: int = 0
    old: int = 0
    new: int = 0
    added: int = 0
    contents: int = 0
    uidls: int = 0
    carried_folders: int = 0
    carried: int = 0
    again: int = 0

    def add(self, other: "Sums") -> None:
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def probe(ctx) -> Facts:
    site = ctx.site
    before = convert.probe(ctx)
    converted, accounts = before.state.users, {user.user: user for user in before.users}
    absent = before.state.left_out()
    carry, again = verify_contents.Carry(), carried.Again("")
    if carried.is_wanted(site):
        carry = verify_contents.carry(ctx, converted, accounts)
        again = carried.Again.of(secrets.token_hex(8), carry.proofs)
    left = verify_contents.left(before.state, carry.proofs)
    part = verify_contents.share(site, ctx.history, left)
    deadline = time.monotonic() + site.verify.content_minutes * 60
    contents = Contents(ctx.run_name, part, deadline)
    level = site.verify.level
    uidls = level != "count" and pop3.served(ctx.hosts, site.roles.new)

    unopened = _unopened(site, converted, carry, again, uidls)
    read = {
        name: user.bytes
        for name, user in converted.items()
        if user.published and name not in unopened
    }
    spread = verify_hosts.Spread(ctx.hosts, ctx.run_name, read)

    def read_by(name, host):
        known, passed = converted_folders(site, converted[name]), passed_over(site, converted[name])
        asks = functools.partial(pop3.new_uidls, ctx.hosts, name, host)
        with mailboxes.old_session(ctx.hosts, name) as old:
            with mailboxes.new_session(ctx.hosts, name, host) as new:
                rows = folders.read_user(
                    *(ctx.hosts, old, new, name, known, level, contents, passed),
                    *(asks if uidls else None, carry.proofs.get(name), again),
                )
            besides = elsewhere.read(ctx.hosts, old, accounts[name], known, passed)
        return _user_mail(site, converted[name], rows, besides)

    readings = spread.read_all(read_by, lambda name, mail: user_check(name, mail, level)[0].passed)
    users = unopened | {name: reading.value for name, reading in readings.items() if reading.ok}
    failures = {
        name: readings[name].error if name in readings else "not published by this run"
        for name in converted
        if name not in users and name not in absent
    }
    late = time.monotonic() > contents.deadline
    return Facts(
        run=ctx.run_name,
        level=level,
        users=users,
        errors=failures,
        contents=verify_contents.ContentsRead(
            *(contents.seed, contents.share, site.verify.content_minutes, late),
            *(again.seed, carry.void),
        ),
        left_out=absent,
        uidls=uidls,
        hosts=spread.facts() if site.convert.workers else None,
    )


def _unopened(site, converted, carry, again, uidls):
    return {
        name: dataclasses.replace(_user_mail(site, user, *carry.compared(name)), unopened=True)
        for name, user in converted.items()
        if carry.covers(name, user.published and converted_folders(site, user), again, uidls)
    }


def _user_mail(site, user, rows, besides):
    return UserMail(
        rows,
        passed_over(site, user),
        {folder.new: folder.added for folder in converted_folders(site, user)},
        besides,
    )


def passed_over(site, user) -> list[str]:
    """The old names of what the conversion of a user (a converter.User) passed over."""
    return mailboxes.old_names(site, (item.name for item in user.passed))


def converted_folders(site, user) -> list[folders.Converted]:
    """The folders of a user (a converter.User), with their names as IMAP says them."""
    converted = []
    for folder in user.folders:
        old, new = mailboxes.folder_names(site, folder.old, folder.name)
        converted.append(
            folders.Converted(
                old,
                new,
                folder.spool + folder.appended,
                folder.lost_keywords,
                folder.messages if folder.damage else None,
                folder.messages,
                folder.bytes,
            )
        )
    return converted


def plan(facts: Facts, site) -> model.Plan:
    return model.Plan(reason="verify only reads: EXAMINE on both sides")


def verify(facts: Facts, site) -> list[model.Check]:
    checks = [
        model.Check(
            f"Can {user}'s mail be read on both sides?",
            "yes",
            error,
            False,
            "fix the cause, run convert again if necessary, then verify",
            id="user-mail-readable",
            subject=user,
        )
        for user, error in sorted(facts.errors.items())
    ]
    checks += left_out.checks(facts.left_out, site)
    total = Sums()
    for user, mail in sorted(facts.users.items()):
        check, sums = user_check(user, mail, facts.level)
        checks.append(check)
        total.add(sums)
    if facts.level == "content":
        checks.append(verify_contents.contents_check(facts.contents, total))
        if facts.contents.again:
            checks.append(verify_contents.carried_check(facts.users, facts.contents, total))
    if facts.uidls:
        checks.append(uidls_check(total))
    if facts.hosts:
        checks.append(verify_hosts.check(facts.hosts))
    checks.append(sums_check(total, len(facts.users), facts.left_out))
    return checks


def sums_check(total: Sums, users: int, absent=()) -> model.Check:
    """Whether all users together have on the new side what they had, and what was added.

    absent: users whom the conversion left out.
    """
    without = f", WITHOUT {', '.join(absent)}" if absent else ""
    return model.Check(
        "Do the sums agree?",
        f"{total.old} messages, and {total.added} added (spool, dual delivery)",
        f"{total.new} messages in {total.folders} folders of {users} users{without}",
        total.new == total.old + total.added and total.folders > 0,
        "see the users above",
        id="sums-equal",
        data={**dataclasses.asdict(total), "users": users},
    )


def uidls_check(total: Sums) -> model.Check:
    """How many messages kept their POP3 identifier; a user's check names those that did not."""
    return model.Check(
        "How many messages had their POP3 identifiers (UIDL) compared?",
        "those of every INBOX",
        f"{total.uidls} messages",
        True,
        "see the users above",
        id="uidls-compared",
        data={"compared": total.uidls},
    )


def user_check(user: str, mail: UserMail, level: str) -> tuple[model.Check, Sums]:
    """(check, sums) of one user: counts, and every difference by folder."""
    wrong, notes, sums = [], [], Sums()
    for row in mail.rows:
        notes += [f"{row.name}: {text}" for text in row.notes]
        if row.unknown:
            if not mailboxes.is_below(row.name, mail.passed_over):
                wrong.append(f"{row.name}: the conversion does not know it")
        elif not row.salvaged:
            added = mail.added.get(row.new_name, 0)
            sums.add(_sums(row, added))
            wrong += [f"{row.name}: {text}" for text in _row_differences(row, added)]
    besides = mail.besides or elsewhere.Elsewhere()
    wrong += [
        f"{item.name}: {item.messages} messages that the conversion does not know"
        for item in besides.mail
    ]
    if besides.unseen:
        notes.append(f"{besides.unseen} names that the old server lists were not looked at")
    expected = f"{sums.old} messages in {sums.folders} folders"
    expected += f", {sums.added} added" if sums.added else ""
    if wrong or notes:
        remarks = "; " + "; ".join([*wrong, *notes])
    elif level == "content" and sums.contents < sums.old:
        remarks = f", metadata equal, content of {sums.contents}"
    else:
        remarks = f", {level} equal"
    if sums.carried_folders:
        remarks += f"; {sums.carried_folders} folders were compared before the outage"
    check = model.Check(
        f"Is {user}'s mail the same on both sides?",
        expected,
        f"{sums.new} messages{remarks}",
        not wrong and sums.new == sums.old + sums.added,
        _todo(mail, besides, wrong),
        warning=bool(notes),
        id="user-mail-equal",
        subject=user,
        data={
            **dataclasses.asdict(sums),
            "differences": len(wrong),
            "unknown": [dataclasses.asdict(item) for item in besides.mail],
        },
    )
    return check, sums


def _sums(row, added):
    proven = bool(row.proven)
    return Sums(
        *(1, row.old, row.new, added, row.contents, row.uidls),
        *(int(proven), row.contents if proven else 0, row.again),
    )


def _todo(mail, besides, wrong):
    if besides.mail:
        return (
            "name the mail that the conversion does not know in old_store.roots and run convert "
            "again, or in old_store.accepted; then verify"
        )
    if wrong:
        return "stop here and find the cause, run convert again, then verify"
    if _is_partial(mail, besides):
        return "no message of the converted folders is lost; tell the user what was passed over"
    return "no message is lost; tell the user if it matters to them"


def _is_partial(mail, besides):
    """Whether mail was passed over, or may have been."""
    salvaged = any(row.salvaged for row in mail.rows)
    return (
        mail.besides is None or mail.passed_over or besides.accepted or besides.unseen or salvaged
    )


def _row_differences(row, added):
    yield from row.differences
    if row.differing > len(row.differences):
        yield f"and {row.differing - len(row.differences)} more differences"
    if row.extra != added:
        yield (
            f"{row.old} messages old, {row.new} new; the conversion says it added {added}, found "
            f"{row.extra}"
        )


STEP = model.Step(
    id="verify",
    title="Compare old and new",
    requires=("convert",),
    probe=probe,
    plan=plan,
    verify=verify,
    facts=Facts,
    only_reads=True,
)
