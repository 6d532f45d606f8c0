"""The lab's promises, checked on the real servers."""

import collections
import hashlib
import imaplib
import json
import os
import re
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import time

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.tsigkeyring
import dns.update
import pytest
from cutover import model, site
from cutover.commands import main
from cutover.commands.lab import group
from cutover.connect import ssh
from cutover.connect.hosts import Hosts
from cutover.steps import registry
from lab import (
    antispam,
    cgroups,
    crowd,
    delivery,
    disk,
    errors,
    keys,
    manifest,
    messages,
    network,
    paths,
    people,
    requirements,
    state,
    store,
    topology,
)
from night import new_dovecot

NS1, NS2 = topology.HOSTS["ns1"], topology.HOSTS["ns2"]
lab_test = pytest.mark.lab


def ask(server, name, kind):
    return dns.query.udp(dns.message.make_query(name, kind), server.address, timeout=3)


def records(server, name, kind):
    """(set of record texts, TTL) of a name as one name server has it."""
    answer = ask(server, name, kind)
    rrsets = [rrset for rrset in answer.answer if rrset.rdtype == dns.rdatatype.from_text(kind)]
    return (
        {record.to_text() for rrset in rrsets for record in rrset},
        rrsets[0].ttl if rrsets else None,
    )


def eventually(question, seconds=180):
    """The first true answer within some seconds, else the last one."""
    until = time.monotonic() + seconds
    while not (answer := question()) and time.monotonic() < until:
        time.sleep(0.05)
    return answer


def tls(host, name, port=993):
    """An IMAP connection whose certificate must fit `name` and come from the lab's CA."""
    plain = socket.create_connection((host.address, port), 10)
    return ssl.create_default_context(cafile=str(keys.CA)).wrap_socket(plain, server_hostname=name)


def imap(host, name="mailbox.lab.test"):
    class Client(imaplib.IMAP4):
        def _create_socket(self, timeout):
            return tls(host, name)

    return Client("unused")


def password(user):
    return (keys.SECRETS / user).read_text()


def mail(user, label, spam=False):
    line = f"{antispam.SPAM}\r\n" if spam else ""
    return (
        f"From: Anna <anna@elsewhere.test>\r\nTo: {user}@lab.test\r\nSubject: {label}\r\n"
        f"Message-ID: <{label}.{time.time_ns()}@elsewhere.test>\r\n\r\n{line}say {label}\r\n"
    ).encode()


def digest(user):
    """A digest of everything in a user's home on mailboxold.

    Names, owners, modes, mtimes, bytes.
    """
    hashed = hashlib.sha256()
    for place, folders, files in sorted(os.walk(bytes(store.home(user)))):
        for name in sorted(files + folders):
            path = os.path.join(place, name)
            about = os.stat(path)
            hashed.update(
                b"%s %d %d %o %d\n"
                % (path, about.st_uid, about.st_gid, about.st_mode, about.st_mtime_ns)
            )
            if name in files:
                with open(path, "rb") as source:
                    hashed.update(source.read())
    return hashed.hexdigest()


# -- without a lab


def test_without_root_it_says_so(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(errors.Missing, match="needs root"):
        requirements.require()


def test_its_errors_are_printed_without_a_traceback(monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "argv", ["cutover", "lab", "down"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    printed = capsys.readouterr()
    assert ended.value.code == 1 and printed.out == ""
    assert printed.err.startswith("cutover: ") and len(printed.err.splitlines()) == 1


def test_it_imports_nothing_of_cutover():
    modules = sorted((site.PROJECT / "lib/lab").glob("*.py"))
    assert modules and not [
        path.name
        for path in modules
        if re.search(r"^\s*(from|import) cutover\b", path.read_text(), re.MULTILINE)
    ]


def test_without_a_tool_it_names_the_package(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(requirements.shutil, "which", lambda name: None)
    with pytest.raises(errors.Missing, match="systemd-container"):
        requirements.require()


def test_a_low_limit_of_inotify_instances_is_raised(monkeypatch, tmp_path):
    limit = tmp_path / "max_user_instances"
    limit.write_text("128\n")
    monkeypatch.setattr(requirements, "INOTIFY", limit)
    assert requirements.labs() == 16
    assert limit.read_text() == "1024\n"


def test_a_limit_of_inotify_instances_that_cannot_be_raised_is_named(monkeypatch):
    class Kernel:
        def read_text(self, encoding):
            return "60\n"

        def write_text(self, text, encoding):
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(requirements, "_missing", lambda: [])
    monkeypatch.setattr(requirements, "INOTIFY", Kernel())
    with pytest.raises(errors.Missing, match="sysctl -w fs.inotify.max_user_instances=1024"):
        requirements.require()


@pytest.mark.parametrize("option", ["--shared-store", "--old-world"])
def test_two_stores_go_with_no_other_kind_of_lab(option):
    from click.testing import CliRunner

    done = CliRunner().invoke(group, ["up", "--stores", "2", option])
    assert done.exit_code == 2 and f"--stores 2 and {option} exclude each other" in done.output


def test_a_reused_pid_is_not_ours():
    mine = state.start_time(os.getpid())
    assert state.alive(os.getpid(), mine)
    assert not state.alive(os.getpid(), mine + 1)
    state.end(os.getpid(), mine + 1, signal.SIGKILL)


def test_made_up_mail_is_the_same_for_the_same_seed_and_sized_like_mail():
    import random

    def sizes(seed):
        maker = messages.Maker(random.Random(seed), "t")
        return [len(maker.message("alice", maker.date())) for _ in range(2000)]

    first = sorted(sizes(1))
    assert first == sorted(sizes(1)) != sorted(sizes(2))
    assert 3000 < first[1000] < 4200 and 7000 < sum(first) / 2000 < 13000


# -- hosts


@lab_test
def test_each_port_greets_as_its_service_does(lab):
    greetings = {22: b"SSH-2.0", 25: b"220 ", 143: b"* OK", 110: b"+OK"}
    for host in topology.HOSTS.values():
        for port in host.ports:
            if port in greetings:
                with socket.create_connection((host.address, port), 5) as connection:
                    assert connection.recv(100).startswith(greetings[port]), (host.name, port)
            elif port == 993:
                with tls(host, host.fqdn) as connection:
                    assert connection.recv(100).startswith(b"* OK"), host.name
    assert b"Panda IMAP" in socket.create_connection(
        (topology.HOSTS["mailboxold"].address, 143), 5
    ).recv(200)
    assert b"Dovecot" in socket.create_connection(
        (topology.HOSTS["mailboxvm"].address, 143), 5
    ).recv(200)


@lab_test
def test_operator_is_root_by_sudo_and_root_may_not_log_in(lab):
    marker = state.read()
    base = [
        "ssh",
        "-i",
        str(keys.OPERATOR_KEY),
        "-o",
        f"UserKnownHostsFile={keys.KNOWN_HOSTS}",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "GlobalKnownHostsFile=/dev/null",
    ]

    def login(host, user, command):
        return subprocess.run(
            [*base, f"{user}@{host.address}", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    for host in topology.HOSTS.values():
        done = login(host, "operator", "id -un; sudo -n id -un; hostname -f; cat /etc/cutover-lab")
        assert done.stdout.split() == ["operator", "root", host.fqdn, marker["lab"]], done.stderr
        scanned = subprocess.run(
            ["ssh-keygen", "-lf", "-"],
            input=keys.KNOWN_HOSTS.read_text(),
            capture_output=True,
            text=True,
        )
        assert marker["hosts"][host.name]["fingerprint"] in scanned.stdout
    refused = login(topology.HOSTS["ns1"], "root", "true")
    assert refused.returncode == 255 and "Permission denied" in refused.stderr


@lab_test
def test_a_stranger_key_and_a_stranger_host_are_refused(lab, tmp_path):
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True
    )
    known = tmp_path / "known"
    known.write_text(
        keys.KNOWN_HOSTS.read_text().replace(NS1.address, "10.77.0.99").replace("ns1", "nsx")
    )
    for key, hosts_file, complaint in (
        (tmp_path / "key", keys.KNOWN_HOSTS, "Permission denied"),
        (keys.OPERATOR_KEY, known, "Host key verification failed"),
    ):
        done = subprocess.run(
            [
                "ssh",
                "-i",
                str(key),
                "-o",
                "IdentitiesOnly=yes",
                "-o",
                f"UserKnownHostsFile={hosts_file}",
                "-o",
                "BatchMode=yes",
                "-o",
                "StrictHostKeyChecking=yes",
                f"operator@{NS1.address}",
                "true",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 255 and complaint in done.stderr


@lab_test
def test_twenty_sessions_at_once_are_let_in(lab):
    command = [
        "ssh",
        "-i",
        str(keys.OPERATOR_KEY),
        "-o",
        f"UserKnownHostsFile={keys.KNOWN_HOSTS}",
        "-o",
        "BatchMode=yes",
        f"operator@{topology.HOSTS['mailboxold'].address}",
        "sleep 1; echo in",
    ]
    running = [
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        for _ in range(20)
    ]
    assert [process.communicate(timeout=60)[0] for process in running] == ["in\n"] * 20


@lab_test
def test_both_mail_hosts_know_the_same_users(lab):
    lines = {
        name: [
            line
            for line in lab.run(name, ["getent", "passwd"]).stdout.splitlines()
            if 2000 <= int(line.split(":")[2]) < 3000
        ]
        for name in ("mailboxold", "mailboxvm")
    }
    assert lines["mailboxold"] == lines["mailboxvm"] and len(lines["mailboxold"]) == 24
    for name in lines:
        homes = [line.split(":")[5] for line in lines[name]]
        lab.run(name, ["sh", "-c", 'for home; do test -d "$home" || exit 1; done', "sh", *homes])


@lab_test
def test_services_are_real_units(lab):
    for name, unit, port in (
        ("postino4", "sendmail", 25),
        ("mailboxold", "xinetd", 143),
        ("mailboxold", "stunnel4", 993),
        ("mailboxvm", "dovecot", 143),
    ):
        host = topology.HOSTS[name]
        lab.run(name, ["systemctl", "stop", unit])
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host.address, port), 3)
        lab.run(name, ["systemctl", "start", unit])
        assert eventually(
            lambda host=host, port=port: not socket.socket().connect_ex((host.address, port))
        )


@lab_test
def test_a_host_reaches_the_lab_and_nothing_else(lab):
    assert lab.run("postino3", ["ip", "route"]).stdout.split()[0] == topology.NETWORK
    assert lab.run("postino3", ["ip", "route"]).stdout.count("\n") == 1


# -- names


@lab_test
@pytest.mark.parametrize("server", [NS1, NS2], ids=lambda server: server.name)
def test_the_zone_before_the_cutover(lab, server):
    assert records(server, "lab.test", "MX") == (
        {"10 postino3.lab.test.", "10 postino4.lab.test."},
        3600,
    )
    assert records(server, "mailbox.lab.test", "A") == (
        {topology.HOSTS["mailboxold"].address},
        3600,
    )
    assert records(server, "mailbox.lab.test", "CNAME") == (set(), None)
    assert ask(server, "mailboxold.lab.test", "A").rcode() == dns.rcode.NXDOMAIN
    for host in topology.HOSTS.values():
        if host.name != "mailboxold":
            assert records(server, host.fqdn, "A")[0] == {host.address}
    assert records(server, "lab.test", "NS")[0] == {"ns1.lab.test.", "ns2.lab.test."}
    assert ask(server, "www.example.org", "A").rcode() == dns.rcode.NXDOMAIN


@lab_test
def test_a_signed_update_reaches_both_servers_and_an_unsigned_one_none(lab):
    name, secret = re.search(
        r'key "(.*?)".*secret "(.*?)"', keys.TSIG_KEY.read_text(), re.DOTALL
    ).groups()
    assert keys.TSIG_KEY.stat().st_mode & 0o777 == 0o600
    ring = dns.tsigkeyring.from_text({name: secret})
    unsigned = dns.update.UpdateMessage("lab.test")
    unsigned.add("probe", 5, "A", "10.77.0.99")
    assert dns.query.tcp(unsigned, NS1.address, timeout=5).rcode() == dns.rcode.REFUSED
    signed = dns.update.UpdateMessage("lab.test", keyring=ring, keyalgorithm="hmac-sha256")
    signed.add("probe", 5, "A", "10.77.0.99")
    assert dns.query.tcp(signed, NS1.address, timeout=5).rcode() == dns.rcode.NOERROR
    assert eventually(lambda: records(NS2, "probe.lab.test", "A")[0]) == {"10.77.0.99"}
    away = dns.update.UpdateMessage("lab.test", keyring=ring, keyalgorithm="hmac-sha256")
    away.delete("probe")
    assert dns.query.tcp(away, NS1.address, timeout=5).rcode() == dns.rcode.NOERROR
    assert eventually(lambda: not records(NS2, "probe.lab.test", "A")[0])
    wrong = dns.update.UpdateMessage(
        "lab.test",
        keyring=dns.tsigkeyring.from_text({name: "AAAA" + secret[4:]}),
        keyalgorithm="hmac-sha256",
    )
    wrong.add("probe", 5, "A", "10.77.0.99")
    with pytest.raises(dns.exception.DNSException):
        dns.query.tcp(wrong, NS1.address, timeout=5)


# -- mail


@lab_test
@pytest.mark.parametrize("server", ["postino3", "postino4"])
@pytest.mark.parametrize("spam", [False, True], ids=["inbox", "spam"])
def test_mail_through_each_mx_arrives_in_mbx(lab, server, spam):
    user, label = "teresa", f"via-{server}-{spam}"
    place = store.home(user) / ("mail/SPAM" if spam else "INBOX")
    before = place.stat().st_size
    delivery.send(server, user, mail(user, label, spam))
    assert eventually(lambda: f"say {label}".encode() in store.tail(place, before)), place
    new = store.tail(place, before)
    assert place.read_bytes().startswith(b"*mbx*\r\n") and re.match(
        rb"[ \d]\d-\w{3}-\d{4} .*,\d+;[0-9a-f]{12}-00000000\r\n", new
    )
    assert f"by {server}.lab.test".encode() in new and b"by mailboxold.lab.test" in new


@lab_test
@pytest.mark.parametrize("spam", [False, True], ids=["inbox", "spam"])
def test_mail_for_mailboxvm_arrives_in_its_maildir(lab, spam):
    user, label = "ugo", f"vm-{spam}"
    with smtplib.SMTP(topology.HOSTS["postino3"].address, 25, timeout=60) as client:
        client.sendmail(
            "anna@elsewhere.test", [f"{user}@mailboxvm.lab.test"], mail(user, label, spam)
        )
    place = store.imap(user) / (".SPAM/new" if spam else "new")
    assert eventually(
        lambda: (
            place.is_dir()
            and any(f"say {label}".encode() in path.read_bytes() for path in place.iterdir())
        )
    )
    assert place.stat().st_uid == topology.USERS[user]
    with imap(topology.HOSTS["mailboxvm"]) as client:
        client.login(user, password(user))
        assert client.select("SPAM" if spam else "INBOX", readonly=True) == ("OK", [b"1"])


@lab_test
@pytest.mark.parametrize(
    "name,domain",
    [
        ("mailboxold", "mailbox"),
        ("mailboxold", "mailboxold"),
        ("mailboxvm", "mailbox"),
        ("mailboxvm", "mailboxvm"),
    ],
)
def test_mail_hosts_accept_every_name_they_will_be_called(lab, name, domain):
    shown = lab.run(name, ["sendmail", "-bv", f"alice@{domain}.lab.test"]).stdout
    assert "mailer local" in shown, shown


@lab_test
def test_userdb_routes_users_and_forwards(lab):
    for name in ("postino3", "postino4"):
        shown = lab.run(
            name, ["sendmail", "-bv", "alice", "former1", "secretariat", "Alice.Rossi"]
        ).stdout
        assert (
            "alice@mailbox.lab.test... deliverable: mailer esmtp, host mailbox.lab.test." in shown
        )
        assert "someone@elsewhere.test... deliverable: mailer nowhere" in shown
        assert "carla@mailbox.lab.test" in shown and "elena@mailbox.lab.test" in shown
        assert (
            "User unknown" in lab.run(name, ["sendmail", "-bv", "nobody-here"], check=False).stdout
        )
    assert (
        lab.run("postino3", ["cat", "/etc/mail/userdb"]).stdout
        == lab.run("postino4", ["cat", "/etc/mail/userdb"]).stdout
    )


@lab_test
def test_mail_for_elsewhere_ends_harmlessly(lab):
    delivery.send("postino3", "former1", mail("former1", "goodbye"))
    sent = ["sh", "-c", "journalctl -t sm-mta | grep elsewhere.test || :"]
    assert eventually(lambda: "stat=Sent" in lab.run("postino3", sent).stdout)
    assert "/var/spool/mqueue is empty" in lab.run("postino3", ["mailq"]).stdout


@lab_test
def test_mailboxolds_mail_is_seen_read_only_on_mailboxvm(lab):
    here = hashlib.sha256((store.home("paolo") / "mail/lavori").read_bytes()).hexdigest()
    there = lab.run(
        "mailboxvm", ["sha256sum", "/srv/mailboxold/home/paolo/mail/lavori"]
    ).stdout.split()[0]
    assert here == there
    assert (
        lab.run("mailboxvm", ["ls", "/srv/mailboxold/spool"]).stdout
        == lab.run("mailboxold", ["ls", "/var/mail"]).stdout
    )
    for place in ("home/paolo/mail/new", "spool/new"):
        done = lab.run("mailboxvm", ["touch", f"/srv/mailboxold/{place}"], check=False)
        assert done.returncode and "Read-only file system" in done.stderr


@lab_test
def test_certificates_fit_host_and_alias_and_no_other(lab):
    for name in ("mailboxold", "mailboxvm"):
        for fits in (f"{name}.lab.test", "mailbox.lab.test"):
            tls(topology.HOSTS[name], fits).close()
        with pytest.raises(ssl.SSLCertVerificationError):
            tls(topology.HOSTS[name], "postino3.lab.test")


@lab_test
@pytest.mark.parametrize("name", ["mailboxold", "mailboxvm"])
def test_users_log_in_over_tls_with_their_password_only(lab, name):
    with imap(topology.HOSTS[name]) as client:
        assert client.login("marta", password("marta"))[0] == "OK"
        assert client.select("INBOX", readonly=True)[0] == "OK"
    with imap(topology.HOSTS[name]) as client, pytest.raises(imaplib.IMAP4.error):
        client.login("marta", password("alice"))


@lab_test
def test_dovecot_is_set_up_as_the_new_store(lab):
    shown = lab.run("mailboxvm", ["doveconf", "-n"]).stdout
    split = new_dovecot(lab).split
    place = "mail_path = /var/imap/%{user}" if split else "mail_location = maildir:/var/imap/%u"
    uidl = "%{uidvalidity | hex(8)}%{uid | hex(8)}" if split else "%08Xv%08Xu"
    assert place in shown and f"pop3_uidl_format = {uidl}" in shown
    delivery_place = lab.run(
        "mailboxvm", ["doveadm", "exec", "imap", "-u", "vera"], input='a LIST "" *\r\nb LOGOUT\r\n'
    ).stdout
    assert "PREAUTH" in delivery_place and delivery_place.count("* LIST") == 1


# -- seeded mail


@lab_test
def test_the_seeded_mail_is_what_the_manifest_says(fresh_lab):
    recorded = manifest.read()
    assert manifest.take() == recorded
    assert len(recorded["users"]) == 24 and 5700 < recorded["messages"] < 6300
    assert 12_000 < recorded["bytes"] / recorded["messages"] < 14_500


@lab_test
def test_every_oddity_is_there(lab):
    users = manifest.read()["users"]
    assert (
        not (store.home(people.NO_INBOX) / "INBOX").exists()
        and not store.spool(people.NO_INBOX).exists()
    )
    assert users[people.SPOOL_ONLY]["folders"]["INBOX"]["format"] == "mbox"
    assert users[people.LEFTOVERS]["spool"]["messages"] == 5
    assert all(
        name == "INBOX" or name.count("/") > 1 for name in users[people.NESTED_ONLY]["folders"]
    )
    assert {"mail/a.b", "mail/a_b", "mail/x.y/z", "mail/x_y/z"} <= set(users["bruno"]["folders"])
    assert (
        "mail/Entw&APw-rfe" in users["alice"]["folders"]
        and "mail/caff\xe8" in users[people.EIGHT_BIT]["folders"]
    )
    assert users[people.STRAY_FILES]["passed_over"] == {
        "mail/appunti.txt": "file",
        "mail/vecchio-mbox": "mbox",
    }
    assert users[people.STRAY_FILES]["folders"]["mail/vuota"]["messages"] == 0
    assert users["paolo"]["folders"]["mail/lavori"]["messages"] == 2000
    assert re.search(
        rb"[0-9a-f]{8}8[0-9a-f]{3}-[0-9a-f]{8}\r\n",
        (store.home(people.SHARED) / "INBOX").read_bytes(),
    )
    for user in people.FRESH:
        assert b"-00000000\r\n" in (store.home(user) / "INBOX").read_bytes(), user
        assert users[user]["folders"]["INBOX"]["recent"], user
    slots = (
        (store.home(people.KEYWORDS) / "mail/etichette").read_bytes()[:2048].split(b"\r\n")[3:33]
    )
    assert len([slot for slot in slots if slot]) > 26
    odd = (store.home(people.ODD_BODIES) / "mail/strani").read_bytes()
    assert re.search(rb"[^\r]\n", odd) and re.search(rb"\r[^\n]", odd) and b"\xe0" in odd
    assert max(map(len, odd.split(b"\n"))) > 60_000
    spellings = b"".join(
        (store.home(user) / ".mailboxlist").read_bytes() for user in people.SUBSCRIPTIONS
    )
    for spelling in (b"\ncs.ce", b"\nmail/", b"\n~/mail/", b"\n{mailbox.lab.test}mail/"):
        assert spelling in b"\n" + spellings
    zones = set(
        re.findall(
            rb"\d\d:\d\d:\d\d ([+-]\d{4}),\d+;", (store.home("paolo") / "mail/lavori").read_bytes()
        )
    )
    assert len(zones) >= 5


@lab_test
def test_uw_reads_it_in_preauth(lab):
    answer = lab.run(
        "mailboxold",
        ["/usr/sbin/imapd"],
        user="paolo",
        input='a EXAMINE mail/lavori\r\nb LIST "" "mail/*"\r\nc LOGOUT\r\n',
    ).stdout
    assert (
        answer.startswith("* PREAUTH") and "* 2000 EXISTS" in answer and "mail/sent-mail" in answer
    )


# -- life of a lab


@lab_test
def test_a_second_up_changes_nothing(lab, capsys):
    before = state.read()
    began = time.monotonic()
    after = lab.up()
    with capsys.disabled():
        print(f"\n  lab up, already up: {time.monotonic() - began:.2f} s")
    assert after == before == state.read()


@lab_test
def test_a_second_up_leaves_what_was_stopped_alone(lab):
    lab.run("postino3", ["systemctl", "stop", "sendmail"])
    lab.up()
    assert (
        lab.run("postino3", ["systemctl", "is-active", "sendmail"], check=False).stdout.strip()
        == "inactive"
    )
    lab.run("postino3", ["systemctl", "start", "sendmail"])


@lab_test
def test_up_starts_a_host_that_died_with_its_disk_as_it_was(lab):
    before = state.read()
    lab.run("sanbackup", ["sh", "-c", "echo kept > /srv/backup/note"])
    os.kill(before["hosts"]["sanbackup"]["pid"], signal.SIGKILL)
    assert eventually(lambda: not lab.status()["hosts"]["sanbackup"]["up"])
    after = lab.up()
    assert lab.run("sanbackup", ["cat", "/srv/backup/note"]).stdout == "kept\n"
    changed = {
        name
        for name in topology.HOSTS
        if before["hosts"][name]["pid"] != after["hosts"][name]["pid"]
    }
    assert changed == {"sanbackup"} and after["lab"] == before["lab"]


@lab_test
def test_a_reboot_brings_the_host_back(lab):
    first = (
        lab.run("mailboxvm", ["cat", "/etc/machine-id"]).stdout,
        state.read()["hosts"]["mailboxvm"]["leader"],
    )
    lab.reboot("mailboxvm")
    second = (
        lab.run("mailboxvm", ["cat", "/etc/machine-id"]).stdout,
        state.read()["hosts"]["mailboxvm"]["leader"],
    )
    assert first[0] == second[0] and first[1] != second[1]
    assert all(lab.status()["hosts"]["mailboxvm"]["ports"].values())


@lab_test
def test_reset_gives_the_pristine_state_again(lab, capsys):
    lab.reset()
    before = {user: digest(user) for user in topology.USERS}
    delivery.deliver([("vera", mail("vera", "spoils-it"), False)])
    lab.run(
        "mailboxvm", ["sh", "-c", "echo spoilt > /var/imap/vera/file; echo spoilt > /etc/spoilt"]
    )
    assert digest("vera") != before["vera"]
    began = time.monotonic()
    lab.reset()
    with capsys.disabled():
        print(f"\n  lab reset: {time.monotonic() - began:.2f} s")
    assert {user: digest(user) for user in topology.USERS} == before
    assert not (store.imap("vera") / "file").exists()
    assert lab.run("mailboxvm", ["ls", "/etc/spoilt"], check=False).returncode


@lab_test
def test_status_and_shell_say_what_is(lab):
    from click.testing import CliRunner

    status = CliRunner().invoke(group, ["status", "--json"])
    assert status.exit_code == 0 and json.loads(status.stdout)["lab"] == state.read()["lab"]
    lab.stop("sanbackup")
    status = CliRunner().invoke(group, ["status"])
    assert status.exit_code == 1 and re.search(r"sanbackup .*DOWN", status.stdout)
    lab.up()
    done = subprocess.run(
        [sys.executable, "-m", "cutover", "lab", "shell", "mailboxold", "hostname"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "mailboxold\n"), done.stderr


def left_behind():
    """What a lab leaves, asked of the system without the lab's own books."""
    remains = []
    mine = os.readlink("/proc/self/ns/net")
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as command:
                line = command.read()
        except (FileNotFoundError, ProcessLookupError):
            continue
        # a lab of somebody else, in a network of its own, has the same names
        if (
            b"systemd-nspawn" in line
            and bytes(paths.STATE) in line
            and os.readlink(f"/proc/{pid}/ns/net") == mine
        ):
            remains.append(f"process {pid}")
    with open("/proc/self/mounts") as mounts:
        remains += [line for line in mounts if str(paths.STATE) in line]
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    remains += re.findall(rf"\d+: ({network.BRIDGE}|cl-\w+)[@:]", links)
    spaces = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    remains += re.findall(r"cutover-\w+", spaces)
    remains += map(str, cgroups.present())
    return remains + ([str(paths.STATE)] if paths.STATE.exists() else [])


@lab_test
def test_down_leaves_nothing_and_is_quiet_the_second_time(lab, capsys):
    assert left_behind()
    inits = [host["leader"] for host in state.read()["hosts"].values()]
    began = time.monotonic()
    lab.down()
    with capsys.disabled():
        print(f"\n  lab down: {time.monotonic() - began:.2f} s")
    try:
        assert left_behind() == [] == lab.rests()
        assert [pid for pid in inits if state.start_time(pid) is not None] == []
        assert state.read() is None and lab.status()["phase"] == "down"
        lab.down()
        with pytest.raises(errors.LabError, match="cutover lab up"):
            lab.run("ns1", ["true"])
    finally:
        began = time.monotonic()
        lab.up()
        with capsys.disabled():
            print(
                f"  lab up, from nothing with base and seed cached: {time.monotonic() - began:.2f} s"
            )


def commands(step):
    """Commands that a step's probe runs on each host."""
    ran, opened = collections.Counter(), ssh.Connection._open

    def counted(connection, *arguments):
        ran[connection.host] += 1
        return opened(connection, *arguments)

    with pytest.MonkeyPatch.context() as patch, Hosts(site.load("parameters/lab.yaml")) as hosts:
        patch.setattr(ssh.Connection, "_open", counted)
        registry.step(step).probe(model.Context(hosts))
    return ran


@lab_test
def test_more_users_are_users_like_the_others_and_cost_no_more_commands(lab):
    before = {step: commands(step) for step in ("preflight", "dual-delivery", "convert")}
    assert all(before.values())
    first, *_, second = crowd.add(200)
    assert {step: commands(step) for step in before} == before
    for host in ("mailboxold", "mailboxvm"):
        account = lab.run(host, ["getent", "passwd", second]).stdout.split(":")
        assert account[2] == str(crowd.FIRST_UID + 199)
    for host in ("postino3", "postino4"):
        assert second in lab.run(host, ["sendmail", "-bv", second]).stdout.rpartition("mailbox")[0]
    for user in (first, second):
        answer = lab.run(
            "mailboxold",
            ["/usr/sbin/imapd"],
            user=user,
            input='a LIST "" mail/folder*\r\nb EXAMINE INBOX\r\nc EXAMINE mail/folder8\r\nd LOGOUT\r\n',
        ).stdout
        assert answer.count("* LIST (") == crowd.FOLDERS
        assert answer.count(f"* {crowd.MESSAGES} EXISTS") == 2


@lab_test
@pytest.mark.parametrize("command,after", [("up", 0.6), ("up", 1.2), ("up", 2.5), ("down", 0.5)])
def test_a_killed_up_or_down_leaves_no_trouble(lab, command, after):
    arguments = ["up", "--fresh"] if command == "up" else ["down"]
    process = subprocess.Popen(
        [sys.executable, "-m", "cutover", "lab", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(after)
    process.kill()
    process.wait()
    try:
        lab.down()
        assert left_behind() == []
    finally:
        lab.up()
    assert all(all(host["ports"].values()) for host in lab.status()["hosts"].values())


@lab_test
def test_an_address_of_the_lab_in_use_is_refused(lab):
    subprocess.run(["ip", "link", "add", "clash0", "type", "bridge"], check=True)
    try:
        subprocess.run(["ip", "addr", "add", "10.77.0.200/32", "dev", "clash0"], check=True)
        with pytest.raises(errors.LabError, match="clash0 of this machine has 10.77.0.200"):
            network.up()
    finally:
        subprocess.run(["ip", "link", "del", "clash0"], check=True)


def test_the_lab_writes_nothing_outside_its_places():
    assert disk.HOSTS.is_relative_to(paths.STATE) and keys.SECRETS.is_relative_to(paths.STATE)
