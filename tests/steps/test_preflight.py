"""What preflight finds wrong, from the recorded facts of the worked example."""

import json
import types

import example
import pytest
from cutover import model
from cutover.connect import tls
from cutover.facts import clock, local_names, old_mail
from cutover.model import errors
from cutover.remote import converter
from cutover.steps.night import preflight, preflight_facts
from example import LEFT, ROMA1, altered, recorded


def judged(change=None):
    """The checks after `change(facts)`, which alters the recorded JSON."""
    facts = recorded("preflight", "after")
    return example.step("preflight").verify(altered(facts, change) if change else facts)


def failed(change):
    return {(check.id, check.subject) for check in judged(change) if not check.passed}


def alter(*path, **values):
    def change(facts):
        part = facts
        for key in path:
            part = part[key]
        part.update(values)

    return change


def set_to(*path, value):
    return alter(*path[:-1], **{path[-1]: value})


ERROR = {"error": "connection refused"}


def test_every_check_has_an_id_and_they_tell_checks_apart():
    checks = judged()
    ids = [(check.id, check.subject) for check in checks]
    assert all(check_id for check_id, _ in ids) and len(set(ids)) == len(ids)


def test_the_worked_example_may_begin():
    assert all(check.passed for check in judged())


@pytest.mark.parametrize(
    "path, failing",
    [
        (("reach", "postino3"), {("root-access", "postino3")}),
        (("servers",), {("zone-answers", "")}),
        (("update",), {("zone-update-permitted", "")}),
        (("names", "mailboxvm"), {("sendmail-names", "mailboxvm")}),
        (("certificate",), {("certificate-valid", "mailboxvm")}),
        (("passwords", "bruno"), {("test-password", "bruno")}),
        (
            ("dovecot",),
            {
                ("maildir-location", "mailboxvm"),
                ("inbox-location", "mailboxvm"),
                ("pop3-uidl-format", "mailboxvm"),
            },
        ),
        (("python",), {("converter-python", "mailboxvm")}),
        (("imapd",), {("imapd-present", "mailboxold")}),
        (("space",), {("free-space", "mailboxvm")}),
        (("survey",), {("old-mail-readable", "mailboxvm")}),
        (("machine",), set()),
        (("nis",), {("nis-answers", "")}),
        (("left_behind",), {("earlier-left-behind", "")}),
        (("antispam", "postino4"), {("antispam-answers", "postino4")}),
        (("mx", "postino3", "userdb"), {("userdb-readable", "postino3")}),
        (("mx", "postino3", "queue"), {("queue-clear", "postino3")}),
        (
            ("users", "mailboxold"),
            {("users-same", "mailboxold"), ("nis-users-same", "mailboxold")},
        ),
    ],
)
def test_what_cannot_be_read_fails_its_own_check_with_the_reason(path, failing):
    checks = judged(set_to(*path, value=ERROR))
    assert {(check.id, check.subject) for check in checks if not check.passed} == failing
    assert any(check.actual == ERROR["error"] for check in checks)
    assert all(check.todo for check in checks if not check.passed)


