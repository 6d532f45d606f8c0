"""One message handed to one mail server, for all its recipients or for none."""

import dataclasses
import re
import smtplib
import ssl
from collections.abc import Sequence

from cutover.model.errors import TemplatedError


class SmtpError(TemplatedError):
    """A mail server is not as needed; the data of each kind are attributes."""

    template = "{server}: SMTP failed"

    @property
    def put_off(self) -> bool:
        """Whether the server said "later" (4xx): the same message may be taken when it is sent
        again.
        """
        replies = (
            [self.reply] if hasattr(self, "reply") else list(getattr(self, "refused", {}).values())
        )
        return bool(replies) and all(reply.startswith("4") for reply in replies)


class NoSmtp(SmtpError):
    """No mail server answers at the address; nothing was sent."""

    template = "{server}: no SMTP answer: {reason}"


class SenderRefused(SmtpError):
    """The server does not take mail from this sender; nothing was sent."""

    template = "{server}: refused the sender {sender}: {reply}"


class LoginRefused(SmtpError):
    """The server does not take the user's name and password, or asks for none; nothing was sent."""

    template = "{server}: refused the login of {user}: {reply}"


class BadClientCertificate(SmtpError):
    """The files of a client certificate cannot be used."""

    template = "{server}: the client certificate {file} cannot be used: {reason}"


class RecipientsRefused(SmtpError):
    """The server refused some recipients, so the message was sent to none.

    `refused`: {recipient: reply}.
    """

    template = "{server}: nothing was sent, since it refused {list}"


class MessageRefused(SmtpError):
    """The server took the addresses and refused the message."""

    template = "{server}: refused the message for {list}: {reply}"


class DeliveryUnknown(SmtpError):
    """The link was lost after the message was sent, before the reply: it may arrive."""

    outcome_unknown = True

    template = (
        "{server}: no answer to the message for {list} ({reason}): whether it was taken is UNKNOWN"
    )


def _reply(code: int, text: bytes) -> str:
    return f"{code} {text.decode('utf-8', 'backslashreplace')}"


# "2.0.0 4AO3C5xx012345 Message accepted for delivery" (sendmail), "2.0.0 Ok: queued as 4F1c2B"
# (Postfix)
_QUEUE_ID = (re.compile(r"(?:\d\.\d\.\d )?(\S+) Message accepted"), re.compile(r"queued as (\S+)"))


def queue_id(reply: str) -> str:
    """The queue id in a server's answer to a message, or the whole answer if it names none."""
    for pattern in _QUEUE_ID:
        if match := pattern.search(reply):
            return match.group(1)
    return reply


def _called(name: str, address: str, port: int) -> str:
    return f"{name} ({address}:{port})" if name else f"{address}:{port}"


def greeting(host_address: str, port: int, timeout: float, name: str = "") -> str:
    """A mail server's greeting, when it says that it takes mail.

    NoSmtp otherwise. `name`: the host's, for errors.
    """
    server = _called(name, host_address, port)
    link = smtplib.SMTP(timeout=timeout, local_hostname="localhost")
    try:
        code, text = link.connect(host_address, port)
        if code != 220:
            raise NoSmtp(server=server, reason=_reply(code, text))
        return _reply(code, text)
    except (OSError, smtplib.SMTPException) as error:
        raise NoSmtp(server=server, reason=error or type(error).__name__) from error
    finally:
        _quit(link)


@dataclasses.dataclass(frozen=True)
class Client:
    """How a client comes to a server.

    With `server_hostname` STARTTLS is required and the server's certificate checked.
    """

    source: str | None = None  # address of this machine to come from
    server_hostname: str | None = None
    ca_file: str | None = None  # the system's without one
    certificate: tuple | None = None  # (certificate file, key file)
    user: str = ""
    password: str = dataclasses.field(default="", repr=False)


