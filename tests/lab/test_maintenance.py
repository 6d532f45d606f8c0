"""Maintenance on the lab, days after the night. Each step is a run of its own, and goes back.

Sieve with vacation, forwards out of the userdb, old SPAM, the SPAM digest, pages for users, new
storage.
"""

import base64
import dataclasses
import datetime
import email
import email.header
import html.parser
import shutil

import pytest
from cutover import model
from cutover.changes import store_move, store_switch
from cutover.connect import smtp
from cutover.connect.hosts import Hosts
from cutover.facts import machine, quotas, user_pages, users, webmail
from cutover.model import errors, runbook
from cutover.report import letters
from cutover.run import engine
from lab import antispam, container, keys, store, topology
from night import Night, eventually, new_dovecot
from test_after import has, messages, reading, send

pytestmark = pytest.mark.lab
MX = ("postino3", "postino4")
AWAY = 'require ["vacation"];\nvacation :days 7 :subject "Sono via" "Torno lunedi.";\n'


@pytest.fixture(scope="module", autouse=True)
def cutover(lab, tmp_path_factory):
    """The night is over: mail is read and delivered on the new server."""
    made = Night(tmp_path_factory.mktemp("night"))
    made.values["store_hosts"] = [
        {"host": "webmail", "path": "/var/lib/roundcube"}
    ]  # as if users had a shell there
    made.write()
    made.up_to("production-test")
    return made


@pytest.fixture(scope="module")
def vacation(cutover, tmp_path_factory):
    made = Night(tmp_path_factory.mktemp("vacation"))
    made.executed("vacation")
    return made


def userdb(lab):
    return {
        name: (
            lab.run(name, ["cat", "/etc/mail/userdb"]).stdout,
            lab.run(name, ["makemap", "-u", "btree", "/etc/mail/userdb.db"]).stdout,
        )
        for name in MX
    }


def files(lab):
    return {
        path: lab.run("mailboxvm", ["cat", path]).stdout
        for path in ("/etc/dovecot/local.conf", "/etc/procmailrc")
    }


def as_root(lab, host, script):
    return lab.run(host, ["sh", "-c", script])


def sieve_connect(lab, user, *arguments, server="mailboxvm.lab.test", check=True, script=""):
    """A user's client on another host: STARTTLS or nothing, the certificate checked.

    → subprocess.CompletedProcess
    """
    as_root(lab, "webmail", f"cat > /root/script.sieve <<'END'\n{script}END\n")
    common = [
        "--server",
        server,
        "--nosrv",
        "--noclearchan",
        "--tlscafile",
        "/etc/ssl/lab/ca.pem",
        "--user",
        user,
    ]
    return lab.run(
        "webmail",
        ["sieve-connect", *common, "--passwordfd", "0", *arguments],
        check=check,
        input=(keys.SECRETS / user).read_text() + "\n",
    )


UPLOAD = ("--upload", "--localsieve", "/root/script.sieve", "--remotesieve")


class Form(html.parser.HTMLParser):
    """The fields of a form with an id as a browser would send them: `.values`."""

    def __init__(self, text, name):
        super().__init__()
        self.name, self.values, self._inside, self._area, self._select = name, {}, False, None, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "form":
            self._inside = given.get("id") == self.name
        elif self._inside and tag == "input" and "name" in given and given.get("type") != "button":
            self.values[given["name"]] = given.get("value", "")
        elif self._inside and tag == "textarea":
            # the page's script makes a list of such a field
            self._area = given["name"] + ("[]" if given.get("data-type") == "list" else "")
            self.values[self._area] = ""
        elif self._inside and tag == "select":
            self._select = given["name"]
        elif (
            self._select
            and tag == "option"
            and (self._select not in self.values or "selected" in given)
        ):
            self.values[self._select] = given["value"]

    def handle_data(self, data):
        if self._area:
            self.values[self._area] += data

    def handle_endtag(self, tag):
        self._inside &= tag != "form"
        self._area = None if tag == "textarea" else self._area
        self._select = None if tag == "select" else self._select


def replies(user, subject):
    with reading(user) as session:
        return [
            email.message_from_bytes(session.fetch("INBOX", uid))
            for uid in session.find("INBOX", "Subject", subject)
        ]


def write(sender, to, key, more=""):
    text = (
        f"From: <{sender}>\r\nTo: <{to}>\r\nSubject: {key}\r\nMessage-ID: <{key}@test>\r\n"
        f"{more}\r\n{key}\r\n"
    )
    smtp.send(topology.HOSTS["postino3"].address, 25, sender, [to], text.encode(), 30)


# -- what the hosts of the store are built on


def test_preflight_looked_at_the_new_server_and_at_another_host_of_the_store(lab, cutover):
    seen = cutover.events("verified", "preflight")[-1]["checks"]
    checks = {(check["id"], check["subject"]): check for check in seen}
    for name in ("mailboxvm", "webmail"):
        platform = "virtualisation: systemd-nspawn; multipath: not present"
        assert checks["platform", name]["actual"] == platform
        clock = lab.run(name, ["cat", machine.CLOCK]).stdout.strip()
        disk = checks["virtual-clock-and-disk", name]
        assert disk["actual"].startswith(f"clock source {clock}")
        assert "machine that runs this container" in disk["todo"]
    other = checks["store-file-system", "webmail"]
    assert other["actual"].startswith("overlay ") and other["warning"]
    assert "overlay is unusual" in other["todo"]
    assert all(check["passed"] for check in seen)


