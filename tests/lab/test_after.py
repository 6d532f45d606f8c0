"""After the night, on the lab: the new store's backup, its way back, and the old server's end.

One night goes as far as backup and back; a second goes on to decommission, past each gate that is
not met.
"""

import concurrent.futures
import contextlib
import imaplib
import os
import poplib
import re
import threading
import time

import mail_programs
import pytest
from cutover.changes import bring_beside
from cutover.connect import dns, imap, smtp
from cutover.connect.hosts import Hosts
from cutover.facts import backup_copy, dovecot_activity, mailboxes, users
from cutover.model import errors, runbook
from cutover.record import history, lab_marks
from cutover.run import first_morning
from cutover.site import PROJECT, lab_hosts
from cutover.steps import registry
from cutover.steps.checks import backup_files, morning
from lab import keys, people, store, topology
from night import Night, declare, eventually, keep_dots, program

pytestmark = pytest.mark.lab
COPY = store.STORE / "backup/posta/mailboxvm/current"
OLD_COPY = store.STORE / "backup/posta/mailboxold"
DIRECTOR, TESTED = "/etc/bacula/bacula-dir.conf", "/var/imap/.cutover/restore-test"
NAME_SERVERS = ["ns1", "ns2"]
PROGRAM_USERS = ("walter", "rita")
POP3, KEEPING = (
    [program.name for program in programs]
    for programs in (mail_programs.POP3, mail_programs.KEEPING)
)
MOVER = "walter"
SSH = (
    "ssh -i /etc/mailbackup/key -l mailbackup -o BatchMode=yes "
    "-o UserKnownHostsFile=/etc/mailbackup/known_hosts"
)


def messages(top) -> dict:
    """`{path from the top, without flags and new/cur.

    Bytes}` of the message files below a directory of Maildirs.
    """
    contents = {}
    for place, _, files in os.walk(top):
        if os.path.basename(place) in ("cur", "new") and "/.cutover/" not in place:
            for name in files:
                with open(os.path.join(place, name), "rb") as file:
                    contents[
                        os.path.relpath(os.path.dirname(place), top), name.partition(":2,")[0]
                    ] = file.read()
    return contents


def files(top) -> list:
    """Names of the message files of a user, with their flags."""
    return sorted(
        os.path.relpath(os.path.join(place, name), top)
        for place, _, names in os.walk(top)
        if os.path.basename(place) in ("cur", "new")
        for name in names
    )


def unit(lab, host, name):
    shown = lab.run(
        host, ["systemctl", "show", "--property=ActiveState,UnitFileState", name]
    ).stdout
    return dict(line.split("=") for line in shown.split())


def copied(lab):
    """Start the timer's unit as the timer does, and have it make a run of its own.

    → what the run said of itself
    """

    def last():
        return lab.run("sanbackup", ["stat", "--format=%i %y", "/var/lib/mailbackup/last"]).stdout

    before = last()
    lab.run("sanbackup", ["systemctl", "start", "mailbackup.service"], check=False, timeout=120)
    assert last() != before, lab.run(
        "sanbackup", ["systemctl", "status", "mailbackup.service"], check=False
    ).stdout
    return backup_copy.parse_report(
        lab.run("sanbackup", ["cat", "/var/lib/mailbackup/last"]).stdout
    )


def send(host, recipient, key):
    """Mail handed in on a host's port 25."""
    text = (
        f"From: <a@elsewhere.test>\r\nTo: <{recipient}>\r\nSubject: {key}\r\n"
        f"Message-ID: <{key}@test>\r\n\r\n{key}\r\n"
    )
    smtp.send(topology.HOSTS[host].address, 25, "a@elsewhere.test", [recipient], text.encode(), 30)


def reading(user, host="mailboxvm"):
    return login(user, (keys.SECRETS / user).read_text(), host)


def login(name, password, host="mailboxvm"):
    return imap.login(
        topology.HOSTS[host].address, 993, f"{host}.lab.test", keys.CA, name, password, 20
    )


def has(user, key):
    """Whether a message lies in a user's INBOX on the new server."""
    with reading(user) as session:
        return session.find("INBOX", "Subject", key)


