"""Handing a message over: servers out of a script, and an MX of the lab."""

import time

import fakes
import pytest
from cutover.connect import smtp

HELLO = [b"220 box ESMTP\r\n", "EHLO", b"250-box\r\n250 SIZE\r\n"]
BYE = ["QUIT", b"221 bye\r\n"]
MESSAGE = b"Subject: x\n\n.dot\nend\n"


def send(script, recipients=("a@x.test",), timeout=2):
    with fakes.listening(fakes.scripted(script)) as port:
        return smtp.send("127.0.0.1", port, "s@x.test", list(recipients), MESSAGE, timeout)


def test_message_is_sent_with_crlf_and_dots_doubled():
    lines = ["SUBJECT: X\r\n", "\r\n", "..DOT\r\n", "END\r\n", ".\r\n"]
    talk = [
        *HELLO,
        "MAIL FROM:<S@X.TEST>",
        b"250 ok\r\n",
        "RCPT TO:<A@X.TEST>",
        b"250 ok\r\n",
        "DATA",
        b"354 go\r\n",
    ]
    script = [*talk, *lines, b"250 2.0.0 4AO3C5xx012345 Message accepted for delivery\r\n", *BYE]
    assert send(script) == "4AO3C5xx012345"


@pytest.mark.parametrize(
    "reply, identity",
    [
        ("2.0.0 4AO3C5xx012345 Message accepted for delivery", "4AO3C5xx012345"),
        ("2.0.0 Ok: queued as 4F1c2B", "4F1c2B"),
        ("thank you", "thank you"),
    ],
)
def test_queue_id(reply, identity):
    assert smtp.queue_id(reply) == identity


MAIL = [*HELLO, "MAIL", b"250 ok\r\n"]
RCPT = [*MAIL, "RCPT", b"250 ok\r\n"]
DATA = [*RCPT, "DATA", b"354 go\r\n"]


@pytest.mark.parametrize(
    "script, error, says",
    [
        ([b"554 go away\r\n", *BYE], smtp.NoSmtp, "554 go away"),
        ([b"* OK IMAP4\r\n"], smtp.NoSmtp, "no SMTP answer"),
        ([None], smtp.NoSmtp, "timed out"),
        (
            [*HELLO, "MAIL", b"550 5.7.1 not you\r\n", *BYE],
            smtp.SenderRefused,
            "s@x.test: 550 5.7.1 not you",
        ),
        (
            [*MAIL, "RCPT", b"451 try later\r\n", *BYE],
            smtp.RecipientsRefused,
            r"a@x.test \(451 try later\)",
        ),
        ([*RCPT, "DATA", b"451 no room\r\n", *BYE], smtp.MessageRefused, "451 no room"),
        (
            [*DATA, *["" for _ in range(5)], b"554 spam\r\n", *BYE],
            smtp.MessageRefused,
            "for a@x.test: 554 spam",
        ),
        ([*DATA, *["" for _ in range(5)]], smtp.DeliveryUnknown, "UNKNOWN"),
        ([*DATA, *["" for _ in range(5)], None], smtp.DeliveryUnknown, "UNKNOWN"),
    ],
)
def test_faults(script, error, says):
    with pytest.raises(error, match=says) as raised:
        send(script, timeout=0.5)
    assert raised.value.put_off == ("451" in says)


def test_one_refused_recipient_stops_the_message_for_all():
    script = [*RCPT, "RCPT", b"550 5.1.1 unknown\r\n", "QUIT", b"221 bye\r\n"]
    with pytest.raises(smtp.RecipientsRefused) as caught:
        send(script, ["a@x.test", "b@x.test"])
    assert caught.value.refused == {"b@x.test": "550 5.1.1 unknown"}


@pytest.mark.lab
def test_real_mx(real):
    """A sendmail of the lab takes a message for an account of its own and refuses an unknown user."""
    at, name = real.site.address("postino3"), real.site.fqdn("postino3")
    assert smtp.greeting(at, 25, 30).startswith("220 ")
    with pytest.raises(smtp.RecipientsRefused, match="nosuchuser"):
        smtp.send(at, 25, "test@lab.test", [f"nosuchuser@{name}"], MESSAGE, 30)
    link, box = real.ssh("postino3"), "/var/mail/operator"
    link.run(["rm", "-f", box], sudo=True)
    try:
        identity = smtp.send(at, 25, "test@lab.test", [f"operator@{name}"], MESSAGE, 30)
        deadline = time.monotonic() + 30
        arrived = b""
        while b"\nend\n" not in arrived and time.monotonic() < deadline:
            time.sleep(0.2)
            arrived = link.run(["cat", box], sudo=True, check=False).out
        assert identity.encode() in arrived and b"\n.dot\nend\n" in arrived
    finally:
        link.run(["rm", "-f", box], sudo=True)