# -- vacation


@pytest.fixture(scope="module")
def away(lab, vacation):
    """vera is away, and has said so by ManageSieve."""
    sieve_connect(lab, "vera", *UPLOAD, "ferie", script=AWAY)
    sieve_connect(lab, "vera", "--activate", "--remotesieve", "ferie")
    assert sieve_connect(lab, "vera", "--list").stdout == '"ferie" ACTIVE\n'


def test_a_reply_comes_once_and_the_mail_is_delivered(lab, away):
    for key in ("away-1", "away-2"):
        write("bruno@lab.test", "vera@lab.test", key)
        assert eventually(lambda key=key: has("vera", key)), key
    assert eventually(lambda: replies("bruno", "Sono via"))
    write("carla@lab.test", "vera@lab.test", "away-3")
    assert eventually(
        lambda: replies("carla", "Sono via")
    )  # by then a second one to bruno would be there as well
    (reply,) = replies("bruno", "Sono via")
    assert reply["From"].endswith("<vera@lab.test>") and reply["Auto-Submitted"].startswith(
        "auto-replied"
    )
    assert "Torno lunedi." in reply.get_payload()


def test_spam_and_lists_get_no_reply(lab, away):
    write("davide@lab.test", "vera@lab.test", "away-spam", f"\r\n{antispam.SPAM}")
    write("davide@lab.test", "vera@lab.test", "away-list", "List-Id: <a.lab.test>\r\n")
    assert eventually(lambda: has("vera", "away-list"))
    with reading("vera") as session:
        assert eventually(lambda: session.find("SPAM", "Subject", "away-spam"))
    write("davide@lab.test", "vera@lab.test", "away-4")
    assert (
        eventually(lambda: replies("davide", "Sono via"))
        and len(replies("davide", "Sono via")) == 1
    )


def test_who_has_no_script_is_delivered_to_as_before(lab, vacation):
    write("bruno@lab.test", "elena@lab.test", "plain")
    assert eventually(lambda: has("elena", "plain"))
    with reading("elena") as session:
        assert (
            b"dovecot-lda"
            not in session.fetch("INBOX", session.find("INBOX", "Subject", "plain")[0]).lower()
        )
    count = as_root(
        lab, "mailboxvm", "journalctl -o cat --no-pager | grep -c 'lda(elena)' || true"
    ).stdout
    assert count.strip() == "0"


def test_a_script_that_does_not_compile_is_refused_to_its_user(lab, vacation):
    done = sieve_connect(lab, "vera", *UPLOAD, "errore", script="vacatoin;\n", check=False)
    assert done.returncode and "unknown command 'vacatoin'" in done.stderr


def test_a_client_goes_no_further_where_the_certificate_is_for_another_name(lab, vacation):
    done = sieve_connect(
        lab, "vera", "--list", server=topology.HOSTS["mailboxvm"].address, check=False
    )
    assert done.returncode and "hostname verification failed" in done.stderr and not done.stdout


def test_a_user_is_away_by_the_form_of_the_webmail(lab, vacation):
    """fabio logs in, fills the form in and saves it as Roundcube's page does.

    Then who writes to him gets an answer.
    """
    at, page = vacation.site, {"_task": "settings", "_action": "plugin.managesieve-vacation"}
    browser = webmail.Browser(at.webmail.url, at.address("webmail"), at.webmail.ca)
    browser.login("fabio", (keys.SECRETS / "fabio").read_text())
    form = Form(browser._page(page)[1], "vacationform").values
    assert form["vacation_status"] == "off"
    form.update(
        vacation_subject="In montagna",
        vacation_reason="Torno lunedì.",
        vacation_status="on",
        _remote="1",
    )
    status, text = browser._page(page, form, remote=True)
    assert status == 200 and "saved" in text and "confirmation" in text, text
    assert Form(browser._page(page)[1], "vacationform").values["vacation_status"] == "on"
    browser.logout()
    write("elena@lab.test", "fabio@lab.test", "by-webmail")
    assert eventually(lambda: has("fabio", "by-webmail"))
    assert eventually(lambda: replies("elena", "In montagna"))
    (reply,) = replies("elena", "In montagna")
    assert (
        reply["From"].endswith("<fabio@lab.test>")
        and "Torno lunedì." in reply.get_payload(decode=True).decode()
    )


def test_a_delivery_by_sieve_that_fails_is_made_by_procmail(lab, away):
    as_root(lab, "mailboxvm", "chmod 000 /usr/lib/dovecot/dovecot-lda")
    try:
        write("bruno@lab.test", "vera@lab.test", "without-lda")
        assert eventually(lambda: has("vera", "without-lda"))
    finally:
        as_root(lab, "mailboxvm", "chmod 755 /usr/lib/dovecot/dovecot-lda")


def test_a_second_run_has_nothing_to_do(vacation):
    assert vacation.wanted("vacation") == ()


# -- forwards


