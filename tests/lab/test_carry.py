"""What users do on the new server, and a rollback that copies it back to the old one.

Real servers. One night is brought to restore-imap; users then work by TLS on mailboxvm, and mail
arrives through the MX. The rollback is killed after the first message it appends, then loses the
session of each user after one message, and is run again. Then the old server refuses mail of four
users, each for another reason: the rollback stops, continues without them, and copies their mail
once the cause is fixed. Each test looks at one case, as c-client shows it afterwards.
"""

import contextlib
import datetime
import json
import smtplib

import pytest
from cutover import model
from cutover.carryback import left_behind, notes, set_aside
from cutover.connect import imap
from cutover.connect.hosts import Hosts
from cutover.facts import mailboxes
from lab import keys, people, topology
from night import Killed, Night, eventually, program

pytestmark = pytest.mark.lab
NEW = topology.HOSTS["mailboxvm"].address
DATE = datetime.datetime(
    2026, 3, 14, 9, 26, 53, tzinfo=datetime.timezone(datetime.timedelta(hours=1))
)

# What the old server refuses, and the fix: a file of mail and a directory that cannot be written, a
# file that cannot be read, files that may not grow.
REFUSES = r"""
chown root /home/walter/mail/archivio && chmod 0444 /home/walter/mail/archivio
chown root /home/ugo/mail && chmod 0555 /home/ugo/mail
chmod 0 /home/vera/mail/sent-mail
mv /usr/sbin/imapd /usr/sbin/imapd.real
printf '#!/bin/sh\n[ "$(id -un)" != olga ] || ulimit -f 16\nexec /usr/sbin/imapd.real "$@"\n' \
    > /usr/sbin/imapd
chmod 0755 /usr/sbin/imapd
"""
MENDED = """
chown walter /home/walter/mail/archivio && chmod 0600 /home/walter/mail/archivio
chown ugo /home/ugo/mail && chmod 0700 /home/ugo/mail
chmod 0600 /home/vera/mail/sent-mail
mv /usr/sbin/imapd.real /usr/sbin/imapd
"""
REFUSED = {
    "olga": ("sent-mail", ["refused-1"]),
    "ugo": ("nuova", ["refused-2"]),
    "vera": ("sent-mail", ["refused-3"]),
    "walter": ("archivio", ["refused-4", "refused-5"]),
}


def text(mark):
    header = f"From: <u@lab.test>\r\nSubject: {mark}\r\nMessage-ID: <{mark}@carry.test>\r\n"
    return f"{header}\r\nText of {mark}.\r\n".encode()


def send(server, user, mark):
    """Hand one message to a mail server's port 25."""
    with smtplib.SMTP(topology.HOSTS[server].address, 25, timeout=30) as client:
        host = "lab.test" if server.startswith("postino") else f"{server}.lab.test"
        client.sendmail("anna@elsewhere.test", [f"{user}@{host}"], text(mark))


@contextlib.contextmanager
def at_new(user):
    """A client's session on the new server."""
    with imap.login(
        NEW, 993, "mailbox.lab.test", keys.CA, user, (keys.SECRETS / user).read_text().strip(), 30
    ) as session:
        yield session


def subjects(session, folder):
    return list(session.headers(folder, "Subject").values())


class Old:
    """The old server's folders, as c-client shows them to a user."""

    def __init__(self, reached):
        self.reached = reached

    def messages(self, user, folder):
        """[(subject, Message)] in UID order."""
        with mailboxes.old_session(self.reached, user) as session:
            subject_of = session.headers(folder, "Subject")
            return [
                (subject_of[message.uid], message)
                for message in session.read(folder, "metadata").messages
            ]

    def only_message(self, user, folder, mark):
        """The message of that subject; there must be just one in all of the user's folders."""
        where = self.where(user, mark)
        assert where == [folder]
        return next(message for subject, message in self.messages(user, folder) if subject == mark)

    def where(self, user, mark):
        """The folders in which a subject stands, each as often as it does."""
        with mailboxes.old_session(self.reached, user) as session:
            return [
                name
                for name in mailboxes.old_folders(session, "mail/")
                for subject in self._subjects(session, name)
                if subject == mark
            ]

    @staticmethod
    def _subjects(session, name):
        with contextlib.suppress(imap.FolderUnreadable):
            return subjects(session, name)
        return []

    def folders(self, user):
        with mailboxes.old_session(self.reached, user) as session:
            return mailboxes.old_folders(session, "mail/")

    def subscribed(self, user):
        with mailboxes.old_session(self.reached, user) as session:
            return session.subscribed()

    def whole(self, user):
        """Everything a user has: {folder: (UIDVALIDITY, {uid: (flags, date, size)})}."""
        contents = {}
        with mailboxes.old_session(self.reached, user) as session:
            for name in mailboxes.old_folders(session, "mail/"):
                with contextlib.suppress(imap.FolderUnreadable):
                    folder = session.read(name, "metadata")
                    contents[name] = (
                        folder.uidvalidity,
                        {
                            message.uid: (message.flags, message.internaldate, message.size)
                            for message in folder.messages
                        },
                    )
        return contents


class Went:
    """What was so before the rollback, and what it said."""


@pytest.fixture(scope="module")
def night(lab, tmp_path_factory):
    made = Night(tmp_path_factory.mktemp("carry"))
    made.values["verify"]["parallel"] = 2
    made.write()
    made.up_to("restore-imap")
    return made


@pytest.fixture(scope="module")
def old(night):
    with Hosts(night.site) as reached:
        yield Old(reached)


@pytest.fixture(scope="module")
def went(night, old):
    """Users at work, mail on its way, and the rollback, which dies once."""
    went = Went()
    for server, user, mark in (
        ("postino3", "giulia", "to both"),
        ("postino4", "jacopo", "to both, moved"),
        ("postino3", people.LEFTOVERS, "to both, flagged"),
        ("postino4", "katia", "to both, removed"),
        ("mailboxvm", "luca", "to the new one alone"),
    ):
        send(server, user, mark)
        with at_new(user) as session:
            assert eventually(lambda session=session, mark=mark: mark in subjects(session, "INBOX"))
    work()
    went.before = {
        user: old.whole(user)
        for user in ("bruno", "carla", "davide", "elena", "fabio", "marta", "nicola", "walter")
    }
    with night.engine("rollback", "plan") as driver:
        driver.probe()
        went.planned = dict(driver.plan().notes)
    old.reached.run("mailboxold", ["sh", "-ec", REFUSES], sudo=True)
    with dying(Killed()), pytest.raises(Killed):
        night.step("rollback")
    with (
        dying(imap.SessionLost(server="imapd", doing="APPEND", reason="it was killed")),
        pytest.raises(
            model.ChangeFailed,
            match=r"carrying back failed for \d+ of \d+ users; the others are done",
        ),
    ):
        night.step("rollback")
    went.refused = program("rollback", "--run", night.run_dir, "--site", night.file)
    # whose mail is carried back already, and who goes on working: the new server was opened again
    with mailboxes.new_session(old.reached, "luca") as session:
        session.append("INBOX", text("after the first rollback"), [], DATE)
    went.without = program(
        "rollback",
        "--run",
        night.run_dir,
        "--site",
        night.file,
        *(part for user in REFUSED for part in ("--without", user)),
    )
    went.checks = [
        model.Check(**check) for check in night.events("verified", "rollback")[-1]["checks"]
    ]
    went.result = next(
        event["output"]
        for event in reversed(night.events("result", "rollback"))
        if "users: " in event["output"]
    )
    went.notes = notes.read(old.reached, night.run.name)
    return went


@contextlib.contextmanager
def dying(error):
    """Whoever appends a message hears no more of it: it is there, and what follows is not done."""
    append = imap.Session.append

    def last(*arguments, **options):
        append(*arguments, **options)
        raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imap.Session, "append", last)
        yield


def work():
    """Each user does something else on the new server."""
    for user, (folder, marks) in REFUSED.items():
        with at_new(user) as session:
            with contextlib.suppress(imap.CommandRefused):  # it is there
                session.create(folder)
            for mark in marks:
                session.append(folder, text(mark), ["\\Flagged", "$Mia"], DATE)
    with at_new("walter") as session:
        flagged, gone = session.all("archivio")[:2]
        session.select("archivio")
        session.store([flagged], ["$Tardi"], True)
        session.delete("archivio", [gone])
    with at_new("alice") as session:
        session.append("sent-mail", text("sent"), ["\\Seen", "\\Answered", "$Mia"], DATE)
        session.create("sent-mail/2026")
        session.append("sent-mail/2026", text("below a folder"), [], DATE)
    with at_new("bruno") as session:
        session.select("INBOX")
        seen, *others = session.client.search("SEEN")[:3]
        session.store([seen], ["\\Seen"], False)
        session.store(others, ["\\Flagged", "$Nuova"], True)
        session.create("nuova/cartella")
        session.subscribe("nuova/cartella")
        session.append("nuova/cartella", text("in a new folder"), [], DATE)
        session.subscribe("SPAM", False)
    with at_new("carla") as session:
        session.delete("INBOX", session.all("INBOX")[1:4])
        uids = session.all("etichette")
        session.select("etichette")
        session.store(uids[:2], ["nova1", "nova2", "nova3"], True)
    with at_new("davide") as session:
        session.rename("sent-mail", "inviata")
        session.append("inviata", text("in the renamed folder"), [], DATE)
        session.delete("inviata", session.all("inviata")[:1])
    with at_new("elena") as session:
        session.client.delete_folder("Bozze")
    with at_new("fabio") as session:
        session.select("INBOX")
        session.client.move(session.all("INBOX")[:2], "condivisa")
    with at_new("jacopo") as session:
        uids = session.find("INBOX", "Subject", "to both, moved")
        session.select("INBOX")
        session.client.move(uids, "sent-mail")
    with at_new(people.LEFTOVERS) as session:
        uids = session.find("INBOX", "Subject", "to both, flagged")
        session.select("INBOX")
        session.store(uids, ["\\Flagged"], True)
    with at_new("katia") as session:
        session.delete("INBOX", session.find("INBOX", "Subject", "to both, removed"))


def check(went, user):
    """The check on a user for whom not everything could be carried back."""
    return next(
        check for check in went.checks if (check.id, check.subject) == ("not-carried-back", user)
    )


# -- one case each


def test_a_sent_copy_comes_with_its_flags_and_date(old, went):
    message = old.only_message("alice", "mail/sent-mail", "sent")
    assert message.flags == {"\\Seen", "\\Answered", "$Mia"}
    assert message.internaldate == DATE


def test_a_folder_below_a_folder_gets_a_name_that_mbx_can_hold_and_that_is_said(old, went):
    assert old.only_message("alice", "mail/sent-mail_2026", "below a folder").internaldate == DATE
    assert (
        "cannot have a folder of that name; its mail goes to mail/sent-mail_2026"
        in went.planned["alice"]
    )
    assert "mail/sent-mail_2026" in check(went, "alice").actual and check(went, "alice").warning


def test_flags_set_and_cleared_and_a_keyword(old, went):
    before, now = went.before["bruno"]["INBOX"][1], old.whole("bruno")["INBOX"][1]
    first, *others = sorted(uid for uid, values in before.items() if "\\Seen" in values[0])[:3]
    assert now[first][0] == before[first][0] - {"\\Seen"} != before[first][0]
    for uid in others:
        assert now[uid][0] == before[uid][0] | {"\\Flagged", "$Nuova"}
    assert {uid: now[uid] for uid in before if uid not in (first, *others)} == {
        uid: values for uid, values in before.items() if uid not in (first, *others)
    }


def test_a_new_folder_is_made_and_subscriptions_follow(old, went):
    old.only_message("bruno", "mail/nuova/cartella", "in a new folder")
    assert "mail/nuova/cartella" in old.subscribed("bruno") and "mail/SPAM" not in old.subscribed(
        "bruno"
    )
    assert set(old.subscribed("bruno")) >= {"mail/a.b", "mail/a_b"}


def test_what_was_removed_is_removed_and_set_aside(night, old, went):
    before, now = went.before["carla"]["INBOX"][1], old.whole("carla")["INBOX"][1]
    gone = sorted(before)[1:4]
    assert [uid for uid in before if uid not in now] == gone
    with mailboxes.old_session(old.reached, "carla") as session:
        place = set_aside.folder_name(
            f"{night.site.old_store.aside}/{night.run.name}/carla", "INBOX"
        )
        kept = {
            (message.internaldate, message.size, message.flags)
            for message in session.read(place, "metadata").messages
        }
    assert kept == {(before[uid][1], before[uid][2], before[uid][0]) for uid in gone}


def test_a_keyword_too_many_is_left_out_and_said(old, went):
    before, now = went.before["carla"]["mail/etichette"][1], old.whole("carla")["mail/etichette"][1]
    changed = {uid: now[uid][0] - before[uid][0] for uid in before if now[uid][0] != before[uid][0]}
    assert list(changed.values()) == [{"nova1", "nova2"}] * 2 and not any(
        before[uid][0] - now[uid][0] for uid in before
    )
    note = "mail/etichette: no room for the keyword nova3 of 2 messages"
    assert (
        note in went.planned["carla"]
        and note in check(went, "carla").actual
        and note in went.result
    )


def test_a_renamed_folder_is_renamed_and_keeps_its_uids(old, went):
    uidvalidity, before = went.before["davide"]["mail/sent-mail"]
    whole = old.whole("davide")
    assert "mail/sent-mail" not in whole and whole["mail/inviata"][0] == uidvalidity
    now = whole["mail/inviata"][1]
    assert sorted(now)[:-1] == sorted(before)[1:] and old.only_message(
        "davide", "mail/inviata", "in the renamed folder"
    )


def test_a_deleted_folder_stays_and_is_listed(old, went):
    assert old.whole("elena")["mail/Bozze"] == went.before["elena"]["mail/Bozze"]
    note = "mail/Bozze: not on the new host any more, with 11 messages"
    assert note in went.planned["elena"] and note in went.notes["elena"].notes


def test_a_moved_message_stands_where_it_was_moved_to_and_nowhere_else(old, went):
    inbox, target = went.before["fabio"]["INBOX"][1], went.before["fabio"]["mail/condivisa"][1]
    now = old.whole("fabio")
    moved = sorted(inbox)[:2]
    assert sorted(now["INBOX"][1]) == sorted(set(inbox) - set(moved))
    come = [values for uid, values in now["mail/condivisa"][1].items() if uid not in target]
    assert sorted(come, key=str) == sorted((inbox[uid] for uid in moved), key=str)


@pytest.mark.parametrize(
    "user, mark, folder, flags",
    [
        ("giulia", "to both", "INBOX", set()),
        ("jacopo", "to both, moved", "mail/sent-mail", set()),
        (people.LEFTOVERS, "to both, flagged", "INBOX", {"\\Flagged"}),
        ("katia", "to both, removed", "INBOX", set()),
    ],
)
def test_mail_that_came_to_both_is_there_once(old, went, user, mark, folder, flags):
    assert old.only_message(user, folder, mark).flags == flags


def test_mail_that_came_to_the_new_server_alone_is_brought(old, went):
    old.only_message("luca", "INBOX", "to the new one alone")


def test_what_came_after_a_rollback_that_did_not_pass_is_carried_by_the_next(old, went):
    old.only_message("luca", "INBOX", "after the first rollback")


def test_users_who_did_nothing_find_everything_as_it_was(old, went):
    for user in ("marta", "nicola"):
        assert old.whole(user) == went.before[user] and user not in went.planned
        assert went.notes[user].done == {} and went.notes[user].left == []


# -- what the old server refuses


def at_new_only(night, user):
    """The Message-IDs of refused messages that Dovecot finds in a user's Maildir."""
    with Hosts(night.site) as reached, mailboxes.new_session(reached, user) as session:
        ids = [
            value
            for name, _, selectable in session.folders("*")
            if selectable
            for value in session.headers(name, "Message-ID").values()
        ]
    return sorted(set(ids) & set(named(user)))


def named(user):
    return [f"<{mark}@carry.test>" for mark in REFUSED[user][1]]


def test_what_is_refused_is_told_and_stops_the_rollback_once_all_others_are_carried(went):
    output = went.refused.stderr
    assert (
        went.refused.returncode == 1
        and "carrying back failed for 4 of " in output
        and "--without" in output
    )
    for user, (folder, _) in REFUSED.items():
        assert all(
            f"{folder} UID " in output and message_id in output
            for message_id in named(user)
            if user != "olga"
        ), user
    for words in (
        "Can't access destination: mail/archivio",
        "CREATE mail/nuova was refused",
        "Unable to open file mail/sent-mail",
        "olga: mailboxold: /usr/sbin/imapd: the IMAP session ended",
    ):
        assert words in output


def test_it_goes_on_without_those_who_are_named_and_keeps_their_mail(night, went):
    assert went.without.returncode == 0, went.without.stderr
    assert night.events("step-begun", "rollback")[-1]["chosen"] == {"without": ",".join(REFUSED)}
    report = (night.run_dir / "report.html").read_text()
    assert "But: No mail of olga is only on mailboxvm" in report
    listed = [
        line.split("\t") for line in (night.run_dir / left_behind.LIST).read_text().splitlines()[1:]
    ]
    assert sorted((user, message) for user, _, _, message, *_ in listed) == [
        (user, message_id) for user in REFUSED for message_id in named(user)
    ]
    with Hosts(night.site) as reached:
        for user, _, _, message, _, file, _ in listed:
            assert (
                message.encode() in reached.run("mailboxvm", ["cat", file], sudo=True).out
                and f"/var/imap/{user}/" in file
            )
    assert {user: at_new_only(night, user) for user in REFUSED} == {
        user: named(user) for user in REFUSED
    }
    for user in REFUSED:
        assert (
            f"No mail of {user} is only on mailboxvm {len(named(user))} message"
            in went.without.stdout
        )
        assert any(
            (check.id, check.subject) == ("left-behind", user) and check.warning
            for check in went.checks
        )


def test_it_is_told_until_it_is_carried_and_the_next_night_knows_of_it(night):
    status = program("status", "--run", night.run_dir, "--json")
    assert len(json.loads(status.stdout)["left_behind"]) == len(REFUSED)
    with night.engine("preflight", "plan") as driver:
        driver.probe()
        checks = [check for check in driver.verify() if check.id == "earlier-left-behind"]
    assert [check.subject for check in checks] == list(REFUSED)
    with pytest.raises(
        model.ChangeFailed,
        match="some of the mail left behind could not be carried back.*Can't access destination",
    ):
        night.step("rollback")  # nothing is mended
    assert {user: at_new_only(night, user) for user in REFUSED} == {
        user: named(user) for user in REFUSED
    }


def test_once_it_is_mended_a_later_rollback_carries_it(night, old, later):
    assert later.returncode == 0, later.stderr
    for user, (folder, marks) in REFUSED.items():
        for mark in marks:
            message = old.only_message(user, f"mail/{folder}", mark)
            assert message.flags == {"\\Flagged", "$Mia"} and message.internaldate == DATE
        assert at_new_only(night, user) == []
    assert (
        "LEFT BEHIND" not in later.stdout
        and "But:" not in (night.run_dir / "report.html").read_text()
    )
    assert program("record", "verify", night.run_dir).returncode == 0
    assert not any(
        check["id"] == "left-behind" for check in night.events("verified", "rollback")[-1]["checks"]
    )


def test_flags_and_removals_that_were_refused_come_later_too(night, old, went, later):
    before, now = (
        whole["mail/archivio"][1] for whole in (went.before["walter"], old.whole("walter"))
    )
    flagged, gone = sorted(before)[:2]
    assert now[flagged][0] == before[flagged][0] | {"$Tardi"} and gone not in now
    assert {uid: now[uid] for uid in before if uid not in (flagged, gone)} == {
        uid: values for uid, values in before.items() if uid not in (flagged, gone)
    }
    with mailboxes.old_session(old.reached, "walter") as session:
        place = set_aside.folder_name(
            f"{night.site.old_store.aside}/{night.run.name}/walter", "mail/archivio"
        )
        assert [message.size for message in session.read(place, "metadata").messages] == [
            before[gone][2]
        ]


@pytest.fixture(scope="module")
def later(night, old, went):
    old.reached.run("mailboxold", ["sh", "-ec", MENDED], sudo=True)
    return program("rollback", "--run", night.run_dir, "--site", night.file)


def test_nobody_is_left_out_and_once_more_nothing_is_to_be_done(night, old, went, later):
    assert set(went.notes) == set(topology.USERS)
    assert night.wanted("rollback") == ()
    (check,) = [check for check in went.checks if check.id == "carried-back"]
    assert check.passed and check.data["users"] == len(topology.USERS)
    # appended once, though it died in between
    for user, mark in (
        ("alice", "sent"),
        ("bruno", "in a new folder"),
        ("davide", "in the renamed folder"),
    ):
        assert len(old.where(user, mark)) == 1
