"""The outage windows from the probes that were written down."""

import itertools
import json
import threading
import time
import types

import pytest
from cutover.record import journal
from cutover.run import outage, outage_watch

GONE = range(10, 20)  # seconds in which nothing is taken


def lines(path, mail=True, until=30, lost=()):
    """Probes each second; a message each second, delivered in the same second or, held, at 21.5."""
    with path.open("w") as out:

        def write(**line):
            out.write(json.dumps({"took": 0.1, "said": "", **line}) + "\n")

        for second in range(until):
            for kind in (outage.READING, outage.DELIVERY):
                write(kind=kind, at=second, good=second not in GONE)
            if mail and second not in lost:
                write(kind=outage.MAIL, at=second + 0.2, good=True, id=f"m{second}")
                arrives = 21 if second + 0.2 > 9 and second <= 20 else second
                if arrives < until:
                    write(kind=outage.ARRIVED, at=arrives, took=1.0, good=True, id=f"m{second}")


def windows(path):
    return {window.kind: window for window in outage.windows(path)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / outage.NAME


def test_greetings_tell_the_window_where_no_mail_is_sent(path):
    lines(path, mail=False)
    for window in windows(path).values():
        assert (window.began, window.ended, window.probes) == (
            9,
            20.1,
            10,
        ) and not window.by_mail


def test_mail_tells_the_delivery_window_never_too_short(path):
    lines(path)
    window = windows(path)[outage.DELIVERY]
    assert (window.began, window.ended) == (9, 22.0), (
        "from the last greeting before, to the end of the second of the first after"
    )
    assert window.probes == 12 and "12 probe messages waited" in str(window)
    assert windows(path)[outage.READING].ended == 20.1


@pytest.mark.parametrize("until", [15, 21])
def test_while_no_mail_came_through_the_greetings_tell(path, until):
    lines(path, until=until)
    window = windows(path)[outage.DELIVERY]
    assert not window.by_mail and (window.ended is None) == (until == 15)


def test_a_torn_line_spoils_nothing(path):
    lines(path, mail=False)
    path.write_text(path.read_text() + '{"kind": "deliv\n')
    assert windows(path)[outage.DELIVERY].ended == 20.1


def test_what_was_read_is_not_read_again_and_another_file_is(path, monkeypatch):
    parsed, loads = [], json.loads
    monkeypatch.setattr(outage.json, "loads", lambda line: parsed.append(line) or loads(line))
    lines(path)
    before = outage.probes(path)
    whole = len(before)
    parsed.clear()
    with path.open("a") as out:
        out.write('{"kind": "reading", "at": 31')
        out.flush()
        assert outage.probes(path) == before
        out.write(', "took": 0.1, "good": true}\n')
    after = outage.probes(path)
    assert (len(before), len(after), after[-1]["at"]) == (whole, whole + 1, 31)
    assert len([line for line in parsed if line]) == 1
    lines(path, mail=False, until=40)  # in its place, and longer
    assert outage.probes(path) == [loads(line) for line in path.read_text().splitlines()]


def test_where_no_mail_was_sent_when_it_began_the_greetings_tell(path):
    lines(
        path, lost=range(14)
    )  # a night whose first steps were done by hand; the first host delivers before the second
    with path.open("a") as out:
        out.write(
            json.dumps(
                {
                    "kind": outage.ARRIVED,
                    "at": 18,
                    "took": 1.0,
                    "good": True,
                    "said": "",
                    "id": "m14",
                }
            )
            + "\n"
        )
    window = windows(path)[outage.DELIVERY]
    assert (window.began, window.ended) == (9, 20.1) and not window.by_mail


def test_a_message_that_is_merely_late_makes_no_window(path):
    with path.open("w") as out:
        for line in (
            {"kind": outage.DELIVERY, "at": 1, "good": True},
            {"kind": outage.MAIL, "at": 1, "good": True, "id": "a"},
            {"kind": outage.ARRIVED, "at": 60, "good": True, "id": "a"},
        ):
            out.write(json.dumps({"took": 0.1, "said": "", **line}) + "\n")
    assert outage.windows(path) == []


def test_a_busy_host_that_greets_late_prolongs_nothing(path):
    lines(path, until=80)
    text = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text(
        "".join(
            json.dumps(
                {
                    **line,
                    "good": line["good"]
                    and not (line["kind"] == outage.DELIVERY and 40 < line["at"] < 70),
                }
            )
            + "\n"
            for line in text
        )
    )
    window = windows(path)[outage.DELIVERY]
    assert (window.began, window.ended, window.probes) == (9, 22.0, 12)


def test_probes_are_frequent_in_an_outage_and_while_one_fails(tmp_path):
    site = types.SimpleNamespace(outage=types.SimpleNamespace(probe=None))
    run = types.SimpleNamespace(path=tmp_path, name="night")
    watch = outage_watch.Watch(types.SimpleNamespace(site=site), run)
    written = journal.Journal(tmp_path)

    assert (watch._rest(1, good=True), watch._rest(1, good=False)) == (outage.CALM, 1)
    for step, seconds in (("presync", outage.CALM), ("stop-imap", 1), ("backup", outage.CALM)):
        written.append("step-begun", step=step)
        written.append("probed", step=step)
        assert watch._rest(1, good=True) == seconds, step
    waiting = threading.Thread(target=watch._pause, args=(600, time.monotonic() - 600, True))
    waiting.start()
    written.append("step-begun", step="rollback")
    waiting.join(20)
    assert not waiting.is_alive(), "it is due at once when an outage comes close"


def test_a_clock_that_is_set_back_delays_no_probe(tmp_path, monkeypatch):
    hours = itertools.count(10**9, -3600)
    back = types.SimpleNamespace(time=lambda: next(hours), monotonic=time.monotonic)
    monkeypatch.setattr(outage_watch, "time", back)
    site = types.SimpleNamespace(outage=types.SimpleNamespace(probe=None))
    run, third = types.SimpleNamespace(path=tmp_path, name="night"), threading.Event()
    counted = itertools.count(1)

    def probe(fields):
        if next(counted) == 3:
            third.set()
        return ""

    watch = outage_watch.Watch(types.SimpleNamespace(site=site), run)
    thread = threading.Thread(target=watch._loop, args=(outage.READING, 0.01, probe), daemon=True)
    thread.start()
    assert third.wait(20)
    watch._stop.set()
    thread.join(20)
    probes = [json.loads(line) for line in watch.path.read_text().splitlines()]
    assert all(0 <= entry["took"] < 20 for entry in probes)