@pytest.fixture(scope="module")
def forwards(lab, vacation, tmp_path_factory):
    """Two users with an account forward their mail, one of them keeps a copy.

    Two left, one of them to nowhere.
    """
    for name in MX:
        as_root(
            lab,
            name,
            "sed -i -e 's/^zoe:maildrop.*/zoe:maildrop\\tsomeone@elsewhere.test/' "
            "-e 's/^ugo:maildrop\\(.*\\)/ugo:maildrop\\1, bruno@lab.test/' "
            "-e 's/^former2:.*/former2:maildrop\\tgone@nohost.invalid/' /etc/mail/userdb; "
            "makemap -d btree /etc/mail/userdb.db < /etc/mail/userdb",
        )
    made = Night(tmp_path_factory.mktemp("forwards"))
    made.values["maintenance"] = {
        "forwards": [
            {"user": "zoe", "to": "sieve"},
            {"user": "ugo", "to": "sieve"},
            {"user": "former2", "to": "remove"},
        ]
    }
    made.write()
    return made


def test_each_forward_is_told_with_its_target(forwards):
    with forwards.engine("forwards", "plan") as driver:
        driver.probe()
        notes = dict(driver.plan().notes)
    assert notes["zoe"] == "someone@elsewhere.test: valid (nowhere elsewhere)\nit is moved to Sieve"
    assert "NOT VALID (no host accepts mail for nohost.invalid)\nit is removed" in notes["former2"]
    assert "it stays as it is" in notes["former1"] and "bruno@lab.test: valid" in notes["ugo"]
    assert set(notes) == {"zoe", "ugo", "former1", "former2"}


def test_a_forward_without_an_account_is_not_moved(lab, forwards):
    before = userdb(lab)
    with (
        forwards.set("maintenance", {"forwards": [{"user": "former1", "to": "sieve"}]}),
        pytest.raises(errors.CutoverError, match="former1 has no account on mailboxvm"),
    ):
        forwards.wanted("forwards")
    assert userdb(lab) == before


def test_forwards_go_to_sieve_and_both_mx_are_equal(lab, forwards):
    before = userdb(lab)
    forwards.executed("forwards")
    now = userdb(lab)
    assert now["postino3"] == now["postino4"] != before["postino3"]
    text = now["postino3"][0]
    assert "\nzoe:maildrop\tzoe@mailboxvm.lab.test\n" in text
    assert f"\n# {forwards.run.name}: former2:maildrop\tgone@nohost.invalid\n" in text
    assert (
        "former1:maildrop\tsomeone@elsewhere.test" in text and "former2" not in now["postino3"][1]
    )
    write("alice@lab.test", "zoe@lab.test", "forwarded")
    assert eventually(
        lambda: (
            "redirect action: forwarded to <someone@elsewhere.test>"
            in as_root(
                lab, "mailboxvm", "journalctl -o cat --no-pager | grep forwarded@test || true"
            ).stdout
        )
    )
    assert not has("zoe", "forwarded")
    write("alice@lab.test", "ugo@lab.test", "copied")
    assert eventually(lambda: has("ugo", "copied")) and eventually(lambda: has("bruno", "copied"))
    assert forwards.wanted("forwards") == ()


def test_sieve_does_not_go_while_forwards_rest_on_it(lab, vacation, forwards):
    before = files(lab)
    with pytest.raises(errors.CutoverError, match="forwards depend on Sieve"):
        vacation.step("rollback")
    assert files(lab)["/etc/procmailrc"] == before["/etc/procmailrc"]


def test_the_rollback_puts_the_forwards_back(lab, forwards):
    forwards.executed("rollback")
    now = userdb(lab)
    assert (
        now["postino3"] == now["postino4"]
        and "\nzoe:maildrop\tsomeone@elsewhere.test\n" in now["postino3"][0]
    )
    assert (
        "former2:maildrop\tgone@nohost.invalid" in now["postino3"][0]
        and forwards.run.name not in now["postino3"][0]
    )
    assert not (store.STORE / "imap/zoe/.dovecot.sieve").exists()
    assert (
        as_root(
            lab,
            "mailboxvm",
            "ls -A /home/zoe/sieve/*.sieve /home/zoe/.dovecot.sieve 2>/dev/null || true",
        ).stdout
        == ""
    )
    assert runbook.states(forwards.run.journal.events())["forwards"] == "undone"


def test_the_rollback_takes_sieve_away_and_mail_still_comes(lab, vacation):
    vacation.executed("rollback")
    assert all("sieve" not in text for text in files(lab).values())
    assert "sieve" not in lab.run("mailboxvm", ["doveconf", "-h", "protocols"]).stdout
    send("postino3", "vera@lab.test", "after-sieve")
    assert eventually(lambda: has("vera", "after-sieve"))


# -- quotas, as preflight reads them


# by whether Dovecot splits its settings, as since 2.4
QUOTA = {
    False: """\
mail_plugins = $mail_plugins quota
plugin {
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage=1M
}
""",
    True: """\
mail_plugins {
  quota = yes
}
quota "User quota" {
  driver = count
  storage_size = 1M
}
""",
}


def test_dovecots_own_quotas_are_read(lab, cutover):
    """Those of a file system need a kernel with a quota format; the lab's has none, which is no
    error."""
    place, text = "/etc/dovecot/conf.d/95-quota.conf", QUOTA[new_dovecot(lab).split]
    with Hosts(cutover.site) as hosts:
        accounts = {name: users.read(hosts, name) for name in cutover.site.mail_hosts}
        assert quotas.read(hosts, accounts) == quotas.Quotas({}, {}, {})
        lab.run("mailboxvm", ["sh", "-c", f"cat > {place}; doveadm reload"], input=text)
        try:
            read = quotas.read(hosts, accounts).dovecot
        finally:
            as_root(lab, "mailboxvm", f"rm {place}; doveadm reload")
    assert read.keys() == {account.user for account in accounts["mailboxvm"]}
    assert {quota.limit for quota in read.values()} == {1 << 20}
    assert read["paolo"].used > 1 << 20 > read["zoe"].used


