"""Whether the antispam of each MX works, and what happens to mail while it does not answer."""

from collections.abc import Iterator, Mapping

from cutover import model
from cutover.facts import antispam

# what sendmail does with mail while a milter does not answer, by the milter's F=
WITHOUT_MILTER = {
    "T": "deferred (451): senders retry",
    "4": "deferred (421): senders retry",
    "R": "refused (5xx): it bounces",
    "": "accepted without a scan",
}
PUT_OFF = ("T", "4")
QUESTION = "The spam filter of the MX hosts answers"

Readings = Mapping[str, model.Reading[antispam.Antispam]]


def checks(readings: Readings | None, site) -> Iterator[model.Check]:
    """readings: by MX; None where the site declares no antispam."""
    if site.antispam is None or readings is None:
        yield model.Check(
            QUESTION, "yes, where there is one", "not declared", True, id="antispam-answers"
        )
        return
    for name, reading in readings.items():
        yield _answers(name, reading, site.antispam.milter)
        if reading.ok and reading.value.socket is not None and reading.value.redis is not None:
            yield _redis(name, reading.value.redis)
    delays = {
        name: reading.value.greylist
        for name, reading in readings.items()
        if reading.ok and reading.value.socket is not None
    }
    if delays:
        yield _delay(delays)


def _answers(name, reading, milter):
    question = f"The spam filter of {name} answers"
    expected = f"{milter} is among sendmail's milters, and answers"
    about = {"id": "antispam-answers", "subject": name}
    if not reading.ok:
        todo = "Fix this first: until then nobody knows what scans mail there."
        return model.Check(question, expected, reading.error, False, todo, **about)
    state = reading.value
    if state.socket is None:
        actual = f"sendmail uses {', '.join(state.filters) or 'no milter'}"
        todo = (
            f"Correct INPUT_MAIL_FILTER in sendmail.mc of {name}, or antispam.milter in the "
            "parameters."
        )
        return model.Check(question, expected, actual, False, todo, **about)
    fate = WITHOUT_MILTER.get(state.flags, WITHOUT_MILTER[""])
    answers = "answers" if state.answers else "does NOT answer"
    # mail that is not scanned still arrives; mail that is put off or refused does not
    return model.Check(
        question,
        expected,
        f"{milter} {answers} at {state.socket}; mail while it is down: {fate}",
        state.answers or fate == WITHOUT_MILTER[""],
        "Set F=T in INPUT_MAIL_FILTER: mail is then deferred, not lost and not accepted unscanned."
        if state.answers
        else f"Start {milter} on {name}.",
        warning=not state.answers or state.flags not in PUT_OFF,
        data={"answers": state.answers, "flags": state.flags},
        **about,
    )


def _redis(name, answers):
    return model.Check(
        f"The Redis server of {name}'s greylist answers",
        "yes",
        "yes" if answers else "no",
        True,
        "Start it: without Redis nothing is greylisted.",
        warning=not answers,
        id="greylist-redis",
        subject=name,
    )


def _delay(delays):
    texts = [
        f"{name}: {'unknown' if delay is None else f'at least {delay:g} s'}"
        for name, delay in delays.items()
    ]
    return model.Check(
        "Greylisting delays mail by",
        "reported",
        "; ".join(texts),
        True,
        "Exempt this machine's address (in rspamd, whitelisted_ip): otherwise test mail and probes "
        "arrive that much later.",
        id="greylist-delay",
        data=delays,
    )
