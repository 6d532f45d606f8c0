"""A user's small folders: read together on each side, before they are compared one by one."""

import contextlib
from collections.abc import Iterable, Iterator

from cutover.comparison.contents import Contents
from cutover.connect import imap


class SmallFolders:
    """Reads a group of folders when the first of them is asked for.

    folders: folders.Converted in the order in which they are asked for; see groups().
    """

    def __init__(
        self,
        old: imap.Session,
        new: imap.Session,
        folders: Iterable,
        level: str,
        contents: Contents,
    ):
        self._sessions, self._level, self._contents = (old, new), level, contents
        self._groups = {folder.old: group for group in groups(folders) for folder in group}
        self._read = {}

    def prepare(self, old_name: str) -> None:
        """Read a folder's group, once."""
        group = self._groups.get(old_name, [])
        for folder in group:
            del self._groups[folder.old]
        if not group or self._level == "content" and not self._contents.whole():
            return
        names = [folder.old for folder in group], [folder.new for folder in group]
        self._read.clear()
        for session, of_side in zip(self._sessions, names, strict=True):
            # whoever uses a lost session next meets the error
            with contextlib.suppress(imap.SessionLost):
                for name, folder in imap.read_together(session, of_side, self._level).items():
                    self._read[session, name] = folder

    def stream(self, session: imap.Session, name: str, wanted) -> imap.Folder:
        """As session.stream(). What was read with the group is given once."""
        folder = self._read.pop((session, name), None)
        return session.stream(name, self._level, wanted=wanted) if folder is None else folder


def groups(folders: Iterable) -> Iterator[list]:
    """Those of some folders.Converted that are small and undamaged, in groups to be read together.

    c-client's session ends at some damaged folders.
    """
    group, messages, size = [], 0, 0
    for folder in folders:
        large = folder.messages > imap.BATCH_MESSAGES or folder.bytes > imap.BATCH_BYTES
        if large or folder.salvaged is not None:
            continue
        messages, size = messages + folder.messages, size + folder.bytes
        full = messages > imap.BATCH_MESSAGES or size > imap.BATCH_BYTES
        if group and (full or len(group) == imap.TOGETHER):
            yield group
            group, messages, size = [], folder.messages, folder.bytes
        group.append(folder)
    if group:
        yield group