@pytest.mark.parametrize(
    "change, failing",
    [
        (set_to("reach", "postino3", "value", value="operator"), ("root-access", "postino3")),
        (set_to("servers", "value", "ns2", "serial", value=1), ("zone-serial-same", "")),
        (
            set_to(
                *("servers", "value", "ns1", "records", "mailboxvm.roma1.example"),
                value={"A": {"ttl": 60, "values": ["192.0.2.99"]}},
            ),
            ("new-server-address", "ns1"),
        ),
        (set_to("python", "value", value="3.7"), ("converter-python", "mailboxvm")),
        (
            set_to("dovecot", "value", "mail_location", value="mbox:~/mail"),
            ("maildir-location", "mailboxvm"),
        ),
        (
            set_to("dovecot", "value", "inbox", value="/var/mail/%{user}"),
            ("inbox-location", "mailboxvm"),
        ),
        (set_to("space", "value", "inodes", value=10), ("free-inodes", "mailboxvm")),
        (set_to("space", "value", "bytes", value=10), ("free-bytes", "mailboxvm")),
        (set_to("names", "mailboxold", "value", value=["x"]), ("sendmail-names", "mailboxold")),
        (
            set_to("mx", "postino4", "queue", "value", value={"requests": 1, "items": ["7 x"]}),
            ("queue-clear", "postino4"),
        ),
        (set_to("mx", "postino4", "userdb", "value", value="# empty\n"), ("userdb-same", "")),
        (set_to("clock", "postino4", "value", value=9.0), ("clocks-agree", "")),
        (
            lambda facts: facts.update(
                zones={
                    "mailboxold": {"error": "date: not found"},
                    "mailboxvm": {"value": {"name": "UTC", "offsets": "2"}},
                }
            ),
            ("time-zones-same", ""),
        ),
        (
            set_to("survey", "value", "users", "bruno", "folders", 0, "name", value="x" * 252),
            ("old-names-openable", ""),
        ),
        (
            lambda facts: [
                server["records"].update(
                    {"mailboxold.roma1.example": {"TXT": {"ttl": 60, "values": ["x"]}}}
                )
                for server in facts["servers"]["value"].values()
            ],
            ("rename-possible", ""),
        ),
        (
            lambda facts: [
                mx["userdb"].update(
                    value="nuovo:maildrop nuovo@mailboxold\n" + mx["userdb"]["value"]
                )
                for mx in facts["mx"].values()
            ],
            ("userdb-old-server-only", ""),
        ),
    ],
)
def test_each_fault_fails_its_own_check(change, failing):
    assert failed(change) == {failing}


@pytest.mark.parametrize(
    "version, uidl, served, passed",
    [
        ("2.3.19", "%08Xv%08Xu", True, True),
        ("2.4.1", "%{uidvalidity | hex(8)}%{uid | hex(8)}", True, True),
        ("2.4.1", "%08Xv%08Xu", True, False),
        ("2.3.19", "%08Xu%08Xv", True, False),
        ("2.3.19", "%08Xu%08Xv", False, True),
    ],
)
def test_pop3_programs_recognise_their_mail(version, uidl, served, passed):
    def change(facts):
        facts["dovecot"]["value"] |= {"version": version, "pop3_uidl": uidl}
        facts["pop3"] = {"value": served}

    assert (("pop3-uidl-format", "mailboxvm") in failed(change)) != passed


def test_a_ttl_that_is_too_long_and_an_alias_that_leads_elsewhere():
    alias = ROMA1.fqdn(ROMA1.alias)

    def change(facts):
        for server in facts["servers"]["value"].values():
            server["records"][alias] = {"A": {"ttl": 86400, "values": ["192.0.2.99"]}}

    assert failed(change) == {("alias-ttl-before", ""), ("alias-leads-to-old-server", "")}


@pytest.mark.parametrize("name, passes", [("mailboxold", True), ("postino3", False)])
def test_an_alias_may_already_be_a_cname_of_a_mail_host(name, passes):
    alias = ROMA1.fqdn(ROMA1.alias)

    def change(facts):
        for server in facts["servers"]["value"].values():
            server["records"][alias] = {"CNAME": {"ttl": 60, "values": [f"{ROMA1.fqdn(name)}."]}}

    assert failed(change) == (set() if passes else {("alias-leads-to-old-server", "")})


def test_users_who_differ_are_named():
    def change(facts):
        facts["users"]["mailboxold"]["value"][0]["uid"] = 7
        facts["users"]["mailboxvm"]["value"].pop()

    (check,) = [check for check in judged(change) if check.id == "users-same"]
    assert not check.passed
    first, last = check.data["differences"]
    assert first.startswith("alice: uid 7,") and last == "zoe only on mailboxold"


