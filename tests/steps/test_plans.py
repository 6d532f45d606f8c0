"""Plans and checks are pure: judged from the worked example's recorded facts, and altered ones."""

import json

import example
import pytest
from cutover import model
from cutover.connect import ssh
from cutover.facts import mail_queue, routes, users
from cutover.model import errors, runbook
from cutover.run import lanes
from cutover.steps.night import restore_sendmail
from example import ROMA1, altered, recorded

ALIAS, OLD, NEW = (ROMA1.fqdn(name) for name in ("mailbox", "mailboxold", "mailboxvm"))
STEPS = [*runbook.ORDER, *runbook.MAINTENANCE]
READING = {"preflight", "verify"}  # they change nothing
REPEATABLE = {"presync"}  # there is always another pass to make


@pytest.mark.parametrize("name", STEPS)
def test_there_is_something_to_do_before_and_nothing_after(name):
    step = example.step(name)
    before, after = (step.plan(recorded(name, when), ROMA1) for when in ("before", "after"))
    assert bool(before.changes) == (name not in READING)
    assert name in REPEATABLE or (not after.changes and after.reason)


@pytest.mark.parametrize("name", STEPS)
def test_verify_is_content_after_and_was_not_before(name):
    step = example.step(name)
    after = step.verify(recorded(name, "after"), ROMA1)
    assert after and all(check.passed for check in after), [
        check for check in after if not check.passed
    ]
    if name not in READING | REPEATABLE:
        before = step.verify(recorded(name, "before"), ROMA1)
        assert not all(check.passed for check in before)
        assert all(check.todo for check in before if not check.passed)


@pytest.mark.parametrize("name", STEPS)
def test_a_plan_is_the_same_each_time_and_leaves_the_facts_alone(name):
    facts = recorded(name, "before")
    text = json.dumps(facts, sort_keys=True)
    first, second = (example.step(name).plan(facts, ROMA1) for _ in range(2))
    assert [change.to_json() for change in first.changes] == [
        change.to_json() for change in second.changes
    ]
    assert json.dumps(facts, sort_keys=True) == text


# --- DNS


def records(facts, server="ns1"):
    return facts["servers"][server]["records"]


def test_dns_rename_moves_every_record_of_the_alias_and_its_inverse_puts_back_the_ttl():
    def more(facts):
        records(facts)[ALIAS]["AAAA"] = {"ttl": 300, "values": ["2001:db8::15"]}

    (change,) = (
        example.step("dns-rename")
        .plan(altered(recorded("dns-rename", "before"), more), ROMA1)
        .changes
    )
    lines = change.describe().splitlines()
    assert (
        f"update add {OLD}. 60 A 192.0.2.15" in lines
        and f"update add {OLD}. 60 AAAA 2001:db8::15" in lines
    )
    assert (
        f"prereq yxrrset {ALIAS}. AAAA 2001:db8::15" in lines and f"prereq nxdomain {OLD}." in lines
    )
    back = change.inverse().describe().splitlines()
    assert (
        f"update add {ALIAS}. 3600 A 192.0.2.15" in back
        and f"update add {ALIAS}. 300 AAAA 2001:db8::15" in back
    )
    assert not any(line.startswith(f"update add {OLD}.") for line in back)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda at: at[ALIAS].clear(), "has no address"),
        (
            lambda at: at.update({ALIAS: {"CNAME": {"ttl": 60, "values": ["elsewhere.example."]}}}),
            "is an alias of elsewhere.example",
        ),
        (
            lambda at: at.update({OLD: {"A": {"ttl": 60, "values": ["192.0.2.99"]}}}),
            "already has records that",
        ),
    ],
)
def test_dns_rename_refuses_a_zone_that_somebody_changed(change, message):
    facts = altered(recorded("dns-rename", "before"), lambda facts: change(records(facts)))
    with pytest.raises(model.CannotPlan, match=message):
        example.step("dns-rename").plan(facts, ROMA1)


def test_dns_rename_accepts_an_old_name_that_is_there_already():
    facts = altered(
        recorded("dns-rename", "before"),
        lambda facts: records(facts).update({OLD: {"A": {"ttl": 900, "values": ["192.0.2.15"]}}}),
    )
    (change,) = example.step("dns-rename").plan(facts, ROMA1).changes
    assert f"prereq yxrrset {OLD}. A 192.0.2.15" in change.describe()
    assert f"update add {OLD}. 900 A 192.0.2.15" in change.inverse().describe()


