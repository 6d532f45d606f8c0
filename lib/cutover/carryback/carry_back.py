"""The change "carry-back": copy every user's new state back to the old server.

What the old server refuses stops the rollback once everything else is copied, unless the person
who approves it names the user in `without`. Then it is written down in the user's note and stays
on the new server; see left_behind.
"""

import concurrent.futures
import dataclasses
import time
from typing import ClassVar

from cutover import model
from cutover.carryback import estimate, execute, notes, published
from cutover.carryback.notes import Note
from cutover.carryback.refused import refusals_text
from cutover.carryback.set_aside import SetAside
from cutover.connect import imap
from cutover.facts import ports
from cutover.model import errors

SHOWN = 20  # users listed in full, of those whose mail cannot be copied


@dataclasses.dataclass(frozen=True)
class CarryBack(model.Change):
    """Copy users' new state from the new server to the old folders, through c-client.

    Both servers must be closed: nothing may move during the comparison. What to do is worked out
    then, user by user, and checked again afterwards. A note on the old server says that a user is
    done; without it the comparison is made again and finds what is still missing.
    """

    kind: ClassVar[str] = "carry-back"
    no_inverse: ClassVar[str] = (
        "what is copied back belongs to the users and stays on the old server; messages removed "
        "from its folders are kept in its set-aside directory, and the new server's trees are set "
        "aside whole"
    )
    host: str  # the old one
    run: str
    aside: str  # directory of the old host
    users: list  # the users' entries of the store's plan
    without: list = dataclasses.field(default_factory=list)  # users whose refusals do not stop it

    def title(self):
        without = f", and continue without {', '.join(self.without)}" if self.without else ""
        return f"carry back what {len(self.users)} users did on the new server{without}"

    def describe(self):
        lines = [
            "for each user, read by `imapd` and `doveadm exec imap` (PREAUTH), compared with what "
            "the conversion took over:",
            "RENAME, CREATE, SUBSCRIBE folders",
            "APPEND what only the new server has (flags, INTERNALDATE); STORE flags changed there",
            "UID EXPUNGE what was removed there, after UID COPY to "
            f"{self.aside}/{self.run}/USER/FOLDER",
            ", ".join(entry["user"] for entry in self.users),
        ]
        if self.without:
            lines.append(
                f"what is refused of {', '.join(self.without)} stops nothing: it is noted, and "
                "stays on the new server"
            )
        return "\n".join(lines)

    def settled(self, ctx):
        done = notes.read(ctx.hosts, self.run)
        trees = published.trees(ctx.hosts, self.users, self.run)
        left = estimate.waiting(ctx.hosts, self.run, self.users, done, trees)
        return model.Settled(
            not left, f"{len(self.users) - len(left)} of {len(self.users)} users carried back"
        )

    def apply(self, ctx, report):
        self._require_closed(ctx.hosts)
        trees = published.trees(ctx.hosts, self.users, self.run)
        before = notes.read(ctx.hosts, self.run)
        listed = estimate.waiting(ctx.hosts, self.run, self.users, before, trees)
        written, failures = self._copy_all(ctx, listed, trees, report)
        try:
            self._keep_trees(ctx.hosts, listed, written)
        except (errors.CutoverError, ValueError) as error:  # then each is compared again
            report({"event": "log", "text": f"how the trees are was not kept: {error}"})
        if failures:
            raise self._failure(failures, len(listed))
        same_tree = [
            before[user]
            for user, tree in trees.items()
            if user in before and before[user].tree == tree.tree
        ]
        texts = filter(None, map(notes.result_text, [*same_tree, *written]))
        sums = notes.total(note.done for note in written)
        return model.Result(
            "\n".join([f"{len(listed)} users: {notes.counts_text(sums)}", *sorted(texts)]),
            {"users": len(listed), "done": sums},
        )

    def _keep_trees(self, hosts, listed, written):
        """How the trees are to which the notes apply. Both servers are closed."""
        names = {note.user for note in written}
        if names:
            entries = [entry for entry in listed if entry["user"] in names]
            now = published.signatures(hosts, entries, self.run)
            kept = {**notes.read_trees(hosts, self.run), **now}
            notes.keep_trees(hosts, self.aside, self.run, kept)

    def _require_closed(self, hosts):
        for name in hosts.site.mail_hosts:
            accepting = ports.accepting(hosts, name, ports.MAIL_PORTS)
            answering = [port for port, is_open in accepting.items() if is_open]
            if answering:
                raise model.ChangeFailed(
                    f"carrying back failed on {name}: port {', '.join(answering)} still answers, "
                    "so mail would move during the comparison. Stop that service, then run this "
                    "step again."
                )

    def _copy_all(self, ctx, entries, trees, report):
        """Several users at a time. Returns (notes written, {user: error})."""
        written, failures = [], {}
        with concurrent.futures.ThreadPoolExecutor(ctx.site.verify.parallel) as pool:
            futures = {
                pool.submit(self._copy_user, ctx, entry, trees[entry["user"]], report): entry[
                    "user"
                ]
                for entry in entries
            }
            for future in concurrent.futures.as_completed(futures):
                user = futures[future]
                try:
                    note = future.result()
                except BaseException as error:
                    if not isinstance(error, errors.CutoverError) or error.outcome_unknown:
                        pool.shutdown(wait=False, cancel_futures=True)
                        raise
                    failures[user] = error
                    report({"event": "error", "user": user, "what": str(error)})
                    continue
                text = f"{user} carried back: {notes.counts_text(note.done)}"
                report({"event": "log", "text": text, **note.to_json()})
                written.append(note)
        return written, failures

    def _failure(self, failures, count):
        names = sorted(failures)
        without = ",".join(sorted({*names, *self.without}))
        lines = [
            f"{self.host}: carrying back failed for {len(names)} of {count} users; the others are "
            "done.",
            *(f"- {user}: {failures[user]}" for user in names[:SHOWN]),
        ]
        if len(names) > SHOWN:
            lines.append(f"- and {len(names) - SHOWN} more")
        lines.append(
            "Fix the cause (disk space, quota, owner and mode of the folder's file), then run this "
            "step again: it resumes with what is missing. Or continue without these users: run it "
            f"with `without` set to {without} (`./cutover rollback --run DIR --without USER`). "
            "What was refused then stays on the new server, and a later rollback of this run "
            "copies it."
        )
        failure = model.ChangeFailed("\n".join(lines))
        failure.outcome_unknown = any(
            isinstance(error, imap.SessionLost) for error in failures.values()
        )
        return failure

    def _copy_user(self, ctx, entry, tree, report) -> Note:
        """Copy one user's state and write the note. Raises ChangeFailed for what was refused."""
        user, aside = entry["user"], SetAside(ctx.hosts, self.aside, self.run, entry)

        def report_text(text):
            report({"event": "log", "user": user, "text": f"{user}: {text}"})

        try:
            outcome = execute.copy_back(ctx, entry, tree, aside, report_text)
        except (imap.ImapError, published.RecordUnreadable) as error:
            if user not in self.without:
                raise
            outcome = execute.only_look(ctx, entry, tree, str(error))
        if not outcome.complete and user not in self.without:
            raise model.ChangeFailed(_incomplete_text(outcome))
        note = _note(entry, tree, outcome)
        notes.write(ctx.hosts, self.aside, self.run, note)
        return note


def _incomplete_text(outcome):
    missing = outcome.missing.counts()
    texts = [refusals_text(outcome.refusals, outcome.behind)]
    if missing:
        done = notes.counts_text(outcome.done.counts())
        texts.insert(0, f"copied: {done}; not copied: {notes.counts_text(missing)}")
    return "; ".join(filter(None, texts))


def _note(entry, tree, outcome):
    missing, left = outcome.missing.counts(), list(outcome.missing.problems)
    if not outcome.complete:
        left += outcome.refusals.general.values()
        if missing:
            left.append(f"continued without: {notes.counts_text(missing)}")
    note = Note(
        user=entry["user"],
        tree=tree.tree,
        at=round(time.time(), 3),
        done=outcome.done.counts(),
        left=left,
        notes=outcome.missing.notes,
    )
    if missing or outcome.behind:
        note = dataclasses.replace(note, behind=outcome.behind, later=outcome.later, entry=entry)
    return note