def fetched(programs) -> dict:
    """`{(program, user): what a run of it did}`, several at a time."""
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        outcomes = pool.map(lambda program: program.fetch(), programs)
        return {(p.name, p.user): outcome for p, outcome in zip(programs, outcomes, strict=True)}


def uidls(host) -> dict:
    """`{user: what POP3 lists}` of a mail server, by login."""
    listed = {}
    for user in topology.USERS:
        client = poplib.POP3(topology.HOSTS[host].address, 110, timeout=60)
        client.user(user)
        client.pass_((keys.SECRETS / user).read_text())
        listed[user] = [line.split()[1].decode() for line in client.uidl()[1]]
        client.quit()
    return listed


@pytest.fixture(scope="module")
def night(lab, tmp_path_factory):
    made = Night(tmp_path_factory.mktemp("after"))
    made.director = lab.run("sanbackup", ["cat", DIRECTOR]).stdout
    made.values["new_store"]["listed"] = ["mail/"]
    made.write()
    programs = [program(lab, user) for program in mail_programs.ALL for user in PROGRAM_USERS]
    made.programs = {"before": fetched(programs), "unchanged": fetched(programs)}
    made.uidls = {"before": uidls("mailboxold")}
    made.up_to("restore-imap")
    made.programs["after"] = fetched(programs)
    made.uidls["after"] = uidls("mailboxvm")
    movers = [program for program in programs if program.user == MOVER]
    (mutt,) = [program for program in movers if program.name == mail_programs.Mutt.name]
    mutt.move_first("archivio", "Drafts")
    made.programs |= {"moved": fetched(movers), "settled": fetched(movers)}
    made.up_to("backup")
    return made


# -- mail programs, configured before the night and unchanged after it


@pytest.mark.parametrize("program", [program.name for program in mail_programs.ALL])
def test_a_mail_program_finds_its_folders_and_fetches_nothing_again(night, program):
    for user in PROGRAM_USERS:
        before, unchanged, after = (
            night.programs[when][program, user] for when in ("before", "unchanged", "after")
        )
        assert len(before.folders) > 1 or program in POP3 and before.folders, (user, before)
        assert before.messages > 10 or program not in KEEPING + POP3, (user, before)
        for outcome in (before, unchanged, after):
            assert not outcome.errors, (user, "\n".join(outcome.errors))
        assert unchanged.messages == 0, user
        # to ipop3d a message marked \Deleted is no message; Dovecot shows it
        marked = hidden(night, user) if program in POP3 else 0
        assert marked <= after.messages <= marked + after.restarts, (user, after)
        # Roundcube shows some under both names
        assert before.folders <= after.folders, user
        assert program == "Roundcube" or after.folders == before.folders, user
        assert program in POP3 or after.flags == unchanged.flags, user


@pytest.mark.parametrize("program", [program.name for program in mail_programs.ALL])
def test_a_message_that_one_program_moved_stays_moved(night, program):
    """Whether the others find it in its new folder or bring it back there."""
    after, moved, settled = (
        night.programs[when][program, MOVER] for when in ("after", "moved", "settled")
    )
    assert (moved.messages, moved.errors) == ((program in KEEPING) * 1, []), moved
    assert (settled.messages, settled.errors) == (0, []), settled
    with reading(MOVER) as session:
        assert [len(session.all(name)) for name in ("archivio", "Drafts")] == [89, 7]
    if program in POP3:
        assert settled.folders == after.folders
    elif program not in KEEPING:
        assert settled.folders == moved.folders != after.folders


def hidden(night, user):
    """How many messages POP3 shows on the new server alone."""
    return len(night.uidls["after"][user]) - len(night.uidls["before"][user])


def test_pop3_lists_the_same_identifiers_for_every_user(night):
    before, after = night.uidls["before"], night.uidls["after"]
    assert sum(map(len, before.values())) > 1000
    assert {user: set(before[user]) - set(after[user]) for user in before} == dict.fromkeys(
        before, set()
    )
    compared = night.checks("verify")["uidls-compared", ""]["data"]["compared"]
    assert compared >= sum(map(len, before.values()))
    for user in PROGRAM_USERS:
        with reading(user) as session:
            session.examine("INBOX")
            assert len(session.client.search("DELETED")) == hidden(night, user)


