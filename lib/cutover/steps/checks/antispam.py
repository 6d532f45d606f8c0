"""What preflight says of the antispam of the MX: is mail scanned, and what becomes of it when the scanner does not answer."""

from cutover import model
from cutover.facts import antispam

# what sendmail does with mail while a milter does not answer, by the milter's F=
DEAD = {
    "T": "put off (451): senders try again",
    "4": "put off (421): senders try again",
    "R": "refused (5xx): it goes back",
    "": "taken, and not scanned",
}


def probe(hosts, site, on):
    """`{mx: {"value": antispam.read}}`, None where the site declares none. `on(name, function, *arguments)` asks a host."""
    if site.antispam is None:
        return None
    return {
        name: on(name, antispam.read, name, site.antispam.milter, site.antispam.redis)
        for name in site.roles.mx
    }


def checks(found, site):
    """Of preflight's facts; those of a run before there were any say nothing."""
    if "antispam" not in found:
        return
    if site.antispam is None or found["antispam"] is None:
        yield model.Check(
            "Does the antispam of the MX answer?", "yes, where there is one", "not declared", True
        )
        return
    milter, delays = site.antispam.milter, {}
    for name, result in found["antispam"].items():
        question = f"Does the antispam of {name} answer?"
        wanted = f"{milter} is among sendmail's milters, and answers"
        if "error" in result:
            yield model.Check(
                question,
                wanted,
                result["error"],
                False,
                "mend it: what scans mail there is unknown",
            )
            continue
        seen = result["value"]
        if seen["socket"] is None:
            yield model.Check(
                question,
                wanted,
                f"sendmail asks {', '.join(seen['filters']) or 'no milter'}",
                False,
                f"which is right on {name}: INPUT_MAIL_FILTER in sendmail.mc, or antispam.milter here?",
            )
            continue
        dead = DEAD.get(seen["flags"], DEAD[""])
        says = f"{milter} {'answers' if seen['answers'] else 'does NOT answer'} at {seen['socket']}"
        # mail that is not scanned arrives all the same; mail that is put off or refused does not
        todo = (
            "with F=T in INPUT_MAIL_FILTER it would be put off: none lost, none unseen"
            if seen["answers"]
            else "start it"
        )
        yield model.Check(
            question,
            wanted,
            f"{says}; mail while it does not: {dead}",
            seen["answers"] or dead == DEAD[""],
            todo,
            warning=not seen["answers"] or seen["flags"] not in ("T", "4"),
        )
        if seen["redis"] is not None:
            yield model.Check(
                f"Does Redis answer, where the greylist of {name} is kept?",
                "yes",
                "yes" if seen["redis"] else "no",
                True,
                "start it: without, greylisting puts nothing off",
                warning=not seen["redis"],
            )
        delays[name] = seen["greylist"]
    if delays:
        told = [
            f"{name}: {'not known' if delay is None else f'at least {delay:g} s'}"
            for name, delay in delays.items()
        ]
        yield model.Check(
            "For how long does greylisting put mail off?",
            "told",
            "; ".join(told),
            True,
            "mail of the night may "
            "be so much later: let this machine's address pass (in rspamd, whitelisted_ip), or probes wait as well",
        )
