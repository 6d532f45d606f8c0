"""Several folders in one round trip: all commands are sent before the first answer is read.

Over ssh a round trip takes longer than either server needs for a folder of a few messages.
"""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from cutover.connect.imap import fetch
from cutover.connect.imap.errors import FolderUnreadable
from cutover.connect.imap.messages import Digest, Folder
from cutover.connect.imap.reader import METADATA, Reader, figures

TOGETHER = 50  # folders: the server takes their commands while nobody reads its answers yet
ITEMS = {"count": "", "metadata": METADATA, "content": f"{METADATA} BODY.PEEK[]"}


def read_together(session: Reader, names: Iterable[str], level: str) -> dict[str, Folder]:
    """Read folders whose messages fit into memory, TOGETHER at most. Levels are those of read().

    → {name: Folder}, each as read() returns it. A folder is missing if the server refuses it, if it
    is not as announced, or if its name takes a round trip of its own (a literal): read() says more.
    Raises SessionLost.
    """
    connection, items = session.client._imap, ITEMS[level]
    tags, lines = {}, []
    for name, argument in _arguments(session, names):
        tags[name] = opening, reading = connection._new_tag(), connection._new_tag()
        lines.append(b"%s EXAMINE %s\r\n" % (opening, argument))
        if items:
            lines.append(fetch.command(reading, b"1:*", items))
    if lines:
        connection.is_readonly = True
        connection.send(b"".join(lines))
    folders = {name: _answer(session, name, *tags[name], items) for name in tags}
    return {name: folder for name, folder in folders.items() if folder is not None}


def status_together(
    session: Reader, names: Iterable[str], items: Sequence[str]
) -> dict[str, dict[str, int]]:
    """{name: {item: number}} by STATUS, of any number of folders.

    A folder is missing for the same reasons as in read_together(). Raises SessionLost.
    """
    connection, asked = session.client._imap, list(_arguments(session, names))
    wanted, answers = " ".join(items).encode(), {}
    for start in range(0, len(asked), TOGETHER):
        tags = {name: connection._new_tag() for name, _ in asked[start : start + TOGETHER]}
        lines = [
            b"%s STATUS %s (%s)\r\n" % (tags[name], argument, wanted)
            for name, argument in asked[start : start + TOGETHER]
        ]
        connection.send(b"".join(lines))
        for name, tag in tags.items():
            with session.during(f"STATUS of {name}"):
                connection.untagged_responses.clear()
                typ, _ = connection._get_tagged_response(tag)
            if typ == "OK":
                answers[name] = figures(connection.untagged_responses.get("STATUS", []))
    return answers


def _arguments(session, names):
    """(name, how a command gives it) of those that are no literals."""
    for name in dict.fromkeys(names):
        argument = session.argument(name)
        if type(argument) is bytes:
            yield name, argument


def _answer(session, name, opening, reading, items):
    """The folder, or None. The answers to both commands are read in any case."""
    connection, folder, data = session.client._imap, None, {}
    unreadable = contextlib.suppress(FolderUnreadable)
    with unreadable, session.during(f"opening folder {name}", folder=name):
        connection.untagged_responses.clear()
        folder = session.opened(name, *connection._get_tagged_response(opening))
    if not items:
        return folder
    # an empty folder has no first message: a server may refuse to fetch it
    with unreadable, session.during(f"reading {name}", folder=name):
        data = fetch.answer(connection, reading)
    if folder is None:
        return None
    answers = [data.get(number, {}) for number in range(1, folder.exists + 1)]
    with unreadable:
        messages = [session.message(name, *item) for item in enumerate(answers, 1)]
        if "BODY" in items:
            pairs = zip(messages, answers, strict=True)
            messages = [_digested(session, name, *pair) for pair in pairs]
        return replace(folder, messages=messages)
    return None


def _digested(session, name, message, answer):
    if (text := answer.get("BODY[]")) is None:
        raise FolderUnreadable(server=session.server, folder=name, reason="no content")
    return replace(message, digest=Digest().update(text).hexdigest())
