"""What preflight checks of the antispam of the MX."""

import dataclasses

import pytest
from cutover import facts, model, site
from cutover.steps.checks import antispam

SITE = site.load("parameters/lab.yaml")
GOOD = facts.antispam.Antispam(
    filters=["rspamd"],
    socket="inet:11332@127.0.0.1",
    flags="T",
    answers=True,
    redis=True,
    greylist=300.0,
)


def checks(reading=None, **changed):
    """{check id: check} for postino3."""
    reading = reading or model.Reading(dataclasses.replace(GOOD, **changed))
    return {check.id: check for check in antispam.checks({"postino3": reading}, SITE)}


def test_a_milter_that_answers_and_the_delay_to_expect():
    judged = checks()
    assert [check.mark for check in judged.values()] == ["ok", "ok", "ok"]
    assert "deferred" in judged["antispam-answers"].actual
    assert judged["greylist-delay"].data == {"postino3": 300.0}
    assert judged["greylist-delay"].actual == "postino3: at least 300 s"


@pytest.mark.parametrize(
    "flags, mark, text",
    [
        ("T", "FAIL", "451"),
        ("4", "FAIL", "421"),
        ("R", "FAIL", "bounces"),
        ("", "warn", "without a scan"),
    ],
)
def test_a_milter_that_is_down_stops_the_night_when_it_stops_mail(flags, mark, text):
    check = checks(answers=False, flags=flags)["antispam-answers"]
    assert check.mark == mark and check.subject == "postino3"
    assert check.data == {"answers": False, "flags": flags}
    assert text in check.actual and "does NOT answer" in check.actual


@pytest.mark.parametrize("flags", ["", "R"])
def test_mail_that_would_bounce_or_pass_without_a_scan_is_a_warning(flags):
    assert checks(flags=flags)["antispam-answers"].mark == "warn"


def test_redis_that_is_down_is_a_warning():
    assert checks(redis=False)["greylist-redis"].mark == "warn"
    assert set(checks(redis=None)) == {"antispam-answers", "greylist-delay"}


def test_a_milter_that_sendmail_does_not_know():
    judged = checks(socket=None, flags=None, filters=["clamav"], answers=False)
    assert set(judged) == {"antispam-answers"}
    assert judged["antispam-answers"].mark == "FAIL"
    assert "clamav" in judged["antispam-answers"].actual


def test_a_host_that_cannot_be_asked():
    ((_, check),) = checks(model.Reading(error="no route")).items()
    assert check.mark == "FAIL" and check.actual == "no route"


def test_not_declared():
    for parameters, readings in (
        (SITE.model_copy(update={"antispam": None}), None),
        (SITE, None),
    ):
        (check,) = antispam.checks(readings, parameters)
        assert check.mark == "ok" and check.actual == "not declared"