# -- backup


def test_the_copy_is_the_store(night):
    there = messages(store.STORE / "imap")
    assert len(there) > 5000 and messages(COPY) == there
    assert (COPY / "giulia/dovecot-uidlist").read_bytes() == store.imap("giulia").joinpath(
        "dovecot-uidlist"
    ).read_bytes()
    assert (
        COPY.joinpath("alice").stat().st_uid == topology.USERS["alice"]
        and not (COPY / ".cutover").exists()
    )
    assert not list(COPY.rglob("dovecot.index*"))


def test_an_account_for_it_that_is_a_mail_users_is_known_as_such(night):
    for account, is_one in (("mailbackup", False), ("alice", True)):
        backup = night.site.backup.model_copy(update={"account": account})
        with Hosts(night.site.model_copy(update={"backup": backup})) as reached:
            assert backup_copy.account(reached).mail_user is is_one


def test_it_is_made_each_day_and_the_old_procedure_is_retired_not_deleted(lab, night):
    assert unit(lab, "sanbackup", "mailbackup.timer") == {
        "ActiveState": "active",
        "UnitFileState": "enabled",
    }
    assert unit(lab, "mailboxold", "backup-posta.timer") == {
        "ActiveState": "inactive",
        "UnitFileState": "disabled",
    }
    assert (
        lab.run(
            "mailboxold", ["test", "-f", "/etc/systemd/system/backup-posta.timer"], check=False
        ).returncode
        == 0
    )
    assert night.wanted("backup") == ()


def test_the_next_run_brings_what_came_and_takes_what_was_removed(lab, night):
    with reading("carla") as session:
        gone = session.all("INBOX")[:2]
        session.delete("INBOX", gone)
    send("postino3", "bruno@lab.test", "tonight")
    assert eventually(lambda: has("bruno", "tonight"))
    last = copied(lab)
    assert last.result == 0 and last.removed >= 2 and not last.unsettled
    assert (
        sum(run.copied for run in last.passes) < 40
    )  # differential: a handful of files, not thousands
    assert messages(COPY) == messages(store.STORE / "imap")


@contextlib.contextmanager
def flagging(user, folder):
    """A client that sets and takes a flag of all messages of a folder as fast as it can.

    A hundred at a time: a client of the whole folder renames nothing for seconds on a slow host,
    while it reads the answers. Yields the rounds made, [number].
    """
    stop, rounds = threading.Event(), [0]

    def work():
        with reading(user) as session:
            session.select(folder)
            uids = sorted(session.all(folder))
            session.select(folder)
            while not stop.is_set():
                for start in range(0, len(uids), 100):
                    flag = rounds[0] % 2 == 0
                    session.store(uids[start : start + 100], ["\\Flagged"], flag)
                rounds[0] += 1

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        try:
            assert eventually(lambda: rounds[0] > 0 or working.done())
            yield rounds
        finally:
            stop.set()
            working.result()


def test_no_message_is_missing_from_a_copy_made_while_all_of_a_folder_is_flagged(lab, night):
    """Each flag is a rename: rsync looks for names that are gone, hundreds in each pass."""

    def bases(top):
        return {key for key in messages(top) if key[0].split("/")[0] == "paolo"}

    with reading("paolo") as session:
        deleted = session.all("INBOX")[0]
        session.delete("INBOX", [deleted])
    there, before = bases(store.STORE / "imap"), bases(COPY)
    assert len(before - there) == 1
    with flagging("paolo", "lavori") as rounds:
        last = copied(lab)
    assert len(there - bases(COPY)) == 0
    assert (last.result, last.lacking, last.unsettled) == (0, 0, 1)
    assert sum(run.vanished for run in last.passes) > 100 and rounds[0] > 2
    # a part has two names, those that one listing saw under both: the slower the host, the more
    assert len(files(COPY / "paolo")) < len(there) + 0.75 * people.EXTRA["paolo"][0][1]
    # a restore has each message of such a copy once, also at the second look
    with Hosts(night.site) as hosts:
        account = users.find(hosts, "mailboxvm", "paolo")
        place = f"{night.site.new_store.work}/restore/flagged/paolo"
        bring_beside.bring(
            hosts,
            bring_beside.folders_packing(night.site, "paolo", [".", ".lavori"]),
            f"{account.uid}:{account.gid}",
            place,
        )
        with (
            mailboxes.tree_session(hosts, account, place) as copy,
            mailboxes.new_session(hosts, "paolo") as live,
        ):
            read = [
                [
                    (message.uid, message.digest)
                    for message in side.read("lavori", "content").messages
                ]
                for side in (copy, copy, live)
            ]
    assert read[0] == read[1] == read[2] and len(read[0]) == 2000
    # what was deleted goes once the mail stands still
    last = copied(lab)
    assert (
        last.unsettled == 0
        and last.removed >= 1
        and messages(COPY) == messages(store.STORE / "imap")
    )
    assert files(COPY / "paolo") == files(store.imap("paolo"))


