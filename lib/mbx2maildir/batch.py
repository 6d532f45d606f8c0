"""Conversion of many users by a pool of processes; the events say what became of each.

A user passes through: settle (published already?) → prepare → folders → finish → sync → late mail
→ swap → later mail. Whatever reads or writes what is the user's is a task, done by a process that
is that user; here only whole trees are made and renamed. Folders of one user are spread over the
workers in parts of about ranges.PART_BYTES, one large folder too; one syncfs serves all users that
wait for it.
"""

import os
import time

from mbx2maildir import errors, pace, plan_file, pool, tasks
from mbx2maildir.convert import ranges
from mbx2maildir.publish import claims, containers, late_mail, publish, syscalls

PROGRESS_SECONDS = 1.0
SUMS = ("messages", "bytes", "expunged", "matched", "appended")
LISTED = 50  # of what a user may have any number of: an event is one line; the state has all
DONE = ("published", "already", "failed", "left_out", "staged")


class Conversion:
    """One run over a plan. run() → totals; nothing of it raises for the fault of a single user."""

    def __init__(self, plan, emit):
        self.plan, self.emit = plan, emit
        # of the plan, what a task may know: nothing of other users
        self.settings = {key: value for key, value in plan.items() if key != "users"}
        self.users = {}
        for user in plan["users"]:
            self.locate(dict(user, run=plan["run"], host=plan["host"]))
        # nobody works while convert-users runs, and all wait for it
        self.pace = plan.get("pace") if plan.get("presync") else None
        self.pool = pool.Pool(plan["jobs"], governor=self.pace and pace.Governor(self.pace))
        self.active, self.staged, self.syncing = {}, [], False
        self.totals = dict.fromkeys(("users", *DONE, *SUMS, "late", "warnings"), 0)
        self.totals["users"] = len(self.users)
        self.progress, self.asleep = {"messages": 0, "bytes": 0}, 0.0

    def locate(self, user):
        """Note a user with the places to which the user's processes write."""
        places = containers.paths(self.plan, user)
        own = {area: os.fsdecode(places[area]) for area in ("staging", "index", "salvage")}
        self.users[user["user"]] = dict(user, **own)

    def run(self):
        """Errors: NoSpace, PublishError, BadPlan, when not even a beginning can be made."""
        containers.make_areas(self.plan)
        plan_file.check_places(self.plan)
        with publish.lock(self.plan):
            return self.run_locked()

    def run_locked(self):
        started = time.monotonic()
        if not self.plan.get("claims"):
            containers.empty_trash(self.plan)
        self.emit(
            "start",
            run=self.plan["run"],
            users=len(self.users),
            jobs=self.pool.jobs,
            host=self.plan["host"],
        )
        if self.pace:
            self.emit("pace", refused=pace.lower(self.pace), **self.pace)
        for user in self.users.values():
            self.go_on("settle", user["user"], None)
        shown_at = started
        try:
            while self.pool.pending() or self.staged:
                if self.staged and not self.syncing:
                    batch, self.staged, self.syncing = self.staged, [], True
                    self.pool.submit(("sync", batch), tasks.task_sync, self.settings)
                for tag, kind, value in self.pool.wait(PROGRESS_SECONDS / 2):
                    self.handle(tag, kind, value)
                if time.monotonic() - shown_at >= PROGRESS_SECONDS:
                    shown_at = time.monotonic()
                    self.say_progress()
        finally:
            self.pool.close()
        if self.plan.get("presync"):
            syscalls.syncfs(
                os.fsencode(self.plan["work"])
            )  # what is on disk now need not be written in the outage
        self.say_progress()
        if self.pace:
            self.totals["asleep"] = round(self.asleep / self.pool.jobs, 3)
        self.emit(
            "end",
            ok=not self.totals["failed"],
            seconds=round(time.monotonic() - started, 3),
            **self.totals,
        )
        return self.totals

    def say_progress(self):
        done = sum(self.totals[key] for key in DONE)
        self.emit("progress", users_done=done, users=len(self.users), **self.progress)

    def handle(self, tag, kind, value):
        step, name = tag
        if kind == "progress":
            self.progress["messages"] += value[0]
            self.progress["bytes"] += value[1]
            self.asleep += value[2]
        elif kind == "failed":
            self.syncing = self.syncing and step != "sync"
            for failed in name if step == "sync" else [name]:
                self.fail(failed, value)
        elif step == "sync":
            self.syncing = False
            for synced in name:
                self.go_on("sync", synced, value)
        else:
            self.go_on(step, name, value)

    def go_on(self, step, name, value):
        """What comes after a task. What it answered may be anything: it fails its user at most."""
        try:
            getattr(self, "after_" + step)(name, value)
        except Exception as error:
            self.fail(name, errors.describe(error))

    def ask(self, step, name, function, *arguments, urgent=True, first=False):
        """Have a task done by a process that is the user."""
        self.pool.submit(
            (step, name),
            function,
            self.settings,
            *arguments,
            user=self.users[name],
            urgent=urgent,
            first=first,
        )

    def fail(self, name, values):
        """Report a user's first failure. Its other tasks run to their end."""
        state = self.active.setdefault(name, {"failed": False})
        if not state["failed"]:
            state["failed"] = True
            self.totals["failed"] += 1
            self.emit("error", user=name, **claims.cause(self.plan, self.users[name], values))

    def after_settle(self, name, _value):
        if self.plan.get("claims"):
            self.locate(claims.take(self.plan, self.users[name]))
        user = self.users[name]
        if name in self.plan.get("without", ()):
            publish.leave_out(self.plan, user)
            claims.release(self.plan, user)
            self.totals["left_out"] += 1
            self.emit("left-out", user=name)
            return
        published = publish.settle(self.plan, user)
        if published is not None:
            claims.release(self.plan, user)
            self.totals["already"] += 1
            self.add_totals(published)
            sums = {key: published[key] for key in ("messages", "bytes")}
            self.emit("already", user=name, **sums)
            return
        publish.expect_unused(containers.paths(self.plan, user))
        user["tree_id"], user["fresh"] = publish.make_trees(self.plan, user)
        self.ask("prepare", name, tasks.task_prepare, user, urgent=False)

    def after_prepare(self, name, prepared):
        user = self.users[name]
        items = [(prepared["inbox"], b"", prepared["spool"])] + [
            (file, folder, None) for file, folder in prepared["folders"]
        ]
        parts = ranges.split(items)
        new = prepared["new"]
        self.active[name] = {
            "failed": False,
            "prepared": prepared,
            "results": [],
            "parts": len(parts),
            "splits": {},
        }
        self.emit(
            "user",
            user=name,
            folders=len(items),
            bytes=prepared["bytes"],
            new_side=len(new.messages) if new else 0,
        )
        for part in parts:
            self.ask("folders", name, tasks.task_folders, user, part, new.folders if new else {})

    def after_folders(self, name, results):
        state = self.active[name]
        if state["failed"]:
            return
        state["parts"] -= 1
        for split in results:
            if "job" in split:
                self.spread(name, state, split)
        results = [result for result in results if "job" not in result]
        state["results"] += results
        for result in results:
            self.emit(
                "folder",
                user=name,
                folder=errors.printable(result["folder"]) or "INBOX",
                messages=result["messages"],
                bytes=result["bytes"],
                expunged=result["expunged"],
                written=result["written"],
                renamed=result["renamed"],
                removed=result["removed"],
                unchanged=result["unchanged"],
                warnings=result["warnings"][:LISTED],
                damage=result["damage"][:LISTED],
                seconds=round(result.pop("seconds"), 3),
            )  # no part of what is kept of a conversion
        if not state["parts"] and self.plan.get("presync"):
            self.after_presync(name, state["results"])
        elif not state["parts"]:
            self.ask(
                "finish",
                name,
                tasks.task_finish,
                self.users[name],
                state.pop("prepared"),
                state.pop("results"),
            )

    def spread(self, name, state, split):
        """Have a large folder written by ranges; the task that joins them then takes the
        folder's place."""
        shares = ranges.jobs(split["job"])
        state["splits"][split["item"][1]] = dict(split, parts=[], left=len(shares))
        state["parts"] += 1
        for number, limits in enumerate(shares):
            self.ask("range", name, tasks.task_range, self.users[name], split, number, limits)

    def after_range(self, name, value):
        state = self.active[name]
        if state["failed"]:
            return
        split = state["splits"][value["split"]]
        split["parts"].append(value["part"])
        split["seconds"] += value["seconds"]
        split["left"] -= 1
        if not split["left"]:
            self.ask("folders", name, tasks.task_join, self.users[name], split, split.pop("parts"))

    def after_presync(self, name, results):
        """The user's tree is as far as it can be before the outage."""
        sums = {
            key: sum(result[key] for result in results)
            for key in ("messages", "bytes", "written", "renamed", "removed", "unchanged")
        }
        at = round(time.time(), 3)
        publish.note_staged(self.plan, self.users[name], True, folders=len(results), at=at)
        claims.release(self.plan, self.users[name])
        self.totals["staged"] += 1
        for key in sums:
            self.totals[key] = self.totals.get(key, 0) + sums[key]
        self.emit("staged", user=name, folders=len(results), **sums)
        del self.active[name]

    def after_finish(self, name, value):
        state = self.active[name]
        if not state["failed"]:
            state["values"], state["known"] = value
            values = dict(state["values"], known=late_mail.as_names(state["known"]))
            publish.note_staged(self.plan, self.users[name], False, complete=True, **values)
            self.staged.append(name)

    def after_sync(self, name, _value):
        known, user = self.active[name]["known"], self.users[name]
        if os.path.lexists(containers.paths(self.plan, user)["live"]):
            self.ask("late", name, late_mail.task_late, user, known, "", first=True)
        else:  # what comes from here on is found by the look after the swap
            self.after_late(name, (0, known))

    def after_late(self, name, value):
        """Put the tree in its place, then look once more at the one it replaced."""
        state, user = self.active[name], self.users[name]
        state["late"], known = value
        if replaced := publish.swap(self.plan, user):
            self.ask("later", name, late_mail.task_late, user, known, replaced, first=True)
        else:
            self.write_down(name)

    def after_later(self, name, value):
        self.active[name]["late"] += value[0]
        self.write_down(name)

    def write_down(self, name):
        """That the user is published. It waits for the disk: nobody's task."""
        task = (publish.task_finish, self.settings, self.users[name], self.active[name]["late"])
        self.pool.submit(("published", name), *task)

    def after_published(self, name, _value):
        late, values = self.active[name]["late"], self.active[name]["values"]
        claims.release(self.plan, self.users[name])
        del self.active[name]
        self.totals["published"] += 1
        self.totals["late"] += late
        self.add_totals(values)
        warnings = list(values["warnings"])
        if late:
            warnings.append(
                "{} messages arrived on the new side during the conversion; they are in the "
                "published tree".format(late)
            )
        self.emit(
            "published",
            user=name,
            folders=len(values["folders"]),
            warnings=warnings[:LISTED],
            passed=values["passed"][:LISTED],
            renamed=values["renamed"][:LISTED],
            **{key: values[key] for key in SUMS},
        )

    def add_totals(self, values):
        for key in SUMS:
            self.totals[key] += values[key]
        self.totals["warnings"] += len(values["warnings"]) + sum(
            len(entry["warnings"]) for entry in values["folders"]
        )


def convert(plan, emit):
    """Convert all users of a checked plan → totals; totals["failed"] counts those that are not
    published."""
    return Conversion(plan, emit).run()


def unpublish(plan, emit):
    """Give every user of a plan the replaced tree back → {"unpublished", "not_published",
    "failed"}: numbers of users."""
    counts = {"unpublished": 0, "not_published": 0, "failed": 0}
    containers.make_areas(plan)
    with publish.lock(plan):
        for user in plan["users"]:
            try:
                outcome = publish.unpublish(plan, user).replace(" ", "_")
                emit(outcome.replace("_", "-"), user=user["user"])
            except Exception as error:
                outcome = "failed"
                emit("error", user=user["user"], **errors.describe(error))
            counts[outcome] += 1
    emit("end", ok=not counts["failed"], **counts)
    return counts
