"""What serves mail on a mail host: its services, their processes and ports."""

import concurrent.futures
from dataclasses import dataclass, replace

from cutover.facts import mail_queue, ports, processes, services
from cutover.model import moving

READING_PORTS = (143, 993, 110, 995)
OLD_SESSIONS = ["imapd", "ipop3d"]  # process names
NEW_SESSIONS = ["imap", "imap-login", "pop3", "pop3-login"]
DELIVERING = ["sendmail", "sendmail-mta", "procmail", "dmail", "deliver"]


@dataclass(frozen=True)
class ImapHost:
    """IMAP and POP3 on one host. ports: `{port: accepts connections from this machine}`."""

    services: list[services.Service]
    sessions: list[processes.Process] = moving()
    ports: dict[str, bool] = moving()


@dataclass(frozen=True)
class SendmailHost:
    """Delivery on one host.

    delivering: its processes; port_25: open, seen from this machine; queued: in its own queue, for
    the mail hosts.
    """

    services: list[services.Service]
    delivering: list[processes.Process] = moving()
    port_25: bool = moving()
    queued: mail_queue.Watched = moving()


def stopped(by_host: dict) -> dict:
    """Hosts, each an ImapHost or a SendmailHost, as they are once all their services stopped."""
    return {
        name: replace(host, services=[service.stopped() for service in host.services])
        for name, host in by_host.items()
    }


def session_commands(site, name: str) -> list[str]:
    """The names of the processes that serve IMAP and POP3 sessions on a mail host."""
    return OLD_SESSIONS if name == site.roles.old else NEW_SESSIONS


def read_imap(hosts, name: str) -> ImapHost:
    site = hosts.site
    return ImapHost(
        services.read(hosts, name, site.services_of(name).imap),
        processes.running(hosts, name, session_commands(site, name)),
        ports.accepting(hosts, name, READING_PORTS),
    )


def read_sendmail(hosts, name: str) -> SendmailHost:
    # first: a SysV script that is asked for its state is a process named sendmail, and so is what
    # lists the queue. A process that is gone by then may have left its message there
    delivering = processes.running(hosts, name, DELIVERING)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        listed = hosts.site.services_of(name).sendmail
        running = pool.submit(services.read, hosts, name, listed)
        port_25 = hosts.port_open(name, 25)
        queued = mail_queue.read_for(hosts, name, hosts.site.mail_domains)
        return SendmailHost(running.result(), delivering, port_25, queued)
