"""The secrets of a site, read at once, so that none can be shown before it was used for the first time."""

import contextlib

from cutover import site
from cutover.connect import dns
from cutover.model import errors


class SecretInTheOpen(errors.CutoverError):
    """A secret stands in the parameters file in plain, which every run keeps a copy of."""


def register(parameters) -> None:
    """Register whatever the parameters refer to. What cannot be read is told by whoever needs it. Raises SecretInTheOpen."""
    text = parameters.path.read_text("utf-8", "replace")
    for each in parameters.accounts:
        with contextlib.suppress(site.SecretUnreadable):
            if site.secret(each.password) in text:
                raise SecretInTheOpen(
                    f"{parameters.path}: the password behind {each.password} also stands in this file, as "
                    "such or within a word. Choose another password: it could not be told apart and removed."
                )
    with contextlib.suppress(errors.CutoverError):
        dns.Key.load(parameters.dns.tsig_key)
