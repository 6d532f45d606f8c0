"""Submission, webmail and lists, with the real programs: before the alias is switched and after it.

The tests follow one another; the alias is switched as the steps switch it, without the night around
it.
"""

import dataclasses
import datetime
import smtplib
import subprocess

import pytest
from cutover import model, site
from cutover.connect import hosts, smtp
from cutover.facts import submission, systems, webmail
from cutover.steps import registry
from cutover.steps.checks import system_checks
from lab import keys, topology
from night import eventually

pytestmark = pytest.mark.lab
SITE = site.load("parameters/lab.yaml")
SMTP, INSIDE, OUTSIDE = (
    topology.HOSTS["postinoauth1"],
    topology.CONTROL_ADDRESS,
    topology.OUTSIDE_ADDRESS,
)
TLS = {"server_hostname": "smtp.lab.test", "ca_file": str(keys.CA)}
CERTIFICATE = (str(keys.CLIENT), str(keys.CLIENT_KEY))
ALICE = "alice@lab.test"


@pytest.fixture(scope="module")
def door(lab):
    with hosts.Hosts(SITE) as opened:
        yield model.Context(opened, "systems")


def permits(port, **client):
    return smtp.permits(SMTP.address, port, smtp.Client(**client), ALICE, ALICE, 30)


def password(user="alice"):
    return (keys.SECRETS / user).read_text()


def send(host, recipient, subject):
    text = (
        f"From: <a@elsewhere.test>\nTo: <{recipient}>\nSubject: {subject}\n"
        f"Message-ID: <{subject}@test>\n\n{subject}\n"
    )
    smtp.send(topology.HOSTS[host].address, 25, "a@elsewhere.test", [recipient], text.encode(), 30)


def browsing(user="alice"):
    browser = webmail.Browser(SITE.webmail.url, SITE.address("webmail"), SITE.webmail.ca)
    browser.login(user, password(user))
    return browser


def shown(browser, subject):
    """Whether webmail finds a message and shows it."""
    return any(subject in browser.read("INBOX", uid) for uid in browser.find("INBOX", subject))


def failed(readings):
    return [
        (check.id, check.subject)
        for check in system_checks.judge(readings, SITE)
        if not check.passed
    ]


# -- submission


@pytest.mark.parametrize("port", [25, 587])
@pytest.mark.parametrize(
    "client, code",
    [
        ({"source": INSIDE}, 250),
        ({"source": INSIDE, **TLS}, 250),
        ({"source": OUTSIDE}, 550),
        ({"source": OUTSIDE, **TLS}, 550),
        ({"source": OUTSIDE, **TLS, "certificate": CERTIFICATE}, 250),
    ],
    ids=["inside", "inside-tls", "outside", "outside-tls", "certificate"],
)
def test_it_relays_from_inside_and_for_a_certificate(lab, port, client, code):
    answer = permits(port, **client)["recipient"]
    assert answer[0] == code and ("Relaying denied" in answer[1]) == (code == 550)


def test_it_relays_for_a_password_but_only_for_the_right_one_and_only_by_tls(lab):
    assert (
        permits(587, source=OUTSIDE, **TLS, user="alice", password=password())["recipient"][0]
        == 250
    )
    with pytest.raises(smtp.LoginRefused, match="535"):
        permits(587, source=OUTSIDE, **TLS, user="alice", password="wrong")
    with pytest.raises(smtp.LoginRefused, match="it asks for no password"):
        permits(587, source=OUTSIDE, user="alice", password=password())
    # a client that does not wait to be asked gets no further
    with smtplib.SMTP(
        SMTP.address, 587, local_hostname="x", timeout=30, source_address=(OUTSIDE, 0)
    ) as link:
        link.ehlo()
        assert link.docmd("AUTH", "PLAIN AGFsaWNlAHdyb25n")[0] in (503, 530, 538)


def test_a_certificate_of_somebody_elses_is_none(lab, tmp_path):
    """The same name on it, another authority."""
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ed25519",
            "-nodes",
            "-subj",
            "/CN=cutover-client",
            "-days",
            "2",
            "-keyout",
            tmp_path / "key",
            "-out",
            tmp_path / "cert",
        ],
        check=True,
        capture_output=True,
    )
    strange = (str(tmp_path / "cert"), str(tmp_path / "key"))
    assert permits(587, source=OUTSIDE, **TLS, certificate=strange)["recipient"][0] == 550


def test_its_certificate_is_for_its_alias_and_for_no_other_name(lab):
    with pytest.raises(smtp.NoSmtp, match="not valid for 'mailbox.lab.test'"):
        permits(587, source=INSIDE, server_hostname="mailbox.lab.test", ca_file=str(keys.CA))


# -- all of it, on the old server


def arrived_everywhere(ctx):
    """Send what production-test would send, through each system, and see it arrive.

    → the kinds of the changes.
    """
    nobody = {user.user: model.Reading(error="no look") for user in SITE.production_test.users}
    listed = system_checks.plan(nobody, ctx.run_name, SITE)
    for change in listed:
        change.apply(ctx, lambda event: None)
    return [change.kind for change in listed]


