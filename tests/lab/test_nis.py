"""NIS, where the lab's mail hosts get their users.

Users log in, and preflight reports what is wrong with NIS. While NIS is silent no step goes on and
no mail bounces.
"""

import contextlib
import imaplib
import re
import smtplib
import time

import pytest
from cutover.connect.hosts import Hosts
from cutover.facts import users
from cutover.run import engine
from lab import keys, store, topology
from night import Night, eventually

pytestmark = pytest.mark.lab
MAPS = f"/var/yp/{topology.NIS_DOMAIN}"
# of a map, as makedbm takes it: without the keys that it adds itself
UNMADE = "/usr/lib/yp/makedbm -u {0}/passwd.byname | grep -v ^YP_"


@pytest.fixture(scope="module")
def night(lab, tmp_path_factory):
    return Night(tmp_path_factory.mktemp("nis"))


def sh(lab, host, script, **options):
    return lab.run(host, ["sh", "-euc", script], **options).stdout


def refusal(night):
    """What preflight says when it does not pass."""
    with pytest.raises(engine.VerifyFailed) as caught:
        night.step("preflight")
    return str(caught.value)


@contextlib.contextmanager
def silent(lab, *names):
    """ypserv does not run on some servers meanwhile."""
    for name in names:
        lab.run(name, ["systemctl", "stop", "ypserv"])
    try:
        yield
    finally:
        for name in names:
            lab.run(name, ["systemctl", "start", "ypserv"])
        for name in ("mailboxold", "mailboxvm"):
            assert eventually(
                lambda name=name: lab.run(name, ["ypwhich"], check=False).returncode == 0
            )


def test_users_are_in_nis_alone_and_log_in_on_both_servers(lab):
    for name in ("mailboxold", "mailboxvm"):
        assert not set(topology.ACCOUNTS) & {
            line.split(":")[0] for line in sh(lab, name, "cat /etc/passwd").splitlines()
        }
        listed = {line.split(":")[0] for line in sh(lab, name, "getent passwd").splitlines()}
        assert set(topology.ACCOUNTS) <= listed and topology.OPERATOR in listed
        for user in ("alice", topology.PROBE):
            with imaplib.IMAP4(topology.HOSTS[name].address, timeout=60) as client:
                client.login(user, (keys.SECRETS / user).read_text())
        # the hashes are for root
        assert "$5$" in sh(lab, name, "ypcat shadow.byname")
        assert (
            "$5$" not in lab.run(name, ["ypcat", "shadow.byname"], user="alice", check=False).stdout
        )
        assert "$5$" not in sh(lab, name, "ypcat passwd.byname")


def test_preflight_compares_the_maps_and_passes(night):
    checks = {(check.id, check.subject): check.actual for check in night.step("preflight")}
    assert checks["nis-maps-same", ""] == "the same"
    bound = rf"the domain {topology.NIS_DOMAIN}, bound to ns[12]"
    assert re.fullmatch(bound, checks["nis-bound", "mailboxvm"])
    assert "passwd.byname 25, order " in checks["nis-maps", "ns2"]
    for name in ("mailboxold", "mailboxvm"):
        assert checks["nis-mail-waits", name] == "it waits"
    recorded = "".join(path.read_text() for path in night.run_dir.rglob("*.json*"))
    assert "2001" in recorded and "$5$" not in recorded


def test_a_map_that_differs_on_the_slave_is_told(lab, night):
    sh(
        lab,
        "ns2",
        UNMADE.format(MAPS) + " | sed -e 's,/home/zoe,/home/zo,' -e '/^ugo/d' > /run/maps; "
        f"/usr/lib/yp/makedbm -m ns1.lab.test /run/maps {MAPS}/passwd.byname; rm /run/maps",
    )
    try:
        message = refusal(night)
        assert "passwd.byname: ugo only on ns1" in message and "home/zo:/bin/bash on ns2" in message
        assert "ypxfr -f" in message
    finally:
        sh(
            lab,
            "ns2",
            f"/usr/lib/yp/ypxfr -f -h ns1.lab.test -d {topology.NIS_DOMAIN} passwd.byname",
        )
    night.step("preflight")


