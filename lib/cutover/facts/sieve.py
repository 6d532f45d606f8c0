"""Sieve on the new host: what ManageSieve offers, and users' scripts."""

import dataclasses

from cutover.connect import managesieve
from cutover.facts import dovecot

BEGIN, END = "# mail-cutover: sieve begins", "# mail-cutover: sieve ends"
LINK = ".dovecot.sieve"  # in a user's home: leads to the active script (Pigeonhole's default)

LIMIT = 1 << 20  # bytes of a script that are read; Pigeonhole's own limit is as high
_NO_SCRIPT = 44
# -f: a FIFO or a device would have no end
_SCRIPT = (
    f'[ -e "$1" ] || exit {_NO_SCRIPT}; [ -f "$1" ] || exit 45; '
    f'exec timeout 20 head -c {LIMIT} -- "$1"'
)


def block(text: str) -> str | None:
    """What a configuration file holds between our two marks, or None."""
    _, begin, rest = text.partition(BEGIN + "\n")
    inside, end, _ = rest.partition(END + "\n")
    return inside if begin and end else None


@dataclasses.dataclass(frozen=True)
class Settings:
    """What Dovecot has of Sieve.

    lda: dovecot-lda is installed. sieve: Pigeonhole is. protocols: those Dovecot serves.
    plugins: those of dovecot-lda. userdbs: the names of its user databases.
    """

    lda: bool
    sieve: bool
    protocols: list[str]
    plugins: list[str]
    version: str = "2.3"
    userdbs: list[str] = dataclasses.field(default_factory=list)


def settings(hosts, host: str, lda: str) -> Settings:
    """What Dovecot on a host has of Sieve. lda: the path of dovecot-lda."""
    return Settings(
        hosts.run(host, ["test", "-x", lda], sudo=True, check=False).rc == 0,
        dovecot.has_module(hosts, host, "lib90_sieve_plugin.so"),
        dovecot.protocols(hosts, host),
        dovecot.plugins(hosts, host, "lda"),
        dovecot.spelling(hosts, host).version,
        dovecot.userdbs(hosts, host),
    )


@dataclasses.dataclass(frozen=True)
class ManageSieve:
    """The greeting of a ManageSieve service (RFC 5804), by its own key names."""

    IMPLEMENTATION: str = "unnamed"
    SIEVE: str = ""
    STARTTLS: str | None = None

    @property
    def extensions(self) -> list[str]:
        return self.SIEVE.split()

    @property
    def tls(self) -> bool:
        return self.STARTTLS is not None


def service(address: str, port: int) -> ManageSieve:
    """What the ManageSieve service at an address offers. Raises managesieve.NoManageSieve."""
    greeting = managesieve.capabilities(address, port)
    names = {field.name for field in dataclasses.fields(ManageSieve)}
    return ManageSieve(**{name: value for name, value in greeting.items() if name in names})


def active(hosts, host: str, user: str, home: str) -> str:
    """The name of a user's active script, or ""."""
    link = hosts.run(host, ["readlink", "--", f"{home}/{LINK}"], as_user=user, check=False)
    return link.text.strip().rpartition("/")[2].removesuffix(".sieve")


def script(hosts, host: str, user: str, home: str) -> str | None:
    """The text of a user's active script, at most LIMIT bytes of it; None without one.

    Read as the user, who may have put anything there. "" for what is no file that the user reads.
    """
    argv = ["sh", "-c", _SCRIPT, "script", f"{home}/{LINK}"]
    result = hosts.run(host, argv, as_user=user, check=False)
    if result.rc == _NO_SCRIPT:
        return None
    return result.out.decode("utf-8", "surrogateescape") if result.rc == 0 else ""
