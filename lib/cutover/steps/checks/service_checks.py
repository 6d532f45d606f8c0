"""Whether a mail host's services are open or closed."""

from collections.abc import Sequence

from cutover import model
from cutover.facts import mail_queue, mail_services

SHOWN = 10  # items named in one check


def reading_closed(
    name: str, host: mail_services.ImapHost, todo: str = "Run this step again."
) -> list[model.Check]:
    """Whether a host serves nobody by IMAP and POP3: services, reboot, sessions, ports."""
    running = [service.name for service in host.services if service.running]
    at_boot = [service.name for service in host.services if service.starts_at_boot]
    sessions = [f"{process.user} ({process.command} {process.pid})" for process in host.sessions]
    open_ports = [port for port, is_open in host.ports.items() if is_open]
    return [
        none(
            "imap-services-stopped",
            name,
            f"IMAP services of {name} are stopped",
            "running",
            running,
            todo,
        ),
        none(
            "imap-services-stay-stopped",
            name,
            f"IMAP services of {name} stay stopped after a reboot",
            "starts at boot",
            at_boot,
            todo,
        ),
        none(
            "sessions-ended",
            name,
            f"Every session on {name} has ended",
            "alive",
            sessions,
            "Run this step again. If a session stays, find out what its process waits for.",
        ),
        none(
            "imap-ports-closed",
            name,
            f"IMAP and POP3 ports of {name} are closed, seen from outside",
            "open",
            open_ports,
            f"Run `ss -tlnp` on {name} to see which process listens.",
        ),
    ]


def none(
    check_id: str, name: str, statement: str, state: str, items: Sequence[str], todo: str
) -> model.Check:
    """A check of one host that passes when nothing is in a state; it names what is."""
    actual = f"{state}: {', '.join(items[:SHOWN])}" if items else f"none {state}"
    return model.Check(
        statement,
        f"none {state}",
        actual,
        not items,
        todo,
        id=check_id,
        subject=name,
        data={"items": list(items)},
    )


def port_open(name: str, port: int, is_open: bool, check_id: str) -> model.Check:
    """Whether a port that users or servers need is open."""
    return model.holds(
        f"Port {port} of {name} is open, seen from outside",
        is_open,
        "open",
        "closed",
        f"Run `ss -tlnp` on {name}; check the firewall.",
        id=check_id,
        subject=name,
        data={"port": port},
    )


def nothing_waits(name: str, queue: model.Reading[mail_queue.Watched], todo: str) -> model.Check:
    """Whether no message stays in a host's queue (mail_queue.waiting); a warning if others do."""
    requests, others = None, 0
    if not queue.ok:
        actual = queue.error
    else:
        requests, items, others = queue.value.requests, queue.value.items, queue.value.others
        actual = f"{requests} left" + (f": {'; '.join(items[:3])}" if items else "")
        actual += f", and {others} for other domains" if others else ""
    return model.Check(
        f"No mail is left in the queue of {name}",
        "0 left",
        actual,
        requests == 0,
        todo,
        warning=bool(others),
        id="queue-clear",
        subject=name,
        data={"requests": requests, "others": others},
    )


def queue_falls(name: str, queue: mail_queue.Watched, todo: str) -> model.Check:
    """Whether a host holds no mail for the mail hosts, or its queue was seen to fall."""
    stuck = "" if queue.gone else "".join(f"; {item}" for item in queue.items[:3])
    return model.Check(
        f"The mail that {name} held is delivered, or the queue falls",
        "empty or falling",
        f"{queue}{stuck}",
        queue.requests == 0 or queue.gone > 0,
        todo,
        id="queue-falls",
        subject=name,
        data={
            "requests": queue.requests,
            "gone": queue.gone,
            "seconds": queue.seconds,
            "others": queue.others,
        },
    )
