"""`convert`: one user by paths on the command line, without a plan file."""

import json
import os
import sys

from mbx2maildir import batch, errors, events, plan_file
from mbx2maildir.convert import source
from mbx2maildir.publish import containers


def make_plan(arguments):
    """Command line arguments → plan with one user."""
    target = os.path.abspath(arguments.maildir)
    uid, gid = owner(arguments)
    user = {
        "user": arguments.user or os.path.basename(target).lstrip(".") or "user",
        "inbox": arguments.inbox,
        "folders": os.path.abspath(arguments.folders),
        "maildir": target,
        "uid": uid,
        "gid": gid,
        "spool": arguments.spool,
        "subscriptions": arguments.subscriptions,
        "dots": arguments.dots,
    }
    work = arguments.work or os.path.join(os.path.dirname(target), ".cutover")
    return plan_file.check(
        {
            "run": arguments.run,
            "work": work,
            "jobs": arguments.jobs,
            "host": arguments.host,
            "users": [user],
            "strict": arguments.strict,
        },
        "the command line",
    )


def owner(arguments):
    """uid and gid of the new files: as given, else those of the folders' directory when we are
    root."""
    if arguments.owner:
        uid, colon, gid = arguments.owner.partition(":")
        if not (colon and uid.isdigit() and gid.isdigit()):
            raise errors.BadPlan("--owner must be UID:GID in numbers", todo="Give it as 1000:1000.")
        return int(uid), int(gid)
    return owner_of(arguments.folders)


def owner_of(path):
    """uid and gid of whoever a path belongs to when we are root, else our own: what lies there is
    opened by a process of that user.

    Errors: UnreadableMail; that is so too for what is root's where a user may have put it.
    """
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    try:
        status = os.stat(path)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        what = "no such file" if missing else "cannot open: {}".format(error.strerror)
        raise errors.UnreadableMail(what, path, todo="Check the path.") from error
    if status.st_uid == 0:
        try:
            containers.expect_unreachable(os.path.dirname(os.path.abspath(path)), sticky=True)
        except errors.PublishError as error:
            raise errors.UnreadableMail(
                "it belongs to root, but others can change {}".format(error.file),
                path,
                todo="Copy it to a directory of root's, or give it to its user.",
            ) from error
    return status.st_uid, status.st_gid


def convert(arguments):
    """Run the conversion and say the result → exit code."""
    source.expect_directory(arguments.folders)
    if os.path.lexists(arguments.maildir) and not os.path.isdir(arguments.maildir):
        raise errors.NoMaildir("not a directory", arguments.maildir)
    if arguments.inbox and not any(map(os.path.exists, arguments.inbox)):
        print(
            "{}: no INBOX at {}: the new INBOX gets no messages from it.".format(
                arguments.prog, ", ".join(map(errors.printable, arguments.inbox))
            ),
            file=sys.stderr,
        )
    collected = events.Collected()
    totals = batch.convert(make_plan(arguments), collected)
    result = {
        "ok": not totals["failed"],
        "totals": totals,
        "folders": [event for event in collected.all if event["event"] == "folder"],
        "errors": [event for event in collected.all if event["event"] == "error"],
        "warnings": [
            text
            for event in collected.all
            if event["event"] == "published"
            for text in event["warnings"]
        ],
    }
    if arguments.json:
        print(json.dumps(result, sort_keys=True, indent=1))
    elif result["ok"]:
        print(errors.for_terminal(text(result)))
    for error in result["errors"]:
        sentence = errors.for_terminal(errors.sentence(error))
        print("{}: {}".format(arguments.prog, sentence), file=sys.stderr)
    return 0 if result["ok"] else 1


def text(result):
    """The result for a human."""
    lines = []
    for entry in sorted(result["folders"], key=lambda entry: entry["folder"]):
        lines.append(
            "{:>8} messages {:>12} bytes  {}".format(
                entry["messages"], entry["bytes"], entry["folder"]
            )
        )
        lines += ["         ! {}".format(warning) for warning in entry["warnings"]]
    lines += ["! {}".format(warning) for warning in result["warnings"]]
    totals = result["totals"]
    if totals["already"]:
        lines.append("This run published it before. Nothing was done.")
    lines.append(
        "{} messages, {} bytes; {} hidden expunged messages left out; {} were on both sides, "
        "{} only in the earlier Maildir.".format(
            totals["messages"],
            totals["bytes"],
            totals["expunged"],
            totals["matched"],
            totals["appended"],
        )
    )
    return "\n".join(lines)
