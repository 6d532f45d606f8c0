"""Command line of the store: inspect, convert and compare mail stores; shipped alone to the mail host as a zipapp."""

import json
import os
import sys
import types

from mbx2maildir import errors

DESCRIPTION = "Inspect, convert (MBX to Maildir++) and compare mail stores."
EXITS = (
    "Exit codes: 0 success, 1 something failed (said on stderr or in the events), 2 wrong usage."
)


def build_parser():
    import argparse

    parser = argparse.ArgumentParser(prog="cutover store", description=DESCRIPTION, epilog=EXITS)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name, function, text):
        command = commands.add_parser(name, help=text, description=text, epilog=EXITS)
        command.set_defaults(function=function)
        return command

    def add_plan(command, jobs=False):
        command.add_argument("--plan", required=True, metavar="FILE", help="the plan, JSON")
        if jobs:
            command.add_argument(
                "--jobs", type=int, metavar="N", help="worker processes (default: the plan's)"
            )

    def add_old(command):
        command.add_argument(
            "--inbox",
            action="append",
            default=[],
            metavar="FILE",
            help="INBOX in MBX format; may be repeated, the first that exists counts",
        )
        command.add_argument(
            "--spool", metavar="FILE", help="spool file whose mail is not yet in INBOX"
        )
        command.add_argument(
            "--folders",
            required=True,
            metavar="DIR",
            help="folder names are relative to this directory",
        )
        command.add_argument(
            "--subscriptions", metavar="FILE", help="list of subscriptions (.mailboxlist)"
        )
        command.add_argument(
            "--maildir", required=True, metavar="DIR", help="the Maildir of the new store"
        )

    command = add("inspect", inspect, "Explain one MBX file: header, messages, damage.")
    command.add_argument("file", metavar="FILE")
    command.add_argument("--json", action="store_true")
    command.add_argument("--messages", action="store_true", help="list every message")

    command = add(
        "convert", convert, "Convert one user's mail and publish it in the place of the Maildir."
    )
    add_old(command)
    command.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="worker processes"
    )
    command.add_argument(
        "--user", default="", help="name for messages (default: last part of --maildir)"
    )
    command.add_argument(
        "--owner",
        metavar="UID:GID",
        help="owner of the new files (default: of --folders, when root)",
    )
    command.add_argument("--host", default=os.uname().nodename, help="name used in file names")
    command.add_argument(
        "--work",
        metavar="DIR",
        help="work directory on the file system of the Maildir (default: .cutover beside it)",
    )
    command.add_argument(
        "--run", default="convert", help="name of this run, below the work directory"
    )
    command.add_argument(
        "--strict", action="store_true", help="fail at damage instead of salvaging"
    )
    command.add_argument("--json", action="store_true", help="print the result as JSON")

    command = add(
        "convert-users",
        convert_users,
        "Convert the users of a plan; progress is written as JSON lines.",
    )
    add_plan(command, jobs=True)
    command.add_argument(
        "--events", default="-", metavar="FILE", help="where events go (default: stdout)"
    )

    command = add(
        "presync",
        presync,
        "Bring the staged trees of a plan's users up to date while they still work; "
        "convert-users then pays for what changed since. As often as wanted.",
    )
    add_plan(command, jobs=True)
    command.add_argument(
        "--events", default="-", metavar="FILE", help="where events go (default: stdout)"
    )

    command = add(
        "unpublish",
        unpublish,
        "Give the users of a plan back the Maildirs that were replaced by this run.",
    )
    add_plan(command)
    command.add_argument(
        "--events", default="-", metavar="FILE", help="where events go (default: stdout)"
    )

    command = add(
        "leave", leave, "Keep messages of the trees published by this run in those that come back."
    )
    add_plan(command)
    command.add_argument(
        "--events", default="-", metavar="FILE", help="where events go (default: stdout)"
    )

    command = add(
        "relocate",
        relocate,
        "Copy a whole store to other storage of this host, compare both, or go back.",
    )
    add_plan(command)
    command.add_argument(
        "--events", default="-", metavar="FILE", help="where events go (default: stdout)"
    )

    command = add("state", state, "Say for each user of a plan whether this run has published it.")
    add_plan(command)
    command.add_argument("--json", action="store_true")

    command = add(
        "base", base, "Say of single messages what the trees published by this run took over."
    )
    add_plan(command)
    command.add_argument("--json", action="store_true", help="the only form there is")

    command = add(
        "survey", survey, "Count the old store of a plan's users without changing anything."
    )
    add_plan(command, jobs=True)
    command.add_argument("--json", action="store_true")

    command = add(
        "compare",
        compare,
        "Compare an old store with a Maildir: counts, UIDs, flags, dates, digests.",
    )
    add_old(command)
    command.add_argument("--json", action="store_true")
    return parser


