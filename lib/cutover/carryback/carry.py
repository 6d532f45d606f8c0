"""A rollback's first duty after users have worked on the new host: their new state goes back to the old one.

What the old server refuses stops the rollback, once everything else is carried; unless whoever approves it names the user to be
gone on without. What is on the new host only then is written down in the user's note, and kept: see left_behind.
"""

import concurrent.futures
import dataclasses
import json
import time
from typing import ClassVar

from cutover import model
from cutover.carryback import carrying, refusals
from cutover.connect import imap
from cutover.facts import ports
from cutover.model import errors
from cutover.remote import converter

SHOWN = 20  # users told in full, of those who cannot be carried back

# $1 the set-aside directory, $2 run, $3 user, $4 his uid, $5 his gid: what c-client writes as the user goes there
_PLACE = r"""
umask 066
mkdir -p "$1"; chmod go+x "$1"
mkdir -p -m 0711 "$1/$2"
[ -d "$1/$2/$3" ] || { mkdir -m 0700 "$1/$2/$3" && chown "$4:$5" "$1/$2/$3"; }
"""
_READ = r"""
for file in "$1/$2/.carried/"*.json; do [ -f "$file" ] && cat -- "$file" && echo; done; :
"""


def notes(hosts, run: str) -> dict:
    """What was carried back by a run: `{user: {"user", "tree", "at", "done", "left", "notes"}}`, from the old host."""
    site = hosts.site
    text = hosts.run(
        site.roles.old, ["sh", "-c", _READ, "notes", site.old_store.aside, run], sudo=True
    ).out
    return {each["user"]: each for each in map(json.loads, text.splitlines()) if each}


def look(ctx, users: list, run: str) -> dict:
    """What would be carried now, and what was; reads only.

    → `{"users": {user: carrying.estimate()'s, for each published one that no note tells of}, "told": notes(), "trees": {user: id
    of the tree that was published last, None when none was}}`
    """
    told, states = notes(ctx.hosts, run), _states(ctx.hosts, users, run)
    listed = _waiting(users, told, states)
    with concurrent.futures.ThreadPoolExecutor(ctx.site.verify.parallel) as pool:
        found = pool.map(lambda each: carrying.estimate(ctx, each, states[each["user"]]), listed)
        return {
            "users": {each["user"]: values for each, values in zip(listed, found, strict=True)},
            "told": told,
            "trees": {user: state["tree"] for user, state in states.items()},
        }


def _waiting(users, told, states):
    """The published users whose state was not carried back since, or not whole."""
    return [
        each
        for each in users
        if states[each["user"]]["published"]
        and (
            told.get(each["user"], {}).get("tree") != states[each["user"]]["tree"]
            or refusals.pending(told[each["user"]])
        )
    ]


def _states(hosts, users, run):
    plan = {**converter.plan(hosts.site, run, [], 1), "users": users}
    return converter.read(hosts, hosts.site.roles.new, plan, "state")["users"]


def said(counts: dict) -> str:
    """`3 messages appended, 12 flags changed`; "nothing" when nothing is."""
    return ", ".join(f"{number} {what}" for what, number in counts.items()) or "nothing"


def total(listed) -> dict:
    """The sums of several users' counts."""
    sums = {}
    for counts in listed:
        for what, number in counts.items():
            sums[what] = sums.get(what, 0) + number
    return sums


def _told(note):
    """A user's note in a line; nothing when there is nothing to tell."""
    if not note["done"] and not note["left"] and not note.get("behind"):
        return ""
    return (
        f"{note['user']}: {said(note['done'])}"
        + "".join(f"; not carried: {text}" for text in note["left"])
        + "".join(
            f"; on the new server only: {refusals.told(each)}" for each in note.get("behind", [])
        )
    )


def place(hosts, aside: str, run: str, entry: dict):
    """→ a function of an old folder's name: makes the directory in which c-client keeps its removed messages for this user, and
    gives the name of the folder's copy there"""

    def named(folder):
        hosts.run(
            hosts.site.roles.old,
            [
                "sh",
                "-c",
                _PLACE,
                "place",
                aside,
                run,
                entry["user"],
                str(entry["uid"]),
                str(entry["gid"]),
            ],
            sudo=True,
        )
        return carrying.name_aside(f"{aside}/{run}/{entry['user']}", folder)

    return named


def write_note(hosts, aside: str, run: str, note: dict):
    """A user's note, on the old host."""
    folder, old = f"{aside}/{run}/.carried", hosts.site.roles.old
    hosts.run(old, ["mkdir", "-p", "-m", "0711", aside, f"{aside}/{run}"], sudo=True)
    hosts.run(old, ["mkdir", "-p", "-m", "0700", folder], sudo=True)
    hosts.ssh(old).put(
        json.dumps(note, sort_keys=True).encode(), f"{folder}/{note['user']}.json", sudo=True
    )


