"""Names on the old server for folders that only Dovecot has."""

import hashlib
from collections.abc import Iterable, Mapping

from cutover.connect import imap

NAME_BYTES = 255  # of one part of a folder's name on disk


class OldNames:
    """Gives each folder its own name where c-client allows that, else a similar one.

    c-client keeps a folder as a file, so a folder cannot contain folders. Asked again after the
    folders were created, it gives the same answers.

    prefix: what old folder names begin with. listed: `{name: selectable}` as c-client lists them.
    taken: old names that published folders use.
    """

    def __init__(self, prefix: str, listed: Mapping[str, bool], taken: Iterable[str]):
        self.prefix, self.taken = prefix, set(taken)
        self.files = self.taken | {name for name, selectable in listed.items() if selectable}
        self.directories = {
            name.rstrip("/") for name, selectable in listed.items() if not selectable
        }

    def give(self, name: str) -> str:
        """The old name for Dovecot's folder `name`; nobody else gets it afterwards."""
        parts = [self._part(part) for part in name.split("/")]
        depth = self._depth_above_a_file(parts)
        below = "".join("_" + part for part in parts[depth:])
        target = self.prefix + "/".join(parts[:depth]) + below
        while self._is_used(target):
            target += "_"
        self.taken.add(target)
        self.files.add(target)
        return target

    def _depth_above_a_file(self, parts):
        """How many parts stay directories: up to the first that is a folder, hence a file."""
        for count in range(1, len(parts)):
            if self.prefix + "/".join(parts[:count]) in self.files:
                return count
        return len(parts)

    def _is_used(self, target):
        return (
            target in self.taken
            or target in self.directories
            or any(other.startswith(target + "/") for other in self.taken)
        )

    def _part(self, part):
        """One level of a name, so that c-client does not take it for another place.

        c-client reads `..`, `~user`, `#driver` and `{host}` as places outside the mail directory.
        """
        if part in ("", ".", "..") or not self.prefix and part[0] in "~#{":
            part = "_" + part[1:].replace(".", "_")
        if len(imap.encode_name(part)) <= NAME_BYTES:
            return part
        return part[:20] + "-" + hashlib.sha256(imap.encode_name(part)).hexdigest()[:12]
