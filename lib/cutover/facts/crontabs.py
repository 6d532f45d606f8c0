"""Lines of users' crontabs on the old host that have to do with mail there."""

import dataclasses

from cutover import model
from cutover.connect import ssh

# Only root and cron write in these directories. Other lines of a crontab are nobody's business.
_SCRIPT = r"""
for directory in /var/spool/cron/crontabs /var/spool/cron/tabs /var/spool/cron; do
    for file in "$directory"/*; do
        [ -f "$file" ] && [ ! -L "$file" ] || continue
        head -c 262144 -- "$file" | grep -nE "$1" | cut -c1-200 | sed "s/^/${file##*/}:/"
    done
done
true
"""
WORDS = (
    r"^[^#]*(\bmail/|/mail|mbox|MAIL=|"
    r"\b(dmail|tmail|mailutil|procmail|formail|fetchmail|getmail)\b)"
)


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a user's crontab."""

    user: str
    line: int
    text: str


def read(hosts, name: str) -> list[Line]:
    """The lines that name mail. Raises CommandFailed."""
    result = hosts.run(name, ["sh", "-c", _SCRIPT, "crontabs", WORDS], sudo=True, check=False)
    if result.rc:
        raise ssh.CommandFailed.of(result)
    return parse(result.out.decode("utf-8", "backslashreplace"))


def parse(text: str) -> list[Line]:
    """`user:number:text`, one per line."""
    rows = (line.split(":", 2) for line in model.lines(text))
    return [Line(row[0], int(row[1]), row[2]) for row in rows if len(row) == 3 and row[1].isdigit()]
