"""Queues drained and test messages sent, on hosts that are a script."""

import pytest
from cutover import model
from cutover.changes import mail
from cutover.connect import smtp, ssh
from cutover.facts import alias_service

HEAD = "-----Q-ID----- --Size-- -----Q-Time----- ------------Sender/Recipient-----------\n"


class Queues:
    """Hosts whose `mailq` answers what is listed, one answer after another; the last one stays."""

    def __init__(self, *answers):
        self.answers, self.flushed = list(answers), []

    def each(self, names, function):
        return {name: function(name) for name in names}

    def run(self, host, argv, **options):
        if argv[0] == "sendmail":
            self.flushed.append(argv)
            return ssh.Result(host, tuple(argv), 0, b"", b"", 0.0)
        ids = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        rows = "".join(f"{key} 2 Tue Nov 24 04:19 <a@x.test>\n\t\t <{to}>\n" for key, to in ids)
        text = f"\t\t/var/spool/mqueue\n{HEAD}{rows}\t\tTotal requests: {len(ids)}\n"
        return ssh.Result(host, tuple(argv), 0, text.encode(), b"", 0.0)


A, B, LATE = (
    ("6AO4JuTu003391", "n@old.test"),
    ("6AO4JuTu003392", "n@x.test"),
    ("6AO4JuTu003393", "n@x.test"),
)


def drain(hosts, **options):
    change = mail.DrainQueue(["mx"], options.pop("wait", 60), **options)
    return change.apply(model.Context(hosts), lambda event: None)


def test_a_drained_queue_tells_how_much_was_delivered_and_leaves_later_mail():
    hosts = Queues([A, B], [A, B], [B, LATE], [LATE])
    assert drain(hosts).figures == {"queued": 2, "delivered": 2}
    assert hosts.flushed


def test_mail_for_a_closed_host_alone_may_stay():
    hosts = Queues([A])
    assert drain(hosts, but="old.test").figures == {"queued": 0, "delivered": 0}
    assert not hosts.flushed


def test_a_queue_that_does_not_drain_names_what_is_left():
    with pytest.raises(model.ChangeFailed, match="1 of 1 queued messages .* mx: 6AO4JuTu003392 "):
        drain(Queues([B]), wait=0)


class PutOff(smtp.SmtpError):
    template = "deferred"
    put_off = True


def test_a_deferred_message_is_sent_again_and_the_result_counts_it(monkeypatch):
    replies = [PutOff(), PutOff(), None]

    def send(*_, **__):
        reply = replies.pop(0)
        if reply is not None:
            raise reply
        return "6AO4JuTu003394"

    visit = alias_service.Visit("192.0.2.16", ["INBOX"], 1, {"t": "INBOX"})
    monkeypatch.setattr(mail, "AGAIN", 0.0)
    monkeypatch.setattr(smtp, "send", send)
    monkeypatch.setattr(alias_service, "look", lambda *_: visit)
    change = mail.SendTestMail("mx", 25, "a@x.test", "n@x.test", "n", "t", False)
    result = change.apply(model.Context(Site()), lambda event: None)
    assert result.figures == {"deferrals": 2} and not replies


class Site:
    """Hosts that are also their own site."""

    class Wait:
        wait = 60

    production_test = Wait

    @property
    def site(self):
        return self

    def address(self, name):
        return "192.0.2.13"

    def prove(self):
        pass