# -- users' procmail rules


RULES = """\
MAILDIR=$HOME/mail
LISTS=$MAILDIR/lists   # they come in often

:0:
* ^Subject: rule-list
$LISTS
:0 w
* ^Subject: rule-dmail
| /usr/bin/dmail +mail/by.dmail
:0:
* ^Subject: rule-left
| cat >> $HOME/mail/left
"""
LED = RULES.replace(":0:", ":0", 1)
LED = LED.replace("\n$LISTS\n", "\n/var/imap/{user}/.lists/\n")
LED = LED.replace("| /usr/bin/dmail +mail/by.dmail", "/var/imap/{user}/.by_dmail/")
HOME_FILE = "cat > .procmailrc; mkdir -p mail; echo 'export MAIL=/var/mail/$USER' > .profile"


@pytest.fixture(scope="module")
def rules(lab, cutover, tmp_path_factory):
    """elena and fabio have rules of the old days on the new host."""
    for user in ("elena", "fabio"):
        script = f"cd /home/{user}; {HOME_FILE}"
        lab.run("mailboxvm", ["sh", "-ec", script], user=user, input=RULES)
    yield Night(tmp_path_factory.mktemp("rules"))
    for user in ("elena", "fabio"):
        script = f"cd /home/{user}; rm -rf .procmailrc* mail .profile"
        lab.run("mailboxvm", ["sh", "-ec", script], user=user)


def filed(user, folder, subject):
    with reading(user) as session:
        there = folder in [name for name, _, _ in session.folders()]
        return there and session.find(folder, "Subject", subject)


def test_rules_lead_to_the_new_folders_and_back(lab, rules):
    """procmail itself runs them: into a file nobody reads before, into Dovecot's folder after."""
    site_wide = files(lab)["/etc/procmailrc"]
    with pytest.raises(errors.CutoverError, match="never reads users' own rules"):
        rules.wanted("mail-rules")
    last = ":0\n/var/imap/$LOGNAME/\n"
    assert site_wide.startswith("PATH") and "DROPPRIVS=yes" in site_wide
    change = site_wide.replace(last, f"INCLUDERC=$HOME/.procmailrc\n\n{last}")
    assert change.count("INCLUDERC") == 1
    put = ["sh", "-c", "cat > /etc/procmailrc"]
    lab.run("mailboxvm", put, input=change)
    try:
        write("bruno@lab.test", "elena@lab.test", "rule-list-before")
        lost = "grep -c rule-list-before@test /home/elena/mail/lists 2>&1 || true"
        assert eventually(lambda: as_root(lab, "mailboxvm", lost).stdout == "1\n")
        rules.executed("mail-rules")
        for user in ("elena", "fabio"):
            now = as_root(lab, "mailboxvm", f"cat /home/{user}/.procmailrc").stdout
            assert now == LED.format(user=user)
            owner = as_root(lab, "mailboxvm", f"stat -c %U /home/{user}/.procmailrc*").stdout
            assert owner == f"{user}\n" * 2
        for key in ("rule-list-after", "rule-dmail", "no-rule"):
            write("bruno@lab.test", "elena@lab.test", key)
        assert eventually(lambda: filed("elena", "lists", "rule-list-after"))
        assert eventually(lambda: filed("elena", "by_dmail", "rule-dmail"))
        assert eventually(lambda: has("elena", "no-rule"))
        # delivered once: nothing is queued to be delivered again
        assert eventually(lambda: "mqueue is empty" in as_root(lab, "mailboxvm", "mailq").stdout)
        with reading("elena") as session:
            places = {"lists": "rule-list-after", "by_dmail": "rule-dmail", "INBOX": "no-rule"}
            copies = {name: len(session.find(name, "Subject", places[name])) for name in places}
        assert copies == dict.fromkeys(places, 1)
        left = rules.checks("mail-rules")["rules-left", "elena"]
        assert left["warning"] and left["data"] == {"lines": 2}
        assert rules.wanted("mail-rules") == ()
        lab.run("mailboxvm", ["sh", "-c", "echo '# mine' >> ~/.procmailrc"], user="fabio")
        rules.executed("rollback")
        text = "cat /home/elena/.procmailrc; ls -A /home/elena | grep -c procmailrc"
        assert as_root(lab, "mailboxvm", text).stdout == RULES + "1\n"
        own = as_root(lab, "mailboxvm", "cat /home/fabio/.procmailrc").stdout
        assert own == LED.format(user="fabio") + "# mine\n"
    finally:
        lab.run("mailboxvm", put, input=site_wide)


# -- SPAM


DAY = datetime.timedelta(days=1)
NASTY = (
    "=?utf-8?B?"
    + base64.b64encode(
        "Vinci\u202e ora\r\nBcc: x https://evil.test/\x1b[2J è tuo".encode()
    ).decode()
    + "?="
)


def spam_of(user):
    """`[(INTERNALDATE, flags, bytes)]` of a user's SPAM folder."""
    with reading(user) as session:
        return sorted(
            (message.internaldate, sorted(message.flags), body)
            for message, body in session.texts("SPAM", session.read("SPAM", "metadata").messages)
        )


