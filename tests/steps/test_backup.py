"""The backup, pure: what is refused, what is planned, what is found wrong."""

import json

import example
import pytest
from cutover import model
from example import ROMA1

BACKUP = example.step("backup")
BEFORE, AFTER = (example.recorded("backup", when) for when in ("before", "after"))


def failed(facts):
    return [check for check in BACKUP.verify(facts) if not check.passed]


def test_all_is_well_after_it_and_nothing_is_left_to_do():
    assert not failed(AFTER) and not BACKUP.plan(AFTER).changes


def test_what_copied_the_old_store_is_switched_off_last_when_the_first_copy_is_made():
    kinds = [change.kind for change in BACKUP.plan(BEFORE).changes]
    assert kinds == ["file"] * 7 + [
        "service",
        "backup-run",
        "bacula-config",
        "bacula-run",
        "restore-test",
        "restore-test",
        "service",
    ]


@pytest.mark.parametrize(
    "spoil, message",
    [
        (
            lambda facts: facts.update(account=None, wanted=[], files={}),
            "useradd --system --create-home --shell /bin/sh mailbackup",
        ),
        (
            lambda facts: facts["account"].update(shell="/usr/sbin/nologin"),
            "no account mailbackup with a shell",
        ),
        (
            lambda facts: facts["account"].update(mail_user=True),
            "mailbackup, a mail user of mailboxvm",
        ),
        (
            lambda facts: facts.update(public=None, wanted=[], files={}),
            "ssh-keygen -t ed25519 -N '' -f /etc/mailbackup/key",
        ),
        (
            lambda facts: facts.update(python={"error": "no such file"}),
            "/usr/bin/python3 on sanbackup .* 3.8 or later: no such file",
        ),
        (lambda facts: facts.update(python={"value": "3.6"}), "it is 3.6. Install one"),
    ],
)
def test_what_somebody_else_makes_is_asked_for_with_the_command_that_makes_it(spoil, message):
    with pytest.raises(model.CannotPlan, match=message):
        BACKUP.plan(example.altered(BEFORE, spoil))


def test_a_site_without_a_backup_plans_nothing_and_is_warned():
    bare = ROMA1.model_copy(update={"backup": None})
    plan = BACKUP.plan({"run": "r"}, bare)
    assert not plan.changes and plan.reason
    checks = BACKUP.verify({"run": "r"}, bare)
    assert [(check.id, check.mark) for check in checks] == [("backup-declared", "warn")]


def test_a_run_that_failed_is_made_again_and_a_file_that_somebody_changed_is_put_right():
    def spoil(facts):
        facts["last"]["result"] = 12
        facts["files"]["mailboxvm:/etc/mailbackup/rsyncd.conf"] = "read only = no\n"

    file, *then = BACKUP.plan(example.altered(AFTER, spoil)).changes
    assert file.before == "read only = no\n"
    assert [change.kind for change in then] == [
        "backup-run",
        "bacula-run",
        "restore-test",
        "restore-test",
    ]
    assert file.inverse().after == "read only = no\n"


@pytest.mark.parametrize(
    "spoil, check",
    [
        (lambda facts: facts["timer"].update(starts_at_boot=False), "copy-daily"),
        (lambda facts: facts["timer"].update(next=""), "copy-daily"),
        (
            lambda facts: facts["last"].update(result=23, error="no space left"),
            "copy-run-succeeded",
        ),
        (lambda facts: facts.update(at=facts["last"]["ended"] + 27 * 3600), "copy-recent"),
        (
            lambda facts: facts["differs"]["value"].update(missing=2, first=["alice/cur/1"]),
            "copy-complete",
        ),
        (lambda facts: facts["last"].update(lacking=3), "copy-messages"),
        (lambda facts: facts["retire"][0].update(running=True), "old-backup-off"),
        (
            lambda facts: facts["files"].update(
                {"sanbackup:/usr/local/sbin/mailbackup": "#!/bin/sh\n"}
            ),
            "backup-installed",
        ),
    ],
)
def test_verify_finds(spoil, check):
    (wrong,) = failed(example.altered(AFTER, spoil))
    assert wrong.id == check and wrong.todo


def test_the_changes_are_whole_in_a_journal():
    for change in BACKUP.plan(BEFORE).changes:
        again = model.change_from_json(json.loads(json.dumps(change.to_json())))
        assert again == change and again.describe() == change.describe()


def test_figures_of_the_runs_do_not_void_the_approval():
    def later(facts):
        facts["at"] += 60
        facts["last"].update(copied=9, received=9)
        facts["tests"]["current"]["value"].update(age=99.0)

    assert BACKUP.stable(example.altered(AFTER, later)) == BACKUP.stable(AFTER)
    other = example.altered(AFTER, lambda facts: facts.update(host_keys=["ssh-rsa BBBB"]))
    assert BACKUP.stable(other) != BACKUP.stable(AFTER)
