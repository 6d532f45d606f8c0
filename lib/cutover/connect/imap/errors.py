"""What can go wrong with an IMAP server: one class per cause, its data as attributes."""

from cutover.model.errors import TemplatedError


class ImapError(TemplatedError):
    """An IMAP server is not as needed; the data of each kind are attributes."""

    template = "{server}: IMAP failed"


class NoImap(ImapError):
    """No IMAP service answers at the address."""

    template = "{server}: no IMAP answer: {reason}"


class CertificateRefused(ImapError):
    """The server's certificate does not prove the name it was called by."""

    template = (
        "{server}: the certificate does not match the name {hostname} or is not trusted: {reason}"
    )


class LoginRefused(ImapError):
    """The server did not accept user and password."""

    template = "{server}: login of {user} failed: {reason}"


class NotPreauthenticated(ImapError):
    """The command did not start an IMAP session that is already logged in."""

    template = "{server}: no logged-in IMAP session: {reason}"


class FolderUnreadable(ImapError):
    """The server will not open the folder, or not give all of it.

    `reason` is the server's own words.
    """

    template = "{server}: folder {folder} cannot be read: {reason}"


class CommandRefused(ImapError):
    """The server said NO or BAD to a command that is not about opening a folder."""

    template = "{server}: {command} was refused: {reason}"


class SessionLost(ImapError):
    """The session ended in the middle of a command."""

    template = "{server}: the IMAP session ended while {doing}: {reason}"
