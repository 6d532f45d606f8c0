"""The antispam and the greylist of the MX hosts, asked by mail from outside: this machine.

Each MX has rspamd with Redis. Dual delivery is on, so each message must reach both mail hosts.
"""

import time
import types

import cutover.facts.antispam
import cutover.steps.checks.antispam
import pytest
from cutover import model, site
from cutover.changes import mail
from cutover.connect import hosts, smtp
from cutover.rehearsal import ledger, traffic
from cutover.report import summary
from lab import antispam, inside, store, topology
from night import Night, eventually

pytestmark = pytest.mark.lab
USER = "vera"
PLACES = {
    False: (
        store.home(USER) / "INBOX",
        store.imap(USER),
    ),  # not spam, spam: on the old host, on the new
    True: (store.home(USER) / "mail/SPAM", store.imap(USER) / ".SPAM"),
}


@pytest.fixture(scope="module")
def night(lab, tmp_path_factory):
    made = Night(tmp_path_factory.mktemp("antispam"))
    made.up_to("dual-delivery")
    return made


def send(label, more="", mx="postino3", sender="anna@elsewhere.test"):
    """`more`: lines that end the header; an empty one first, and they begin the body."""
    text = (
        f"From: <{sender}>\r\nTo: <{USER}@lab.test>\r\nSubject: {label}\r\n"
        f"Message-ID: <{label}@elsewhere.test>\r\n{more}\r\n"
        f"say {label}\r\n"
    )
    return smtp.send(
        topology.HOSTS[mx].address, 25, sender, [f"{USER}@lab.test"], text.encode(), 30
    )


def copies(label, spam):
    """The message as each of both mail hosts has it where it belongs.

    `[[bytes] of the old, [bytes] of the new]`.
    """
    (old, new), mark = PLACES[spam], f"Message-ID: <{label}@elsewhere.test>".encode()
    there = [
        part for part in old.read_bytes().split(b"\r\nReceived: from postino")[1:] if mark in part
    ]
    texts = [path.read_bytes() for folder in ("new", "cur") for path in (new / folder).glob("*")]
    return [there, [text for text in texts if mark in text]]


def arrives(label, spam=False):
    assert eventually(lambda: [len(texts) for texts in copies(label, spam)] == [1, 1]), copies(
        label, spam
    )
    assert copies(label, not spam) == [[], []]
    return [texts[0] for texts in copies(label, spam)]


def marks(text):
    return [line for line in text.lower().splitlines() if line.startswith(b"x-spam-flag:")]


def ctl(verb, unit, name="postino3"):
    inside.run(name, ["systemctl", verb, unit])


SPAM, GREY = (f"\r\n{line}\r\n" for line in (antispam.SPAM, antispam.GREY))


def test_preflight_sees_it_and_tells_how_late_mail_may_be(night):
    (seen,) = (
        event
        for event in night.run.journal.events()
        if event["event"] == "verified" and event["step"] == "preflight"
    )
    actual = {(check["id"], check["subject"]): check["actual"] for check in seen["checks"]}
    for name in ("postino3", "postino4"):
        answers = "rspamd answers at inet:11332@127.0.0.1"
        assert actual["antispam-answers", name].startswith(answers)
        assert actual["greylist-redis", name] == "yes"
    delay = f"postino3: at least {antispam.DELAY} s"
    assert actual["greylist-delay", ""].startswith(delay)


@pytest.mark.parametrize("mx", ["postino3", "postino4"])
def test_what_the_mx_marks_lies_in_spam_on_both_hosts(night, mx):
    send(f"spam-{mx}", SPAM, mx)
    assert [marks(text) for text in arrives(f"spam-{mx}", spam=True)] == [[b"x-spam-flag: yes"]] * 2


def test_nobody_outside_can_mark(night):
    send("forged", "X-Spam-Flag: YES\r\nX-SPAM-FLAG: YES\r\n")
    assert [marks(text) for text in arrives("forged")] == [[], []]
    send("contradicted", f"X-Spam-Flag: NO\r\n{SPAM}")
    assert [marks(text) for text in arrives("contradicted", spam=True)] == [
        [b"x-spam-flag: yes"]
    ] * 2


def test_a_stranger_is_put_off_once_at_each_mx(night):
    def attempt(mx, label="grey"):
        try:
            return send(label, GREY, mx, "stranger@elsewhere.test")
        except smtp.MessageRefused as error:
            assert error.put_off and error.reply.startswith("451 4.7.1")
            return None

    began = time.monotonic()
    assert attempt("postino3") is None and attempt("postino3") is None
    assert eventually(lambda: attempt("postino3"))
    assert antispam.DELAY - 1 <= time.monotonic() - began < antispam.DELAY + 3
    arrives("grey")
    assert attempt("postino3", "grey-again")  # known by now
    arrives("grey-again")
    assert attempt("postino4", "grey-there") is None  # each keeps a list of its own


