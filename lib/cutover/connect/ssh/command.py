"""A command for a host as one line for its shell, and how sudo refuses one."""

import re
import shlex
from collections.abc import Sequence

from cutover.connect.ssh.errors import UnsendableCommand
from cutover.connect.ssh.result import shown

MIB = 1024 * 1024


def remote_line(argv: Sequence[str], *, sudo: bool = False, as_user: str | None = None) -> str:
    """The line handed to the host's shell. The only place where anything is quoted."""
    if any("\0" in argument for argument in argv):
        raise UnsendableCommand(
            host="ssh", command=shown([argument.replace("\0", "\\0") for argument in argv])
        )
    prefix = (
        ["sudo", "-n", "-u", as_user, "-H", "--"]
        if as_user
        else ["sudo", "-n", "--"]
        if sudo
        else []
    )
    return shlex.join([*prefix, *argv])


# What sudo itself says when it declines (sudo 1.8 and 1.9); "sudo: x: command not found" is the
# command's own fault.
SUDO_REFUSED = re.compile(
    rb"^(sudo: (?:a password is required|a terminal is required|no tty present"
    rb"|sorry, you must have a tty|.*may not run sudo|.*is not allowed|.*not in the sudoers).*"
    rb"|Sorry, user .*|.* is not in the sudoers file.*"
    rb"|[^\n]*sudo: (?:command )?not found)",
    re.MULTILINE,
)
