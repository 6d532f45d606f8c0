"""Dovecot's imap and pop3 as a user runs them, without its master.

`doveadm exec` reads the whole configuration at each start, which since Dovecot 2.4 takes four times
as long as the program itself. Where many users are read, read_once() does it for all of them.
"""

import contextlib
from collections.abc import Iterable

from cutover import model
from cutover.facts import dovecot

# Keeps the configuration that a command writes; prints the directory.
_KEEP = r"""
set -e
directory=$(mktemp -d /run/cutover-dovecot.XXXXXX)
trap 'rm -r "$directory"' EXIT
"$@" > "$directory/configuration"
test -s "$directory/configuration"
chmod 755 "$directory"
chmod 644 "$directory/configuration"
trap - EXIT
echo "$directory"
"""
# With -F, doveconf runs a program that finds the configuration in an open file, whose number is in
# DOVECOT_CONFIG_FD: doveadm passes it on to what it runs in the same way. The user nobody reads it,
# so it has what every user may read.
_READ = (
    *("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"),
    *("doveconf", "-F", "sh", "-c", 'cat "/dev/fd/$DOVECOT_CONFIG_FD"'),
)
# $0: the configuration; $1: the program
_START = 'DOVECOT_CONFIG_FD=9; export DOVECOT_CONFIG_FD; exec "$1" 9< "$0"'


def argv(hosts, name: str, protocol: str) -> list[str]:
    """The command that serves the user who runs it. protocol: "imap" or "pop3".

    Without -u: with it, doveadm asks Dovecot's auth service, which may be stopped.
    """
    kept = hosts.kept.get((read_once, name))
    if kept is None:
        return ["doveadm", "exec", protocol]
    directory, programs = kept
    return ["sh", "-c", _START, f"{directory}/configuration", f"{programs}/{protocol}"]


@contextlib.contextmanager
def read_once(hosts, names: Iterable[str]):
    """Until it ends, argv() starts the programs with the first host's configuration as it is now.

    So do the others, which have the same version. Before 2.4, and where doveconf does not give it,
    they go on reading their own. A host that is lost meanwhile is no error here: whoever uses it
    meets the error.
    """
    first, *others = names
    read = {first: model.read(_read, hosts, first)}
    if place := read[first].value:
        read |= hosts.each(others, lambda name: model.read(_copy, hosts, first, place[0], name))
    read = {name: reading.value for name, reading in read.items() if reading.value}
    hosts.kept |= {(read_once, name): places for name, places in read.items()}
    try:
        yield
    finally:
        for name in read:
            del hosts.kept[read_once, name]
        hosts.each(read, lambda name: model.read(_remove, hosts, name, read[name][0]))


def _copy(hosts, first, directory, name):
    """As _read(), of a host that gets the first one's configuration."""
    configuration = hosts.run(first, ["cat", f"{directory}/configuration"], sudo=True).out
    command = ["sh", "-c", _KEEP, "keep", "cat"]
    done = hosts.run(name, command, sudo=True, input=configuration)
    return done.text.strip(), *dovecot.values(hosts, name, "libexec_dir")


def _remove(hosts, name, directory):
    hosts.run(name, ["rm", "-r", "--", directory], sudo=True)


def _read(hosts, name):
    """(the directory with the configuration, that of the programs), or None."""
    if not dovecot.spelling(hosts, name).split:
        return None
    command = ["sh", "-c", _KEEP, "keep", *_READ]
    done = hosts.run(name, command, sudo=True, check=False)
    return None if done.rc else (done.text.strip(), *dovecot.values(hosts, name, "libexec_dir"))
