"""What the hosts themselves say now: the alias, the mail services, the queues. It only reads."""

import dataclasses

from cutover import model
from cutover.connect import hosts
from cutover.facts import mail_queue, services, zone


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to one question, or why it could not be read."""

    question: str
    reading: model.Reading[str]


def ask(site) -> list[Answer]:
    """Ask every host once."""
    with hosts.Hosts(site) as connections:
        answers = _alias(connections, site)
        for name in site.mail_hosts:
            listed = site.services_of(name)
            answers += [
                _answer(f"IMAP on {name}", _services, connections, name, listed.imap),
                _answer(f"sendmail on {name}", _services, connections, name, listed.sendmail),
            ]
        answers += [
            _answer(f"queue of {name}", _queue, connections, name) for name in site.roles.mx
        ]
    return answers


def _answer(question, function, *arguments):
    return Answer(question, model.read(function, *arguments))


def _alias(connections, site):
    """Where every name server sends the users."""
    alias = site.fqdn(site.alias)
    reading = model.read(zone.read, connections)
    if not reading.ok:
        return [Answer(alias, reading)]
    answers = []
    for name, server in reading.value.items():
        targets = server.values(alias, "CNAME") + server.values(alias, "A")
        text = ", ".join(targets) or "no record"
        answers.append(Answer(f"{alias} on {name}", model.Reading(text)))
    return answers


def _services(connections, name, listed):
    return ", ".join(
        f"{service.name} {'runs' if service.running else 'is stopped'}"
        for service in services.read(connections, name, listed)
    )


def _queue(connections, name):
    return str(mail_queue.watched(connections, name, patience=2.0))
