"""What the hosts say now: one answer per question, and a host that fails hides no other."""

import pytest
from cutover import site
from cutover.connect import hosts
from cutover.facts import mail_queue, services, zone
from cutover.model import errors
from cutover.run import live_state


class Hosts:
    def __init__(self, parameters):
        self.site = parameters

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def answers(monkeypatch):
    parameters = site.load("parameters/lab.yaml")
    alias = parameters.fqdn(parameters.alias)

    def queue(connections, name, patience):
        if name == parameters.roles.mx[0]:
            raise errors.CutoverError(f"{name}: no ssh")
        return mail_queue.Watched(7, [], gone=2, seconds=1.0)

    records = {alias: {"CNAME": zone.RRset(60, ["mailboxold.lab.test."])}}
    monkeypatch.setattr(hosts, "Hosts", Hosts)
    monkeypatch.setattr(mail_queue, "watched", queue)
    monkeypatch.setattr(
        services,
        "read",
        lambda connections, name, listed: [
            services.Service(item.manager, item.name, name == parameters.roles.old, True, "")
            for item in listed
        ],
    )
    monkeypatch.setattr(zone, "read", lambda connections: {"ns1": zone.Server(1, records)})
    return {answer.question: answer.reading for answer in live_state.ask(parameters)}


def test_the_alias_is_answered_per_name_server(answers):
    assert answers["mailbox.lab.test on ns1"].value == "mailboxold.lab.test."


def test_services_are_named_with_their_state(answers):
    assert "xinetd runs" in answers["IMAP on mailboxold"].value
    assert answers["IMAP on mailboxvm"].value == "dovecot is stopped"


def test_a_queue_that_cannot_be_read_says_why(answers):
    assert answers["queue of postino3"].error == "postino3: no ssh"
    assert answers["queue of postino4"].value == (
        "7 queued, 2 delivered in 1.0 s: empty in about 4 s"
    )
