"""A command for a host as one line for its shell, and how sudo refuses one.

Every command gets the messages of the C locale, whatever the host's language is, and finds programs
in the sbin directories: a sudo before 1.7 has no secure_path, and the operator's own PATH may lack
them.
"""

import re
import shlex
from collections.abc import Sequence

from cutover.connect.ssh.errors import UnsendableCommand
from cutover.connect.ssh.result import shown

MIB = 1024 * 1024

# for sh and csh alike
ENVIRONMENT = 'env LC_ALL=C PATH="${PATH}:/usr/local/sbin:/usr/sbin:/sbin" '

# No quotes keep these from csh, so they go as escapes of printf's %b, and an sh puts them back.
NOT_FOR_CSH = str.maketrans({"\\": r"\\", "\n": r"\n", "!": r"\0041"})
DECODE = """sh -c 'eval "exec $(printf %b "$0")"' """


def remote_line(
    argv: Sequence[str],
    *,
    sudo: bool = False,
    as_user: str | None = None,
    old_sudo: bool = False,
) -> str:
    """The line handed to the host's shell. The only place where anything is quoted.

    old_sudo: a sudo without -n. It cannot ask for a password either, as there is no terminal.
    """
    if any("\0" in argument for argument in argv):
        raise UnsendableCommand(
            host="ssh", command=shown([argument.replace("\0", "\\0") for argument in argv])
        )
    prefix = []
    if sudo or as_user:
        prefix = ["sudo"] if old_sudo else ["sudo", "-n"]
        prefix += ["-u", as_user, "-H", "--"] if as_user else ["--"]
    line = shlex.join([*prefix, *argv])
    if "\n" in line or "!" in line:
        line = DECODE + shlex.quote(line.translate(NOT_FOR_CSH))
    return ENVIRONMENT + line


# What sudo itself says when it declines (sudo 1.6 to 1.9); "sudo: x: command not found" is the
# command's own fault.
SUDO_REFUSED = re.compile(
    rb"^(sudo: (?:a password is required|a terminal is required|no tty present"
    rb"|sorry, you must have a tty|(?:illegal|invalid|unrecognized|unknown) option"
    rb"|\d+ incorrect password attempt|no password was provided"
    rb"|.*may not run sudo|.*is not allowed|.*not in the sudoers).*"
    rb"|usage: sudo .*|Sorry, user .*|Sorry, try again\..*|.* is not in the sudoers file.*"
    rb"|[^\n]*sudo: (?:command )?not found|env: [^\n]*sudo[^\n]*: No such file or directory)",
    re.MULTILINE,
)
NO_TERMINAL = "you must have a tty"  # requiretty, in sudo 1.6 to 1.9
NO_OPTION = re.compile(r"usage: sudo |sudo: \w+ option")  # sudo before 1.7 has no -n