def test_a_password_changed_on_the_master_reaches_the_slave_by_make(lab, night):
    with silent(lab, "ns2"):
        sh(
            lab,
            "ns1",
            "sed -i 's/^vera:[^:]*:/vera:!:/' /var/yp/src/shadow && make -s -C /var/yp",
            timeout=60,
        )
    message = refusal(night)
    assert (
        "shadow.byname: vera has another password on ns2 than on ns1" in message
        and "$5$" not in message
    )
    sh(lab, "ns1", "touch /var/yp/src/shadow && make -s -C /var/yp")
    assert eventually(
        lambda: "vera:!:" in sh(lab, "ns2", f"/usr/lib/yp/makedbm -u {MAPS}/shadow.byname")
    )
    night.step("preflight")


@pytest.mark.parametrize(
    "line, message",
    [
        (
            "zoe:x:900:900::/srv/other:/bin/sh",
            "zoe: uid 900, home /srv/other here; uid 2024, home /home/zoe in NIS",
        ),
        (
            "backup2:x:2024:2024::/srv/other:/bin/sh",
            "backup2 has uid 2024 here, which is zoe's in NIS",
        ),
    ],
)
def test_a_local_account_that_hides_a_user_is_told(lab, night, line, message):
    sh(lab, "mailboxvm", f"cp -p /etc/passwd /run/passwd.kept; echo '{line}' >> /etc/passwd")
    try:
        output = refusal(night)
        assert message in output
        if line.startswith("zoe"):
            assert "getent on mailboxvm does not list these mail users of NIS: zoe" in output
    finally:
        sh(lab, "mailboxvm", "cat /run/passwd.kept > /etc/passwd")
    night.step("preflight")


def test_with_one_server_silent_users_are_known_and_preflight_says_which_it_is(lab, night):
    with silent(lab, "ns1"):
        assert "zoe" in sh(lab, "mailboxvm", "getent passwd zoe")
        message = refusal(night)
        assert (
            "no answer from NIS server ns1 to mailboxvm" in message
            and "no answer from NIS server ns2" not in message
        )
    night.step("preflight")


def test_without_nis_nothing_is_done_and_no_mail_goes_back(lab, night):
    label = f"nis.{time.time_ns()}"
    before = store.home("zoe").joinpath("INBOX").stat().st_size
    with silent(lab, *topology.NIS_SERVERS):
        # what the host's own accounts are is known at once
        began = time.monotonic()
        sh(lab, "mailboxold", "getent passwd operator; su operator -c 'sudo -n true'")
        assert time.monotonic() - began < 3
        message = refusal(night)
        assert f"no NIS server of the domain {topology.NIS_DOMAIN} answers" in message
        assert {("nis-bound", name) for name in ("mailboxold", "mailboxvm")} <= set(
            night.failed("preflight")
        )
        with Hosts(night.site) as reached:
            for name in ("mailboxold", "mailboxvm"):
                with pytest.raises(users.NoAnswer, match="Check ypserv on ns1, ns2"):
                    users.read(reached, name)
        with night.engine("convert", "plan") as driver, pytest.raises(users.NoAnswer):
            driver.probe()
        with smtplib.SMTP(
            topology.HOSTS["mailboxvm"].address, 25, "control.lab.test", timeout=30
        ) as client:
            client.ehlo()
            client.mail("anna@elsewhere.test")
            assert client.rcpt("zoe@mailboxvm.lab.test")[0] == 451
        with smtplib.SMTP(
            topology.HOSTS["postino3"].address, 25, "control.lab.test", timeout=30
        ) as client:
            client.sendmail(
                "anna@elsewhere.test", ["zoe@lab.test"], f"Subject: {label}\r\n\r\nsay {label}\r\n"
            )
        assert eventually(lambda: "NIS does not answer" in lab.run("postino3", ["mailq"]).stdout)
    lab.run("postino3", ["sendmail", "-q"], timeout=60)
    inbox = store.home("zoe").joinpath("INBOX")
    assert eventually(lambda: label.encode() in inbox.read_bytes()[before:])
    # and who is unknown to NIS still is
    with smtplib.SMTP(
        topology.HOSTS["mailboxvm"].address, 25, "control.lab.test", timeout=30
    ) as client:
        client.ehlo()
        client.mail("anna@elsewhere.test")
        assert client.rcpt("nobody-such@mailboxvm.lab.test")[0] == 550