@pytest.fixture(scope="module")
def old_spam(tmp_path_factory):
    made = Night(tmp_path_factory.mktemp("old-spam"))
    made.values["maintenance"] = {"old_spam": {"days": 30, "grace": 0}}
    made.write()
    return made


def test_old_spam_is_counted_for_each_user_and_set_aside(lab, old_spam):
    owners = [user for user in topology.USERS if user not in ("quinto", "rita", "zoe")]
    before = {user: spam_of(user) for user in owners}
    limit = datetime.datetime.now(datetime.UTC) - 31 * DAY
    old = {user: sum(when < limit for when, _, _ in listed) for user, listed in before.items()}
    planned = {change.user: change.count for change in old_spam.wanted("old-spam")}
    assert (
        planned == {user: count for user, count in old.items() if count}
        and sum(planned.values()) > 20
    )
    old_spam.before = before
    old_spam.executed("old-spam")
    for user in owners:
        assert spam_of(user) == before[user][old[user] :], user
    with reading("paolo") as session:
        assert not [name for name, _, _ in session.folders() if "aside" in name]
    assert old_spam.wanted("old-spam") == ()
    place = f"/var/imap/.spam-aside/{old_spam.run.name}"
    assert as_root(lab, "mailboxvm", f"stat -c '%U %a' {place}/paolo").stdout == "paolo 700\n"
    assert int(
        as_root(lab, "mailboxvm", f"find {place} -path '*/.SPAM/*' -name '*,S=*' | wc -l").stdout
    ) == sum(planned.values())


def test_what_is_past_its_grace_is_told_and_kept(old_spam):
    (check,) = [
        check
        for check in old_spam.events("verified", "old-spam")[-1]["checks"]
        if check["id"] == "old-spam-grace"
    ]
    assert (
        check["warning"]
        and check["passed"]
        and f"rm -r /var/imap/.spam-aside/{old_spam.run.name}" in check["todo"]
    )


def test_the_rollback_puts_old_spam_back(lab, old_spam):
    old_spam.executed("rollback")
    with old_spam.engine("old-spam", "plan") as driver:
        assert old_spam.run.name not in driver.probe().kept
    for user, before in old_spam.before.items():
        assert spam_of(user) == before, user


def test_what_is_past_its_grace_goes_for_good_where_that_is_asked_for(
    lab, old_spam, tmp_path_factory
):
    oldest = sorted(when for listed in old_spam.before.values() for when, _, _ in listed)[2]
    wanted = {
        "days": (datetime.datetime.now(datetime.UTC) - oldest).days - 1,
        "grace": 0,
        "expunge": True,
    }
    first, then = (Night(tmp_path_factory.mktemp(name)) for name in ("aside", "for-good"))
    for made, name in ((first, "aside"), (then, "for-good")):
        made.run_dir = made.run_dir.with_name(name)  # what is set aside is known by the run's name
        made.values["maintenance"] = {"old_spam": dict(wanted)}
        made.write()
    first.step("old-spam")
    aside = {
        change["user"]: change["count"]
        for change in (event["change"] for event in first.events("intent", "old-spam"))
    }
    lying = {user: spam_of(user) for user in old_spam.before}
    assert sum(map(len, lying.values())) == sum(map(len, old_spam.before.values())) - sum(
        aside.values()
    )

    assert first.wanted("old-spam") == ()  # what a run set aside itself, it can put back
    for key, value in (("grace", 1), ("expunge", False)):
        with then.set(f"maintenance.old_spam.{key}", value):
            assert then.wanted("old-spam") == ()
    planned = then.wanted("old-spam")
    assert {change.user: change.count for change in planned} == aside
    assert {(change.kind, change.run, change.inverse()) for change in planned} == {
        ("spam-expunge", first.run.name, None)
    }
    with Hosts(then.site) as hosts:
        for spoilt in ({"count": planned[0].count + 1}, {"grace": 1}):
            with pytest.raises(errors.CutoverError, match="was deleted"):
                dataclasses.replace(planned[0], **spoilt).apply(model.Context(hosts), print)
    place = f"find /var/imap/.spam-aside/{first.run.name} -type f -name '*,S=*' | wc -l"
    assert as_root(lab, "mailboxvm", place).stdout == f"{sum(aside.values())}\n"

    then.step("old-spam")
    assert as_root(lab, "mailboxvm", place).stdout == "0\n" and then.wanted("old-spam") == ()
    assert {user: spam_of(user) for user in lying} == lying
    with pytest.raises(errors.CutoverError, match=f"deleted for good by {then.run.name}"):
        first.step("rollback")


