"""Sendmail's queue on a host, by mailq(1)."""

import re
import time

from cutover.model import errors


def parse(text: str) -> dict:
    """The output of `mailq -v`: `{"requests": n, "items": [one line a queued message: id, size, priority, time, <sender>,
    recipients, (reasons)]}`.

    It may list several queues, each with its total. A queue id ends in a digit; a mark after it (`*` being worked on, `-` too
    young, `X` the load is too high) is none of it. sendmail cuts addresses at 78 characters (without -v at 38): the end of a
    sender is then `…>`.
    """
    totals = [int(count) for count in re.findall(r"Total requests: (\d+)", text)]
    if not totals and "is empty" not in text:
        raise errors.Unreadable(f"mailq answered {text[:200]!r}")
    items, current = [], None
    for line in text.splitlines():
        start = re.match(r"^([0-9A-Za-z]{9,}[0-9])[*X-]?\s+(.*)", line)
        if "Total requests: " in line:
            current = None
        elif start:
            said = start[2].strip()
            current = [start[1], said + ("…>" if "<" in said and ">" not in said else "")], []
            items.append(current)
        elif (
            current is not None
            and line.startswith((" ", "\t"))
            and not line.strip().startswith("(---:")
        ):  # who is responsible
            current[line.strip().startswith("(")].append(line.strip())
    return {"requests": sum(totals), "items": [" ".join(said + reasons) for said, reasons in items]}


def read(hosts, name: str) -> dict:
    """Sendmail's queue on a host, see parse()."""
    return parse(hosts.run(name, ["mailq", "-v"], sudo=True, check=False).text)


def waiting(hosts, name: str, patience: float = 15.0) -> dict:
    """What stands in a host's queue now and still does after `patience` seconds, in parse()'s shape.

    A busy MX always has some message in its queue for a moment; what stays is what matters. An empty queue answers at once. A
    message without a reason beside it is being delivered: it is given four times the patience.
    """
    left = read(hosts, name)["items"]
    began = time.monotonic()
    while left:
        reasons = any("(" in item for item in left)
        if time.monotonic() - began > (patience if reasons else 4 * patience):
            break
        time.sleep(0.5)
        now = {item.partition(" ")[0]: item for item in read(hosts, name)["items"]}
        left = [now[item.partition(" ")[0]] for item in left if item.partition(" ")[0] in now]
    return {"requests": len(left), "items": left}
