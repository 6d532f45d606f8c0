"""Directories of root's own on a host: nobody else can put something in their place or in them.

A directory is used only if it, and every directory above it, belongs to root and no other account
can write there; one above may be like /tmp. So nothing is followed that a user shaped, whatever the
parameters name. Plain sh: an old server may have nothing else.
"""

# above PATH exits with 77 where a directory above the path is not root's own.
ABOVE = r"""
me=$(id -u)
refuse() {
    echo "$1 is a link, belongs to another account or others can write there ($(
        stat -c '%A, uid %u' -- "$1")). Give it to root, or name another directory in the" \
        "parameters. Then run the same command again." >&2
    exit 77
}
above() {
    case $1 in /|.|//) return;; esac
    set -- "$(dirname -- "$1")"
    if [ ! -e "$1" ] && [ ! -L "$1" ]; then above "$1"; return; fi
    case $(stat -c %u:%A -- "$1") in
        "$me":l*|0:l*) above "$(readlink -f -- "$1")/x";;
        "$me":d????-??-*|0:d????-??-*|0:d????????[tT]*) ;;
        *) refuse "$1";;
    esac
    above "$1"
}
"""

# $1 the mode; then directories, each above the next. Exits with 77 where one is not root's own.
MAKE = f"""{ABOVE}
umask 066
mode=$1; shift
for directory; do
    above "$directory"
    [ -d "$directory" ] || [ -L "$directory" ] || mkdir -p -m "$mode" -- "$directory" || exit 73
    case $(stat -c %u:%A -- "$directory") in
        "$me":d*) ;;
        *) refuse "$directory";;
    esac
    chmod "$mode" -- "$directory" || exit 73
done
"""


def command(mode: str, *directories: str) -> list[str]:
    """The command that makes directories, each above the next, or refuses them."""
    return ["sh", "-c", MAKE, "make", mode, *directories]
