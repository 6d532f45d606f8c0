"""Reads all secrets of a site at once, so that none can be shown before its first use."""

import contextlib

from cutover import site
from cutover.connect import dns
from cutover.model import errors


class SecretInTheOpen(errors.CutoverError):
    """The parameters file, which every run keeps a copy of, contains a secret in plain text."""


def register(parameters: site.Site) -> None:
    """Register every secret the parameters refer to. Raises SecretInTheOpen.

    A secret that cannot be read is reported later, by whoever needs it.
    """
    text = parameters.path.read_text("utf-8", "replace")
    for account in parameters.accounts:
        with contextlib.suppress(site.SecretUnreadable):
            if site.secret(account.password) in text:
                raise SecretInTheOpen(
                    f"{parameters.path} contains the password behind {account.password}, alone "
                    "or within a word, so it cannot be removed from output. "
                    "Choose another password."
                )
    with contextlib.suppress(errors.CutoverError):
        dns.Key.load(parameters.dns.tsig_key)
