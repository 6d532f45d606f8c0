"""The edge of a notebook's kernel: no secret leaves it, in text, tables, errors or widgets."""

import errno
import logging

from cutover.site import secrets


def install():
    """Remove registered secrets from every message this kernel sends.

    Does nothing outside a kernel, or the second time. It also hides the error that ipykernel logs
    when it ends with a socket already closed: that looks as if a step had failed.
    """
    try:
        from IPython import get_ipython

        session = get_ipython().kernel.session
    except (ImportError, AttributeError):
        return
    if getattr(session, "cutover_edge", False):
        return
    serialize = session.serialize

    def guarded(message, *arguments, **options):
        for part in ("content", "metadata"):
            if isinstance(message.get(part), dict | list | str):
                message = {**message, part: secrets.redact_value(message[part])}
        return serialize(message, *arguments, **options)

    session.serialize = guarded
    session.cutover_edge = True
    logging.getLogger("tornado.general").addFilter(_not_of_its_end)


def _not_of_its_end(record):
    error = record.exc_info[1] if record.exc_info else None
    return getattr(error, "errno", None) != errno.ENOTSOCK
