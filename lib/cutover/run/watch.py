"""Measure the outage from outside, in this process, while a notebook's kernel lives."""

import contextlib
import threading

from cutover.connect import hosts
from cutover.record import folder
from cutover.run import outage


def in_background(site, run) -> threading.Thread:
    """Begin to measure, unless another process of the run already does. Returns at once."""
    thread = threading.Thread(target=_measure, args=(site, run), daemon=True, name="cutover watch")
    thread.start()
    return thread


def _measure(site, run):
    with (
        contextlib.suppress(folder.RunBusy, OSError),
        run.alone("watch"),
        hosts.Hosts(site) as connections,
        outage.Watch(connections, run),
    ):
        threading.Event().wait()  # until the process ends