@pytest.mark.parametrize("listed", ["/home/alice/mail/x", "/srv/mailboxold/home/alice/mail/x"])
def test_damage_fails_unless_it_is_to_be_salvaged(listed):
    file = "/srv/mailboxold/home/alice/mail/x"
    damage = {"file": file, "offset": 7, "what": "no message line"}

    def change(facts):
        facts["survey"]["value"]["users"]["alice"]["damage"].append(damage)

    (check,) = [check for check in judged(change) if check.id == "old-folders-undamaged"]
    assert not check.passed and check.data["damage"] == [{"file": file, "offset": 7}]
    store = ROMA1.old_store.model_copy(update={"salvage": [listed]})
    parameters = ROMA1.model_copy(update={"old_store": store})
    facts = altered(recorded("preflight", "after"), change)
    checks = example.step("preflight").verify(facts, parameters)
    (check,) = [check for check in checks if check.id == "old-folders-undamaged"]
    assert check.mark == "warn"


def test_a_file_that_cannot_be_read_fails():
    problem = {"file": "/srv/x", "what": "permission denied", "offset": None, "kind": "Unreadable"}

    def change(facts):
        facts["survey"]["value"]["users"]["bruno"]["errors"].append(problem)

    assert failed(change) == {("old-mail-readable", "mailboxvm")}


OLDMAIL = {"file": "/srv/mailboxold/home/alice/Mail/x", "format": "mbx", "bytes": 700}
OUTSIDE = {"subscribed": True, "link": False}
SNAPSHOTS = {"file": "/srv/mailboxold/home/alice/.snapshot", "why": "snapshots"}


@pytest.mark.parametrize(
    "accepted, left",
    [
        ([], [OLDMAIL["file"], SNAPSHOTS["file"], "#news.x"]),
        (["{home}/Mail", "#news.x"], [SNAPSHOTS["file"]]),
        (["/home/{user}/Mail/x", "{home}/.snapshot"], ["#news.x"]),
        (
            ["{home}/Mai", "#news", "/srv/mailboxold/home/alice/.snapshot"],
            [OLDMAIL["file"], "#news.x"],
        ),
        (["{home}"], ["#news.x"]),
    ],
)
def test_mail_outside_the_folders_fails_until_it_is_accepted(accepted, left):
    def change(facts):
        facts["survey"]["value"]["users"]["alice"].update(
            outside=[OLDMAIL | OUTSIDE, OUTSIDE | {"file": "#news.x", "format": "", "bytes": 0}],
            unsearched=[SNAPSHOTS],
        )

    store = ROMA1.old_store.model_copy(update={"accepted": accepted})
    facts = altered(recorded("preflight", "after"), change)
    checks = example.step("preflight").verify(facts, ROMA1.model_copy(update={"old_store": store}))
    failing = {(check.id, check.subject) for check in checks if not check.passed}
    assert failing == {("mail-outside", "alice"), ("mail-outside-accepted", "")}
    (check,) = [check for check in checks if check.id == "mail-outside"]
    named = [item["file"] for item in check.data["files"]] + check.data["unsearched"]
    assert sorted(named) == sorted(left)
    (total,) = [check for check in checks if check.id == "mail-outside-accepted"]
    assert total.data == {"mailboxes": 2, "bytes": 700, "not_accepted": len(left)}
    everything = store.model_copy(update={"accepted": ["{home}", "#news.x"]})
    parameters = ROMA1.model_copy(update={"old_store": everything})
    assert all(check.passed for check in example.step("preflight").verify(facts, parameters))


def test_shared_folders_and_subscriptions_that_gain_a_meaning_are_warnings():
    meant = {"line": "Trash", "folder": "/srv/mailboxold/home/alice/mail/Trash"}

    def change(facts):
        facts["survey"]["value"]["users"]["alice"].update(
            shared=["/srv/mailboxold/home/alice/mail/x"],
            acls=[{"file": "/srv/mailboxold/home/alice/mail/y", "readers": ["uid 2003"]}],
            meant=[meant],
        )

    marks = {(check.id, check.subject): check.mark for check in judged(change)}
    for check_id in ("folders-shared", "folders-acl", "subscriptions-meant"):
        assert marks[check_id, "alice"] == "warn"