def test_each_user_gets_one_digest_with_subjects_made_safe(lab, tmp_path_factory):
    made = Night(tmp_path_factory.mktemp("digest"))
    made.values["maintenance"] = {"digest": {"days": 3, "sender": "postmaster@lab.test"}}
    made.write()
    now = datetime.datetime.now(datetime.UTC)
    with reading("marta") as session:
        # the lab's own, if it was seeded on one of these days
        seeded = [
            message
            for message in session.read("SPAM", "metadata").messages
            if now.date() - 3 * DAY <= message.internaldate.date() < now.date()
        ]
        for subject, when in (
            (NASTY, now - DAY),
            ("troppo vecchio", now - 9 * DAY),
            ("di oggi", now),
        ):
            session.append(
                "SPAM",
                f"From: Truffa <a@b.test>\r\nSubject: {subject}\r\n\r\nx\r\n".encode(),
                when=when,
            )
    made.executed("spam-digest")
    (digest,) = replies("marta", "messages in your folder SPAM")
    text = digest.get_payload(decode=True).decode().replace("\r\n", "\n")
    assert digest["Subject"].startswith(f"{len(seeded) + 1} messages")
    assert digest["Auto-Submitted"] == "auto-generated"
    listed = text.split("\n\n", 1)[1].splitlines()
    assert len(listed) == 2 * len(seeded) + 2
    at = listed.index(f"{now - DAY:%Y-%m-%d %H:%M}  Truffa <a@b.test>")
    assert listed[at + 1] == "    Vinci ora Bcc: x https[:]//evil.test/[2J è tuo"
    assert "Vinci" not in (made.run.path / "journal.jsonl").read_text()
    made.step("spam-digest")
    assert len(replies("marta", "messages in your folder SPAM")) == 1
    with reading("zoe") as session:
        assert not session.find("INBOX", "Subject", "messages in your folder SPAM")
    made.executed("rollback")  # which tells that what was sent stays sent
    assert len(replies("marta", "messages in your folder SPAM")) == 1


def test_each_user_is_sent_one_page_although_one_is_refused_and_the_program_dies(
    lab, cutover, tmp_path_factory
):
    letters.write(cutover.run, cutover.run.journal.events())
    made = Night(tmp_path_factory.mktemp("pages"))
    folder = made.file.parent / "edited"
    shutil.copytree(cutover.run.path / user_pages.FOLDER, folder)
    shutil.copy(folder / "user-alice.txt", folder / "user-nessuno.txt")
    (folder / "user-bruno.txt").write_text(f"La tua posta, è qui\n\n{'x' * 2000}\n")
    parameters = {"folder": str(folder), "sender": "postmaster@lab.test"}
    made.values["maintenance"] = {"pages": parameters}
    made.write()
    assert made.crashing("user-pages")  # alice's is sent, and the journal does not know
    with pytest.raises(engine.VerifyFailed, match="nessuno: .*550"):
        made.step("user-pages")
    (check,) = made.checks("user-pages").values()
    assert check["data"] == {"unsent": ["nessuno"]}
    (folder / "user-nessuno.txt").unlink()
    made.executed("user-pages")
    users_of_pages = set(user_pages.of_users(folder))
    asked = [event["change"]["user"] for event in made.events("intent", "user-pages")]
    assert sorted(asked) == sorted([*users_of_pages, "nessuno"])
    for user in ("alice", "vera"):
        title = f"{user}: your mail on the new server"
        assert eventually(lambda user=user, title=title: replies(user, title))
        (page,) = replies(user, title)
        text = page.get_payload(decode=True).decode().replace("\r\n", "\n")
        assert (folder / f"user-{user}.txt").read_text() == f"{title}\n\n{text.rstrip()}\n"
    assert eventually(lambda: replies("bruno", "La tua posta"))
    (page,) = replies("bruno", "La tua posta")
    assert str(email.header.make_header(email.header.decode_header(page["Subject"]))) == (
        "La tua posta, è qui"
    )
    assert "x" * 2000 in page.get_payload(decode=True).decode()
    assert "xxx" not in (made.run.path / "journal.jsonl").read_text()
    made.executed("rollback")  # what was sent stays sent
    other = Night(tmp_path_factory.mktemp("announcement"))  # a run sends each user one mail
    other.values["maintenance"] = {"pages": {**parameters, "send": "announcement"}}
    other.write()
    announced = {change.user: change.digest for change in other.wanted("user-pages")}
    assert announced.keys() == users_of_pages and len(set(announced.values())) == 1


# -- the store to new storage


TO = "/srv/newstore/mail"
SAMPLE = ("alice", "bruno", "carla", "davide", "elena", "marta", "paolo", "vera")


@pytest.fixture(scope="module")
def newstore(lab):
    """The new storage, mounted by fstab."""
    as_root(
        lab,
        "mailboxvm",
        "mkdir -p /srv/newstore /srv/disk && "
        "echo '/srv/disk /srv/newstore none bind 0 0' >> /etc/fstab && "
        f"systemctl daemon-reload && mount /srv/newstore && mkdir {TO}",
    )


@pytest.fixture(scope="module")
def move(newstore, tmp_path_factory):
    made = Night(tmp_path_factory.mktemp("move"))
    made.values["maintenance"] = {"move_store": {"to": TO}}
    made.write()
    return made


def root_of(lab):
    """mailboxvm's root as this machine sees it."""
    return f"/proc/{container.leader('mailboxvm')[0]}/root"


def uids(user):
    """`{folder: (UIDVALIDITY, {UID: flags})}` by IMAP."""
    with reading(user) as session:
        folders = {}
        for name, _, selectable in session.folders():
            if selectable:
                folder = session.read(name, "metadata")
                folders[name] = (
                    folder.uidvalidity,
                    {message.uid: sorted(message.flags) for message in folder.messages},
                )
        return folders


def flag(user, folder="INBOX"):
    """A user flags the first message of a folder. → its UID"""
    with reading(user) as session:
        uid = session.all(folder)[0]
        session.select(folder)
        session.store([uid], ["\\Flagged"], True)
        return uid


