"""How many sessions Dovecot and its host allow."""

import dataclasses
import re

from cutover.facts import dovecot

_INOTIFY = "/proc/sys/fs/inotify/max_user_instances"
_FILES = """
pid=$(cat "$1/master.pid" 2>/dev/null) && grep "^Max open files" "/proc/$pid/limits"
:
"""


@dataclasses.dataclass(frozen=True)
class Service:
    """processes, clients: limits; None without one. once: a process serves one client and ends."""

    processes: int | None
    clients: int | None
    once: bool

    @property
    def sessions(self) -> int | None:
        """How many clients it serves at the same time."""
        clients = 1 if self.once else self.clients
        return None if self.processes is None or clients is None else self.processes * clients


@dataclasses.dataclass(frozen=True)
class Limits:
    """per_address: sessions of one user from one address by IMAP; None without a limit.

    services: by name, such as imap-login. files: those one process of Dovecot may open; None
    while it does not run. inotify: instances that one user may have.
    """

    per_address: int | None
    services: dict[str, Service]
    files: int | None
    inotify: int

    def tightest(self) -> tuple[str, int] | None:
        """The service that serves the fewest sessions, and how many."""
        limited = [
            (service.sessions, name)
            for name, service in self.services.items()
            if service.sessions is not None
        ]
        return min(limited)[::-1] if limited else None


def read(hosts, name: str) -> Limits:
    """The limits on a host."""
    per_address = dovecot.of_protocol(hosts, name, "imap", "mail_max_userip_connections")
    services = dovecot.sections(hosts, name, "service")
    defaults = dovecot.values(hosts, name, "default_process_limit", "default_client_limit")
    (base,) = dovecot.values(hosts, name, "base_dir")
    shown = hosts.run(name, ["sh", "-c", _FILES, "sh", base], sudo=True).text
    files = re.search(r"^Max open files\s+\d+\s+(\d+)", shown, re.MULTILINE)
    return Limits(
        _number(per_address),
        {
            service: _service(services[f"service {service}"], defaults)
            for service in ("imap-login", "imap")
            if f"service {service}" in services
        },
        int(files[1]) if files else None,
        int(hosts.run(name, ["cat", _INOTIFY]).text),
    )


def _service(settings, defaults):
    processes, clients = (
        _number(default if settings.get(key, "") in ("", "0", f"$SET:{name}") else settings[key])
        for key, name, default in zip(
            ("process_limit", "client_limit"),
            ("default_process_limit", "default_client_limit"),
            defaults,
            strict=True,
        )
    )
    return Service(processes, clients, dovecot.one_client(settings))


def _number(text):
    return int(text) if text.isdigit() and text != "0" else None