def test_a_name_server_that_lags_fails_the_verify_and_is_named():
    def lag(facts):
        facts["servers"]["ns2"] = recorded("switch-alias", "before")["servers"]["ns2"]

    checks = example.step("switch-alias").verify(
        altered(recorded("switch-alias", "after"), lag), ROMA1
    )
    failed = [check for check in checks if not check.passed]
    assert [(check.id, check.subject) for check in failed] == [
        ("alias-leads-to", "ns2"),
        ("zone-serial-same", ""),
    ]
    assert failed[0].data == {"target": OLD}


def test_switch_alias_refuses_an_alias_that_is_none():
    facts = altered(
        recorded("switch-alias", "before"),
        lambda facts: records(facts).update({ALIAS: {"A": {"ttl": 60, "values": ["192.0.2.15"]}}}),
    )
    with pytest.raises(model.CannotPlan, match="Run dns-rename first"):
        example.step("switch-alias").plan(facts, ROMA1)


# --- userdb


def test_dual_delivery_edits_the_mailbox_users_and_nobody_else():
    facts = recorded("dual-delivery", "before")
    planned = example.step("dual-delivery").plan(facts, ROMA1).changes
    edits = [change for change in planned if change.kind == "userdb-edit"]
    assert len(edits) == 2
    for change in edits:
        assert change.replacements
        for old, new in change.replacements:
            user = old.split(":")[0]
            assert old.rstrip().endswith(f"@{ALIAS}") and new.count("@") == 2 * old.count("@")
            assert f"@{OLD}" in new and f"@{NEW}" in new and new.startswith(user + ":")
        assert not any("elsewhere" in old for old, _ in change.replacements)
        assert change.inverse().replacements == [[new, old] for old, new in change.replacements]


@pytest.mark.parametrize(
    "spoil, check_id",
    [
        (lambda mx: mx.update(map=mx["map"][:-1]), "userdb-map-current"),
        (lambda mx: mx["routes"].update(alice=[f"alice@{OLD}"]), "sendmail-routes-to-both"),
        (lambda mx: mx.update(queued=3), "mx-queue-clear"),
        (lambda mx: mx.update(source=mx["source"] + "# more\n"), "userdb-same"),
    ],
)
def test_dual_delivery_verify_finds(spoil, check_id):
    facts = altered(
        recorded("dual-delivery", "after"), lambda facts: spoil(facts["mx"]["postino3"])
    )
    failed = [
        check for check in example.step("dual-delivery").verify(facts, ROMA1) if not check.passed
    ]
    assert check_id in [check.id for check in failed], failed


def test_dual_delivery_may_run_again_when_somebody_added_a_user_since():
    """The backup is of its first run: else no other would ever pass."""
    facts = altered(
        recorded("dual-delivery", "after"),
        lambda facts: [
            mx.update(
                source=mx["source"] + f"zoe:maildrop zoe@{OLD},zoe@{NEW}\n",
                map=[*mx["map"], {"key": "zoe:maildrop", "value": f"zoe@{OLD},zoe@{NEW}"}],
                routes={**mx["routes"], "zoe": [f"zoe@{OLD}", f"zoe@{NEW}"]},
            )
            for mx in facts["mx"].values()
        ],
    )
    checks = example.step("dual-delivery").verify(facts, ROMA1)
    assert all(check.passed for check in checks)
    warned = [check.subject for check in checks if check.id == "userdb-otherwise-unchanged"]
    assert warned == ["postino3", "postino4"]
    assert all(check.warning for check in checks if check.id == "userdb-otherwise-unchanged")


def test_dual_delivery_warns_of_entries_it_does_not_understand():
    odd = "zeno:maildrop Zeno <zeno@" + ALIAS + ">\n"
    facts = altered(
        recorded("dual-delivery", "after"),
        lambda facts: facts["mx"]["postino4"].update(
            source=facts["mx"]["postino4"]["source"] + odd
        ),
    )
    warned = [
        check for check in example.step("dual-delivery").verify(facts, ROMA1) if check.warning
    ]
    (check,) = (check for check in warned if check.id == "userdb-odd-entries")
    assert check.subject == "postino4" and check.data == {"entries": ["zeno"]}
    assert not any(
        check.id == "userdb-odd-entries"
        for check in example.step("dual-delivery").verify(recorded("dual-delivery", "after"), ROMA1)
    )


