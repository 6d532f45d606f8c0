"""POP3 on the new host: whether Dovecot serves it, and the identifiers it gives messages (UIDL)."""

from cutover.facts import dovecot, dovecot_programs, mailboxes, users
from cutover.model import errors

_ASK = b"UIDL\r\nQUIT\r\n"


class NoUidls(errors.CutoverError):
    """Dovecot does not list a user's messages by POP3."""


def served(hosts, host: str) -> bool:
    """Whether Dovecot on a host serves POP3."""
    return "pop3" in dovecot.protocols(hosts, host)


def old_uidl(uidvalidity: int, uid: int) -> str:
    """The identifier that c-client's ipop3d gives a message."""
    return f"{uidvalidity:08x}{uid:08x}"


def new_uidls(hosts, user: str, host: str) -> list[str]:
    """The identifiers of a user's messages by a host's Dovecot, run as the user. Raises NoUidls."""
    program = dovecot_programs.argv(hosts, host, "pop3")
    return _listed(hosts.run(host, program, as_user=user, input=_ASK, timeout=300), host, user)


def staged_uidls(hosts, account: users.Account) -> list[str]:
    """As new_uidls(), of a user's staged tree. Raises NoUidls."""
    host = hosts.site.roles.new
    argv = mailboxes.over_tree(hosts, account, mailboxes.staged(hosts.site, account), "pop3")
    return _listed(hosts.run(host, argv, sudo=True, input=_ASK, timeout=300), host, account.user)


def _listed(answer, host, user):
    lines = [line.rstrip("\r") for line in answer.text.split("\n")]
    if "." not in lines:
        reason = answer.text.strip() or answer.err.decode(errors="replace").strip()
        raise NoUidls(f"{host}: UIDL of {user} failed: {reason[:300]}")
    listing = lines[: lines.index(".")]
    return [line.partition(" ")[2] for line in listing if not line.startswith("+OK")]
