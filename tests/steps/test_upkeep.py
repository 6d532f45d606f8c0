"""Maintenance without a host: what a forward is, where Sieve's recipe goes, and what a subject may
not do to its reader.
"""

import example
import pytest
from cutover import model
from cutover.changes import spam_digest
from cutover.changes.sieve import FORWARD, with_block
from cutover.connect.imap import fetch
from cutover.facts import sieve, userdb
from cutover.steps.maintenance import vacation
from example import ROMA1

FORWARDS, OLD_SPAM, VACATION = map(example.step, ("forwards", "old-spam", "vacation"))
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
    forwards = userdb.forwards(line, HERE)
    assert [(forward.elsewhere, forward.here) for forward in forwards] == (
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
    made = vacation.with_recipe(text, ROMA1)
    assert made == text.replace(DELIVERY, vacation.recipe(ROMA1) + DELIVERY)
    assert vacation.with_recipe(made, ROMA1) == made


# procmail takes each of these for a recipe that is not an unconditional delivery of all
REFUSED = [":0 c", ":0c:", " :0 c", ": 0 c", ":0\\\n c", ":0 E", "\t:0 wE", ":0 A", ":0 e", ":0 h"]
REFUSED += [":0 b", ":", ":1", ":0 q"]
TAKEN = [":0", ":0:", ":0 w:", ": 0", " :0 # c", ":0 w # c", ":0 : c", ":00", ":0 HB D w i r"]


@pytest.mark.parametrize("head", TAKEN)
def test_flags_that_change_nothing_are_taken(head):
    text = f"A=b\n\n{head}\n/var/imap/x/\n"
    assert vacation.with_recipe(text, ROMA1) == text.replace(head, vacation.recipe(ROMA1) + head)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "DROPPRIVS=yes\n",
        "A=b\n:0\n| /usr/bin/dmail\n",
        "A=b\n:0\n* ^Subject: x\n/var/imap/x/\n",
        "A=b\n:0\n* ^Subject: x\n{\n:0\n/var/imap/x/\n}\n",
        *(f"A=b\n{head}\n/var/imap/x/\n" for head in REFUSED),
        # the last one is further down, however it is written
        f"A=b\n{DELIVERY} : 0 c\n/var/backup/\n",
    ],
)
def test_a_procmailrc_that_ends_otherwise_is_left_to_people(text):
    assert vacation.with_recipe(text, ROMA1) is None
    facts = example.altered(
        example.recorded("vacation", "before"), lambda facts: facts.update(procmailrc=text)
    )
    with pytest.raises(model.CannotPlan, match="dovecot-lda"):
        VACATION.plan(facts)


def test_a_block_comes_and_goes_and_nothing_else_of_the_file_changes():
    for text in ("", "a = b\n", "a = b\n\n"):
        made = with_block(text, "c = d\n")
        assert sieve.block(made) == "c = d\n" and with_block(made, None) == text
        assert with_block(made, "e = f\n") == with_block(text, "e = f\n")
    assert sieve.block("a = b\n") is None


@pytest.mark.parametrize(
    "version, lines, restart",
    [
        ("2.3.19.1", ["protocols = $protocols sieve", "  sieve_user_email = %n@roma1.example"], ""),
        ("2.4.1", ["  sieve = yes", "userdb passwd {", "userdb b {"], "dovecot"),
    ],
)
def test_sieve_is_set_in_the_spelling_of_dovecots_version(version, lines, restart):
    facts = example.altered(
        example.recorded("vacation", "before"),
        lambda facts: facts.update(version=version, userdbs=["passwd", "b"]),
    )
    block = VACATION.plan(facts).changes[0]
    assert set(lines) < set(block.after.splitlines()) and block.restart == restart
    assert block.describe().splitlines()[-1].split()[:2] == (
        ["systemctl", "restart"] if restart else ["doveadm", "reload"]
    )


def facts_of_forwards(text, script=None, ready=True):
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
    facts = facts_of_forwards("zoe:maildrop\ta@far.test\n")
    whole = FORWARDS.plan(facts)
    assert [change.kind for change in whole.changes] == [
        "sieve-script",
        "userdb-edit",
        "userdb-edit",
    ]
    facts["accounts"]["zoe"].update(script=whole.changes[0].after, active=FORWARD)
    facts["mx"]["postino3"]["source"] = "zoe:maildrop\tzoe@mailboxvm.roma1.example\n"
    assert [change.host for change in FORWARDS.plan(facts).changes] == ["postino4"]
    facts["mx"]["postino3"]["source"] += "other:maildrop\tb@far.test\n"
    with pytest.raises(model.CannotPlan, match="differs between the MX hosts"):
        FORWARDS.plan(facts)


def test_two_lines_of_one_user_become_one_script_and_one_route():
    facts = facts_of_forwards("zoe:maildrop\ta@far.test\nzoe:maildrop\tb@far.test\n")
    script, edit, _ = FORWARDS.plan(facts).changes
    assert script.after.count("redirect ") == 2
    assert [new for _, new in edit.replacements] == [
        "zoe:maildrop\tzoe@mailboxvm.roma1.example",
        "# r: zoe:maildrop\tb@far.test",
    ]


@pytest.mark.parametrize(
    "more, message",
    [({"script": "keep;\n"}, "already has a Sieve script"), ({"ready": False}, "vacation")],
)
def test_a_forward_does_not_move_over_a_users_own_script_or_before_sieve(more, message):
    with pytest.raises(model.CannotPlan, match=message):
        FORWARDS.plan(facts_of_forwards("zoe:maildrop\ta@far.test\n", **more))


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
        ("=?utf-8?B?A?=", "=?utf-8?B?A?="),
        ("x" * 500, "x" * 99 + "…"),
        (f"=?utf-8?q?{'a' * 5000}?=", f"=?utf-8?q?{'a' * 89}…"),
        ("", ""),
    ],
)
def test_a_subject_is_made_safe(raw, safe):
    assert spam_digest.safe(raw) == safe


def test_uids_as_ranges():
    assert fetch.number_set(sorted([9, 1, 2, 3, 7])) == b"1:3,7,9" and fetch.number_set([]) == b""


# -- old SPAM


def facts_of_spam(days, users=None):
    """What was set aside by an earlier run and by this one, `r2`.

    And, in `users`, what would be set aside now.
    """
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
    made = OLD_SPAM.plan(facts_of_spam(30), expunging())
    assert [(change.kind, change.user, change.run, change.count) for change in made.changes] == [
        ("spam-expunge", "alice", "r1", 3),
        ("spam-expunge", "bruno", "r1", 4),
    ]
    assert dict(made.notes)["Irreversible"].startswith("7 messages that r1 set aside")
    assert all(
        change.inverse() is None and "deleted for good" in change.undo_text()
        for change in made.changes
    )
    within = OLD_SPAM.plan(facts_of_spam(29), expunging())
    assert not within.changes and "nothing set aside is older than its grace time" in within.reason
    assert not OLD_SPAM.plan(facts_of_spam(30), ROMA1).changes
    marks = [check.mark for check in OLD_SPAM.verify(facts_of_spam(30), expunging())]
    assert marks == ["ok", "warn", "warn"]


def test_no_plan_both_sets_aside_and_deletes():
    users = {"zoe": {"uidvalidity": 7, "old": "1:2", "count": 2}}
    assert [
        change.kind for change in OLD_SPAM.plan(facts_of_spam(30, users), expunging()).changes
    ] == ["spam-aside"]