# --- services


def test_a_service_that_is_off_but_would_start_at_boot_is_stopped_too():
    facts = recorded("stop-imap", "after")
    service = altered(
        facts, lambda facts: facts["hosts"]["mailboxold"]["services"][0].update(starts_at_boot=True)
    )
    changes = example.step("stop-imap").plan(service, ROMA1).changes
    assert [change.kind for change in changes] == ["service", "end-sessions"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda host: host["services"][0].update(running=True),
        lambda host: host["services"][0].update(starts_at_boot=True),
        lambda host: host["sessions"].append({"pid": 7, "user": "alice", "command": "imapd"}),
        lambda host: host["ports"].update({"993": True}),
    ],
)
def test_stop_imap_verify_finds_what_still_serves(spoil):
    facts = altered(
        recorded("stop-imap", "after"), lambda facts: spoil(facts["hosts"]["mailboxold"])
    )
    assert [check.passed for check in example.step("stop-imap").verify(facts, ROMA1)].count(
        False
    ) == 1


def test_restore_imap_starts_the_new_server_and_never_the_old():
    changes = example.step("restore-imap").plan(recorded("restore-imap", "before"), ROMA1).changes
    assert {change.host for change in changes} == {"mailboxvm"}
    opened = altered(
        recorded("restore-imap", "after"),
        lambda facts: facts["hosts"]["mailboxold"]["ports"].update({"143": True}),
    )
    assert not all(check.passed for check in example.step("restore-imap").verify(opened, ROMA1))


def test_the_new_server_stops_while_the_old_one_still_does_once_nothing_comes_in():
    changes = example.step("stop-sendmail").plan(recorded("stop-sendmail", "before"), ROMA1).changes
    (old, new), *after = lanes.groups(changes)
    assert [(change.kind, change.target) for _, change in old] == [("service", "mailboxold")]
    assert [change.kind for _, change in new] == ["drain-once-closed", "service"]
    assert (new[0][1].closed, new[0][1].but) == ("mailboxold", OLD)
    assert {change.kind for group in after for lane in group for _, change in lane} == {
        "drain-queue",
        "await-deliveries",
    }


def delivered(arrived):
    """restore-sendmail's facts after it, with these test messages there."""
    return altered(
        recorded("restore-sendmail", "after"),
        lambda facts: facts.update(token="r1", arrived=arrived),
    )


def test_delivery_resumes_only_when_each_host_has_a_message_from_each_mx():
    step, both = example.step("restore-sendmail"), ["postino3", "postino4"]
    facts = delivered({"mailboxold": both, "mailboxvm": both})
    assert all(check.passed for check in step.verify(facts, ROMA1))
    assert not step.plan(facts, ROMA1).changes
    facts = delivered({"mailboxold": both, "mailboxvm": ["postino4"]})
    (failed,) = [check for check in step.verify(facts, ROMA1) if not check.passed]
    assert (failed.id, failed.subject, failed.data) == (
        "mail-delivered",
        "mailboxvm",
        {"from": ["postino4"]},
    )
    assert [change.kind for change in step.plan(facts, ROMA1).changes] == [
        "prove-delivery",
        "release-queue",
    ]


def test_a_rollback_makes_earlier_test_messages_worthless():
    def token(*events):
        return restore_sendmail.token(model.Context(None, run_name="r1", history=events))

    passed = {"event": "verified", "step": "rollback", "passed": True}
    assert token() == token({**passed, "step": "restore-sendmail"}) != token(passed)
    assert token(passed) != token(passed, passed)


class Idle:
    """Hosts whose sendmail is stopped; what they are asked is in `asked`."""

    def __init__(self, site):
        self.site, self.asked = site, []

    def each(self, names, function):
        return {name: function(name) for name in names}

    def run(self, name, argv, **options):
        self.asked.append((name, argv[0]))
        texts = {"systemctl": b"LoadState=masked\nActiveState=inactive\n", "sh": b"is empty\n"}
        return ssh.Result(name, tuple(argv), 0, texts.get(argv[0], b""), b"", 0.0)

    def port_open(self, name, port):
        return False