def test_a_message_that_was_lost_is_found_by_verify_although_it_was_renamed_since(lab, night):
    name = next(iter((COPY / "paolo/.lavori/cur").iterdir()))
    name.unlink()
    with flagging("paolo", "lavori") as rounds:
        assert eventually(lambda: rounds[0] > 2)
    with night.engine("backup", "plan") as driver:
        driver.probe()
        wrong = [check for check in driver.verify() if not check.passed]
    assert [check.id for check in wrong] == ["copy-complete"]
    assert f"paolo/.lavori/cur/{name.name.partition(':2,')[0]}" in wrong[0].actual
    assert copied(lab).result == 0


def test_it_may_be_started_as_often_as_one_likes(lab, night):
    # systemd's own limit is five in ten seconds
    starts = "for n in 1 2 3 4 5 6 7; do systemctl start mailbackup.service; done"
    lab.run("sanbackup", ["flock", "/var/lib/mailbackup/lock", "sh", "-c", starts], check=False)
    assert copied(lab).result == 0


def test_a_store_that_is_not_mounted_spoils_no_copy(lab, night):
    before = messages(COPY)
    lab.run("mailboxvm", ["mount", "--bind", "/mnt", "/var/imap"])
    try:
        last = copied(lab)
    finally:
        lab.run("mailboxvm", ["umount", "/var/imap"])
    assert last.result == 3 and "is it mounted?" in last.error
    assert messages(COPY) == before
    assert copied(lab).result == 0


def test_the_key_reads_the_store_and_can_do_nothing_else(lab, night):
    def by_key(command):
        return lab.run("sanbackup", ["sh", "-c", command], check=False)

    assert "root" not in by_key(f"{SSH} -n mailboxvm 'id; cat /etc/shadow'").stdout
    assert by_key(
        f"rsync --rsh='{SSH}' /etc/hostname mailboxvm::{backup_files.MODULE}/alice/"
    ).returncode
    assert not (store.imap("alice") / "hostname").exists()
    assert by_key(f"rsync --rsh='{SSH}' mailboxvm:/etc/shadow /tmp/").returncode
    assert by_key(
        f"rsync --rsh='{SSH}' mailboxvm::{backup_files.MODULE}/../../etc/shadow /tmp/"
    ).returncode
    assert (
        by_key(
            f"rsync --rsh='{SSH}' --list-only mailboxvm::{backup_files.MODULE}/alice/"
        ).returncode
        == 0
    )


def test_the_old_procedure_is_put_back_by_hand_as_the_docs_say(lab, night):
    commands = re.findall(
        r"^(systemctl (\w+) --now (\S+)) +# on (\w+)$",
        (PROJECT / "docs/site.md").read_text(),
        re.MULTILINE,
    )
    for command, _, _, host in commands:
        lab.run(host, command.split())
    assert unit(lab, "mailboxold", "backup-posta.timer") == {
        "ActiveState": "active",
        "UnitFileState": "enabled",
    }
    assert unit(lab, "sanbackup", "mailbackup.timer") == {
        "ActiveState": "inactive",
        "UnitFileState": "disabled",
    }
    wanted = night.wanted("backup")
    ends = [(change.action, change.name) for change in (wanted[0], wanted[-1])]
    assert ends == [("start", "mailbackup.timer"), ("stop", "backup-posta.timer")]
    for _, verb, name, host in commands:
        lab.run(
            host, ["systemctl", {"enable": "disable", "disable": "enable"}[verb], "--now", name]
        )
    assert night.wanted("backup") == ()


