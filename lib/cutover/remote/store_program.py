"""`cutover store`, here and on a mail host: the commands of mbx2maildir, and `relocate`.

Python 3.8 or later, standard library only: ship.py puts this file into the archive for mail hosts.
"""

from mbx2maildir import command_line

PROGRAM = "cutover store"


def relocate(arguments):
    from cutover.remote import store_mover

    return store_mover.run(arguments)


COMMANDS = [
    command_line.Command(
        "relocate",
        "Copy a whole store to other storage of this host, compare the copy, or go back.",
        relocate,
    )
]


def main(argv=None):
    """Run one command → exit status."""
    return command_line.main(argv, PROGRAM, COMMANDS)
