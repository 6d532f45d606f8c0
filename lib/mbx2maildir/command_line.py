"""The command line. Each command imports what it needs: starting is part of what a pass costs."""

import collections
import json
import os
import sys
import types

import mbx2maildir
from mbx2maildir import errors

PROGRAM = "mbx2maildir"
DESCRIPTION = "Inspect, convert (MBX to Maildir++) and compare mail stores."
EXITS = "Exit status: 0 success, 1 failure (see stderr or the events), 2 wrong usage."

# A command that takes a plan and writes events. function(arguments) → exit status
Command = collections.namedtuple("Command", "name text function")


def build_parser(prog=PROGRAM, more=()):
    """The parser. more: Commands that the caller adds."""
    import argparse

    parser = argparse.ArgumentParser(prog=prog, description=DESCRIPTION, epilog=EXITS)
    parser.add_argument(
        "--version", action="version", version="{} {}".format(PROGRAM, mbx2maildir.__version__)
    )
    parser.set_defaults(prog=prog)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name, text, function):
        command = commands.add_parser(name, help=text, description=text, epilog=EXITS)
        command.set_defaults(function=function)
        return command

    add_one_file_and_one_user(add)
    add_many_users(add, more)
    return parser


def add_one_file_and_one_user(add):
    """The commands that take paths."""
    command = add("inspect", "Explain one mail file: format, messages, damage.", inspect)
    command.add_argument("file", metavar="FILE")
    command.add_argument("--json", action="store_true", help="print the answer as JSON")
    command.add_argument("--messages", action="store_true", help="list every message")

    command = add(
        "convert",
        "Convert one user's mail and put it in the place of the Maildir.",
        convert,
    )
    add_old_and_new(command)
    command.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="worker processes"
    )
    command.add_argument(
        "--user", default="", help="name used in messages (default: last part of --maildir)"
    )
    command.add_argument(
        "--owner",
        metavar="UID:GID",
        help="owner of the new files (default: as root, the owner of --folders; else you)",
    )
    command.add_argument("--host", default=os.uname().nodename, help="name used in file names")
    command.add_argument(
        "--work",
        metavar="DIR",
        help="work directory, on the file system of the Maildir (default: .cutover next to it)",
    )
    command.add_argument("--run", default="convert", help="name of this run in the work directory")
    command.add_argument("--strict", action="store_true", help="fail at damage, do not salvage")
    command.add_argument("--json", action="store_true", help="print the result as JSON")

    command = add(
        "compare",
        "Compare an old store with a Maildir: counts, UIDs, flags, dates, digests.",
        compare,
    )
    add_old_and_new(command)
    command.add_argument("--json", action="store_true", help="print the result as JSON")


def add_old_and_new(command):
    command.add_argument(
        "--inbox",
        action="append",
        default=[],
        metavar="FILE",
        help="INBOX in MBX format; if repeated, the first file that exists is used",
    )
    command.add_argument("--spool", metavar="FILE", help="spool file with mail not yet in INBOX")
    command.add_argument(
        "--folders", required=True, metavar="DIR", help="directory with the user's folders"
    )
    command.add_argument("--subscriptions", metavar="FILE", help="subscriptions (.mailboxlist)")
    command.add_argument(
        "--dots",
        choices=["underscore", "escape"],
        metavar="HOW",
        default="underscore",
        help="dots in folder names: underscore (default), or escape, as Dovecot's listescape does",
    )
    command.add_argument("--maildir", required=True, metavar="DIR", help="the new Maildir")


def add_many_users(add, more):
    """The commands that take a plan."""
    for name, text, function in [*WRITING, *more]:
        command = add(name, text, function)
        add_plan(command, jobs=name in ("convert-users", "presync"))
        if name == "convert-users":
            command.add_argument(
                "--without",
                action="append",
                default=[],
                metavar="USER",
                help="leave out this user of the plan: nothing of theirs is touched; repeatable",
            )
        command.add_argument(
            "--events", default="-", metavar="FILE", help="file for the events (default: stdout)"
        )
    command = add("state", "Show for each user of a plan whether this run published it.", state)
    add_plan(command)
    command.add_argument("--json", action="store_true", help="print the answer as JSON")
    text = "Show what tells whether the users' folders were touched since, INBOX left out."
    command = add("signatures", text, signatures)
    add_plan(command)
    command.add_argument("--staged", action="store_true", help="of the staged trees, not the live")
    command.add_argument("--json", action="store_true", help="the default, and the only format")
    command = add("base", "List the source message of every message this run published.", base)
    add_plan(command)
    command.add_argument("--json", action="store_true", help="the default, and the only format")
    command = add("survey", "Count the old mail of a plan's users. Changes nothing.", survey)
    add_plan(command, jobs=True)
    command.add_argument("--json", action="store_true", help="print the answer as JSON")


def add_plan(command, jobs=False):
    command.add_argument("--plan", required=True, metavar="FILE", help="the plan, JSON; -: stdin")
    if jobs:
        command.add_argument(
            "--jobs", type=int, metavar="N", help="worker processes (default: the plan's)"
        )


