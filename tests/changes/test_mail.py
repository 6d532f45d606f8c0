"""Queues drained and test messages sent, on hosts that are a script."""

import pytest
from cutover import model
from cutover.changes import mail
from cutover.connect import smtp, ssh
from cutover.facts import alias_service, mail_queue
from cutover.remote import queue_release

HEAD = "-----Q-ID----- --Size-- -----Q-Time----- ------------Sender/Recipient-----------\n"


class Queues:
    """Hosts whose sendmail answers what is listed, one answer after another; the last one stays."""

    def __init__(self, *answers):
        self.answers, self.flushed = list(answers), []

    def each(self, names, function):
        return {name: function(name) for name in names}

    def run(self, host, argv, **options):
        if argv != mail_queue.LIST:
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


def drain(hosts, kind=mail.DrainQueue, **options):
    change = kind(["mx"], options.pop("wait", 60), **options)
    return change.apply(model.Context(hosts), lambda event: None)


def test_a_drained_queue_tells_how_much_was_delivered_and_leaves_later_mail():
    hosts = Queues([A, B], [A, B], [B, LATE], [LATE])
    assert drain(hosts).figures == {"queued": 2, "delivered": 2}
    assert hosts.flushed


def test_a_message_that_one_listing_misses_is_not_delivered():
    hosts = Queues([B], [B], [], [B], [], [])
    assert drain(hosts).figures == {"queued": 1, "delivered": 1}
    assert len(hosts.answers) == 1
    assert mail_queue.waiting(Queues([B], [], [B], [B]), "mx", patience=0.6).requests == 1


def test_a_message_that_reached_our_host_and_waits_for_others_is_not_waited_for():
    key, others = A[0], (A[0], "n@other-store.test")
    hosts = Queues([(key, "n@old.test")], [others])
    assert mail_queue.waiting(hosts, "mx", ["old.test"], patience=5.0).requests == 0
    hosts = Queues([A], [A])
    assert mail_queue.waiting(hosts, "mx", ["old.test"], patience=0.3).requests == 1


def test_mail_for_a_closed_host_alone_may_stay():
    hosts = Queues([A])
    assert drain(hosts, but="old.test").figures == {"queued": 0, "delivered": 0}
    assert not hosts.flushed


def test_a_queue_that_does_not_drain_names_what_is_left():
    with pytest.raises(model.ChangeFailed, match="1 of 1 queued messages .* mx: 6AO4JuTu003392 "):
        drain(Queues([B]), wait=0)


def test_a_released_queue_is_watched_until_it_falls_and_its_rate_is_known(monkeypatch):
    monkeypatch.setattr(mail, "MEASURED", 0.5)
    hosts = Queues([A, B, LATE], [A, B, LATE], [B, LATE])
    figures = drain(hosts, mail.ReleaseQueue).figures
    assert (figures["queued"], figures["delivered"], figures["left"]) == (3, 1, 2)
    assert figures["rate"] > 0 and figures["seconds_left"] == round(2 / figures["rate"], 0)
    # the hosts flush by themselves, and nobody waits for a pass to end
    assert hosts.flushed and all(queue_release.LOCK in argv for argv in hosts.flushed)


def test_the_rate_is_that_of_the_time_since_the_first_delivery(monkeypatch):
    class Clock:
        now = 0.0

        def monotonic(self):
            return self.now

        def sleep(self, _):
            self.now += 10.0

    monkeypatch.setattr(mail, "time", Clock())
    ids = [(f"6AO4JuTu00339{number}", "n@x.test") for number in range(9)]
    hosts = Queues(ids, ids, ids, ids, ids[3:])
    figures = drain(hosts, mail.ReleaseQueue).figures
    assert (figures["rate"], figures["seconds_left"]) == (0.3, 20)  # three in the last 10 s of 30


def test_the_rest_of_a_released_queue_is_waited_for_while_it_falls():
    falling = [[A, B, LATE], [A, B, LATE], [B, LATE], [LATE], []]
    assert drain(Queues(*falling), mail.ReleaseQueue, wait=0.5, whole=True).figures == {
        "queued": 3,
        "delivered": 3,
    }


def test_a_released_queue_that_does_not_fall_names_what_is_left():
    with pytest.raises(model.ChangeFailed, match="1 of 1 queued messages .* mx: 6AO4JuTu003392 "):
        drain(Queues([B]), mail.ReleaseQueue, wait=0)


def test_mail_for_other_domains_does_not_hold_up_a_release():
    assert drain(Queues([A, B], [A, B], [B]), mail.ReleaseQueue, only=["old.test"]).figures == {
        "queued": 1,
        "delivered": 1,
    }
    with pytest.raises(model.ChangeFailed, match="1 of 1 queued messages .* mx: 6AO4JuTu003391 "):
        drain(Queues([A, B]), mail.ReleaseQueue, only=["old.test"], wait=0)


def test_mail_for_other_domains_is_counted_apart_in_a_watched_queue():
    queue = mail_queue.watched(Queues([A, B]), "mx", ["old.test"], least=0.0, patience=0.1)
    assert (queue.requests, queue.others) == (1, 1) and "6AO4JuTu003391" in queue.items[0]
    assert str(queue) == "1 queued, and 1 for other domains"


def test_a_queue_is_watched_until_something_leaves_it():
    def seen(*answers, patience=30.0):
        queue = mail_queue.watched(Queues(*answers), "mx", least=0.0, patience=patience)
        return queue.requests, queue.gone

    assert seen([]) == (0, 0)
    assert seen([A, B], patience=0.1) == (2, 0)
    assert seen([A, B], [A, B], [B, LATE]) == (2, 1)
    assert "empty in about 4 s" in str(mail_queue.Watched(2, [], 1, 2.0))


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