def test_while_delivery_is_stopped_no_mx_lists_its_queue():
    """A long one takes seconds, and readers wait."""
    hosts = Idle(ROMA1)
    step = example.step("restore-sendmail")
    facts = step.probe(model.Context(hosts, run_name="r1"))
    assert {name for name, _ in hosts.asked} == set(ROMA1.mail_hosts) and facts.mx == {}
    prove, release = [change for change in step.plan(facts, ROMA1).changes][-2:]
    assert prove.mx == release.queues == ROMA1.roles.mx
    # what is known before the outage becomes the same
    running = model.from_json(step.facts, recorded("restore-sendmail", "after"))
    assert step.ahead(running).mx == {}


# --- preflight


# --- parsers of facts


def test_the_queue_as_mailq_prints_it():
    text = """\t\t/var/spool/mqueue (2 requests)
-----Q-ID----- --Size-- -----Q-Time----- ------------Sender/Recipient-----------
6AO44QN6003288     3103 Tue Nov 24 04:04 <traffic@elsewhere.test>
                 (Deferred: Connection refused by mailboxold.lab.test.)
\t\t\t\t\t ugo@mailboxold.lab.test
6AO44kqs004159*    3667 Tue Nov 24 04:04 <traffic@elsewhere.test>
\t\t\t\t\t rita@mailboxold.lab.test
\t\tTotal requests: 2
"""
    queue = mail_queue.parse(text)
    assert queue.requests == 2 and len(queue.items) == 2
    assert queue.items[0].startswith("6AO44QN6003288 ") and "Connection refused" in queue.items[0]
    empty = "/var/spool/mqueue is empty\n\t\tTotal requests: 0\n"
    assert mail_queue.parse(empty) == mail_queue.Queue(0, [])
    with pytest.raises(errors.Unreadable, match="permission"):
        mail_queue.parse("mailq: permission denied")


def test_users_as_getent_prints_them():
    text = (
        "root:x:0:0:root:/root:/bin/sh\nalice:x:2001:2001::/home/alice:/bin/sh\n"
        "old:x:9999:1::/h:/f\nshort:x:2002\n\n"
    )
    assert users.parse_passwd(text, 2000, 2999) == [
        users.Account("alice", 2001, 2001, "/home/alice")
    ]
    assert users.parse_passwd(text, 2000, 2999, ["alice"]) == []
    # the first line of a name counts, as in getpwnam
    hidden = (
        "zoe:x:900:900::/srv/z:/bin/sh\n"
        + text
        + "zoe:x:2024:2024::/home/zoe:/bin/sh\nalice:x:2002:2002::/h/a:/bin/sh\n"
    )
    assert users.parse_passwd(hidden, 2000, 2999) == users.parse_passwd(text, 2000, 2999)
    # only a line feed ends a line; old full names hold anything else
    for gecos in ("Ren\x85", "a\x0bb\x0cc", "a\rb", "a\u2028b"):
        odd = f"zoe:x:2024:2024:{gecos}:/home/zoe:/bin/sh\n"
        assert [account.user for account in users.parse_passwd(odd, 2000, 2999)] == ["zoe"]


def test_routes_as_sendmail_prints_them():
    text = (
        "alice@mailboxold.lab.test... deliverable: mailer esmtp, host mailboxold.lab.test., "
        "user alice@mailboxold.lab.test\n"
        "alice@mailboxvm.lab.test... deliverable: mailer esmtp, host mailboxvm.lab.test., "
        "user alice@mailboxvm.lab.test\n"
    )
    named = "Bruno <b@x.test>... deliverable: mailer esmtp, host x.test., user b@x.test\n"
    assert routes.parse(named + "Carla <c>... deliverable: mailer local, user c\n") == {
        "b": ["b@x.test"],
        "c": ["c"],
    }
    assert routes.parse(text) == {
        "alice": ["alice@mailboxold.lab.test", "alice@mailboxvm.lab.test"]
    }
    assert routes.parse(text, {"info": "info", "alice": "info"}) == {
        "info": ["alice@mailboxold.lab.test", "alice@mailboxvm.lab.test"]
    }