def test_files_that_lead_to_the_old_mail_are_listed_by_user():
    pointer = {"file": "/srv/x/.procmailrc", "line": 3, "kind": "delivers", "text": "lists/debian"}

    def change(facts):
        facts["survey"]["value"]["users"]["alice"]["pointers"] = [pointer]
        lines = [{"user": name, "line": 1, "text": "mail/x"} for name in ("alice", "root", "zoe")]
        facts["cron"] = {"value": lines}

    checks = {
        check.subject: check for check in judged(change) if check.id == "files-point-at-old-mail"
    }
    assert {name: len(check.data["lines"]) for name, check in checks.items()} == {
        "alice": 2,
        "zoe": 1,
    }
    assert all(check.mark == "warn" for check in checks.values())
    unread = [check.id for check in judged(set_to("cron", value=ERROR)) if check.warning]
    assert "crontabs-read" in unread


def test_mail_that_an_earlier_rollback_left_behind_is_a_warning():
    checks = judged(lambda facts: facts.update(left_behind={"value": {"carla": LEFT}}))
    (check,) = [check for check in checks if check.id == "earlier-left-behind"]
    assert (check.subject, check.mark, check.data) == ("carla", "warn", {"messages": 1})
    assert check.actual == "carla: 1 message: Bozze UID 12 <a@b>: imapd said no"


def warned(change):
    return {check.id: check for check in judged(change) if check.warning}


def test_mail_that_c_client_does_not_show_either_is_named():
    def change(facts):
        user = next(iter(facts["survey"]["value"]["users"].values()))
        user["passed"] = [
            {"file": "/h/INBOX", "why": "not INBOX", "format": "mbx", "size": 4711},
            {"file": "/h/mail/notes", "why": "no mail", "format": "", "size": None},
        ]
        user["folders"][0]["renumbered"] = True
        user["folders"][0]["keywords_merged"] = [["lavoro", "Lavoro"]]
        user["folders"][1]["keywords_lost"] = ["k26", "k27"]

    checks, before = warned(change), warned(lambda facts: None)["old-folders-change"].data
    assert "/h/INBOX" in checks["mail-left-out"].actual
    assert checks["mail-left-out"].data == {"files": 1}
    assert checks["old-folders-change"].data == {"folders": before["folders"] + 3}
    assert "(loses the keywords k26, k27)" in checks["old-folders-change"].actual
    assert "/h/INBOX" not in checks["files-skipped"].actual


def test_names_of_sendmails_class_w():
    text = (
        "ADDRESS TEST MODE (ruleset 3 NOT automatically invoked)\n"
        "Enter <ruleset> <address>\n> localhost\n[127.0.0.1]\nMailbox.lab.test\n> \n"
    )
    assert local_names.parse(text) == ["[127.0.0.1]", "localhost", "mailbox.lab.test"]


class Broken:
    """Hosts that let the operator in (or do not), and on which everything else fails."""

    site = ROMA1

    def __init__(self, reachable):
        self.reachable = reachable

    def each(self, names, function):
        return {name: function(name) for name in names}

    def fail(self, *_, **__):
        raise errors.CutoverError("broken")

    ssh = dns = dns_key = prove = port_open = fail

    def run(self, name, argv, **options):
        if self.reachable and argv == ["id", "-un"]:
            return types.SimpleNamespace(rc=0, text="root\n", out=b"root\n", err=b"")
        self.fail()


@pytest.mark.parametrize("reachable", [True, False])
def test_when_everything_fails_every_part_says_so(monkeypatch, reachable):
    hosts = Broken(reachable)
    monkeypatch.setattr(tls, "certificate", hosts.fail)
    facts = preflight.STEP.probe(model.Context(hosts, run_name="r"))
    data = json.loads(json.dumps(model.to_json(facts)))
    assert model.from_json(preflight.Facts, data) == facts and facts.run == "r"
    why = {"error": "broken"} if reachable else {"error": "mailboxvm is unreachable"}
    for part in ("dovecot", "python", "space", "machine"):
        assert data[part] == why, part
    for part in (*data["mx"].values(), {"names": data["names"]["mailboxold"]}):
        assert all("error" in reading for reading in part.values())
    assert "error" in data["survey"] and data["certificate"] == {"error": "broken"}
    failing = {check.id for check in preflight.verify(facts, ROMA1) if not check.passed}
    assert {"zone-answers", "old-mail-readable", "nis-answers", "clocks-agree"} <= failing
    assert ("root-access" in failing) != reachable