def print_json(values):
    print(json.dumps(values, sort_keys=True, indent=1))


def print_text(text):
    print(errors.for_terminal(text))


def load_plan(arguments):
    from mbx2maildir import plan_file

    plan = plan_file.load(arguments.plan)
    if getattr(arguments, "jobs", None):
        plan["jobs"] = arguments.jobs
    if getattr(arguments, "without", None):
        plan["without"] = plan.get("without", []) + arguments.without
        plan_file.check(plan, "the command line")
    return plan


def convert_users(arguments, presync=False):
    from mbx2maildir import batch

    return with_events(arguments, batch.convert, presync=presync)


def presync(arguments):
    return convert_users(arguments, presync=True)


def unpublish(arguments):
    from mbx2maildir import batch

    return with_events(arguments, batch.unpublish)


def leave(arguments):
    from mbx2maildir.publish import leave

    return with_events(arguments, leave.leave)


def with_events(arguments, work, **more):
    """Do work(plan, emit), which returns counts. → exit status"""
    from mbx2maildir import events

    plan = dict(load_plan(arguments), **more)
    emit = events.Events(arguments.events)
    try:
        counts = work(plan, emit)
    finally:
        emit.close()
    return 1 if counts["failed"] else 0


def inspect(arguments):
    from mbx2maildir import inspect_mbx, pool, single

    uid, gid = single.owner_of(arguments.file)
    values = pool.ask(
        {"user": "", "uid": uid, "gid": gid},
        inspect_mbx.task_explain,
        os.path.abspath(arguments.file),
        arguments.messages,
    )
    values["file"] = arguments.file
    print_json(values) if arguments.json else print_text(inspect_mbx.text(values))
    return 1 if values["damage"] else 0


def convert(arguments):
    from mbx2maildir import single

    return single.convert(arguments)


def compare(arguments):
    from mbx2maildir import compare, pool, single
    from mbx2maildir.convert import source

    source.expect_directory(arguments.folders)
    uid, gid = single.owner_of(arguments.folders)
    values = pool.ask(
        {"user": "", "uid": uid, "gid": gid},
        compare.task_compare,
        arguments.inbox,
        arguments.spool,
        arguments.folders,
        arguments.subscriptions,
        arguments.maildir,
        arguments.dots,
    )
    print_json(values) if arguments.json else print_text(compare.text(values))
    return 1 if values["differences"] else 0


def state(arguments):
    from mbx2maildir.publish import status

    values = status.state(load_plan(arguments))
    print_json(values) if arguments.json else print_text(status.text(values))
    return 0


def signatures(arguments):
    from mbx2maildir import signatures

    area = "staging" if arguments.staged else "live"
    print_json(signatures.signatures(load_plan(arguments), area))
    return 0


def base(arguments):
    from mbx2maildir.publish import base

    print_json(base.read(load_plan(arguments)))
    return 0


def survey(arguments):
    from mbx2maildir import survey

    values = survey.survey(load_plan(arguments))
    print_json(values) if arguments.json else print_text(survey.text(values))
    return 1 if values["totals"]["errors"] else 0


WRITING = [
    Command("convert-users", "Convert the users of a plan and publish them.", convert_users),
    Command(
        "presync",
        "Convert the users of a plan while they still work, without publishing. Repeatable; "
        "convert-users then converts only what changed since.",
        presync,
    ),
    Command(
        "unpublish", "Give the users of a plan back the Maildirs this run replaced.", unpublish
    ),
    Command("leave", "Keep messages this run published in the Maildirs that come back.", leave),
]


def as_shipped(argv, more=()):
    """Arguments as a mail host gets them, `COMMAND --plan FILE --events FILE`; None for others.

    argparse would return the same, and take as long as a pass over a store that did not change.
    """
    functions = {command.name: command.function for command in [*WRITING, *more]}
    if len(argv) != 5 or argv[0] not in functions or (argv[1], argv[3]) != ("--plan", "--events"):
        return None
    return types.SimpleNamespace(
        command=argv[0], function=functions[argv[0]], plan=argv[2], events=argv[4]
    )


def main(argv=None, prog=PROGRAM, more=()):
    """Run one command → exit status. more: as for build_parser()."""
    arguments = as_shipped(sys.argv[1:] if argv is None else argv, more)
    if arguments is None:
        parser = build_parser(prog, more)
        try:
            arguments = parser.parse_args(argv)
        except SystemExit as end:
            return end.code or 0
        if not arguments.command:
            parser.print_help()
            return 2
    try:
        return arguments.function(arguments)
    except errors.StoreError as error:
        text = str(error)
    except KeyboardInterrupt:
        text = "interrupted. Run the same command again to resume."
    except OSError as error:
        text = errors.sentence(errors.describe(error))
    print("{}: {}".format(prog, errors.for_terminal(text)), file=sys.stderr)
    return 1
