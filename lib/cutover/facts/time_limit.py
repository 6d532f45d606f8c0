"""A time limit on a command of a host, by sh and setsid(1): coreutils before 7 have no timeout."""

ENDED = 143  # the exit status of a command that was ended

# $1 seconds, then the command, which ends with all it has started. The timer's own sleep ends with
# the timer, as it would outlive the session.
_SCRIPT = """
seconds=$1; shift
setsid "$@" & command=$!
( trap 'kill $sleep' TERM; sleep "$seconds" & sleep=$!; wait $sleep && kill -TERM -$command
) > /dev/null 2>&1 & timer=$!
wait $command; status=$?
kill $timer 2> /dev/null
exit $status
"""


def limited(seconds: int, argv: list[str]) -> list[str]:
    """A command that ends after some seconds at most, with the exit status ENDED. No input."""
    return ["sh", "-c", _SCRIPT, "limited", str(seconds), *argv]