@pytest.mark.parametrize("when", ["before", "after"])
def test_facts_keep_their_json_form(when):
    data = recorded("preflight", when)
    data["nis"]["value"]["servers"]["ns2"] = {"error": "no answer"}
    data["machine"] = data["survey"] = data["dovecot"] = ERROR
    data.setdefault("cron", {"value": []})
    data["old_ssh"], data["zones"], data["left_out"] = {}, {}, {"value": {}}
    data.setdefault("missing", {})
    data.setdefault("label", None)
    data.setdefault("user_quotas", None)
    data.setdefault("workers", None)
    for mx in data["mx"].values():
        mx["queue"]["value"] |= {"gone": 0, "seconds": 0.0, "others": 0}
    data |= {
        "belonging": None,
        "folder_names": None,
        "pop3": None,
        "open_sessions": None,
        "limits": None,
    } | data
    assert model.to_json(model.from_json(preflight.Facts, data)) == data


@pytest.mark.parametrize(
    "reading, actual, todo",
    [
        ({"value": ["diffie-hellman-group14-sha1"]}, "diffie-hellman-group14-sha1", "trusted"),
        ({"value": []}, "none", "Remove hosts.mailboxold.legacy_ssh"),
    ],
)
def test_the_old_algorithms_of_a_link_are_shown(reading, actual, todo):
    data = recorded("preflight", "before") | {"old_ssh": {"mailboxold": reading}}
    facts = model.from_json(preflight.Facts, data)
    (check,) = [check for check in preflight.verify(facts, ROMA1) if check.id == "old-ssh"]
    assert (check.passed, check.warning, check.actual) == (True, True, actual)
    assert todo in check.todo and check.subject == "mailboxold"


@pytest.mark.parametrize(
    "label, shown",
    [
        ({"enforcing": False, "directory": "", "context": ""}, []),
        ({"enforcing": True, "context": "system_u:object_r:mail_spool_t:s0"}, [(True, True)]),
        ({"enforcing": True, "context": "u:object_r:cyrus_var_lib_t:s0"}, [(False, False)]),
        ({"enforcing": True, "context": "?"}, [(False, False)]),
    ],
)
def test_a_store_that_selinux_closes_to_dovecot(label, shown):
    data = recorded("preflight", "before") | {"label": {"value": {"directory": "/v"} | label}}
    checks = preflight.verify(model.from_json(preflight.Facts, data), ROMA1)
    labels = [check for check in checks if check.id == "selinux-context"]
    assert [(check.passed, check.warning) for check in labels] == shown


@pytest.mark.parametrize(
    "old, new, shift, warns",
    [("1", "1", 0, False), ("1", "2", 0, True), ("1", "1", -3600, True)],
)
def test_time_zones_that_the_conversion_allows_for(old, new, shift, warns):
    def change(facts):
        facts["zones"] = {
            "mailboxold": {"value": {"name": "CET", "offsets": old, "shift": shift}},
            "mailboxvm": {"value": {"name": "UTC", "offsets": new}},
        }

    (check,) = (check for check in judged(change) if check.id == "time-zones-same")
    assert (check.passed, check.warning) == (True, warns)
    assert ("-60 min" in check.actual) == bool(shift)


def test_the_survey_reads_dates_in_the_old_hosts_zone(monkeypatch):
    plans, accounts = [], model.Reading([])
    monkeypatch.setattr(clock, "east", lambda hosts, name: {"old": -12600}[name])
    monkeypatch.setattr(converter, "plan", lambda *arguments: plans.append(arguments))
    monkeypatch.setattr(converter, "read", lambda *arguments, timeout: {})
    monkeypatch.setattr(old_mail, "parse", dict)
    hosts = types.SimpleNamespace(site=types.SimpleNamespace(roles=types.SimpleNamespace()))
    hosts.site.roles.old, hosts.site.roles.new = "old", "new"
    hosts.site.new_store = types.SimpleNamespace(jobs=1)
    preflight_facts._survey(hosts, "run", accounts)
    assert plans == [(hosts.site, "run", [], 1, -12600)]
