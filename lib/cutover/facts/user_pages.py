"""The pages that tell users what the move means to them: their files, and who was sent one."""

import datetime
import hashlib
import os
from collections.abc import Iterable
from urllib import parse

from cutover.facts import logs
from cutover.model import errors

FOLDER = "users"  # of the run that wrote them
ANNOUNCEMENT = "announcement"
EARLIER = 300  # seconds by which an MX's clock may be behind ours


class NoPages(errors.CutoverError):
    """There is no page to send, or one cannot be read."""


def name_for(user: str) -> str:
    """A page's file name, without its ending."""
    return "user-" + parse.quote(user, safe="")


def of_users(folder: str) -> dict[str, str]:
    """`{user: file name}` of the pages in a directory, as text. Raises NoPages."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise NoPages(f"{folder} cannot be listed: {error.strerror}.") from error
    pages = {
        parse.unquote(name.removeprefix("user-").removesuffix(".txt")): name
        for name in names
        if name.startswith("user-") and name.endswith(".txt")
    }
    if not pages:
        raise NoPages(
            f"{folder} has no page of a user. Name the directory `{FOLDER}` of a run that began "
            "with preflight, or a copy of it."
        )
    return pages


def read(folder: str, name: str) -> str:
    """A page's text. Raises NoPages."""
    path = os.path.join(folder, name)
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        raise NoPages(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise NoPages(f"{path} is not UTF-8. Save it as UTF-8.") from error
    if not text.strip():
        raise NoPages(f"{path} is empty.")
    return text


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def accepted(hosts, mx: str, since: str, message_ids: Iterable[str]) -> set[str]:
    """Which messages an MX has logged as accepted since an event's time in the journal."""
    at = datetime.datetime.fromisoformat(since).timestamp() - EARLIER
    return set(message_ids) & logs.read(hosts, mx, at).accepted