@dataclasses.dataclass(frozen=True)
class CarryBack(model.Change):
    """Carry users' new state from the new host to the old folders, through c-client; see carrying.

    Both hosts must be closed: nothing may move while it compares. What is to be done is worked out then, user by user, and
    looked at again afterwards. A note on the old host says that a user is done; without it the comparison is made anew, which
    finds what is still missing.
    """

    kind: ClassVar[str] = "carry-back"
    no_inverse: ClassVar[str] = (
        "what was carried back is the users' own and stays on the old host; messages removed from its "
        "folders are kept in its set-aside directory, and the new host's trees are set aside whole"
    )
    host: str  # the old one
    run: str
    aside: str  # directory of the old host
    users: list  # the users' entries of the store's plan
    without: list = dataclasses.field(
        default_factory=list
    )  # names of users to go on without, as far as they are refused

    def title(self):
        return f"carry back what {len(self.users)} users did on the new server" + (
            f", and go on without {', '.join(self.without)}" if self.without else ""
        )

    def describe(self):
        return "\n".join(
            [
                "for each user, read by `imapd` and `doveadm exec imap` (PREAUTH), compared with what the conversion took over:",
                "RENAME, CREATE, SUBSCRIBE folders",
                "APPEND what the new server alone has (flags, INTERNALDATE); STORE flags changed there",
                f"UID EXPUNGE what was removed there, after UID COPY to {self.aside}/{self.run}/USER/FOLDER",
                f"{', '.join(each['user'] for each in self.users)}",
                *(
                    [
                        f"what is refused of {', '.join(self.without)} stops nothing: it is noted, and stays on the new server"
                    ]
                    if self.without
                    else []
                ),
            ]
        )

    def settled(self, ctx):
        left = _waiting(
            self.users, notes(ctx.hosts, self.run), _states(ctx.hosts, self.users, self.run)
        )
        return model.Settled(
            not left, f"{len(self.users) - len(left)} of {len(self.users)} users carried back"
        )

    def apply(self, ctx, report):
        self._closed(ctx.hosts)
        states = _states(ctx.hosts, self.users, self.run)
        before = notes(ctx.hosts, self.run)
        listed, problems, done = _waiting(self.users, before, states), {}, []
        told = [
            _told(before[user])
            for user, state in states.items()
            if before.get(user, {}).get("tree") == state["tree"]
        ]
        with concurrent.futures.ThreadPoolExecutor(ctx.site.verify.parallel) as pool:
            futures = {
                pool.submit(self._user, ctx, entry, states[entry["user"]], report): entry[
                    "user"
                ]
                for entry in listed
            }
            for future in concurrent.futures.as_completed(futures):
                user = futures[future]
                try:
                    note = future.result()
                except BaseException as error:
                    if not isinstance(error, errors.CutoverError) or error.outcome_unknown:
                        pool.shutdown(wait=False, cancel_futures=True)
                        raise
                    problems[user] = error
                    report({"event": "error", "user": user, "what": str(error)})
                    continue
                report(
                    {"event": "log", "text": f"{user} carried back: {said(note['done'])}", **note}
                )
                done.append(note["done"])
                told.append(_told(note))
        if problems:
            names = sorted(problems)
            failed = model.ChangeFailed(
                "\n".join(
                    [
                        f"{self.host}: of {len(names)} users not all could be carried back; "
                        f"the other {len(listed) - len(names)} are done.",
                        *(f"- {user}: {problems[user]}" for user in names[:SHOWN]),
                        *([f"- and {len(names) - SHOWN} more"] if len(names) > SHOWN else []),
                        "Mend the cause (room, quota, owner and mode of the folder's file) and run this step again: it goes on with what "
                        f"is missing. Or go on without: run it again with `without` set to {','.join(sorted({*names, *self.without}))} "
                        "(`cutover rollback --without USER …`); what was refused of them then stays on the new server, and a later "
                        "rollback of this run carries it.",
                    ]
                )
            )
            failed.outcome_unknown = any(
                isinstance(error, imap.SessionLost) for error in problems.values()
            )
            raise failed
        return "\n".join([f"{len(listed)} users: {said(total(done))}", *sorted(filter(None, told))])

    def _closed(self, hosts):
        for name in hosts.site.mail_hosts:
            at = [
                port
                for port, is_open in ports.accepting(hosts, name, ports.MAIL_PORTS).items()
                if is_open
            ]
            if at:
                raise model.ChangeFailed(
                    f"{name} still answers on port {', '.join(at)}: mail would move while both sides are "
                    "compared. Stop that service and run this step again."
                )

    def _user(self, ctx, entry, state, report):
        user = entry["user"]
        try:
            did, missing, refused = carrying.carry(
                ctx,
                entry,
                state,
                place(ctx.hosts, self.aside, self.run, entry),
                lambda text: report({"event": "log", "user": user, "text": f"{user}: {text}"}),
            )
        except imap.ImapError as error:
            if user not in self.without:
                raise
            did, (missing, refused) = (
                carrying.Wanted(),
                carrying.unknown(ctx, entry, state, str(error)),
            )
        counts, lacks = did.counts(), missing.counts() if did is not missing else {}
        left = list(missing.left)
        if lacks or refused.behind or refused.texts:
            if user not in self.without:
                raise model.ChangeFailed(
                    "; ".join(
                        filter(
                            None,
                            [
                                f"carried: {said(counts)}; not carried: {said(lacks)}"
                                if lacks
                                else "",
                                str(refused),
                            ],
                        )
                    )
                )
            left += [*refused.texts, *([f"gone on without: {said(lacks)}"] if lacks else [])]
        note = {
            "user": user,
            "tree": state["tree"],
            "at": round(time.time(), 3),
            "done": counts,
            "left": left,
            "notes": missing.notes,
        }
        if lacks or refused.behind:
            note.update(behind=refused.behind, later=refused.later, entry=entry)
        write_note(ctx.hosts, self.aside, self.run, note)
        return note
