"""A mail program fills a copy of a test user's mail before the night, and runs again after it."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import ClassVar

from cutover import model
from cutover.facts import mail_program
from cutover.model import errors


@dataclasses.dataclass(frozen=True)
class _ProgramChange(model.Change):
    user: str
    place: str  # a directory of this machine, for nothing else

    @property
    def target(self):
        return "this machine"

    @property
    def resource(self):
        return f"{self.place} on this machine"

    def settled(self, ctx):
        return model.Settled(False, "it is run each time it is asked for")

    def _run_text(self):
        return f"{mail_program.PROGRAM} -q -c {self.place}/{mail_program.SETTINGS} all"


@dataclasses.dataclass(frozen=True)
class StartMailProgram(_ProgramChange):
    """Set the program up for a test user, and let it fetch everything from the old server.

    It never fails: without a copy, production-test has nothing to compare with, and says so.
    """

    kind: ClassVar[str] = "mail-program"

    def title(self):
        return f"have a mail program fetch the mail of {self.user}, as before the move"

    def describe(self):
        return f"{self._run_text()}   (as {self.user}, with the old folder names; it only pulls)"

    def apply(self, ctx, report) -> model.Result:
        place = Path(self.place)
        try:
            (place / mail_program.COPY).mkdir(0o700, parents=True, exist_ok=True)
            place.chmod(0o700)
            text = mail_program.settings(ctx.site, self.user, place)
            (place / mail_program.SETTINGS).write_text(text)
            status = mail_program.run(ctx.hosts, self.user, place)
            folders = mail_program.folders(place)
            if folders:
                kept = {"status": status, "folders": folders}
                (place / mail_program.BEFORE).write_text(json.dumps(kept))
        except (errors.CutoverError, OSError) as error:
            return model.Result(f"not done: {error}", {"status": None})
        count = sum(len(folder["messages"]) for folder in folders.values())
        return model.Result(
            f"exit status {status}; {count} messages in {len(folders)} folders",
            {"status": status, "folders": len(folders), "messages": count},
        )

    def inverse(self):
        return RemoveMailProgram(self.user, self.place)


@dataclasses.dataclass(frozen=True)
class RunMailProgram(_ProgramChange):
    """Run the program again, unchanged, and compare its copy. Without a fault the copy goes."""

    kind: ClassVar[str] = "mail-program-again"
    no_inverse: ClassVar[str] = "it only reads; the undo of its first run removes what is left"

    def title(self):
        return f"run the mail program of {self.user} again"

    def describe(self):
        return (
            f"{self._run_text()}   (unchanged settings)\n"
            f"folders, messages and flags are compared with {self.place}/{mail_program.BEFORE}; "
            f"without a fault, {self.place}/{mail_program.COPY} is removed"
        )

    def apply(self, ctx, report) -> model.Result:
        place = Path(self.place)
        before = json.loads((place / mail_program.BEFORE).read_bytes())
        status = mail_program.run(ctx.hosts, self.user, place)
        lost = [
            name
            for name in (before["folders"] if status else ())
            if "," not in name  # it separates names
            and mail_program.run(ctx.hosts, self.user, place, name)
        ]
        outcome = mail_program.compare(before, mail_program.folders(place), status, lost)
        figures = dataclasses.asdict(outcome)
        (place / mail_program.OUTCOME).write_text(json.dumps(figures))
        if outcome.passed:
            (place / mail_program.BEFORE).unlink()
            (place / mail_program.SETTINGS).unlink()
            shutil.rmtree(place / mail_program.COPY)
        return model.Result(
            f"exit status {status}; {len(lost)} of {outcome.folders} folders cannot be opened, "
            f"{outcome.again} messages transferred again",
            figures,
        )


@dataclasses.dataclass(frozen=True)
class RemoveMailProgram(_ProgramChange):
    """Remove the program's settings and its copy."""

    kind: ClassVar[str] = "mail-program-remove"
    no_inverse: ClassVar[str] = "presync makes another copy"

    def title(self):
        return f"remove the mail program's copy of the mail of {self.user}"

    def describe(self):
        return f"rm -rf -- {self.place}"

    def settled(self, ctx):
        there = Path(self.place).exists()
        return model.Settled(not there, f"{self.place} {'exists' if there else 'is gone'}")

    def apply(self, ctx, report) -> model.Result:
        shutil.rmtree(self.place)
        return model.Result("removed")
