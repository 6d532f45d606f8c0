"""Maintenance without a host: what a forward is, where Sieve's recipe goes, and what a subject may not do to its reader."""

import pytest
from cutover import model, site
from cutover.changes import sieve
from cutover.changes import spam_digest as digest
from cutover.connect.imap import fetch
from cutover.facts import userdb
from cutover.steps.maintenance import forwards, old_spam, vacation

ROMA1 = site.load("parameters/roma1.yaml")
HERE = ("mailbox.a.test", "new.a.test")


@pytest.mark.parametrize(
    "line, elsewhere, stays",
    [
        (b"u:maildrop\tu@far.test\n", ("u@far.test",), ""),
        (
            b"u:maildrop u@MAILBOX.a.test., <x@far.test>, y@b.test\n",
            ("x@far.test", "y@b.test"),
            "u@MAILBOX.a.test.",
        ),
        (b"u:maildrop local, x@far.test\n", ("x@far.test",), "local"),
        (b"u:maildrop u@new.a.test\n", None, None),
        (b'u:maildrop "|/bin/prog x@far.test", x@far.test\n', None, None),
        (b"u:mailname U@far.test\n", None, None),
        (b"# u:maildrop\tu@far.test\n", None, None),
    ],
)
def test_what_a_forward_is(line, elsewhere, stays):
    found = userdb.forwards(line, HERE)
    assert [(each.elsewhere, each.here) for each in found] == (
        [] if elsewhere is None else [(elsewhere, stays)]
    )


DELIVERY = ":0\n/var/imap/$LOGNAME/\n"


@pytest.mark.parametrize(
    "after", ["", "\n# what is not taken stays queued\nEXITCODE=75\nDEFAULT=/etc/procmailrc/none\n"]
)
def test_the_recipe_stands_before_the_last_delivery_and_once(after):
    text = (
        "DROPPRIVS=yes\n\n:0\n* ^X-Spam-Flag: YES\n/var/imap/$LOGNAME/.SPAM/\n\n" + DELIVERY + after
    )
    made = vacation.handing_over(text, ROMA1)
    assert made == text.replace(DELIVERY, vacation.recipe(ROMA1) + DELIVERY)
    assert vacation.handing_over(made, ROMA1) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "DROPPRIVS=yes\n",
        "A=b\n:0\n| /usr/bin/dmail\n",
        "A=b\n:0\n* ^Subject: x\n/var/imap/x/\n",
        "A=b\n:0\n* ^Subject: x\n{\n:0\n/var/imap/x/\n}\n",
    ],
)
def test_a_procmailrc_that_ends_otherwise_is_left_to_people(text):
    assert vacation.handing_over(text, ROMA1) is None
    found = {"lda": True, "sieve": True, "procmailrc": text, "block": None}
    with pytest.raises(model.CannotPlan, match="dovecot-lda"):
        vacation.plan(found, ROMA1)


def test_a_block_comes_and_goes_and_nothing_else_of_the_file_changes():
    for text in ("", "a = b\n", "a = b\n\n"):
        made = sieve.with_block(text, "c = d\n")
        assert sieve.block(made) == "c = d\n" and sieve.with_block(made, None) == text
        assert sieve.with_block(made, "e = f\n") == sieve.with_block(text, "e = f\n")
    assert sieve.block("a = b\n") is None


def found_forwards(text, script=None, ready=True):
    targets = {address: {"valid": True, "said": ""} for address in ("a@far.test", "b@far.test")}
    return {
        "run": "r",
        "mx": {name: {"source": text, "map": []} for name in ("postino3", "postino4")},
        "targets": targets,
        "sieve": ready,
        "accounts": {
            "zoe": {"home": "/home/zoe", "active": "mine" if script else "", "script": script}
        },
    }