def served(lab, to=TO):
    """Whether the new storage is in the store's place."""
    return (
        lab.run("mailboxvm", ["sh", "-c", f"test /var/imap -ef {to}"], check=False).returncode == 0
    )


def running(lab):
    return lab.run(
        "mailboxvm", ["systemctl", "is-active", "dovecot", "sendmail"], check=False
    ).stdout.split()


def in_store(lab, path="/var/imap"):
    return messages(root_of(lab) + path)


def test_without_new_storage_nothing_is_done(cutover):
    assert cutover.wanted("move-store") == ()


def test_what_is_not_ours_is_refused(lab, move):
    lab.run("mailboxvm", ["sh", "-c", f"echo precious > {TO}/somebody"])
    with pytest.raises(errors.CutoverError, match="did not put there"):
        move.wanted("move-store")
    lab.run("mailboxvm", ["rm", f"{TO}/somebody"])
    with (
        move.set("maintenance.move_store.to", "/var/imap/new"),
        pytest.raises(errors.CutoverError, match="overlap: one is inside the other"),
    ):
        move.wanted("move-store")


def test_copied_only_and_days_ahead(lab, newstore, tmp_path_factory):
    made = Night(tmp_path_factory.mktemp("copy"))
    made.values["maintenance"] = {"move_store": {"to": TO, "switch": False}}
    made.write()
    made.step("move-store")
    assert (
        in_store(lab, TO) == in_store(lab)
        and not served(lab)
        and running(lab) == ["active", "active"]
    )


def test_nothing_is_stopped_when_it_would_take_too_long(lab, move):
    too_short = move.set("maintenance.move_store.freeze_minutes", 0.0001)
    with too_short, pytest.raises(errors.CutoverError, match="nothing was stopped"):
        move.step("move-store")
    assert running(lab) == ["active", "active"] and not move.events("intent")[1:]


def test_broken_off_in_the_freeze_it_goes_on(lab, move, monkeypatch):
    """Users flag, delete and get mail between the passes; then the process dies in the freeze."""
    flagged = flag("alice")
    with reading("bruno") as session:
        gone = session.all("INBOX")[0]
        session.delete("INBOX", [gone])
    send("postino3", "carla@lab.test", "between-passes")
    assert eventually(lambda: has("carla", "between-passes"))
    move.before = {user: uids(user) for user in SAMPLE}
    assert (
        "\\Flagged" in move.before["alice"]["INBOX"][1][flagged]
        and gone not in move.before["bruno"]["INBOX"][1]
    )

    class Dead(BaseException):
        pass

    def dying(self, hosts, report):
        raise Dead

    with monkeypatch.context() as patch:
        patch.setattr(store_switch.SwitchStore, "apply", dying)
        with pytest.raises(Dead):
            move.step("move-store")
    assert set(running(lab)) == {"inactive"} and not served(lab)
    send("postino3", "carla@lab.test", "in-the-freeze")
    assert [change.kind for change in move.wanted("move-store")][
        0
    ] == "store-last-copy"  # no pass for users who cannot work
    move.executed("move-store")
    assert served(lab) and running(lab) == ["active", "active"]
    now = {user: uids(user) for user in SAMPLE}
    for user in SAMPLE:
        for folder, (uidvalidity, flags) in move.before[user].items():
            kept = {uid: now[user][folder][1].get(uid) for uid in flags}
            assert (now[user][folder][0], kept) == (uidvalidity, flags), (user, folder)
    assert eventually(lambda: has("carla", "in-the-freeze"))
    checks = {check["id"]: check for check in move.events("verified", "move-store")[-1]["checks"]}
    assert checks["store-freeze"]["data"]["seconds"] > 0
    assert not any(check["warning"] for check in checks.values())


def test_a_store_that_has_moved_stays(move):
    assert move.wanted("move-store") == ()


def test_it_is_there_after_a_reboot(lab, move):
    lab.reboot("mailboxvm", hard=True)
    assert served(lab) and running(lab) == ["active", "active"]


def test_no_mail_is_served_from_the_old_store_when_the_new_storage_is_missing(lab, move):
    lab.run(
        "mailboxvm",
        [
            "sh",
            "-c",
            "systemctl stop cutover-store-var-imap && mv /srv/newstore/mail/.cutover-copy /root/",
        ],
    )
    assert lab.run("mailboxvm", ["systemctl", "start", "dovecot"], check=False).returncode
    assert not served(lab) and "inactive" in running(lab)
    lab.run(
        "mailboxvm",
        [
            "sh",
            "-c",
            "mv /root/.cutover-copy /srv/newstore/mail/ && systemctl start sendmail dovecot",
        ],
    )
    assert served(lab) and running(lab) == ["active", "active"]


# years later, once more

THIRD = "/srv/third/mail"
UNIT = "cutover-store-var-imap"


@pytest.fixture(scope="module")
def again(lab, move, tmp_path_factory):
    as_root(lab, "mailboxvm", f"mkdir -p {THIRD}")
    made = Night(tmp_path_factory.mktemp("again"))
    made.values["maintenance"] = {"move_store": {"to": THIRD}}
    made.write()
    return made


def mounts(lab):
    """How many mounts there are in the store's place."""
    return as_root(lab, "mailboxvm", "grep -c ' /var/imap ' /proc/mounts").stdout


