"""Mail that a rollback continued without, and the change "leave-behind" that keeps it.

The notes on the old server say which messages these are, under "behind". Before the published
trees are set aside, the store links these messages into the trees that come back. A later
conversion finds them there.
"""

import collections
import dataclasses
import functools
from typing import ClassVar

from cutover import model
from cutover.carryback import notes, published
from cutover.carryback.notes import LeftMessage, Note
from cutover.facts import mailboxes
from cutover.remote import converter

LIST = "left_behind.tsv"  # in the run's folder
_COLUMNS = ("user", "folder", "UID", "Message-ID", "folder on the old server")
SHOWN = 50  # messages in the change's result


def read(hosts, run: str | None = None) -> dict[str, Note]:
    """`{user: Note}` of users whose mail is only on the new server, of one run or of all.

    Users whose mail was converted again since are left out: the conversion took it over.
    """
    if run is None:
        pending = notes.read_pending(hosts)
    else:
        pending = {user: note for user, note in notes.read(hosts, run).items() if note.pending}
    if not pending:
        return {}
    trees = published.trees(hosts, [note.entry for note in pending.values()], run or "RUN")
    return {
        user: note
        for user, note in sorted(pending.items())
        if not _converted_since(trees[user], note)
    }


def _converted_since(tree, note):
    return tree.live_since is not None and tree.live_tree != note.tree and tree.live_since > note.at


@dataclasses.dataclass(frozen=True)
class LeaveBehind(model.Change):
    """Keep what was refused in the trees that come back, and list it in the run's folder."""

    kind: ClassVar[str] = "leave-behind"
    no_inverse: ClassVar[str] = (
        "it is the users' mail, and stays until it is carried back or converted"
    )
    host: str  # the new one
    run: str
    work: str
    users: list  # the entries of the store's plan, of the users to continue without

    def title(self):
        names = ", ".join(entry["user"] for entry in self.users)
        return f"keep in the Maildirs what was refused of {names}"

    def describe(self):
        program = f"{self.work}/{self.run}/{converter.PROGRAM}"
        lines = [f"{program} leave --plan leave.plan.json --events leave.events"]
        lines += [
            f"{entry['user']}: what the old server refused is linked into the tree that comes back "
            f"to {entry['maildir']}"
            for entry in self.users
        ]
        return "\n".join([*lines, f"{LIST} in the run's folder names the files"])

    def settled(self, ctx):
        return model.Settled(False, "it is done each time it is asked for")

    def apply(self, ctx, report):
        listed = notes.read(ctx.hosts, self.run)
        behind = {
            entry["user"]: listed[entry["user"]].behind
            for entry in self.users
            if entry["user"] in listed and listed[entry["user"]].behind
        }
        if not behind:
            return model.Result("nothing was refused", {"messages": 0})
        files = self._link(ctx, behind, report)
        directory = functools.partial(mailboxes.directory, ctx.site)
        rows = [
            _row(user, message, files[user, directory(message.folder), message.uid])
            for user, messages in sorted(behind.items())
            for message in messages
        ]
        columns = (*_COLUMNS, f"file on {self.host}", "why")
        ctx.keep(LIST, _tab_separated([columns, *rows]))
        lines = [f"{len(rows)} messages of {len(behind)} users kept, listed in {LIST}"]
        lines += [f"{row[0]}: {row[1]} UID {row[2]} {row[3]}: {row[5]}" for row in rows[:SHOWN]]
        return model.Result("\n".join(lines), {"messages": len(rows)})

    def _link(self, ctx, behind, report) -> dict[tuple[str, str, int], str]:
        """Have the store link the messages: `{(user, Maildir name, UID): file}`."""
        failures, files = [], {}

        def event(data):
            report(data)
            if data.get("event") == "error":
                failures.append(f"{data['user']}: {data['file']}: {data['what']}")
            elif data.get("event") == "kept":
                for kept in data["files"]:
                    files[data["user"], kept["folder"], kept["uid"]] = kept["file"]

        users = [
            {**entry, "keep": _uids_by_folder(ctx.site, behind[entry["user"]])}
            for entry in self.users
            if entry["user"] in behind
        ]
        plan = {**converter.plan(ctx.site, self.run, [], 1), "users": users}
        ended = converter.run(ctx.hosts, self.host, plan, "leave", event)
        if failures or ended.rc:
            reason = "; ".join(failures) or ended.err.strip()[-500:]
            raise model.ChangeFailed(
                f"keeping refused mail failed on {self.host}: {reason}. Nothing was set aside yet. "
                "Fix the cause, then run this step again."
            )
        return files


def _uids_by_folder(site, messages: list[LeftMessage]) -> dict[str, list[int]]:
    uids = collections.defaultdict(list)
    for message in messages:
        uids[mailboxes.directory(site, message.folder)].append(message.uid)
    return dict(uids)


def _row(user, message, file):
    identity = (user, message.folder, str(message.uid), message.message_id)
    return (*identity, message.to, file, message.why)


def _tab_separated(rows) -> bytes:
    lines = (
        "\t".join(cell.replace("\t", " ").replace("\n", " ") for cell in row) + "\n" for row in rows
    )
    return "".join(lines).encode("utf-8", "surrogateescape")