def test_the_rollback_puts_the_old_procedure_back_and_keeps_the_copy(lab, night):
    before = len(messages(COPY))
    night.step("rollback")
    assert unit(lab, "mailboxold", "backup-posta.timer") == {
        "ActiveState": "active",
        "UnitFileState": "enabled",
    }
    assert lab.run("sanbackup", ["systemctl", "cat", "mailbackup.timer"], check=False).returncode
    assert lab.run("mailboxvm", ["ls", "/etc/sudoers.d"]).stdout.split() == ["README", "operator"]
    assert len(messages(COPY)) == before
    # Bacula is as it was, and what it saved stays on its volume; what was restored for a test is
    # gone
    assert lab.run("sanbackup", ["cat", DIRECTOR]).stdout == night.director
    known = lab.run("sanbackup", ["sh", "-c", "printf '.jobs\\n' | bconsole -n"]).stdout
    assert "BackupClient1" in known and "mailbackup" not in known
    assert lab.run("sanbackup", ["ls", "/srv/bacula"]).stdout.split() == ["mailbackup-0001"]
    assert not lab.run("mailboxvm", ["ls", TESTED]).stdout
    lab.run("mailboxold", ["systemctl", "start", "backup-posta.service"], timeout=120)
    assert (OLD_COPY / "alice/INBOX").read_bytes() == store.home("alice").joinpath(
        "INBOX"
    ).read_bytes()


# -- decommission


@pytest.fixture(scope="module")
def production(lab, night, tmp_path_factory):
    """A second night, as far as backup; users have worked on the new server since.

    Dots in folder names stay, and the prefix mail/ is left out on purpose.
    """
    made = Night(tmp_path_factory.mktemp("production"))
    made.values["new_store"] |= {"dots": "escape", "compatibility": ["~/mail/", "{home}/mail/"]}
    made.write()
    made.lost = mail_programs.MbsyncWithPath(lab, "carla")
    made.before = made.lost.fetch()
    keep_dots(lab)
    plain = imaplib.IMAP4(topology.HOSTS["mailboxold"].address)
    plain.login("vera", (keys.SECRETS / "vera").read_text())
    with reading("bruno", "mailboxold"):
        made.up_to("preflight")
    plain.logout()
    made.up_to("restore-imap")
    made.seen = seen_by_the_watch(made)
    made.up_to("backup")
    with reading("alice") as session:
        uids = session.all("INBOX")
        session.delete("INBOX", uids[:3])
        session.client.create_folder("Archivio")
        session.client.select_folder("INBOX")
        session.client.move(uids[3:5], "Archivio")
    send("postino4", "vera@lab.test", "read-and-removed")
    assert eventually(lambda: has("vera", "read-and-removed"))
    with reading("vera") as session:
        session.delete("INBOX", session.find("INBOX", "Subject", "read-and-removed"))
    return made


def seen_by_the_watch(made):
    """What the first morning's watch says of a program whose prefix was left out, and of wrong
    passwords: (Morning, seconds until it knew of the lost folder, what the program did)."""
    stop, good = threading.Event(), (keys.SECRETS / "alice").read_text()
    with Hosts(made.site) as hosts, concurrent.futures.ThreadPoolExecutor(2) as pool:
        watching = pool.submit(first_morning.watch, hosts, made.run, 3, stop=stop, every=3)
        try:
            assert eventually(lambda: first_morning.latest(made.run) or watching.done())
            began = time.monotonic()
            outcome = made.lost.fetch()
            assert eventually(lambda: any(e.folder for e in first_morning.latest(made.run).missing))
            took = time.monotonic() - began
            with reading("carla") as session, contextlib.suppress(imap.ImapError):
                session.examine("mail/etichette")
            for name, password in (("alice@lab.test", good), ("alice", "wrong"), ("alice", good)):
                with contextlib.suppress(imap.LoginRefused):
                    login(name, password).logout()
            assert eventually(lambda: len(first_morning.latest(made.run).missing) > 1)
            assert eventually(lambda: first_morning.latest(made.run).refused)
        finally:
            stop.set()
        return watching.result(), took, outcome


