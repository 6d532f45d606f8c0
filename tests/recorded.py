"""A small run, written by hand the way the engine writes one, with names that try to do harm."""

import json

from cutover.record import run_folder

HOSTILE = "<script>alert('x')</script>\x1b[31m\udcff"
CHECK = {
    "question": "Do the sums agree?",
    "expected": "2 messages",
    "actual": "2 messages",
    "passed": True,
    "warning": False,
    "todo": "nothing",
}


def step(run, name, checks=(CHECK,), passed=True, changes=(), facts=None, kind="rehearsal"):
    """One step's attempt, whole."""
    attempt = run.journal.append("step-begun", step=name, title=name)["seq"]
    common = {"step": name, "attempt": attempt}
    run.journal.append(
        "planned",
        hash="0123456789abcdef" * 4,
        reason="" if changes else "nothing to do",
        changes=list(changes),
        **common,
    )
    run.journal.append("approved", hash="0123456789abcdef" * 4, by=HOSTILE, kind=kind, **common)
    for number, change in enumerate(changes):
        intent = run.journal.append(
            "intent",
            number=number,
            title=change["title"],
            target=change["target"],
            change={},
            inverse=None,
            no_inverse="it stays",
            undoes=None,
            **common,
        )
        run.journal.append(
            "result", intent=intent["seq"], outcome="done", output="ok", seconds=0.1, **common
        )
    run.journal.append("applied", changes=len(changes), **common)
    if facts is not None:
        path, digest = run.keep(f"facts/{name}.{attempt}.after.json", json.dumps(facts).encode())
        run.journal.append("probed", when="after", facts=path, sha256=digest, **common)
    run.journal.append("verified", passed=passed, checks=list(checks), **common)


def row(folder_name, old, new, differences=()):
    return {
        "user": "alice",
        "old_name": folder_name,
        "new_name": folder_name,
        "old": old,
        "new": new,
        "extra": 0,
        "spool": 0,
        "differences": list(differences),
        "differing": len(differences),
        "lost": 0,
        "line_ends": 0,
        "notes": [],
        "unknown": False,
    }


def events(run, name, listed):
    """A transcript."""
    path = run.path / "transcripts" / f"{name}.events.jsonl"
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as out:
        for event in listed:
            out.write(json.dumps(event) + "\n")


def conversion(users=3, done=None, began=1000.0):
    """Events of a conversion of so many users.

    `done`: how many were published so far, with an end when all were.
    """
    listed = [
        {
            "event": "change",
            "number": 0,
            "of": 1,
            "target": "mailboxvm",
            "title": "convert",
            "at": began,
        },
        {"event": "start", "users": users, "jobs": 2, "host": "mailboxvm", "run": "r", "at": began},
    ]
    done = users if done is None else done
    for number in range(min(users, done + 1)):
        name, at = f"user{number}", began + 1 + number
        listed.append({"event": "user", "user": name, "folders": 2, "bytes": 1000, "at": at})
        if number < done:
            listed += [
                {
                    "event": "folder",
                    "user": name,
                    "folder": folder_name,
                    "messages": 5,
                    "bytes": 400,
                    "written": 5,
                    "at": at + 0.5,
                }
                for folder_name in ("INBOX", HOSTILE)
            ]
            listed.append(
                {
                    "event": "published",
                    "user": name,
                    "messages": 10,
                    "bytes": 800,
                    "warnings": [],
                    "at": at + 0.6,
                }
            )
    if done == users:
        listed.append({"event": "end", "ok": True, "published": users, "at": began + users + 1})
    return listed


def whole(site, path):
    """A run in which verify found something: preflight, convert, and a verify that did not pass."""
    run = run_folder.begin(site, path)
    step(run, "preflight", [{**CHECK, "question": HOSTILE, "warning": True}])
    step(
        run,
        "convert",
        changes=[
            {
                "title": HOSTILE,
                "target": "mailboxvm",
                "text": f"convert {HOSTILE} tr0ub4dor&3\n" * 30,
                "undo": "none",
            }
        ],
    )
    events(run, "convert", conversion())
    step(
        run,
        "verify",
        [{**CHECK, "actual": HOSTILE, "passed": False}],
        passed=False,
        facts={
            "run": run.name,
            "level": "content",
            "errors": {},
            "users": {
                "alice": {
                    "rows": [row("INBOX", 3, 3), row(HOSTILE, 2, 1, [f"UID 7: missing {HOSTILE}"])]
                }
            },
        },
    )
    return run
