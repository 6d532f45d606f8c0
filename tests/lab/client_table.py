"""Measure what users' mail programs notice of a night, and write docs/clients.md.

As root, with the environment active:

    PYTHONPATH=tests/lab python -m lab.world clients python tests/lab/client_table.py

One night on the lab. The programs are configured on the old server and never again. They run
before the night, after it, then without the namespaces of new_store.compatibility, and when those
are back. The figures are kept in runs/clients.json; with --page only the page is written from it.
"""

import concurrent.futures
import datetime
import json
import sys
import tempfile
from pathlib import Path

import mail_programs
from cutover import site
from cutover.site import secrets
from lab import control
from night import Night, new_dovecot

PAGE = site.PROJECT / "docs/clients.md"
KEPT = site.PROJECT / "runs/clients.json"
USERS = ("walter", "rita")
HEADS = ("program", "folders", "fetched again", "errors", "flags kept")
INTRO = """\
# What mail programs notice

Users' mail programs were configured on the old server and ran there until they had nothing left to
fetch. Then the mail moved, and they ran again with the same settings. Every program reads the mail
of two users with five folders each. Measured on {date} in the lab, with Dovecot {dovecot} on the
new server:

```sh
PYTHONPATH=tests/lab python -m lab.world clients python tests/lab/client_table.py
```

"Folders" are those that the program still shows, of those it showed before. Messages "fetched again"
and errors are the sums of both users; the goal is 0. "Flags kept" is for programs that keep a copy
of all folders. mbsync has `Patterns INBOX mail/*` where no `Path` is given, OfflineIMAP `reference =
mail/`, mutt header and message caches and `folder = imaps://…/mail/`, alpine a folder collection
`mail/[]`; fetchmail and getmail leave mail on the server.

## With the old names

`new_store.compatibility: {compatibility}`, `new_store.listed: {listed}`
([folder names](site.md#folder-names)).
"""
DELETED = """\
UW's POP3 server hides messages marked `\\Deleted`, and Dovecot shows them. fetchmail and getmail fetch
these messages once; nothing else.
"""
WITHOUT = """\
## Without them

The same programs on the same new server, after the file `new_store.names_file` was taken away and
Dovecot reloaded. UIDs and UIDVALIDITY are kept here too, but the names lead nowhere.
"""
LOST = """\
Each error is a folder that the program cannot open, or a run that failed. mbsync and OfflineIMAP
still show their own copy of such a folder, which no longer changes. Roundcube shows the subscribed
folders under their new names.
"""
BACK = """\
## When the names are declared afterwards

The file is back, and the programs run once more
([a prefix that was forgotten](site.md#a-prefix-that-was-forgotten)).
"""
AT_YOUR_SITE = """\
## At your site

Install mbsync (package `isync`) on the machine from which you work. Then the night drives it
itself, for the first test user of `production_test.users`. presync sets it up with `Path` as
`old_store.imap_prefix` says, and lets it fetch all folders from the old server. production-test
runs it again, with the same settings. It fails if mbsync cannot open a folder that it had, and
names it; also if UIDVALIDITY changed or a message is transferred again. Flags that changed are a
warning: whoever uses this account after presync changes them too. If that happens, repeat presync
before stop-imap.

mbsync only pulls, and it changes nothing on the servers but `\\Recent`. Like any mail program, it
has the old server move mail from the spool to INBOX. Its copy of the test user's mail is next to
the run's folder, in a directory whose name begins with the run's and ends in `.aside`. It is
removed when production-test passes, or by a rollback. The password is in no file.

Without mbsync, preflight and production-test show a warning. So does production-test where
`new_store.compatibility` leaves out `old_store.imap_prefix`: then the folders are given up, and no
program is run. For all users, verify compares UIDVALIDITY, UIDs and flags of every folder and POP3
identifiers with Dovecot itself, and production-test asks for each test user's folders under each
old name.

To see it with a program of your own, set it up for a test user days before the night and let it
fetch everything. Start it again after production-test. It must show the same folders and fetch only
new mail.
"""


def measure(place: Path) -> dict:
    """The figures of one night, as plain JSON."""
    made = Night(place)
    made.values["new_store"]["listed"] = ["mail/"]
    made.write()
    store = made.site.new_store
    programs = [program(control, user) for program in mail_programs.ALL for user in USERS]
    fetched(programs)
    stages = {"before": fetched(programs)}
    made.up_to("restore-imap")
    stages["with"] = fetched(programs)
    for stage, moved in (
        ("without", f"mv {store.names_file} /root/names"),
        ("back", f"mv /root/names {store.names_file}"),
    ):
        control.run("mailboxvm", ["sh", "-c", f"{moved} && doveadm reload && sleep 2"])
        stages[stage] = fetched(programs)
    return {
        "date": datetime.date.today().isoformat(),
        "dovecot": new_dovecot(control).version,
        "compatibility": store.compatibility,
        "listed": store.listed,
        "stages": stages,
    }


def fetched(programs) -> dict:
    """`{program: {user: what a run of it did}}`, several at a time."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda program: program.fetch(), programs))
    by_name = {}
    for program, outcome in zip(programs, outcomes, strict=True):
        # programs that keep no copy show a count with each folder
        folders = {item[0] if isinstance(item, tuple) else item for item in outcome.folders}
        by_name.setdefault(program.name, {})[program.user] = {
            "folders": sorted(folders),
            "messages": outcome.messages,
            "errors": outcome.errors,
            "flags": sorted(
                [folder, "".join(sorted(flags)), count]
                for (folder, flags), count in outcome.flags.items()
            ),
        }
    return by_name


def page(figures: dict) -> str:
    """docs/clients.md as text."""
    stages = figures["stages"]
    listed = {key: f"[{', '.join(figures[key])}]" for key in ("compatibility", "listed")}
    intro = INTRO.format(**{**figures, **listed})
    return "\n".join(
        [
            intro,
            *_table(stages, "with"),
            "",
            DELETED,
            WITHOUT,
            *_table(stages, "without"),
            "",
            LOST,
            BACK,
            *_table(stages, "back"),
            "",
            AT_YOUR_SITE.rstrip(),
            "",
        ]
    )


def _table(stages, stage):
    yield f"| {' | '.join(HEADS)} |"
    yield "|" + "---|" * len(HEADS)
    for name, before in stages["before"].items():
        yield f"| {' | '.join(_row(name, before, stages[stage][name]))} |"


def _row(name, before, now):
    shown = sum(len({*before[user]["folders"]} & {*now[user]["folders"]}) for user in before)
    total = sum(len(before[user]["folders"]) for user in before)
    same = all(sorted(before[user]["flags"]) == sorted(now[user]["flags"]) for user in before)
    messages = sum(outcome["messages"] for outcome in now.values())
    copies, pop3 = (
        name in [program.name for program in programs]
        for programs in (mail_programs.KEEPING, mail_programs.POP3)
    )
    return [
        name,
        f"{shown} of {total}",
        str(messages) if copies or pop3 else "keeps no copy",
        str(sum(len(outcome["errors"]) for outcome in now.values())),
        ("yes" if same else "no") if copies else "–",
    ]


def main(arguments):
    if "--page" not in arguments:
        control.up()
        with tempfile.TemporaryDirectory(prefix="cutover-") as place:
            figures = secrets.redact_value(measure(Path(place)))
        KEPT.parent.mkdir(exist_ok=True)
        KEPT.write_text(json.dumps(figures, indent=1) + "\n")
    PAGE.write_text(page(json.loads(KEPT.read_text())))


if __name__ == "__main__":
    main(sys.argv[1:])
