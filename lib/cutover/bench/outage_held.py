"""Nights of the lab whose MX hosts hold many messages while delivery is stopped.

Each night has a fresh lab. `cutover run` takes it to stop-sendmail; then the messages are sent to
both MX hosts, which queue them; `cutover run` goes on to restore-imap, and makes the production
test. At once both mail hosts are asked for every message. How long the sending took is left out of
the time for which reading is refused.
"""

import collections
import concurrent.futures
import os
import smtplib
import tempfile
from pathlib import Path

from lab import control

from cutover import site
from cutover.bench import outage_floor
from cutover.connect.hosts import Hosts
from cutover.facts import mail_queue, mailboxes
from cutover.record import history, run_folder

SENDER = "bench@elsewhere.test"
USERS = ("alice", "bruno", "fabio", "irene", "teresa", "marta")
CONNECTIONS = 4  # to each MX
COLUMNS = {
    "held": "messages held",
    "reading": "reading refused, s",
    "restore": "restore-sendmail, s",
    "rate": "delivered per second",
    "left": "left when reading was back",
    "drained": "all delivered after, s",
    "lost": "lost",
    "double": "double",
}


def measure(counts, say=lambda text: None) -> dict:
    """A night for each number of held messages. Takes the lab down.

    → {"processors", "load": [before, after], "nights": [a figure for each of COLUMNS]}. Raises
    errors.CutoverError if a night does not pass.
    """
    load, nights = [os.getloadavg()[0]], []
    try:
        for count in counts:
            with tempfile.TemporaryDirectory() as place:
                nights.append(_night(site.load("parameters/lab.yaml"), Path(place), count, say))
            say(", ".join(f"{title} {nights[-1][key]}" for key, title in COLUMNS.items()))
    finally:
        control.down()
    load.append(os.getloadavg()[0])
    return {"processors": os.cpu_count(), "load": load, "nights": nights}


def _night(parameters, place, count, say):
    say(f"{count} held: preparing a lab, as far as stop-sendmail …")
    control.up(fresh=True, seed=True)
    night = place / "night"
    outage_floor.execute(parameters, night, "--to", "stop-sendmail")
    held = _hold(parameters, count)
    say(f"{held} messages are held")
    outage_floor.execute(parameters, night, "--from", "convert", "--to", "restore-imap")
    with Hosts(parameters) as hosts:
        left = sum(mail_queue.read(hosts, name).requests for name in parameters.roles.mx)
        again = ["--from", "production-test", "--to", "production-test"]
        outage_floor.execute(parameters, night, *again)
        missing, double = zip(
            _arrived(hosts, mailboxes.old_session, held),
            _arrived(hosts, mailboxes.new_session, held),
            strict=True,
        )
    counted = {"held": held, "left": left, "lost": sum(missing), "double": sum(double)}
    return {**times(run_folder.Run(night).journal.events()), **counted}


def _hold(parameters, count) -> int:
    """Send messages to the MX hosts in turns. Returns how many were accepted."""
    places = [mx for mx in parameters.roles.mx for _ in range(CONNECTIONS)]

    def send(number):
        accepted = 0
        with smtplib.SMTP(parameters.address(places[number]), 25, timeout=60) as link:
            for message in range(number, count, len(places)):
                to = f"{USERS[message % len(USERS)]}@{parameters.zone}"
                text = f"Subject: held {message}\r\nMessage-ID: <held-{message}@bench.invalid>\r\n"
                link.sendmail(SENDER, [to], f"{text}\r\nMail.\r\n")
                accepted += 1
        return accepted

    with concurrent.futures.ThreadPoolExecutor(len(places)) as pool:
        return sum(pool.map(send, range(len(places))))


def _arrived(hosts, opened, held):
    """(how many held messages are missing on a host, how many it has more than once)"""
    times = collections.Counter()
    for user in USERS:
        with opened(hosts, user) as session:
            times.update(session.headers("INBOX", "Message-ID").values())
    numbers = [times[f"<held-{message}@bench.invalid>"] for message in range(held)]
    return numbers.count(0), sum(number > 1 for number in numbers)


def times(events) -> dict:
    """What a night's journal says, in seconds."""
    attempts = history.attempts(events)
    stopped = outage_floor.times(events, "stop-imap", "intent")[0]
    opened = outage_floor.times(events, "restore-imap", "result")[-1]
    released, drained = (_release(events, step) for step in ("restore-sendmail", "production-test"))
    resumed = history.at(released) - released["seconds"]
    figures = released["figures"]
    return {
        "reading": attempts["stop-sendmail"].ended - stopped + opened - attempts["convert"].began,
        "restore": attempts["restore-sendmail"].seconds,
        "rate": figures.get("rate") or figures["delivered"] / max(0.1, released["seconds"]),
        "drained": history.at(drained) - resumed,
    }


def _release(events, step):
    """The result of the change of a step that releases the queues."""
    changes = {
        event["seq"]
        for event in events
        if event["event"] == "intent" and event["step"] == step
        if event["change"]["kind"] == "release-queue"
    }
    return [e for e in events if e["event"] == "result" and e["intent"] in changes][-1]


def text(values: dict) -> str:
    """A row per night, in Markdown."""
    lines = [
        f"{values['processors']} processors; load {values['load'][0]:.1f} at the beginning, "
        f"{values['load'][1]:.1f} at the end.",
        "",
        f"| {' | '.join(COLUMNS.values())} |",
        "|" + "---|" * len(COLUMNS),
    ]
    for night in values["nights"]:
        cells = (night[key] for key in COLUMNS)
        shown = (f"{cell:,.1f}" if isinstance(cell, float) else f"{cell:,}" for cell in cells)
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)