@pytest.mark.parametrize(
    "before, to, message",
    [
        (f"echo precious > {THIRD}/somebody", THIRD, r"did not put there \(somebody\)"),
        (
            f"echo /var/mail > {THIRD}/.cutover-copy",
            THIRD,
            "the copy of another store, of /var/mail",
        ),
        (f"mkdir {TO}/inside", f"{TO}/inside", "overlap: one is inside the other"),
        ("ln -s third/mail /srv/link", "/srv/link", "/srv/link is /srv/third/mail by another name"),
        (f"mount -t tmpfs -o ro none {THIRD}", THIRD, "read-only"),
        ("true", "/srv/nowhere", "the directory /srv/nowhere does not exist"),
        ("true", "/var/lib", "move_store.to: /var/lib belongs to the system"),
    ],
)
def test_what_cannot_be_moved_to_is_refused_while_all_runs(lab, again, before, to, message):
    as_root(lab, "mailboxvm", before)
    try:
        with (
            again.set("maintenance.move_store.to", to),
            pytest.raises(errors.CutoverError, match=message),
        ):
            again.wanted("move-store")
    finally:
        as_root(
            lab,
            "mailboxvm",
            f"umount {THIRD} 2> /dev/null; rm -rf {THIRD} /srv/link {TO}/inside; mkdir {THIRD}",
        )
    assert running(lab) == ["active", "active"]


def test_a_store_that_is_out_of_date_is_copied_nowhere(lab, again, move):
    """Somebody has unmounted the new storage: what shows is the store as it was before it moved."""
    as_root(lab, "mailboxvm", f"systemctl stop dovecot sendmail {UNIT}")
    for run in (again, move):
        with pytest.raises(
            errors.CutoverError,
            match=f"served from {TO} last, and /var/imap on mailboxvm is not that now",
        ):
            run.wanted("move-store")
    with pytest.raises(errors.CutoverError, match=f"{TO}, which is not in /var/imap now"):
        move.wanted("rollback")
    as_root(lab, "mailboxvm", "systemctl start sendmail dovecot")
    assert served(lab) and running(lab) == ["active", "active"]


def test_a_store_that_has_moved_moves_again_wherever_it_is_broken_off(
    lab, again, move, monkeypatch
):
    before, mounted = {user: uids(user) for user in SAMPLE}, mounts(lab)

    class Dead(BaseException):
        pass

    def dying(*_):
        raise Dead

    exchange = store_switch.exchange
    for change in (store_move.LastCopy, store_switch.SwitchStore):
        with monkeypatch.context() as patch:
            patch.setattr(change, "apply", dying)
            with pytest.raises(Dead):
                again.step("move-store")
        assert served(lab) and set(running(lab)) == {"inactive"}
    with monkeypatch.context() as patch:
        patch.setattr(store_switch, "exchange", lambda *arguments: (exchange(*arguments), dying()))
        with pytest.raises(Dead):
            again.step("move-store")
    assert served(lab, THIRD)
    again.step("move-store")
    assert served(lab, THIRD) and not served(lab) and running(lab) == ["active", "active"]
    assert {user: uids(user) for user in SAMPLE[1:]} == {
        user: before[user] for user in SAMPLE[1:]
    }  # alice got the test mail
    assert again.wanted("move-store") == ()
    # the former storage is not in use any more, and the run that moved the store there cannot be
    # undone before this one
    assert mounts(lab) == mounted
    with pytest.raises(
        errors.CutoverError, match=f"has moved on from {TO} to {THIRD} since. Roll back the run"
    ):
        move.step("rollback")
    assert running(lab) == ["active", "active"]


def test_after_a_reboot_it_is_the_third_and_the_rollback_goes_to_the_second(lab, again):
    lab.reboot("mailboxvm", hard=True)
    assert served(lab, THIRD) and running(lab) == ["active", "active"]
    send("postino3", "davide@lab.test", "on-third-storage")
    assert eventually(lambda: has("davide", "on-third-storage"))
    before = {user: uids(user) for user in SAMPLE}
    again.step("rollback")
    assert served(lab) and running(lab) == ["active", "active"]
    assert {user: uids(user) for user in SAMPLE} == before


def test_the_rollback_carries_back_what_came(lab, move):
    send("postino4", "davide@lab.test", "on-new-storage")
    assert eventually(lambda: has("davide", "on-new-storage"))
    flag("elena")
    with reading("bruno") as session:
        gone = session.all("INBOX")[0]
        text = session.fetch("INBOX", gone)
        session.delete("INBOX", [gone])
    before, lying = {user: uids(user) for user in SAMPLE}, in_store(lab)
    move.executed("rollback")
    assert not served(lab) and running(lab) == ["active", "active"]
    kept = {
        key: text for key, text in in_store(lab).items() if not key[0].startswith(".cutover-back/")
    }
    assert kept == lying
    assert {user: uids(user) for user in SAMPLE} == before
    assert runbook.states(move.run.journal.events())["move-store"] == "undone"
    # nothing was deleted in the old store: what the user deleted on the new one is set aside
    aside = messages(f"{root_of(lab)}/var/imap/.cutover-back/{move.run.name}/bruno")
    assert any(
        text.replace(b"\r\n", b"\n") == other.replace(b"\r\n", b"\n") for other in aside.values()
    )
    send("postino3", "davide@lab.test", "on-old-storage")
    assert eventually(lambda: has("davide", "on-old-storage"))