def addresses():
    """What each name server itself says of the old server's name: its address, or None."""
    asked = {name: dns.Server(name, topology.HOSTS[name].address) for name in NAME_SERVERS}
    answers = {name: server.lookup("mailboxold.lab.test", "A") for name, server in asked.items()}
    return {name: rrset and rrset.values[0] for name, rrset in answers.items()}


def refusal(night):
    """What decommission answers; nothing was changed."""
    with pytest.raises(errors.CutoverError) as refused:
        night.step("decommission")
    assert not night.events("intent", "decommission")
    return str(refused.value)


def waited(night):
    """As if the days asked for had passed again: the gates look back to the last restore-imap."""
    time.sleep(1.1)
    night.step("restore-imap")


def test_the_watch_says_within_a_minute_that_a_program_has_lost_its_folders(lab, production):
    seen, took, outcome = production.seen
    assert len(production.before.folders) > 2 and not production.before.errors
    assert outcome.errors and took < 60
    checks = {check.id: check for check in morning.checks(seen, production.site)}
    lost = {tuple(entry) for entry in checks["morning-folders"].data["lost"]}
    assert not checks["morning-folders"].passed and " mail/ " in checks["morning-folders"].todo
    # mbsync opens nothing that LIST does not show; another program asks for the folder itself
    assert {("carla", "mail/etichette", "etichette")} < lost
    assert {("carla", f"mail/{rest}", rest) for rest in "*%"} & lost
    assert seen.over and seen.users["carla"] >= 1
    assert not {check.id for check in checks.values() if not check.passed} - {"morning-folders"}
    counters = lab.run("mailboxvm", ["doveadm", "stats", "dump"]).stdout
    assert "cutover" not in counters


def test_the_watch_names_who_was_refused_and_forgets_who_logged_in_later(production):
    seen, _, _ = production.seen
    refused = {entry.name: entry for entry in seen.refused}
    assert {entry.account for entry in refused.values()} == {"alice"}
    assert {entry.reason for entry in refused.values()} == {dovecot_activity.FAILED}
    assert refused["alice"].later and set(refused) <= {"alice", "alice@lab.test"}


def test_a_forgotten_prefix_declared_by_hand_brings_the_folders_back(lab, production):
    """Sessions stay open."""
    with reading("carla") as session:
        declare(lab, "mail/")
        assert eventually(lambda: not (outcome := production.lost.fetch()).errors and [outcome])
        session.all("INBOX")
    outcome = production.lost.fetch()
    assert (outcome.messages, outcome.errors) == (0, [])
    assert outcome.folders == production.before.folders


def test_dots_in_folder_names_stay(lab, production):
    with reading("bruno") as session:
        listed = {name for name, _, selectable in session.folders("*") if selectable}
        assert {"a.b", "a_b", "x.y/z", "x_y/z", "lista.debian.org"} <= listed
        assert len(session.all("a.b")) == 31
        assert "a.b" in session.subscribed()
    there = {entry.name for entry in store.imap("bruno").iterdir()}
    assert {".a\\2eb", ".a_b", ".x\\2ey.z"} <= there
    checks = production.checks("preflight")
    assert checks["dots-escaped", "mailboxvm"]["passed"]
    renamed = "".join(checks["folders-renamed", ""]["data"]["renamed"])
    assert "bruno" not in renamed and "sergio" not in renamed


def test_each_step_asks_for_the_old_names_as_soon_as_it_can(production):
    """By real commands; mail/ was left out on purpose."""
    assert ("old-names-lead", "mailboxvm") not in production.checks("preflight")
    check = production.checks("dual-delivery")["old-names-lead", "mailboxvm"]
    assert check["passed"] and check["question"].endswith("under ~/mail/, {home}/mail/")
    gate = production.checks("stop-imap", "gated")
    for name in ("old-names-answered", "special-folders-declared", "pop3-uidl-format"):
        assert gate[name, "mailboxvm"]["passed"]
    with production.engine("preflight", "plan") as driver:
        driver.probe()
        (asked,) = [check for check in driver.verify() if check.id == "old-names-lead"]
    assert asked.passed and asked.data["users"] == ["alice"]


