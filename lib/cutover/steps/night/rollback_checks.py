"""Whether the old service is back and complete."""

from cutover import model
from cutover.carryback import left_behind, notes
from cutover.facts import userdb, userdb_map
from cutover.steps.night.rollback_facts import Facts


def verify(facts: Facts, site) -> list:
    checks = [check for intent in facts.intents for check in _undone(intent)]
    if facts.world is None:
        return checks
    return [
        *checks,
        *_carried_back(facts.carry),
        *_left_behind(facts.behind, site),
        *_alias(facts.world, site),
        *_userdb_map(facts.world, site),
        _services(facts.world, site),
        _login(facts.login, site),
    ]


def _undone(intent):
    if intent.inverse is None:
        yield model.Check(
            f"{intent.step}, {intent.title}: cannot be undone",
            "stays",
            f"stays: {intent.no_inverse}",
            True,
            id="stays",
            subject=intent.target,
            data={"step": intent.step, "seq": intent.seq},
        )
    elif intent.settled is not None:
        yield model.Check(
            f"{intent.step}, {intent.title} ({intent.target}): is undone",
            "yes",
            f"{'yes' if intent.settled else 'no'}: {intent.seen}",
            intent.settled,
            "fix the cause, then roll back again",
            id="undone",
            subject=intent.target,
            data={"step": intent.step, "seq": intent.seq},
        )


def _carried_back(carry):
    """By the notes on the old server, each written after both sides were compared once more."""
    question = "Everything that users did on the new server is on the old one"
    if not carry.trees:
        yield model.Check(question, "nothing to copy", carry.why, True, id="carried-back")
        return
    missing = [
        user
        for user, tree in sorted(carry.trees.items())
        if tree
        and (
            user not in carry.told
            or carry.told[user].tree != tree
            or (user in carry.users and not carry.told[user].pending)
        )
    ]
    done = [note for user, note in sorted(carry.told.items()) if note.tree == carry.trees.get(user)]
    sums = notes.total(note.done for note in done)
    yield model.Check(
        question,
        f"{len(carry.trees)} users",
        f"{len(done)} users: {notes.counts_text(sums)}"
        + (f"; not {', '.join(missing[:10])}" if missing else ""),
        not missing,
        "roll back again",
        id="carried-back",
        data={"users": len(done), "missing": missing, "done": sums},
    )
    for note in done:
        if note.left:
            yield model.Check(
                f"Everything {note.user} did could be carried back",
                "all",
                "; ".join(note.left),
                True,
                "tell the user; the user's whole Maildir is set aside on the new server",
                warning=True,
                id="not-carried-back",
                subject=note.user,
                data={"left": note.left},
            )


def _left_behind(behind, site):
    """One per user whose mail the old server refused; repeated by each rollback of the run."""
    for user, note in sorted(behind.items()):
        yield model.Check(
            f"No mail of {user} is only on {site.roles.new}",
            "0 messages",
            notes.pending_text(note),
            True,
            f"fix the cause on {site.roles.old}, then run the rollback again to copy it. Until "
            f"then it is in {note.entry['maildir']} on {site.roles.new}; {left_behind.LIST} names "
            "the files",
            warning=True,
            id="left-behind",
            subject=user,
            data={"messages": len(note.behind)},
        )


def _alias(world, site):
    old, alias = site.roles.old, site.fqdn(site.alias)
    for name, server in world.servers.items():
        values = server.values(alias, "CNAME") + server.values(alias, "A")
        yield model.Check(
            f"{alias} leads to {old} on {name}",
            site.address(old),
            ", ".join(values) or "nothing",
            site.address(old) in values or site.fqdn(old) + "." in values,
            f"`dig @{name} {alias}` shows it. Correct the zone, then roll back again.",
            id="alias-leads-to-old",
            subject=name,
        )


def _userdb_map(world, site):
    for name, mx in world.mx.items():
        same = userdb_map.from_source(userdb.encode(mx.source)) == mx.map
        yield model.Check(
            f"The userdb map of {name} is built from its source",
            "same entries",
            "same entries" if same else "other entries",
            same,
            f"makemap btree {site.userdb.map} < {site.userdb.source}",
            id="userdb-map-after-rollback",
            subject=name,
        )


def _services(world, site):
    old = site.roles.old
    off = [
        service.name
        for service in (*world.imap[old].services, *world.sendmail[old].services)
        if not service.running
    ]
    return model.holds(
        f"All mail services of {old} run",
        not off,
        "all",
        f"not {', '.join(off)}",
        f"`systemctl status` on {old} shows why. Start them, then roll back again.",
        id="old-services-run",
        subject=old,
        data={"stopped": off},
    )


def _login(login, site):
    address, user = site.address(site.roles.old), site.production_test.users[0].user
    if login.ok:
        visit = login.value
        actual = f"{visit.address}, {visit.read} bytes read"
        passed = visit.address == address and visit.read > 0
    else:
        actual, passed = login.error, False
    return model.Check(
        f"{user} can log in through {site.fqdn(site.alias)} and read mail on {site.roles.old}",
        address,
        actual,
        passed,
        "check imapd's log",
        id="old-service-login",
        subject=user,
    )