def print_json(values):
    print(json.dumps(values, sort_keys=True, indent=1))


def loaded(arguments):
    from mbx2maildir import plan

    values = plan.load(arguments.plan)
    if getattr(arguments, "jobs", None):
        values["jobs"] = arguments.jobs
    return values


def presync(arguments):
    return convert_users(arguments, presync=True)


def convert_users(arguments, presync=False):
    from mbx2maildir import batch as users

    return with_events(arguments, users.convert, presync=presync)


def with_events(arguments, work, **more):
    """Do work(plan, emit), which gives numbers. → exit status"""
    from mbx2maildir import events

    values = dict(loaded(arguments), **more)
    emit = events.Events(arguments.events)
    try:
        counts = work(values, emit)
    finally:
        emit.close()
    return 1 if counts["failed"] else 0


def convert(arguments):
    from mbx2maildir import single

    return single.convert(arguments)


def unpublish(arguments):
    from mbx2maildir import batch as users

    return with_events(arguments, users.unpublish)


def leave(arguments):
    from mbx2maildir.publish import leaving

    return with_events(arguments, leaving.leave)


def relocate(arguments):
    from mbx2maildir import relocate as relocating

    return relocating.run(arguments)


def state(arguments):
    from mbx2maildir.publish import status

    values = status.state(loaded(arguments))
    if arguments.json:
        print_json(values)
    else:
        print(status.text(values))
    return 0


def base(arguments):
    from mbx2maildir.convert import base as bases

    print_json(bases.base(loaded(arguments)))
    return 0


def survey(arguments):
    from mbx2maildir import survey as surveying

    values = surveying.survey(loaded(arguments))
    if arguments.json:
        print_json(values)
    else:
        print(surveying.text(values))
    return 1 if values["totals"]["errors"] else 0


def inspect(arguments):
    from mbx2maildir import inspect_mbx as explain

    values = explain.explain(arguments.file, arguments.messages)
    if arguments.json:
        print_json(values)
    else:
        print(explain.text(values))
    return 1 if values["damage"] else 0


def compare(arguments):
    from mbx2maildir import compare as comparing

    values = comparing.compare(
        arguments.inbox,
        arguments.spool,
        arguments.folders,
        arguments.subscriptions,
        arguments.maildir,
    )
    if arguments.json:
        print_json(values)
    else:
        print(comparing.text(values))
    return 1 if values["differences"] else 0


def as_shipped(argv):
    """Arguments in the form in which a mail host is given its work, `COMMAND --plan FILE --events FILE`, or None for any other.

    argparse would give the same, and take as long as a pass over a store in which nothing changed.
    """
    functions = {
        "convert-users": convert_users,
        "presync": presync,
        "unpublish": unpublish,
        "leave": leave,
        "relocate": relocate,
    }
    if len(argv) != 5 or argv[0] not in functions or (argv[1], argv[3]) != ("--plan", "--events"):
        return None
    return types.SimpleNamespace(
        command=argv[0], function=functions[argv[0]], plan=argv[2], events=argv[4]
    )


def main(argv=None):
    """Run one command → exit code."""
    arguments = as_shipped(sys.argv[1:] if argv is None else argv)
    if arguments is None:
        parser = build_parser()
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
        print("cutover store: {}".format(error), file=sys.stderr)
    except KeyboardInterrupt:
        print(
            "cutover store: interrupted; the same command goes on with what is missing",
            file=sys.stderr,
        )
    except OSError as error:
        print("cutover store: {}".format(error), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