def test_preflight_counts_the_sessions_of_the_old_server(production):
    checks = production.checks("preflight")
    data = {
        name: checks[name, "mailboxvm"]["data"]
        for name in ("sessions-per-address", "sessions-processes", "sessions-inotify")
    }
    # bruno through the TLS wrapper, vera without
    assert data["sessions-per-address"] == {"sessions": 1, "limit": 500, "users": 2}
    assert data["sessions-processes"]["sessions"] >= 2
    assert data["sessions-processes"]["limit"] >= 500
    assert data["sessions-inotify"]["limit"] > 0
    assert all(checks[name, "mailboxvm"]["passed"] for name in data)


def test_somebody_who_reads_on_the_old_server_keeps_it(lab, production):
    services = ("xinetd", "stunnel4")
    for name in services:
        lab.run("mailboxold", ["sh", "-c", f"systemctl unmask {name}; systemctl start {name}"])
    with reading("davide", "mailboxold") as session:
        session.all("INBOX")
    for name in services:
        lab.run(
            "mailboxold",
            [
                "sh",
                "-c",
                f"systemctl stop {name}; systemctl mask {name} || systemctl disable {name}",
            ],
        )
    message = refusal(production)
    assert re.search(
        r"has logged in on mailboxold since.*expected 0 logins; found 1 logins: davide from ",
        message,
    )
    waited(production)


def test_before_the_days_asked_for_it_is_kept(production):
    with production.set("decommission.days", 1):
        assert "expected at least 1 days; found 0.0 days" in refusal(production)


def test_mail_that_no_mx_handed_in_keeps_it_and_so_does_a_message_that_only_it_has(lab, production):
    send("mailboxold", "teresa@mailboxold.lab.test", "direct")
    place = store.home("teresa") / "INBOX"
    assert eventually(lambda: b"Subject: direct" in place.read_bytes())
    message = refusal(production)
    assert re.search(
        r"expected 0 direct deliveries; found 1 direct deliveries: <direct@test> to teresa by 10\.77\.0\.1",
        message,
    )
    waited(production)
    message = refusal(production)
    assert "direct deliveries" not in message
    assert re.search(
        r"No message of teresa is only on mailboxold:? expected 0 messages; found 1 messages: INBOX UID \d+ "
        r".*<direct@test>",
        message,
    )
    # teresa gets it on the new server: the message as the old one has it
    with Hosts(production.site) as reached, mailboxes.old_session(reached, "teresa") as session:
        text = session.fetch("INBOX", session.find("INBOX", "Subject", "direct")[0])
    with reading("teresa") as session:
        session.append("INBOX", text)


def test_a_backup_that_failed_keeps_it(lab, production):
    lab.run("mailboxvm", ["mv", backup_files.SUDOERS, "/root/rule"])
    assert copied(lab).result not in (0, None)
    assert "expected yes; found NO: " in refusal(production)
    lab.run("mailboxvm", ["mv", "/root/rule", backup_files.SUDOERS])
    assert copied(lab).result == 0


def test_a_test_restore_that_is_not_there_keeps_it(lab, production):
    lab.run("mailboxvm", ["mv", f"{TESTED}/current", f"{TESTED}/elsewhere"])
    assert re.search(
        r"from the copy for a test .*found there was no test restore",
        refusal(production),
    )
    lab.run("mailboxvm", ["mv", f"{TESTED}/elsewhere", f"{TESTED}/current"])


def test_a_user_whose_tree_was_lost_keeps_it_until_all_of_it_is_restored(lab, production, tmp_path):
    def left():
        with production.engine("decommission", "plan") as driver:
            return driver.probe().left.value.users["elena"]

    before = left()
    lab.run("mailboxvm", ["rm", "-r", "/var/imap/elena"])
    for number, part in enumerate((["--folder", "INBOX"], [])):
        done = program(
            "restore",
            "--site",
            production.file,
            "--run",
            tmp_path / str(number),
            "--user",
            "elena",
            *part,
        )
        assert done.returncode == 0, done.stderr
        result = left()
        assert any("no longer there" in note for note in result.notes)
        assert bool(result.only) == bool(part), result
    assert before.only == 0 and result.old == before.old


def test_it_is_switched_off_and_mail_goes_to_the_new_server_alone(lab, production):
    with production.engine("decommission", "plan") as driver:
        left = driver.probe().left.value.users
        assert (left["alice"].removed, left["alice"].moved) == (3, 2)
        assert left["vera"].delivered == 1 and left["teresa"].twice >= 1
        assert not any(tally.only for tally in left.values())
        plan = driver.plan()
        assert [change.kind for change in plan.changes] == [
            "userdb-single",
            "userdb-single",
            "drain-queue",
            "drain-queue",
            "service-retired",
            "dns-remove",
            "power-off",
        ]
        assert all(change.inverse() is None for change in plan.changes)
    before = store.home("alice").joinpath("INBOX").stat().st_size
    with production.set("decommission.dns", "keep"):
        production.executed("decommission")
        checks = production.events("verified", "decommission")[-1]["checks"]
        assert (
            sum(check["id"] == "old-name-kept" for check in checks) == 2
            and production.wanted("decommission") == ()
        )
    assert addresses() == {name: topology.HOSTS["mailboxold"].address for name in NAME_SERVERS}
    assert [change.kind for change in production.wanted("decommission")] == ["dns-remove"]
    production.step("decommission")
    assert addresses() == dict.fromkeys(NAME_SERVERS)
    assert lab.status()["hosts"]["mailboxold"]["up"] is False
    for name in ("postino3", "postino4"):
        assert (
            lab.run(name, ["grep", "-c", "mailboxold", "/etc/mail/userdb"], check=False).stdout
            == "0\n"
        )
        send(name, "alice@lab.test", f"after-{name}")
    assert eventually(lambda: has("alice", "after-postino3") and has("alice", "after-postino4"))
    assert store.home("alice").joinpath("INBOX").stat().st_size == before
    assert lab.run("postino3", ["mailq"]).stdout.count("mailboxold") == 0
    assert production.wanted("decommission") == ()


def test_then_there_is_no_way_back(production):
    with pytest.raises(runbook.NotYet, match="point of no return"):
        production.step("rollback")
    events = production.run.journal.events()
    word, sentence = history.verdict(events, history.attempts(events))
    assert (word, registry.no_return(events)["step"]) == ("passed", "decommission"), sentence


def test_with_the_old_server_off_copies_restores_and_maintenance_go_on(lab, production, tmp_path):
    with reading("bruno") as session:
        session.delete("INBOX", session.all("INBOX")[:2])
    done = program(
        "restore",
        "--site",
        production.file,
        "--run",
        tmp_path / "restore",
        "--user",
        "bruno",
        "--folder",
        "INBOX",
    )
    assert done.returncode == 0, done.stderr
    for command in (["maintain", "vacation"], ["rollback"]):
        done = program(*command, "--site", production.file, "--run", tmp_path / "vacation")
        assert done.returncode == 0, done.stderr
    assert copied(lab).result == 0
    # a host that is up has to show the lab's mark all the same
    lab.run("sanbackup", ["mv", "/etc/cutover-lab", "/root/mark"])
    with (
        Hosts(production.site) as hosts,
        pytest.raises(lab_hosts.NotTheLab, match="sanbackup does not carry the mark"),
    ):
        lab_marks.prove(hosts, production.site)
    lab.run("sanbackup", ["mv", "/root/mark", "/etc/cutover-lab"])


def test_the_lab_copes_with_a_host_that_switched_itself_off(lab, production):
    lab.up()
    assert lab.status()["hosts"]["mailboxold"]["up"]
    shown = lab.run(
        "mailboxold", ["systemctl", "is-active", "sendmail", "xinetd"], check=False
    ).stdout
    assert shown.split() == ["inactive", "inactive"]
