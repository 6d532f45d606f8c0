"""Files of users' homes. Users may put anything there, so a process that is the user reads them."""

import base64
import hashlib

from cutover import model
from cutover.model import errors

LIMIT = 1 << 18  # bytes read of a file
# -f: a FIFO or a device would have no end. A link is the user's own way to say where the file is.
_SCRIPT = f"""
cd -- "$1" 2>/dev/null || exit 0
shift
for file; do
    [ -f "$file" ] && [ -r "$file" ] || continue
    kind=file
    [ ! -L "$file" ] || kind=link
    printf '%s %s ' "$file" "$kind"
    timeout 20 head -c {LIMIT} -- "$file" | base64 | tr -d '\\n'
    echo
done
"""


class File:
    """A file's bytes, at most LIMIT of them. link: a link leads to it."""

    def __init__(self, data: bytes, link: bool):
        self.data, self.link = data, link

    @property
    def text(self) -> str:
        """With surrogates for what is not UTF-8."""
        return self.data.decode("utf-8", "surrogateescape")

    @property
    def whole(self) -> bool:
        return len(self.data) < LIMIT


def read(hosts, host: str, user: str, home: str, names: list[str]) -> dict[str, File]:
    """Those of some files of a home that exist, by name. Raises CommandFailed and Unreadable."""
    argv = ["sh", "-c", _SCRIPT, "files", home, *names]
    files = {}
    for line in model.lines(hosts.run(host, argv, as_user=user).text):
        try:
            name, kind, encoded = line.split(" ")
            files[name] = File(base64.b64decode(encoded), kind == "link")
        except ValueError as error:  # a user may interfere with processes of his own
            raise errors.Unreadable(
                f"{host}: the answer about files of {user} is not as it should be: {line[:80]!r}"
            ) from error
    return files


def directories(hosts, host: str, user: str, path: str) -> list[str]:
    """The names in a directory of a user that begin with a dot; none without it."""
    listed = hosts.run(host, ["ls", "-A", "--", path], as_user=user, check=False)
    return [name for name in model.lines(listed.text) if name.startswith(".")]


def digest(data: bytes) -> str:
    """What sha256sum(1) prints of a file."""
    return hashlib.sha256(data).hexdigest()
