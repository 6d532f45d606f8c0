"""What preflight says of the antispam of the MX, and what it reads it from."""

import pytest
from cutover import site
from cutover.facts import antispam as facts
from cutover.steps.checks import antispam

SITE = site.load("parameters/lab.yaml")
GOOD = {
    "filters": ["rspamd"],
    "socket": "inet:11332@127.0.0.1",
    "flags": "T",
    "answers": True,
    "redis": True,
    "greylist": 300.0,
}


def checks(**changed):
    return list(antispam.checks({"antispam": {"postino3": {"value": {**GOOD, **changed}}}}, SITE))


def test_a_milter_that_answers_and_the_delay_to_expect():
    answers, redis, greylist = checks()
    assert answers.mark == redis.mark == "ok" and "put off" in answers.actual
    assert greylist.passed and greylist.actual == "postino3: at least 300 s"


@pytest.mark.parametrize(
    "flags, mark, said",
    [
        ("T", "FAIL", "451"),
        ("4", "FAIL", "421"),
        ("R", "FAIL", "it goes back"),
        ("", "warn", "not scanned"),
    ],
)
def test_a_milter_that_is_down_stops_the_night_when_mail_stops_with_it(flags, mark, said):
    check = checks(answers=False, flags=flags)[0]
    assert check.mark == mark and said in check.actual and "does NOT answer" in check.actual


@pytest.mark.parametrize("flags", ["", "R"])
def test_mail_that_would_be_refused_or_pass_unseen_is_worth_a_look(flags):
    assert checks(flags=flags)[0].mark == "warn"


def test_redis_down_is_told_and_stops_nothing():
    assert checks(redis=False)[1].mark == "warn" and len(checks(redis=None)) == 2


def test_a_milter_that_sendmail_does_not_know():
    (check, *_) = checks(socket=None, flags=None, filters=["clamav"], answers=False)
    assert check.mark == "FAIL" and "clamav" in check.actual


def test_a_host_that_cannot_be_asked():
    (check,) = antispam.checks({"antispam": {"postino3": {"error": "no route"}}}, SITE)
    assert check.mark == "FAIL" and check.actual == "no route"


def test_not_declared_and_facts_of_before():
    plain = SITE.model_copy(update={"antispam": None})
    (check,) = antispam.checks({"antispam": None}, plain)
    assert check.mark == "ok" and check.actual == "not declared"
    assert antispam.probe(None, plain, None) is None
    assert not list(antispam.checks({}, plain))


def test_what_sendmail_says_of_its_milters():
    text = (
        "O InputMailFilters=clamav, rspamd\nO Milter.macros.connect=j, _\n"
        "Xrspamd, S=inet:11332@127.0.0.1,\n\tF=T, T=S:30s;R:60s\nXclamav, S=local:/run/clamav.sock\nXunused, S=inet:1@x\n"
    )
    assert facts.parse_milters(text) == {
        "clamav": ("local:/run/clamav.sock", ""),
        "rspamd": ("inet:11332@127.0.0.1", "T"),
    }
    assert facts.parse_milters("# no milter\n") == {}


@pytest.mark.parametrize(
    "text, seconds",
    [
        ('{"timeout": 4.0, "expire": 86400.0}', 4.0),
        ("", None),
        ('{"timeout": 300, "enabled": false}', None),
        ("{}", None),
        ("[]", None),
        ("rspamadm: not found", None),
    ],
)
def test_what_rspamd_says_of_its_greylist(text, seconds):
    assert facts.parse_greylist(text) == seconds