def test_before_the_switch_all_of_it_works_on_the_old_server(lab, door):
    readings = systems.read_all(door.hosts)
    assert failed(readings) == []
    view = readings.webmail.value
    assert view.messages > 50 and view.read
    assert view.comers == []  # nobody logs in to the new one yet
    assert arrived_everywhere(door) == ["submit-test-mail"] * 3 + ["post-test-mail"]
    for user in ("alice", "bruno"):
        text = lab.run("mailboxold", ["cat", f"/home/{user}/INBOX"], text=False).stdout
        assert text.count(b"Message-ID: <systems-list-staff-lab.test@cutover.invalid>") == 1
        assert b"staff+bounces-1-" + user.encode() in text


def test_webmail_says_who_is_not_let_in_and_keeps_no_password(lab):
    with pytest.raises(webmail.LoginRefused, match="refused the login of alice") as refused:
        webmail.Browser(SITE.webmail.url, SITE.address("webmail"), SITE.webmail.ca).login(
            "alice", "not-the-password"
        )
    assert "not-the-password" not in str(refused.value)
    with pytest.raises(webmail.NoWebmail, match="certificate verify failed"):
        webmail.Browser(SITE.webmail.url, SITE.address("webmail")).front()
    with pytest.raises(webmail.NoWebmail, match="refused|unreachable"):
        webmail.Browser(SITE.webmail.url, SITE.address("postino3"), SITE.webmail.ca).front()


# -- the switch


@pytest.fixture(scope="module")
def switched(lab, door):
    """A message on each server alone, and a webmail session from before the switch.

    Then the alias leads to the new server, and the old one serves nobody. → the session
    """
    send("postino3", "alice@lab.test", "onlyold")
    send("mailboxvm", "alice@mailboxvm.lab.test", "onlynew")
    browser = browsing()
    assert eventually(lambda: shown(browser, "onlyold")) and not shown(browser, "onlynew")
    for name in ("dns-rename", "switch-alias"):
        step = registry.step(name)
        for change in step.plan(step.probe(door), SITE).changes:
            change.apply(door, lambda event: None)
    lab.run("mailboxold", ["systemctl", "stop", "stunnel4", "xinetd"])
    return browser


def test_webmail_reads_from_the_new_server_then(door, switched):
    assert shown(switched, "onlynew") and not shown(
        switched, "onlyold"
    )  # in the session that was there before
    again = browsing()
    assert shown(again, "onlynew") and not shown(again, "onlyold")
    view = webmail.look(door.hosts, "alice", "onlynew")
    assert view.token and view.read
    assert not any(name.startswith("mail") for name in view.folders)


def test_the_submission_host_asks_the_new_server_for_passwords_then(lab, door, switched):
    began = int(datetime.datetime.now(datetime.UTC).timestamp())
    assert submission.ask(door.hosts, "password").code == 250
    assert eventually(
        lambda: SMTP.address in webmail.login_addresses(door.hosts, "alice", began, SMTP.address)
    )


def test_all_of_it_works_on_the_new_server(door, switched):
    readings = systems.read_all(door.hosts, "onlynew")
    assert failed(readings) == []
    assert SITE.address("webmail") in readings.webmail.value.comers
    assert arrived_everywhere(dataclasses.replace(door, run_name="later")) == [
        "submit-test-mail"
    ] * 3 + ["post-test-mail"]


def test_a_prefix_of_the_old_server_in_webmails_configuration_is_told(lab, door, switched):
    """Folders as UW named them are not there on the new server.

    INBOX is, so that reading alone would not show it.
    """
    lab.run(
        "mailboxvm", ["doveadm", "mailbox", "create", "-s", "-u", "alice", "sent-mail", "progetti"]
    )
    there = ["INBOX", "progetti", "sent-mail"]

    def mark():
        view = webmail.look(door.hosts, "alice", "onlynew")
        *_, check = system_checks.webmail_on_new(view, there, SITE)
        return check.mark

    assert mark() == "ok"
    place = "/etc/roundcube/config.inc.php"
    before = lab.run("webmail", ["cat", place]).stdout
    lab.run("webmail", ["tee", place], input=before + "$config['imap_ns_personal'] = 'mail/';\n")
    try:
        assert eventually(
            lambda: mark() == "warn"
        )  # PHP looks for a changed file every two seconds
    finally:
        lab.run("webmail", ["tee", place], input=before)


def test_a_server_that_is_gone_is_told_and_not_waited_for(lab, door, switched):
    lab.run("mailboxvm", ["systemctl", "stop", "dovecot"])
    try:
        checks = failed(systems.read_all(door.hosts))
    finally:
        lab.run("mailboxvm", ["systemctl", "start", "dovecot"])
    assert checks == [("submission-way", "password"), ("webmail-login", "alice")]


def test_no_log_holds_a_password(lab, switched):
    for host in ("postinoauth1", "webmail"):
        lines = lab.run(
            host,
            [
                "sh",
                "-c",
                "journalctl -q --no-pager; cat /var/log/apache2/*.log /var/log/roundcube/*",
            ],
            check=False,
        ).stdout
        assert lines and password() not in lines