def test_the_sites_own_hosts_are_no_strangers(night):
    text = (
        f"From: <{USER}@lab.test>\r\nSubject: own\r\nMessage-ID: <own@elsewhere.test>\r\n{GREY}\r\n"
    )
    script = (
        "import smtplib, sys; s = smtplib.SMTP('10.77.0.13', 25, 'mailboxvm.lab.test'); "
        f"s.sendmail('{USER}@lab.test', ['{USER}@lab.test'], sys.stdin.read())"
    )
    inside.run("mailboxvm", ["python3", "-c", script], input=text)
    arrives("own")


def test_the_production_test_tries_again(night):
    def test_mail(token, line, spam=False):
        return mail.SendTestMail(
            "postino4",
            25,
            f"{token}@elsewhere.test",
            "bruno@lab.test",
            "bruno",
            token,
            spam,
            line=line,
        )

    events = []
    with hosts.Hosts(night.site) as reached:
        ctx = model.Context(reached)
        result = test_mail("put-off", antispam.GREY).apply(ctx, events.append)
        assert result.figures["deferrals"] == len(events) >= 1
        with pytest.raises(model.ChangeFailed, match=r"554.*production_test\.spam_line"):
            test_mail("refused", site.GTUBE, True).apply(ctx, events.append)


def test_the_ledger_has_what_was_put_off(night):
    with hosts.Hosts(night.site) as reached:
        with traffic.Traffic(reached, night.run, 8.0, 25) as live:
            pass
        counts = ledger.count(reached, night.run, both=False)
    assert counts["passed"] and counts["accepted"] == live.accepted >= 25
    put_off = counts["put_off"]
    assert (
        put_off["messages"] >= 2
        and not put_off["waiting"]
        and antispam.DELAY - 1 <= put_off["least"] <= put_off["most"] < 60
    )
    entries = ledger.read(night.run)
    late = {int(entry["key"].rpartition("-")[2]) for entry in entries if "put_off" in entry}
    assert {11, 22} <= late and not any(number % traffic.GREY_EVERY for number in late)
    (line,) = (
        line for line in summary.ledger([{"event": "ledger", **counts}]) if "put off" in line
    )
    assert line.startswith(f"{put_off['messages']} of {counts['accepted']} were put off")


def test_what_nobody_took_is_told_and_is_not_lost(night, tmp_path):
    run = types.SimpleNamespace(path=tmp_path, name="cut-short")
    with (
        hosts.Hosts(night.site) as reached,
        pytest.raises(KeyboardInterrupt),
        traffic.Traffic(reached, run, 40.0) as live,
    ):
        assert eventually(lambda: live.put_off)
        raise KeyboardInterrupt  # with a stranger's mail put off a moment ago
    put_off = ledger.late(ledger.read(run))
    assert put_off["waiting"]
    lines = summary.ledger(
        [{"event": "ledger", "accepted": 30, "put_off": put_off, "old": None, "new": None}]
    )
    assert lines[-1].startswith(f"{len(put_off['waiting'])} were never accepted")


def test_a_dead_milter_loses_no_mail_and_what_was_held_keeps_its_mark(night):
    ctl("stop", "sendmail", "mailboxold")
    ctl("stop", "sendmail", "mailboxvm")
    send("held", SPAM)
    ctl("stop", "rspamd")
    with pytest.raises(smtp.SmtpError) as error:
        send("late", SPAM)
    assert error.value.put_off
    declared = night.site.antispam
    with hosts.Hosts(night.site) as reached:
        readings = {
            mx: model.read(
                cutover.facts.antispam.read, reached, mx, declared.milter, declared.redis
            )
            for mx in night.site.roles.mx
        }
    dead, *_ = cutover.steps.checks.antispam.checks(readings, night.site)
    assert not dead.passed and "does NOT answer" in dead.actual and "deferred (451)" in dead.actual
    for name in ("mailboxold", "mailboxvm"):
        ctl("start", "sendmail", name)
    inside.run("postino3", ["sendmail", "-q"])
    assert [marks(text) for text in arrives("held", spam=True)] == [[b"x-spam-flag: yes"]] * 2
    ctl("start", "rspamd")
    send("late", SPAM)
    arrives("late", spam=True)


def test_without_redis_nothing_is_put_off(night):
    ctl("stop", "redis-server")
    try:
        send("no-redis", GREY, sender="another@elsewhere.test")
        arrives("no-redis")
    finally:
        ctl("start", "redis-server")