def test_an_mx_that_was_done_before_a_crash_is_no_difference():
    found = found_forwards("zoe:maildrop\ta@far.test\n")
    whole = forwards.plan(found, ROMA1)
    assert [change.kind for change in whole.changes] == [
        "sieve-script",
        "userdb-edit",
        "userdb-edit",
    ]
    found["accounts"]["zoe"].update(script=whole.changes[0].after, active=sieve.FORWARD)
    found["mx"]["postino3"]["source"] = "zoe:maildrop\tzoe@mailboxvm.roma1.example\n"
    assert [change.host for change in forwards.plan(found, ROMA1).changes] == ["postino4"]
    found["mx"]["postino3"]["source"] += "other:maildrop\tb@far.test\n"
    with pytest.raises(model.CannotPlan, match="not the same on every MX"):
        forwards.plan(found, ROMA1)


def test_two_lines_of_one_user_become_one_script_and_one_route():
    found = found_forwards("zoe:maildrop\ta@far.test\nzoe:maildrop\tb@far.test\n")
    script, edit, _ = forwards.plan(found, ROMA1).changes
    assert script.after.count("redirect ") == 2
    assert [new for _, new in edit.replacements] == [
        "zoe:maildrop\tzoe@mailboxvm.roma1.example",
        "# r: zoe:maildrop\tb@far.test",
    ]


@pytest.mark.parametrize(
    "more, said",
    [({"script": "keep;\n"}, "has a Sieve script already"), ({"ready": False}, "vacation")],
)
def test_a_forward_does_not_move_over_a_users_own_script_or_before_sieve(more, said):
    with pytest.raises(model.CannotPlan, match=said):
        forwards.plan(found_forwards("zoe:maildrop\ta@far.test\n", **more), ROMA1)


@pytest.mark.parametrize(
    "raw, safe",
    [
        ("=?iso-8859-1?Q?Caff=E8_gratis?=", "Caffè gratis"),
        ("a\r\n b\t c\x1b[31m\x00", "a b c[31m"),
        ("x\u202ecod.exe\u200b", "xcod.exe"),
        (
            "see HTTPS://evil.test www.evil.test javascript:x",
            "see HTTPS[:]//evil.test www[.]evil.test javascript[:]x",
        ),
        ("=?no-such-charset?Q?a?=", "=?no-such-charset?Q?a?="),
        ("x" * 500, "x" * 99 + "…"),
        ("", ""),
    ],
)
def test_a_subject_is_made_safe(raw, safe):
    assert digest.safe(raw) == safe


def test_uids_as_ranges():
    assert fetch.number_set(sorted([9, 1, 2, 3, 7])) == b"1:3,7,9" and fetch.number_set([]) == b""


# -- old SPAM


def found_spam(days, users=None):
    """What was set aside by an earlier run and by this one, `r2`; and, in `users`, what would be set aside now."""
    return {
        "run": "r2",
        "before": "2026-10-01",
        "asked": 24,
        "users": users or {},
        "kept": {
            "r1": {"users": {"alice": 3, "bruno": 4}, "days": days},
            "r2": {"users": {"carla": 5}, "days": 99},
        },
    }


def expunging(grace=30):
    spam = ROMA1.maintenance.old_spam.model_copy(update={"expunge": True, "grace": grace})
    return ROMA1.model_copy(
        update={"maintenance": ROMA1.maintenance.model_copy(update={"old_spam": spam})}
    )


def test_what_was_set_aside_is_deleted_after_its_grace_time_only_where_that_is_asked_for():
    made = old_spam.plan(found_spam(30), expunging())
    assert [(change.kind, change.user, change.run, change.count) for change in made.changes] == [
        ("spam-expunge", "alice", "r1", 3),
        ("spam-expunge", "bruno", "r1", 4),
    ]
    assert dict(made.notes)["Irreversible"].startswith("7 messages that r1 set aside")
    assert all(
        change.inverse() is None and "deleted for good" in change.undo_text()
        for change in made.changes
    )
    within = old_spam.plan(found_spam(29), expunging())
    assert not within.changes and "none that was set aside is past its grace time" in within.reason
    assert not old_spam.plan(found_spam(30), ROMA1).changes
    marks = [check.mark for check in old_spam.verify(found_spam(30), expunging())]
    assert marks == ["ok", "warn", "warn"]


def test_no_plan_both_sets_aside_and_deletes():
    users = {"zoe": {"uidvalidity": 7, "old": "1:2", "count": 2}}
    assert [
        change.kind for change in old_spam.plan(found_spam(30, users), expunging()).changes
    ] == ["spam-aside"]
