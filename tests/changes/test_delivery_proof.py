"""Test messages from each MX to each mail host, on hosts that are a script."""

import pytest
from cutover import model
from cutover.changes import delivery_proof, service
from cutover.facts import arrivals, mail_queue

MX, HOSTS = ["mx1", "mx2"], ["old", "new"]


class Starting:
    """Hosts at which sendmail is still being started: `opens` lists port 25's answers."""

    class Site:
        zone = "x.test"

        def fqdn(self, name):
            return f"{name}.x.test"

    def __init__(self, opens):
        self.site, self.opens, self.log = self.Site(), {name: list(opens) for name in HOSTS}, []

    def each(self, names, function):
        return {name: function(name) for name in names}

    def port_open(self, name, port):
        answers = self.opens[name]
        self.log.append(answers.pop(0) if len(answers) > 1 else answers[0])
        return self.log[-1]

    def run(self, name, argv, **options):
        self.log.append(name)


def prove(hosts, wait=60):
    change = delivery_proof.ProveDelivery(MX, HOSTS, "a@x.test", "n", "t", wait)
    return change.apply(model.Context(hosts), lambda event: None)


def test_a_message_is_sent_once_both_hosts_accept_mail(monkeypatch):
    monkeypatch.setattr(arrivals, "read", lambda *_: {name: MX for name in HOSTS})
    hosts = Starting([False, False, True])
    assert prove(hosts).figures["seconds"] == 0.0
    assert hosts.log == [False, False, True, False, False, True, *MX]


def test_nothing_is_sent_to_a_host_that_stays_closed(monkeypatch):
    assert delivery_proof.OPENING > service.SETTLING  # its failure says more
    monkeypatch.setattr(delivery_proof, "OPENING", 0)
    hosts = Starting([False])
    with pytest.raises(model.ChangeFailed, match="port 25 of old is still closed"):
        prove(hosts)
    assert not set(MX) & set(hosts.log)


def test_a_host_without_the_message_is_named(monkeypatch):
    monkeypatch.setattr(arrivals, "read", lambda *_: {"old": MX, "new": ["mx2"]})
    monkeypatch.setattr(mail_queue, "read", lambda *_: mail_queue.Queue(0, []))
    with pytest.raises(model.ChangeFailed, match="new has none from mx1"):
        prove(Starting([True]), wait=0)