def test_what_a_mail_host_has_taken_waits_while_nis_is_silent(lab):
    """One message that procmail is just delivering, for zoe, and one in the queue, for ugo."""
    label = f"taken.{time.time_ns()}"
    texts = {
        "mailboxold": "cat ~{0}/INBOX",
        "mailboxvm": "cat /var/imap/{0}/new/* /var/imap/{0}/cur/*",
    }
    put = """touch /run/held; mv /usr/bin/procmail /usr/bin/procmail.away
             cat > /usr/bin/procmail && chmod 755 /usr/bin/procmail"""
    held = """#!/bin/sh
              case "$*" in *ugo) test -e /run/held && exit 75 ;; esac
              while test -e /run/held; do sleep 0.1; done
              exec /usr/bin/procmail.away "$@"
           """

    def waiting(name):
        return sorted(set(re.findall(r"<(zoe|ugo)@", sh(lab, name, "mailq"))))

    for name in texts:
        sh(lab, name, put, input=held)
    try:
        for name in texts:
            with smtplib.SMTP(
                topology.HOSTS[name].address, 25, "control.lab.test", timeout=30
            ) as client:
                for user in ("zoe", "ugo"):
                    client.sendmail(
                        "anna@elsewhere.test",
                        [f"{user}@{name}.lab.test"],
                        f"Subject: {label}\r\n\r\n{label}\r\n",
                    )
            assert eventually(
                lambda name=name: sh(lab, name, "pgrep -f 'procmail .*-d zoe$' || true")
            )
            assert eventually(lambda name=name: "Deferred: local mailer" in sh(lab, name, "mailq"))
        with silent(lab, *topology.NIS_SERVERS):
            for name in texts:
                sh(lab, name, "rm /run/held; sendmail -q", timeout=60)
                assert eventually(
                    lambda name=name: not sh(lab, name, "pgrep -f 'procmail .*-d zoe$' || true")
                )
                assert waiting(name) == ["ugo", "zoe"]
    finally:
        for name in texts:
            sh(lab, name, "rm -f /run/held; mv /usr/bin/procmail.away /usr/bin/procmail")
    for name, text in texts.items():
        sh(lab, name, "sendmail -q", timeout=60)
        for user in ("zoe", "ugo"):
            assert eventually(
                lambda name=name, text=text, user=user: (
                    sh(
                        lab, name, f"{text.format(user)} 2> /dev/null | grep -ac '^{label}' || true"
                    ).strip()
                    == "1"
                )
            )


def test_what_procmail_cannot_do_goes_back_as_before(lab):
    """A user's own 67 is his will.

    A procmail that is gone, killed or without room is waited for.
    """

    def code(script, *arguments):
        sh(
            lab,
            "mailboxvm",
            "mv /usr/bin/procmail /usr/bin/procmail.away; cat > /usr/bin/procmail; chmod 755 /usr/bin/procmail",
            input=f"#!/bin/sh\n{script}\n",
        )
        try:
            return lab.run(
                "mailboxvm", ["/usr/local/sbin/procmail-nis", *arguments], check=False, input="x"
            ).returncode
        finally:
            sh(lab, "mailboxvm", "mv /usr/bin/procmail.away /usr/bin/procmail")

    assert (
        lab.run(
            "mailboxvm", ["procmail-nis", "-d", "nobody-such"], check=False, input="x"
        ).returncode
        == 75
    )
    assert [
        code("exit 0"),
        code("exit 67"),
        code("exit 73"),
        code("kill -9 $$"),
        code("exit 127"),
    ] == [0, 67, 73, 75, 75]
    assert "tmp." not in sh(lab, "mailboxvm", "ls /tmp")


def test_a_host_that_starts_without_nis_takes_no_mail_until_it_is_there(lab):
    def active(unit):
        return lab.run("mailboxold", ["systemctl", "is-active", unit], check=False).stdout.strip()

    with silent(lab, *topology.NIS_SERVERS):
        lab.run("mailboxold", ["systemctl", "stop", "sendmail", "xinetd", "nis-bound", "ypbind"])
        lab.run(
            "mailboxold",
            ["systemctl", "start", "--no-block", "ypbind", "nis-bound", "sendmail", "xinetd"],
        )
        assert eventually(lambda: active("nis-bound") == "activating")
        time.sleep(0.5)
        assert active("sendmail") == active("xinetd") == "inactive"
    assert eventually(lambda: active("sendmail") == active("xinetd") == "active")