def _open(link, server, host_address, port, client):
    """Connect and introduce the client, in all it has to show for itself."""
    if client.source:
        link.source_address = (client.source, 0)
    code, text = link.connect(host_address, port)
    if code != 220:
        raise NoSmtp(server=server, reason=_reply(code, text))
    # greet with the address literal (RFC 5321 §4.1.3): smtplib would look this machine's name up
    ours = link.sock.getsockname()[0]
    link.local_hostname = f"[IPv6:{ours}]" if ":" in ours else f"[{ours}]"
    link.ehlo_or_helo_if_needed()
    if client.server_hostname:
        link._host = client.server_hostname  # the name the certificate is checked against
        context = ssl.create_default_context(cafile=client.ca_file)
        if client.certificate:
            try:
                context.load_cert_chain(*client.certificate)
            except (OSError, ssl.SSLError) as error:
                raise BadClientCertificate(
                    server=server, file=client.certificate[0], reason=error
                ) from error
        link.starttls(context=context)
        link.ehlo()
    if client.user:
        try:
            link.login(client.user, client.password)
        except smtplib.SMTPAuthenticationError as error:
            raise LoginRefused(
                server=server, user=client.user, reply=_reply(error.smtp_code, error.smtp_error)
            ) from error
        except smtplib.SMTPNotSupportedError as error:
            raise LoginRefused(
                server=server, user=client.user, reply="it asks for no password"
            ) from error


def permits(
    host_address: str,
    port: int,
    client: Client,
    sender: str,
    recipient: str,
    timeout: float,
    name: str = "",
) -> dict:
    """Whether a server would take a message.

    None is sent. → `{"recipient": (code, text), "auth": mechanisms it offers}`.
    """
    server = _called(name, host_address, port)
    link = smtplib.SMTP(timeout=timeout, local_hostname="localhost")
    try:
        _open(link, server, host_address, port, client)
        code, text = link.mail(sender)
        if code == 250:
            code, text = link.rcpt(recipient)
        link.rset()
        return {
            "recipient": (code, text.decode("utf-8", "backslashreplace")),
            "auth": link.esmtp_features.get("auth", "").strip(),
        }
    except (OSError, smtplib.SMTPException) as error:
        raise NoSmtp(server=server, reason=error or type(error).__name__) from error
    finally:
        _quit(link)


def send(
    host_address: str,
    port: int,
    sender: str,
    recipients: Sequence[str],
    message: bytes,
    timeout: float,
    name: str = "",
    client: Client | None = None,
) -> str:
    """Send `message` (its line ends become CRLF) and return the server's queue id.

    `timeout`: seconds for each answer; a server may let a client wait before it greets it. All
    recipients are accepted or none is sent to. `name`: the host's, for errors.
    """
    server = _called(name, host_address, port)
    link = smtplib.SMTP(timeout=timeout, local_hostname="localhost")
    try:
        try:
            _open(link, server, host_address, port, client or Client())
            _envelope(link, server, sender, recipients)
        except (OSError, smtplib.SMTPException) as error:
            raise NoSmtp(server=server, reason=error or type(error).__name__) from error
        return _data(link, server, ", ".join(recipients), message)
    finally:
        _quit(link)


def _envelope(link: smtplib.SMTP, server: str, sender: str, recipients: Sequence[str]) -> None:
    """MAIL and RCPT. Raises SenderRefused or RecipientsRefused."""
    code, text = link.mail(sender)
    if code != 250:
        raise SenderRefused(server=server, sender=sender, reply=_reply(code, text))
    answers = {recipient: link.rcpt(recipient) for recipient in recipients}
    refused = {
        recipient: _reply(*answer)
        for recipient, answer in answers.items()
        if answer[0] not in (250, 251)
    }
    if refused or not answers:
        named = "; ".join(f"{recipient} ({reply})" for recipient, reply in refused.items())
        raise RecipientsRefused(server=server, refused=refused, list=named or "an empty list")


def _data(link: smtplib.SMTP, server: str, listed: str, message: bytes) -> str:
    """DATA; the server's queue id. Raises MessageRefused or DeliveryUnknown."""
    try:
        code, text = link.data(re.sub(rb"\r*\n", b"\r\n", message))
    except smtplib.SMTPDataError as error:
        reply = _reply(error.smtp_code, error.smtp_error)
        raise MessageRefused(server=server, list=listed, reply=reply) from error
    except (OSError, smtplib.SMTPException) as error:
        raise DeliveryUnknown(server=server, list=listed, reason=error) from error
    if code != 250:
        raise MessageRefused(server=server, list=listed, reply=_reply(code, text))
    return queue_id(text.decode("utf-8", "backslashreplace"))


def _quit(link: smtplib.SMTP) -> None:
    try:
        link.quit()
    except (OSError, smtplib.SMTPException):
        link.close()
