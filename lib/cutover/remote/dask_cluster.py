"""Dask's scheduler in this process, with a key and a certificate made for it alone."""

import contextlib
import logging
import socket
from collections.abc import Iterator, Sequence

from cutover import model
from cutover.remote import dask_worker


@contextlib.contextmanager
def started(address: str, ports: Sequence[int], silence: float) -> Iterator[tuple]:
    """A scheduler on an address of this machine and one of its ports → (cluster, client, security).

    ports: the first and the last. silence: seconds after which a worker that is not heard of counts
    as gone. Raises ChangeFailed if no port is free.
    """
    import dask
    import distributed

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    security = distributed.Security.temporary()
    settings = {
        **dask_worker.SETTINGS,
        "distributed.scheduler.worker-ttl": silence,
        # one unit for a worker at a time: the next goes to whoever is free first
        "distributed.scheduler.worker-saturation": 1.0,
        # all units' plans at once
        "distributed.admin.large-graph-warning-threshold": "1GB",
    }
    with (
        dask.config.set(settings),
        _scheduler(address, ports, security) as cluster,
        distributed.Client(cluster, security=security) as client,
    ):
        yield cluster, client, security


def _scheduler(address, ports, security):
    import distributed

    options = {"host": address, "protocol": "tls://", "dashboard": False, "security": security}
    kind = dask_worker.without_pages(distributed.Scheduler)
    first, last = ports
    for port in range(first, last + 1):
        if not is_free(address, port):
            continue
        spec = {"cls": kind, "options": {**options, "port": port}}
        try:
            return distributed.SpecCluster(scheduler=spec, security=security)
        except RuntimeError:
            # another store's conversion was quicker to take it
            if is_free(address, port):
                raise
    raise model.ChangeFailed(
        f"no port from {first} to {last} is free on {address}, this machine. Set convert.ports "
        "to others."
    )


def is_free(address: str, port: int) -> bool:
    """Whether something can listen on a port of this machine."""
    try:
        with socket.create_server((address, port), family=_family(address)):
            return True
    except OSError:
        return False


def address_towards(other: str) -> str:
    """The address of this machine from which it reaches another. Sends nothing."""
    with socket.socket(_family(other), socket.SOCK_DGRAM) as probe:
        probe.connect((other, 9))
        return probe.getsockname()[0]


def _family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET
