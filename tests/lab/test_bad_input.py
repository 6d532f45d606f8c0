"""A site's faults are reported by name and place before harm is done.

Once the fault is fixed, the same step resumes. The tests go through one night of the lab in the
runbook's order; each breaks something for real, and fixes it.
"""

import collections
import contextlib
import re
import subprocess

import click.testing
import pytest
import yaml
from cutover import model, site
from cutover.changes import dns_update
from cutover.commands import main
from cutover.connect import dns, hosts, ssh
from cutover.facts import mail_queue, mailboxes
from cutover.model import ChangeFailed, runbook
from cutover.record import approval, journal, run_folder, signers, statement
from cutover.run import engine, outage_watch
from cutover.site import lab_hosts
from cutover.steps import registry
from lab import keys, state, store
from night import Night, eventually, program

lab_test = pytest.mark.lab
NEW_STORE_MB = 400
# no userdb is asked for the alias itself
TO_ALIAS = r"""
printf 'Message-ID: <to-the-alias@elsewhere.test>\n\nhere\n' |
    sendmail -i -f anna@elsewhere.test bruno@mailbox.lab.test
"""
LINE = re.compile(rb"[ \d]\d-\w{3}-\d{4} \d\d:\d\d:\d\d [+-]\d{4},\d+;[0-9a-f]{12}-[0-9a-f]{8}\r\n")


@pytest.fixture(scope="module")
def night(lab, tmp_path_factory):
    """A night of its own, on a lab whose new store is a small file system."""
    made = Night(tmp_path_factory.mktemp("bad"))
    # the staging area and the maildirs on one file system of a known size, as the user's own
    # directories lie there
    script = (
        f"mount -t tmpfs -o size={NEW_STORE_MB}m,nr_inodes=200000,mode=0755 new-store /var/imap && "
        "cd /var/imap && "
        "getent passwd | awk -F: '($3 >= 2000 && $3 < 3000) || $1 == \"sonda\" {print $1}' | "
        "while read user; do "
        "install -d -m 0700 -o $user -g $user $user || exit 1; done"
    )
    lab.run("mailboxvm", ["sh", "-c", script])
    return made


def refusal(night, name="preflight"):
    """What a step says when it does not pass."""
    with pytest.raises(engine.VerifyFailed) as caught:
        night.step(name)
    return str(caught.value)


def failures(night, name="preflight"):
    """{(check id, subject): what was found} of the checks of a step that does not pass."""
    refusal(night, name)
    checks = night.events("verified", name)[-1]["checks"]
    return {(c["id"], c["subject"]): c["actual"] for c in checks if not c["passed"]}


@contextlib.contextmanager
def away(lab, host, path):
    """A file or directory of a host is missing meanwhile."""
    lab.run(host, ["mv", path, f"{path}.away"])
    try:
        yield
    finally:
        lab.run(host, ["mv", f"{path}.away", path])


@contextlib.contextmanager
def stopped(lab, host, unit):
    lab.run(host, ["systemctl", "stop", unit])
    try:
        yield
    finally:
        lab.run(host, ["systemctl", "start", unit])


@contextlib.contextmanager
def spoilt(path, change):
    """A mail file of the old store holds other bytes meanwhile; owner and mode stay."""
    before = path.read_bytes()
    path.write_bytes(change(before))
    try:
        yield
    finally:
        path.write_bytes(before)


def lines(data):
    """Where the messages of an MBX file begin."""
    return [match.start() for match in LINE.finditer(data, 2048)]


def seen(path):
    """The path at which the new host sees a mail file of the old one."""
    return f"/srv/mailboxold/{path.relative_to(store.STORE)}"


# -- before any host is contacted


def test_a_typo_in_the_parameters_is_named_with_its_line(tmp_path):
    text = (site.PROJECT / "parameters/lab.yaml").read_text()
    file = tmp_path / "site.yaml"
    file.write_text(text.replace("  work: /var/imap/.cutover", "  wrok: /var/imap/.cutover"))
    number = text[: text.index("  work: /var/imap/.cutover")].count("\n") + 1
    for command in (["plan"], ["run", "--run", str(tmp_path / "run")]):
        done = click.testing.CliRunner().invoke(main.cutover, [*command, "--site", str(file)])
        assert done.exit_code == 1 and isinstance(done.exception, site.BadParameters)
        assert f"{file}, line {number}: new_store.wrok: unknown key" in str(done.exception)
        assert "new_store.work: missing" in str(done.exception)
    assert not (tmp_path / "run").exists()
    done = program("run", "--site", file, "--run", tmp_path / "run")
    assert done.returncode == 1 and "unknown key" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "before, after, message",
    [
        (
            "  old: mailboxold\n",
            "  old: mailboxolt\n",
            "roles.old: mailboxolt is not listed under hosts",
        ),
        (
            "  mx: [postino3, postino4]\n",
            "  mx: [postino3, postino5]\n",
            "roles.mx.1: postino5 is not listed under hosts",
        ),
        (
            "kind: rehearsal\n",
            "kind: production\n",
            "kind: a production site needs approval and record",
        ),
        ("zone: lab.test\n", "zone: lab.test\nzone: lab.test\n", "the key 'zone' occurs twice"),
        ("zone: lab.test\n", "zone: &zone [*zone]\n", "the block contains itself"),
        ("zone: lab.test\n", "? {a: b}\n: c\n", "a key must be a word"),
    ],
)
def test_what_yaml_takes_and_no_site_can_mean_is_refused_by_its_line(
    tmp_path, before, after, message
):
    text = (site.PROJECT / "parameters/lab.yaml").read_text()
    file = tmp_path / "site.yaml"
    file.write_text(text.replace(before, after, 1))
    number = text[: text.index(before)].count("\n") + after.count("\n") - (after[0] == "?")
    with pytest.raises(site.BadParameters) as caught:
        site.load(file)
    assert f"{file}, line {number}: {message}" in str(caught.value)


class Silence:
    """A network on which nobody may be spoken to."""

    def __init__(self, *_, **__):
        raise AssertionError("a host was contacted")


def test_a_rehearsal_contacts_nobody_when_the_lab_is_down(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "MARKER", tmp_path / "none")
    monkeypatch.setattr("socket.create_connection", Silence)
    monkeypatch.setattr("socket.socket.connect", Silence)
    monkeypatch.setattr("socket.socket.sendto", Silence)
    night = Night(tmp_path)
    with pytest.raises(lab_hosts.NotTheLab, match="no lab is running.*cutover lab up"):
        night.step("preflight")
    with hosts.Hosts(night.site) as reached:
        watch = outage_watch.Watch(reached, night.run)
        for probe in (watch._read, watch._greet, watch._send):
            with pytest.raises(lab_hosts.NotTheLab):
                probe({})


def test_a_rehearsal_refuses_a_host_the_lab_did_not_make(tmp_path, monkeypatch):
    marker = tmp_path / "marker.json"
    marker.write_text('{"lab": "x", "hosts": {"ns1": {"address": "10.77.0.11"}}}')
    monkeypatch.setattr(state, "MARKER", marker)
    monkeypatch.setattr("socket.create_connection", Silence)
    with pytest.raises(lab_hosts.NotTheLab, match="ns2 at 10.77.0.12 was not made by the lab"):
        Night(tmp_path).step("preflight")


@pytest.mark.parametrize("content", ["notes.txt", "2026", ".git"])
def test_a_folder_of_something_else_is_no_run_folder(tmp_path, content):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / content).mkdir()
    night = Night(tmp_path)
    with pytest.raises(run_folder.NotARun, match=f"holds {content} and no journal"):
        run_folder.begin(night.site, tmp_path / "etc")
    assert [entry.name for entry in (tmp_path / "etc").iterdir()] == [content]


def test_a_file_is_no_run_folder_and_another_sites_run_is_refused(tmp_path):
    night = Night(tmp_path)
    with pytest.raises(run_folder.NotARun, match=r"lab\.yaml: cannot be made a run folder"):
        run_folder.begin(night.site, night.file)
    assert night.run.journal.events()[0]["site"] == "lab"
    with (
        night.set("name", "other"),
        pytest.raises(
            run_folder.NotARun, match="a run of site lab, the parameters are those of other"
        ),
    ):
        night.step("preflight")
    # an executed copy may lie there before the run begins, as papermill puts it
    (tmp_path / "fresh").mkdir()
    (tmp_path / "fresh/out.ipynb").write_text("{}")
    assert run_folder.begin(night.site, tmp_path / "fresh").journal.events()


def test_a_tampered_journal_stops_everything_and_names_the_line(tmp_path):
    night = Night(tmp_path)
    for _ in range(3):
        night.run.journal.append("drift", code="x")
    path = night.run_dir / journal.NAME
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"code": "x"', b'"code": "y"', 1))
    for arguments in (["status"], ["rollback"]):
        done = click.testing.CliRunner().invoke(
            main.cutover, [*arguments, "--run", str(night.run_dir)]
        )
        assert done.exit_code == 1 and f"{path}, line 3: does not follow the line before it" in str(
            done.exception
        )
    with pytest.raises(journal.JournalBroken, match="line 3"):
        night.step("preflight")
    path.write_bytes(whole)
    assert len(night.run.journal.events()) == 4


def test_a_step_out_of_turn_says_what_comes_first(tmp_path):
    night = Night(tmp_path)
    with pytest.raises(
        runbook.NotYet,
        match="switch-alias may not run yet: verify has not run; restore-sendmail has not run",
    ):
        night.step("switch-alias")
    with pytest.raises(runbook.NotYet, match="nothing to undo"):
        night.step("rollback")
    assert night.states() == {}


def test_a_run_is_one_process_at_a_time(tmp_path):
    night = Night(tmp_path)
    with night.run.alone("run"):
        done = night.command()
        assert (
            done.returncode == 1
            and "another process is at work on this run (process " in done.stderr
        )
    with pytest.raises(lab_hosts.NotTheLab), night.set("hosts.ns1.address", "192.0.2.1"):
        night.step("preflight")  # the lock is gone


def test_a_silent_secondary_lags_and_is_named():
    """The update is done by then.

    A server that does not answer is waited for like one that is behind.
    """

    class Silent:
        name = "ns2"

        def serial(self, zone):
            raise dns.NoAnswer(
                server="ns2",
                address="192.0.2.2",
                port=53,
                what="SOA",
                reason="timed out",
                outcome="",
                sent=False,
            )

    class Behind:
        name = "ns3"

        def serial(self, zone):
            return 4

    assert "ns2: no answer from 192.0.2.2" in dns_update._lag(Silent(), "lab.test", 5)
    assert dns_update._lag(Behind(), "lab.test", 5) == "ns3 still serves the older zone 4"
    assert dns_update._lag(Behind(), "lab.test", 4) == ""


@pytest.mark.parametrize("mark", ["", "*", "-", "X"])
def test_a_mark_beside_a_queue_id_is_no_part_of_it(mark):
    text = (
        "/var/spool/mqueue-client is empty\n\t\tTotal requests: 0\n"
        "\t\t/var/spool/mqueue (1 request)\n"
        "-----Q-ID----- --Size-- -----Q-Time----- ------------Sender/Recipient-----------\n"
        f"6AO4JuTu003398{mark}        2 Tue Nov 24 04:19 <anna@elsewhere.test>\n"
        "                 (Deferred: Connection refused)\n"
        "\t\t\t\t <anna@sanbackup.lab.test>\n\t\tTotal requests: 1\n"
    )
    assert mail_queue.parse(text) == mail_queue.Queue(
        1,
        [
            "6AO4JuTu003398 2 Tue Nov 24 04:19 <anna@elsewhere.test> <anna@sanbackup.lab.test> "
            "(Deferred: Connection refused)"
        ],
    )


def test_a_sender_that_sendmail_cut_hides_no_recipient():
    long = "bounces-20261124-0123456789-to-" + "x" * 50
    text = (
        "\t\t/var/spool/mqueue (1 request)\n"
        "-----Q-ID----- --Size-- -Priority- ---Q-Time--- --------Sender/Recipient--------\n"
        f"6AOG8nSs012938     1649      62055 Nov 24 16:08 <{long[:77]}\n"
        "                 (Deferred: Connection refused by mailboxold.lab.test.)\n"
        "\t\t\t\t\t\t(---:<hugo@lab.test>---)\n\t\t\t\t\t\thugo@mailboxold.lab.test\n"
        "\t\t\t\t\t\t(---:<olga@lab.test>---)\n"
        "\t\t\t\t\t\t<olga@mailboxvm.lab.test>\n\t\tTotal requests: 1\n"
    )
    (item,) = mail_queue.parse(text).items
    assert mail_queue.recipient_domains(item) == {"mailboxold.lab.test", "mailboxvm.lab.test"}


# -- what preflight finds


@lab_test
def test_a_missing_host_key_comes_with_the_line_to_add(night, tmp_path):
    known = tmp_path / "known_hosts"
    whole = keys.KNOWN_HOSTS.read_text().splitlines(keepends=True)
    known.write_text("".join(line for line in whole if "mailboxvm" not in line))
    with night.set("ssh.known_hosts", str(known)):
        message = refusal(night)
        assert (
            f"ssh to mailboxvm refused: {known} has no host key for mailboxvm or 10.77.0.16. The host offers ssh-ed25519 SHA256:"
            in message
        )
        with known.open("a") as more:
            more.write(
                re.search(r"then add this line: (\S+ \S+ [\w+/=]+)", message).group(1) + "\n"
            )
        night.step("preflight")


@lab_test
def test_a_changed_host_key_is_refused(night, tmp_path):
    known = tmp_path / "known_hosts"
    whole = keys.KNOWN_HOSTS.read_text()
    of = {line.split(",")[0]: line.split()[2] for line in whole.splitlines()}
    known.write_text(whole.replace(of["postino3"], of["ns1"]))
    with night.set("ssh.known_hosts", str(known)):
        assert "ssh to postino3 refused: its host key changed" in refusal(night)
        known.write_text(whole)
        night.step("preflight")


@lab_test
def test_a_refused_key_is_named_with_its_account(lab, night):
    with away(lab, "postino4", "/var/lib/operator/.ssh/authorized_keys"):
        actual = failures(night)
        assert actual["root-access", "postino4"].startswith(
            f"ssh to postino4 failed: operator may not log in with the key {keys.OPERATOR_KEY}. "
            f"Add {keys.OPERATOR_KEY}.pub"
        )
        assert actual["userdb-readable", "postino4"] == "postino4 is unreachable"
    night.step("preflight")


@lab_test
def test_without_sudo_the_host_and_the_rule_are_named(lab, night):
    with away(lab, "mailboxold", "/etc/sudoers.d/operator"):
        message = refusal(night)
        assert re.search(
            r"mailboxold: sudo -n refused \(.*\) for: id -un\. operator needs a NOPASSWD rule in sudoers",
            message,
        )
    night.step("preflight")


@lab_test
def test_a_wrong_key_for_updates_changes_nothing(night, tmp_path):
    right = keys.TSIG_KEY.read_text()
    wrong = re.sub(r'secret "....', 'secret "AAAA', right)
    key = tmp_path / "tsig.key"
    key.write_text(wrong)
    with night.set("dns.tsig_key", str(key)):
        actual = failures(night)["zone-update-permitted", ""]
        assert actual.startswith("ns1: refused the signature by key")
        assert "(BADSIG): its key of this name has another secret" in actual
        key.write_text(right)
        night.step("preflight")
        key.write_text(wrong)
        with pytest.raises(dns.BadKey, match="BADSIG"):
            night.step("dns-rename")
        assert night.events("result", "dns-rename")[-1]["outcome"] == "failed"
        key.unlink()
        with pytest.raises(dns.KeyFileBad, match=f"TSIG key file {key}: No such file"):
            night.step("dns-rename")
    assert [change.kind for change in night.wanted("dns-rename")] == ["dns-update"]


@lab_test
@pytest.mark.parametrize(
    "zone, message",
    [
        ("nosuch.test", "ns1: has no zone nosuch.test. (no SOA record)"),
        ("below.lab.test", "ns1: has no zone below.lab.test. (no SOA record)"),
    ],
    ids=["elsewhere", "below"],
)
def test_a_zone_the_servers_do_not_have_is_named(night, zone, message):
    with night.set("zone", zone):
        assert message in refusal(night)
    night.step("preflight")


@lab_test
def test_a_missing_userdb_is_named_with_its_host(lab, night):
    with away(lab, "postino4", "/etc/mail/userdb"):
        actual = failures(night)["userdb-readable", "postino4"]
        assert actual.startswith("postino4: /etc/mail/userdb does not exist")
    night.step("preflight")


@lab_test
def test_a_file_cut_short_is_named_with_the_message_that_is(night):
    path = store.home("bruno") / "mail/sent-mail"
    last = lines(path.read_bytes())[-1]
    with spoilt(path, lambda data: data[:-100]):
        actual = failures(night)["old-folders-undamaged", ""]
        assert actual.startswith(f"1 damaged ranges: {seen(path)} at byte {last}: ")
        assert "Restore it from a backup, or list it in old_store.salvage" in refusal(night)
        with night.set(
            "old_store.salvage", [f"/home/bruno/{path.relative_to(store.home('bruno'))}"]
        ):
            check = next(
                check for check in night.step("preflight") if check.id == "old-folders-undamaged"
            )
            assert check.warning and seen(path) in check.actual
    night.step("preflight")


@lab_test
def test_garbage_in_a_file_is_named_with_its_place(night):
    path = store.home("alice") / "INBOX"
    place = lines(path.read_bytes())[3]
    with spoilt(path, lambda data: data[:place] + b"\x00garbage\n" * 70 + data[place:]):
        assert f"1 damaged ranges: {seen(path)} at byte {place}: " in refusal(night)
    night.step("preflight")


@lab_test
def test_an_unreadable_folder_is_named_with_owner_and_mode(night):
    path = store.home("carla") / "mail/sent-mail"
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        message = refusal(night)
        assert (
            f"1 unreadable: {seen(path)}: its user (uid 2003) may not read it: owner 2003, mode 0000"
            in message
        )
    finally:
        path.chmod(mode)
    night.step("preflight")


def move_to_zone(lab, host, zone):
    """Give a host another time zone, as timedatectl does."""
    lab.run(host, ["ln", "-sfn", f"/usr/share/zoneinfo/{zone}", "/etc/localtime"])


@lab_test
def test_a_time_zone_of_its_own_is_named(lab, night):
    move_to_zone(lab, "mailboxold", "Asia/Kolkata")
    try:
        check = next(check for check in night.step("preflight") if check.id == "time-zones-same")
        assert (check.passed, check.warning) == (True, True)
        assert check.actual == "IST on mailboxold, UTC on mailboxvm"
    finally:
        move_to_zone(lab, "mailboxold", "Etc/UTC")


# mail in every place where nobody looks; in c-client's own formats, made by its own program
OUTSIDE = r"""
mkdir -p Mail/lists mh Maildir/cur Maildir/new Maildir/tmp
for name in oldmail Mail/lists/debian; do mailutil create "#driver.mbx/$name"; done
printf 'From a@b Mon Jan  1 00:00:00 2024\nSubject: x\n\nhello\n\n' > mbox-file
for name in oldmail Mail/lists/debian; do mailutil append mbox-file $name; done
for format in mmdf mix; do
    mailutil create "#driver.$format/in-$format"; mailutil append mbox-file in-$format
done
printf ' 3-Feb-2009 01:02:03 +0100,18;000000000000\r\nSubject: x\r\n\r\nhi\r\n' > in-mtx
printf 'Subject: x\n\nhi\n' > mh/1
printf 'Subject: x\n\nhi\n' > Maildir/cur/1:2,
mkdir -p /tmp/elsewhere; cp oldmail /tmp/elsewhere/linked
ln -s /tmp/elsewhere link; ln -s mail/sent-mail sent; ln -s . loop
printf 'plain text\n' > notes.txt; : > empty
printf 'mail/sent-mail\noldmail\nsent-mail\n~bruno/mail/sent-mail\n#news.x\n' > .mailboxlist
chmod 710 . mail; chmod 640 mail/SPAM
printf 'DEFAULT=$HOME/mail/in\n:0\n* ^Subject: x\n| dmail +mail/x\n' > .procmailrc
printf '%s\n' '/home/marta/mail/copy' > .forward
"""
CRONTAB = """
mkdir -p /var/spool/cron/crontabs
echo '5 1 * * * cp mail/x y' > /var/spool/cron/crontabs/marta
"""
LATE = r"printf 'From a@b Tue Jan  2 00:00:00 2024\nSubject: late\n\nhello there\n\n' > late"
CONVERTED = {"oldmail", "Mail/lists/debian", "mbox-file", "in-mtx", "in-mmdf", "in-mix"}
STAYS = {"mh", "Maildir", "link", "loop"}


@lab_test
def test_mail_outside_the_folders_is_named_and_then_converted_or_accepted(lab, night):
    """It stays so for the rest of the night: verify asks the old server for everything."""
    user, home = "marta", "/srv/mailboxold/home/marta"
    lab.run("mailboxold", ["sh", "-ec", OUTSIDE], user=user)
    lab.run("mailboxold", ["sh", "-ec", CRONTAB])
    failed = failures(night)
    assert set(failed) == {("mail-outside", user), ("mail-outside-accepted", "")}
    checks = night.checks("preflight")
    data = checks["mail-outside", user]["data"]
    named = {item["file"].removeprefix(home + "/") for item in data["files"]}
    named |= {path.removeprefix(home + "/") for path in data["unsearched"]}
    assert named == CONVERTED | STAYS | {"#news.x"}
    assert all(item["bytes"] for item in data["files"] if item["file"] != "#news.x")
    assert checks["folders-shared", user]["warning"]
    assert "sent-mail → " in checks["subscriptions-meant", user]["actual"]
    lines = [item["kind"] for item in checks["files-point-at-old-mail", user]["data"]["lines"]]
    assert lines == ["delivers", "pipes", "delivers", "cron"]
    night.values["old_store"].update(
        roots=[{"path": "{home}/Mail", "name": "Mail"}, {"path": "{home}", "name": ""}],
        accepted=["#news.x", *(f"/home/{user}/{name}" for name in sorted(STAYS))],
    )
    night.write()
    night.step("preflight")


@lab_test
def test_a_user_on_one_side_only_is_named(lab, night):
    lab.run("mailboxvm", ["useradd", "-u", "2500", "-M", "-d", "/home/xenia", "xenia"])
    try:
        actual = failures(night)["users-same", ""]
        assert actual == "25 users; xenia only on mailboxvm"
    finally:
        lab.run("mailboxvm", ["userdel", "xenia"])
    # an account of its own stands before NIS
    lab.run("mailboxvm", ["sh", "-c", "echo zoe:x:2999:2024::/home/zoe:/bin/bash >> /etc/passwd"])
    try:
        assert (
            "zoe: uid 2024, gid 2024, home /home/zoe on mailboxold; "
            "uid 2999, gid 2024, home /home/zoe on mailboxvm"
        ) in failures(night)["users-same", ""]
    finally:
        lab.run("mailboxvm", ["sed", "-i", "/^zoe:/d", "/etc/passwd"])
    night.step("preflight")


@lab_test
def test_too_little_room_for_the_new_store_is_known_beforehand(lab, night):
    for option, what in (("size=20m", "bytes"), ("nr_inodes=2000", "inodes")):
        lab.run("mailboxvm", ["mount", "-o", f"remount,{option}", "/var/imap"])
        assert (f"free-{what}", "mailboxvm") in failures(night)
        todo = f"Free or add {what} on the file system of /var/imap/.cutover"
        assert todo in refusal(night)
        lab.run(
            "mailboxvm",
            ["mount", "-o", f"remount,size={NEW_STORE_MB}m,nr_inodes=200000", "/var/imap"],
        )
    night.step("preflight")


@lab_test
def test_a_password_that_is_not_there_is_missed_beforehand(night, tmp_path):
    users = night.values["production_test"]["users"]
    with night.set(
        "production_test.users", [users[0], {**users[1], "password": f"file:{tmp_path}/none"}]
    ):
        actual = failures(night)["test-password", "bruno"]
        assert actual == f"file:{tmp_path}/none: No such file or directory"
        (tmp_path / "none").write_text("it-is-there\n")
        night.step("preflight")


@lab_test
def test_a_secondary_that_is_down_is_named(lab, night):
    with stopped(lab, "ns2", "named"):
        assert "found ns2: no answer from 10.77.0.12 port 53 about " in refusal(night)
    assert eventually(lambda: state_of_ns2() is not None)
    night.step("preflight")


def state_of_ns2():
    """The serial ns2 serves, or None."""
    server = dns.Server("ns2", "10.77.0.12", timeout=1)
    with contextlib.suppress(dns.DnsError):
        return server.serial("lab.test")


@lab_test
def test_a_host_that_is_down_is_named_and_the_same_command_goes_on(lab, night):
    lab.stop("postino4")
    try:
        done = night.command("--from", "preflight", "--to", "preflight")
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "ssh to postino4 failed: 10.77.0.14 port 22: " in done.stderr
        assert "Check that the host is up and the address is right" in done.stderr
        assert re.search(r"1\s+preflight\s+failed", done.stdout)
    finally:
        lab.up()
    done = night.command("--from", "preflight", "--to", "preflight")
    assert done.returncode == 0, done.stderr


# -- a production site approves nothing by itself


@lab_test
def test_a_production_site_waits_for_a_person(night, tmp_path):
    key, allowed = tmp_path / "anna", tmp_path / "allowed_signers"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    allowed.write_text(
        f'anna namespaces="{statement.NAMESPACE},{signers.NAMESPACE}" '
        f"{key.with_suffix('.pub').read_text()}"
    )
    other = Night(tmp_path)
    other.values.update(
        kind="production",
        old_store=night.values["old_store"],
        approval={"allowed_signers": str(allowed)},
        record={"key": str(key)},
    )
    other.write()
    other.step("preflight")
    done = other.command("--to", "dns-rename")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert re.search(
        r"dns-rename: the plan [0-9a-f]{16} is not approved: 0 of 1 signatures", done.stderr
    )
    assert "cutover approve --run" in done.stderr and other.events("intent") == []
    planned = other.events("planned", "dns-rename")[-1]["hash"]
    rename = registry.step("dns-rename")
    with pytest.raises(approval.NotConfirmed, match="type exactly: dns-rename"):
        approval.give(other.run, other.site, rename, planned, "yes", key)
    approval.give(other.run, other.site, rename, planned, "dns-rename", key)
    done = other.command("--to", "dns-rename")
    assert done.returncode == 0, done.stderr
    assert other.events("approved", "dns-rename")[-1]["by"] == "anna"
    # and back, which wants an approval of its own, by the name that users know
    with pytest.raises(statement.NotApproved, match="rollback: the plan .* is not approved"):
        other.step("rollback")
    planned = other.events("planned", "rollback")[-1]["hash"]
    approval.give(
        other.run, other.site, registry.step("rollback"), planned, "mailbox.lab.test", key
    )
    other.step("rollback")


# -- the engine's own rules


# -- unusual, and right


@lab_test
@pytest.mark.parametrize(
    "kind, value",
    [("MX", "10 postino3.lab.test."), ("A", "10.77.0.15"), ("CNAME", "ns1.lab.test.")],
)
def test_a_wildcard_leaves_the_old_servers_name_unused(night, kind, value):
    """A server answers for any name then. BIND judges the update by the zone's own data."""
    night.up_to("preflight")
    primary, key = dns.Server("ns1", "10.77.0.11"), dns.Key.load(night.site.dns.tsig_key)
    old, wildcard = "mailboxold.lab.test", "*.lab.test"
    add = dns.Update("lab.test", [], [], [(wildcard, 60, kind, value)])
    remove = dns.Update("lab.test", [], [(wildcard, kind), (old, kind)], [])
    try:
        primary.update(add, key)
        assert eventually(lambda: state_of_ns2() == primary.serial("lab.test"))
        night.step("preflight")
        (rename,) = night.wanted("dns-rename")
        assert ["unused", old] in rename.forward["prerequisites"]
        for update in (rename.forward, rename.backward):
            primary.update(dns.Update.from_json(update), key)
        assert primary.unused("lab.test", old, key)
        # the very same records at the name itself: it is in use, as BIND says
        primary.update(dns.Update("lab.test", [], [], [(old, 60, kind, value)]), key)
        assert not primary.unused("lab.test", old, key)
        if kind == "A":  # and they are the alias's
            (rename,) = night.wanted("dns-rename")
            assert ["unused", old] not in rename.forward["prerequisites"]
        else:
            assert "already has records" in failures(night)["rename-possible", ""]
    finally:
        primary.update(remove, key)
        assert eventually(lambda: state_of_ns2() == primary.serial("lab.test"))
    night.step("preflight")


@lab_test
def test_no_call_comes_before_the_one_it_rests_on(night):
    with night.engine("dns-rename") as driver:
        for call in (driver.plan, driver.approve, driver.apply, driver.verify):
            with pytest.raises(engine.OutOfTurn, match="run the cells from the top"):
                call()
        driver.probe()
        driver.plan()
        with pytest.raises(engine.OutOfTurn, match="apply comes after approve"):
            driver.apply()
        with pytest.raises(engine.OutOfTurn, match="verify comes after apply"):
            driver.verify()
    assert [change.kind for change in night.wanted("dns-rename")] == ["dns-update"]


@lab_test
def test_a_secondary_that_lags_is_named_and_the_step_goes_on(lab, night):
    night.up_to("preflight")
    lab.run("ns2", ["ip", "route", "add", "blackhole", "10.77.0.11"])
    try:
        with (
            night.set("limits.dns_spread", 1),
            pytest.raises(
                ChangeFailed,
                match=r"ns1 made the update \(serial \d+\), but .* ns2 still serves the older zone \d+",
            ),
        ):
            night.step("dns-rename")
        # the world is as wanted at the primary: nothing is left to do, but the secondary has to
        # follow
        actual = failures(night, "dns-rename")["zone-serial-same", ""]
        assert actual.startswith("ns1 ")
    finally:
        lab.run("ns2", ["ip", "route", "del", "blackhole", "10.77.0.11"])
        lab.run("ns2", ["systemctl", "restart", "named"])  # it asks the primary at once
    primary = dns.Server("ns1", "10.77.0.11")
    assert eventually(lambda: state_of_ns2() == primary.serial("lab.test"))
    night.step("dns-rename")


@lab_test
def test_a_userdb_that_vanished_on_one_mx_leaves_the_other_alone(lab, night):
    night.up_to("dns-rename")
    before = lab.run("postino3", ["sha256sum", "/etc/mail/userdb", "/etc/mail/userdb.db"]).stdout
    with (
        away(lab, "postino4", "/etc/mail/userdb"),
        pytest.raises(ssh.NoSuchFile, match="postino4: /etc/mail/userdb does not exist"),
    ):
        night.step("dual-delivery")
    assert (
        lab.run("postino3", ["sha256sum", "/etc/mail/userdb", "/etc/mail/userdb.db"]).stdout
        == before
    )
    night.step("dual-delivery")


USERDB = """\
alice:maildrop alice@mailbox.lab.test
bruno:maildrop alice@mailbox.lab.test
carla:maildrop carla+lists@mailbox
davide:maildrop davide@[10.77.0.15], Alice@mailbox.lab.test
elena:maildrop elena@mailbox.lab.test., anna@elsewhere.test
"""


def set_userdb(lab, text):
    for name in ("postino3", "postino4"):
        script = "cat > /etc/mail/userdb && makemap btree /etc/mail/userdb.db < /etc/mail/userdb"
        lab.run(name, ["sh", "-c", script], input=text)


@lab_test
def test_entries_that_lead_to_other_mailboxes_are_asked_of_sendmail(lab, night):
    night.up_to("dual-delivery")
    before = lab.run("postino3", ["cat", "/etc/mail/userdb"]).stdout
    rest = [line for line in before.splitlines() if line.partition(":")[0] not in USERDB]
    with contextlib.ExitStack() as stack:
        for name in ("postino3", "postino4"):
            stack.enter_context(away(lab, name, "/etc/mail/userdb.night"))
        stack.callback(set_userdb, lab, before)
        set_userdb(lab, USERDB + "\n".join(rest) + "\n")
        night.step("preflight")
        checks = {check.id: check for check in night.step("dual-delivery")}
        routed = checks["sendmail-routes-to-both"]
        assert routed.data["wrong"] == [] and routed.data["users"] >= 5
        with night.engine("dual-delivery", "plan") as driver:
            routes = driver.probe().mx["postino4"].routes
        assert routes["bruno"] == at_both("alice") and routes["carla"] == at_both("carla+lists")
        assert sorted(routes["davide"]) == sorted([*at_both("davide"), *at_both("alice")])
        # the old server by its own name, or in a form that stays as it is
        for odd in ("bruno@mailboxold", "Bruno <bruno@mailbox.lab.test>"):
            set_userdb(lab, f"bruno:maildrop {odd}\n" + "\n".join(rest) + "\n")
            assert failures(night)["userdb-old-server-only", ""] == "bruno"
            failed = failures(night, "dual-delivery")
            shown = lab.run("postino3", ["sendmail", "-bv", "bruno"]).stdout
            assert failed.get(("sendmail-routes-to-both", "postino3"), "").endswith("not bruno"), (
                shown
            )
    night.step("preflight")
    night.step("dual-delivery")


def at_both(local):
    return [f"{local}@mailboxold.lab.test", f"{local}@mailboxvm.lab.test"]


@lab_test
def test_two_engines_on_one_run_change_nothing_twice(lab, night):
    night.up_to("dual-delivery")
    with night.engine("stop-imap") as first, night.engine("stop-imap") as other:
        for driver in (first, other):
            driver.probe()
            driver.plan()
            driver.approve()
        with (
            night.run.alone("apply"),
            pytest.raises(run_folder.RunBusy, match=r"another process is at work.*\(process \d+"),
        ):
            first.apply()
        # somebody stops a service by hand: what was approved is not what would be done
        lab.run("mailboxold", ["systemctl", "stop", "stunnel4"])
        lab.run("mailboxold", ["systemctl", "mask", "stunnel4"])
        with pytest.raises(
            engine.PlanChanged,
            match=r"No longer planned: stop stunnel4 \(mailboxold\)\. .*nothing was changed",
        ):
            first.apply()
        lab.run("mailboxold", ["systemctl", "unmask", "stunnel4"])
        lab.run("mailboxold", ["systemctl", "start", "stunnel4"])
        other.apply()
        other.require(other.verify())
        with pytest.raises(engine.PlanChanged):
            first.apply()
    night.step("stop-imap")


# -- the conversion


@lab_test
def test_a_user_added_before_the_conversion_stops_it(lab, night):
    night.up_to("stop-sendmail")
    lab.run("mailboxold", ["useradd", "-u", "2500", "-M", "-d", "/home/xenia", "xenia"])
    try:
        with pytest.raises(
            model.CannotPlan, match="xenia only on mailboxold.*would be left behind"
        ):
            night.step("convert")
    finally:
        lab.run("mailboxold", ["userdel", "xenia"])


@lab_test
def test_the_old_server_moves_to_another_zone(lab, night):
    """Until verify has passed: what is converted and read meanwhile is dated there."""
    night.up_to("stop-sendmail")
    move_to_zone(lab, "mailboxold", "Asia/Kolkata")
    (change,) = night.wanted("convert")
    assert {entry["zone"] for entry in change.users} == {19800}


def full_of_garbage(data):
    place = lines(data)[2]
    return data[:place] + b"garbage\r\n" * 70 + data[place:]


@lab_test
def test_what_is_damaged_or_unreadable_stops_its_user_only(night):
    night.up_to("stop-sendmail")
    cut, garbage, closed = (
        store.home(user) / "mail/sent-mail" for user in ("bruno", "davide", "carla")
    )
    last, place = lines(cut.read_bytes())[-1], lines(garbage.read_bytes())[2]
    mode = closed.stat().st_mode
    closed.chmod(0)
    try:
        with spoilt(cut, lambda data: data[:-100]), spoilt(garbage, full_of_garbage):
            with pytest.raises(ChangeFailed) as caught:
                night.step("convert")
            message = str(caught.value)
            assert (
                "mailboxvm: convert-users failed for 3 of 24 users" in message
                and "The other users are done" in message
            )
            assert (
                f"bruno: {seen(cut)} at byte {last}: " in message
                and "list it in old_store.salvage" in message
            )
            assert f"davide: {seen(garbage)} at byte {place}: " in message
            assert f"carla: {seen(closed)}: its user (uid 2003) may not read it" in message
            # of one, what is whole will do
            with (
                night.set("old_store.salvage", ["/home/davide/mail/sent-mail"]),
                pytest.raises(ChangeFailed) as caught,
            ):
                night.step("convert")
            assert "failed for 2 of 3 users" in str(caught.value) and "davide" not in str(
                caught.value
            )
    finally:
        closed.chmod(mode)
    assert [user["user"] for user in night.wanted("convert")[0].users] == ["bruno", "carla"]


@lab_test
def test_the_night_goes_on_without_a_user_who_is_named(lab, night):
    """The next test converts him."""
    night.up_to("stop-sendmail")
    cut = store.home("bruno") / "mail/sent-mail"
    before = lab.run("mailboxvm", ["find", "/var/imap/bruno"]).stdout
    with spoilt(cut, lambda data: data[:-100]):
        done = night.command("--from", "convert", "--to", "verify", "--without", "bruno")
        assert done.returncode == 0, done.stderr
    assert lab.run("mailboxvm", ["find", "/var/imap/bruno"]).stdout == before
    assert night.events("step-begun", "convert")[-1]["chosen"] == {"without": "bruno"}
    planned = night.events("planned", "convert")[-1]["hash"]
    with pytest.raises(approval.NotConfirmed, match="type exactly: convert without bruno$"):
        approval.give(night.run, night.site, registry.step("convert"), planned, "convert")
    for step in ("convert", "verify"):
        out = night.checks(step)["user-left-out", "bruno"]
        assert out["passed"] and out["warning"]
    shown = program("status", "--run", night.run_dir)
    assert "LEFT OUT: bruno: yes: the run continued without bruno" in shown.stdout
    report = (night.run_dir / "report.html").read_text()
    assert "But without bruno: yes: the run continued without bruno" in report


@lab_test
def test_a_full_disk_stops_the_conversion_and_the_same_command_goes_on(lab, night):
    night.up_to("stop-sendmail")
    lab.run(
        "mailboxvm",
        ["sh", "-c", "head -c 1G /dev/zero > /var/imap/filler || truncate -s -1M /var/imap/filler"],
    )
    try:
        done = night.command("--from", "convert", "--to", "convert")
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "mailboxvm: convert-users failed for 1 of 1 users" in done.stderr
        assert re.search(
            r"bruno: /var/imap/.cutover/\S+: .*space.* \(Free space on the new store",
            done.stderr,
        )
    finally:
        lab.run("mailboxvm", ["rm", "/var/imap/filler"])
    done = night.command("--from", "convert", "--to", "convert")
    assert done.returncode == 0, done.stderr
    damage = night.checks("convert")["damaged-files", "davide"]
    assert (
        damage["warning"]
        and damage["data"]["damage"]
        and "/home/davide/mail/sent-mail at byte " in damage["actual"]
    )
    assert ("user-left-out", "bruno") not in night.checks("convert")
    assert "LEFT OUT" not in program("status", "--run", night.run_dir).stdout


@lab_test
def test_a_message_that_is_lost_blocks_what_follows(lab, night):
    night.up_to("convert")
    garbage = store.home("davide") / "mail/sent-mail"
    path = lab.run("mailboxvm", ["sh", "-c", "ls /var/imap/teresa/cur/* | head -1"]).stdout.strip()
    lab.run("mailboxvm", ["mv", path, "/var/imap/held"])
    try:
        with spoilt(garbage, full_of_garbage):
            refusal(night, "verify")
        assert ("user-mail-equal", "teresa") in night.failed("verify")
        checks = night.checks("verify")
        assert not any(subject == "davide" for _, subject in night.failed("verify"))
        teresa, davide = (checks["user-mail-equal", user] for user in ("teresa", "davide"))
        assert re.search(r"; INBOX: UID \d+: missing", teresa["actual"])
        assert teresa["data"]["differences"] == 2  # POP3's list lacks it as well
        assert davide["warning"] and re.search(r"mail/sent-mail: .*salvaged", davide["actual"])
        with pytest.raises(runbook.NotYet, match="verify did not pass"):
            night.step("restore-sendmail")
    finally:
        lab.run("mailboxvm", ["rm", "/var/imap/held"])
    # mail that the conversion never saw is not passed over; a copy of converted mail is
    marta = checks["user-mail-equal", "marta"]
    assert marta["passed"] and marta["data"]["unknown"] == []
    lab.run("mailboxold", ["cp", "oldmail", "came"], user="marta")
    lab.run("mailboxold", ["sh", "-ec", LATE], user="marta")
    refusal(night, "verify")
    unknown = night.checks("verify")["user-mail-equal", "marta"]["data"]["unknown"]
    assert unknown == [{"name": "late", "messages": 1}]
    # the trees of those users are taken back and made anew, and of nobody else
    (change,) = night.wanted("convert")
    users = [entry["user"] for entry in change.users]
    assert (change.kind, users) == ("convert-again", ["marta", "teresa"])
    night.step("convert")
    night.step("verify")
    assert night.wanted("convert") == ()


@lab_test
def test_mail_without_a_zone_is_dated_in_the_old_servers(lab, night):
    """verify compared the dates; here is one by the file that Dovecot takes it from."""
    night.up_to("verify")
    script = "stat -c %Y /var/imap/marta/.mbox-file/[cn]*/*"
    at = lab.run("mailboxvm", ["sh", "-c", script]).stdout.split()
    move_to_zone(lab, "mailboxold", "Etc/UTC")
    assert at == ["1704047400"]  # Mon Jan  1 00:00:00 2024 +0530


# -- back in service


HELD = 80  # messages on each MX
HOLD = """
for n in $(seq "$1"); do
  printf 'Subject: held\\nMessage-ID: <held-%s-%s@elsewhere.test>\\n\\nHere.\\n' "$2" "$n" |
  sendmail -Am -odq -i -f anna@elsewhere.test bruno@lab.test
done
"""


def held_on(night, side):
    """How often a mail host has each held message of bruno's."""
    opened = {"old": mailboxes.old_session, "new": mailboxes.new_session}[side]
    with hosts.Hosts(night.site) as reached, opened(reached, "bruno") as session:
        keys = session.headers("INBOX", "Message-ID").values()
    return collections.Counter(key for key in keys if key.startswith("<held-"))


@contextlib.contextmanager
def put_off(lab):
    """Meanwhile postino3 holds a message that mailboxold takes later."""
    access = "makemap hash /etc/mail/access.db < /etc/mail/access"
    refuse = "printf 'From:berta@elsewhere.test\\tERROR:4.7.1:451 later\\n' >> /etc/mail/access"
    lab.run("mailboxold", ["sh", "-c", f"{refuse}; {access}"])
    hold(lab, "berta@elsewhere.test", PUT_OFF)
    try:
        yield
    finally:
        discard(lab, PUT_OFF)
        lab.run("mailboxold", ["sh", "-c", f"sed -i '/^From:berta/d' /etc/mail/access; {access}"])


PUT_OFF = "alice@mailboxold.lab.test"


def hold(lab, sender, recipient):
    """Queue a message on postino3."""
    queue = ["sendmail", "-Am", "-odq", "-f", sender, recipient]
    lab.run("postino3", queue, input="Subject: stuck\n\nHere.\n")


def discard(lab, recipient):
    """Of postino3's queue. A message that is being tried just now is written again."""
    script = (
        f"for f in $(grep -l {recipient} /var/spool/mqueue/qf*); do "
        'rm -f "${f%/*}"/?f"${f##*/qf}"; done; sleep 1; '
        f"mailq | grep -c {recipient}"
    )
    argv = ["sh", "-c", script]
    assert eventually(lambda: lab.run("postino3", argv, check=False).stdout.strip() == "0")


@lab_test
def test_a_host_that_takes_mail_and_delivers_none_keeps_readers_out(lab, night):
    night.up_to("verify")
    for mx in ("postino3", "postino4"):
        lab.run(mx, ["sh", "-c", HOLD, "hold", str(HELD), mx])
    lab.run("mailboxvm", ["sed", "-i", "2i exit 75", "/usr/local/sbin/procmail-nis"])
    try:
        with night.set("production_test.wait", 5), pytest.raises(ChangeFailed) as caught:
            night.step("restore-sendmail")
    finally:
        lab.run("mailboxvm", ["sed", "-i", "2d", "/usr/local/sbin/procmail-nis"])
    assert "mailboxvm has none from postino3, postino4." in str(caught.value)
    assert re.search(r"mailboxvm: \w+ .*sonda", str(caught.value))
    assert "mailboxold has" not in str(caught.value)


@lab_test
def test_a_queue_that_does_not_fall_says_what_is_left_and_why(lab, night):
    # sanbackup takes no mail
    hold(lab, "anna@elsewhere.test", "anna@sanbackup.lab.test")
    # what the last test left in mailboxvm's own queue must not come behind the approval
    lab.run("mailboxvm", ["sendmail", "-q"], timeout=300)
    for side in ("old", "new"):
        assert eventually(lambda side=side: len(held_on(night, side)) == 2 * HELD), side
    with put_off(lab):
        # by verify, if other mail that postino3 held went out meanwhile
        refused = pytest.raises((ChangeFailed, engine.VerifyFailed))
        with night.set("limits.queue_drain", 10), refused as caught:
            night.step("restore-sendmail")
    assert re.search(r"postino3.*alice@mailboxold.lab.test \(.*451", str(caught.value))
    assert "sanbackup" not in str(caught.value)
    assert "run this step again" in str(caught.value)
    checks = night.step("restore-sendmail")
    others = [check.data["others"] for check in checks if check.id == "queue-falls"]
    assert others == [1, 0]


@lab_test
def test_the_alias_waits_for_a_secondary_that_is_down(lab, night):
    night.up_to("restore-sendmail")
    lab.run("postino3", ["sh", "-c", TO_ALIAS])
    primary = dns.Server("ns1", "10.77.0.11")
    with (
        stopped(lab, "ns2", "named"),
        pytest.raises(dns.NoAnswer, match="ns2: no answer from 10.77.0.12 port 53"),
    ):
        night.step("switch-alias")
    assert primary.lookup("mailbox.lab.test", "CNAME").values == ("mailboxold.lab.test.",)
    assert eventually(lambda: state_of_ns2() is not None)
    night.step("switch-alias")


@lab_test
def test_dovecot_that_does_not_start_is_told_in_its_own_words(lab, night):
    night.up_to("switch-alias")
    lab.run(
        "mailboxvm",
        ["sh", "-c", "echo 'no_such_setting = yes' > /etc/dovecot/conf.d/99-broken.conf"],
    )
    try:
        with pytest.raises(ChangeFailed) as caught:
            night.step("restore-imap")
        assert "mailboxvm: dovecot does not start" in str(caught.value)
        assert "99-broken.conf" in str(caught.value) and "no_such_setting" in str(caught.value)
    finally:
        lab.run("mailboxvm", ["rm", "/etc/dovecot/conf.d/99-broken.conf"])
    night.step("restore-imap")


@lab_test
def test_a_wrong_password_of_a_test_user_is_told_without_it(night, tmp_path):
    night.up_to("restore-imap")
    secret = tmp_path / "secret"
    secret.write_text("not-this\n")
    users = yaml.safe_load(night.file.read_text())["production_test"]["users"]
    with (
        night.set("production_test.users", [{**users[0], "password": f"file:{secret}"}, users[1]]),
        pytest.raises(Exception) as caught,
    ):
        night.step("production-test")
    assert "login of alice failed" in str(caught.value) and "not-this" not in str(caught.value)
    night.step("production-test")


@lab_test
def test_production_test_names_what_is_stuck_and_only_counts_mail_for_elsewhere(lab, night):
    with put_off(lab), night.set("limits.queue_drain", 5), pytest.raises(ChangeFailed) as caught:
        night.step("production-test")
    assert re.search(r"postino3: \w+ .*alice@mailboxold.lab.test \(.*451", str(caught.value))
    checks = {c.subject: c for c in night.step("production-test") if c.id == "queue-clear"}
    assert {name: check.data["others"] for name, check in checks.items()} == {
        "postino3": 1,
        "postino4": 0,
        "mailboxold": 0,
        "mailboxvm": 0,
    }
    assert checks["postino3"].warning and not checks["postino4"].warning
    discard(lab, "anna@sanbackup.lab.test")
    # what was held in the outage is on each side once
    for side in ("old", "new"):
        held = held_on(night, side)
        assert len(held) == 2 * HELD and set(held.values()) == {1}, side


@lab_test
def test_mail_for_the_alias_itself_is_named_which_the_old_server_alone_has(night):
    check = night.checks("production-test")["reached-both", "mailboxold"]
    assert check["passed"] and check["warning"]
    assert check["data"]["alone"] == 1 < check["data"]["deliveries"]
    assert "<to-the-alias@elsewhere.test> to bruno by 10.77.0.13" in check["actual"]


@lab_test
def test_mail_that_the_new_store_did_not_take_is_found_where_nobody_looks(lab, night):
    night.up_to("restore-imap")
    lab.run("mailboxvm", ["sh", "-c", "printf 'From x\\n\\nlost\\n' > /var/mail/zoe"])
    try:
        failed = failures(night, "production-test")
    finally:
        lab.run("mailboxvm", ["rm", "/var/mail/zoe"])
    assert re.fullmatch(r"zoe \(\d+ bytes\)", failed["spool-empty", "mailboxvm"])
