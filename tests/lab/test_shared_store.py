"""Two new servers over one store: mail is converted into a GlusterFS volume, and both serve it.

docs/shared-store.md says what was seen, also without the settings that the lab has.
"""

import functools
import threading
import time

import pytest
from cutover.connect import imap, smtp
from cutover.model import errors
from lab import keys, network, shared_store, system, topology
from night import Night, eventually

pytestmark = pytest.mark.lab
ONE, OTHER = shared_store.NAMES
USERS = sorted(topology.USERS)[:6]
SERVICES = ["dovecot", "sendmail"]
APPENDS = 30


@pytest.fixture(scope="module")
def lab(_lab_of_the_session):
    """Instead of the usual one: with the second server. Begun afresh for this file."""
    _lab_of_the_session.reset(shared=True)
    return _lab_of_the_session


@pytest.fixture(scope="module")
def night(lab, tmp_path_factory):
    """Some users' mail, converted and verified by both.

    The runbook knows one new server: the other's services are stopped by hand, before.
    """
    lab.run(OTHER, ["systemctl", "stop", *SERVICES])
    made = Night(tmp_path_factory.mktemp("night"))
    made.values["users"] = {
        "uid_min": topology.USERS[USERS[0]],
        "uid_max": topology.USERS[USERS[-1]],
    }
    made.values["hosts"][OTHER] = {"address": topology.EVER[OTHER].address}
    made.values["convert"] = {"engine": "dask", "workers": [ONE, OTHER], "cores": 1}
    made.write()
    made.up_to("verify")
    lab.run(ONE, ["systemctl", "unmask", *SERVICES])
    for name in (ONE, OTHER):
        lab.run(name, ["systemctl", "start", *SERVICES])
    return made


def session(user, name):
    return imap.login(
        topology.EVER[name].address,
        993,
        f"{name}.lab.test",
        keys.CA,
        user,
        (keys.SECRETS / user).read_text(),
        60,
    )


def seen(user, name, folder="INBOX"):
    """`(UIDVALIDITY, {UID: (Message-ID, flags)})` of a folder, by one of the servers."""
    with session(user, name) as client:
        read, ids = client.read(folder, "metadata"), client.headers(folder, "Message-ID")
        return read.uidvalidity, {
            message.uid: (ids.get(message.uid, "").strip(), message.flags)
            for message in read.messages
        }


def message(key):
    return (
        f"From: <a@elsewhere.test>\r\nSubject: {key}\r\nMessage-ID: <{key}@test>\r\n\r\n{key}\r\n"
    ).encode()


def test_mail_is_converted_into_it_and_verified(night):
    (passed,) = night.events("verified", "verify")
    assert passed["passed"] and any(
        (check["id"], check["subject"]) == ("user-mail-equal", "alice")
        for check in passed["checks"]
    )


def test_both_took_part(night):
    (ready,) = night.events("verified", "preflight")
    workers = {(check["id"], check["subject"]): check for check in ready["checks"]}
    assert not workers["worker-reads", OTHER]["warning"]
    (converted,) = night.events("result", "convert")
    assert converted["figures"]["workers"] == 2 and converted["figures"]["lost"] == 0
    (passed,) = night.events("verified", "verify")
    (read,) = [check for check in passed["checks"] if check["id"] == "verify-hosts"]
    assert set(read["data"]["users"]) == {ONE, OTHER} and not read["warning"], read["actual"]
    assert sum(read["data"]["users"].values()) == len(USERS)


def test_preflight_names_it_and_asks_for_nothing_that_is_there(night):
    (disk,) = (
        check
        for check in night.events("verified", "preflight")[-1]["checks"]
        if (check["id"], check["subject"]) == ("store-file-system", "mailboxvm")
    )
    assert disk["actual"].startswith("fuse.glusterfs of localhost:/posta")
    assert "Dovecot" not in disk["todo"]


def test_both_servers_show_the_same(night):
    for user in USERS:
        with session(user, ONE) as client:
            folders = [name for name, _, selectable in client.folders() if selectable]
        assert len(folders) > 1
        for folder in folders[:4]:
            assert seen(user, ONE, folder) == seen(user, OTHER, folder), (user, folder)


def test_what_one_delivers_or_flags_the_other_shows(night):
    smtp.send(
        topology.EVER[OTHER].address,
        25,
        "a@elsewhere.test",
        ["carla@mailboxvm.lab.test"],
        message("by-the-other"),
        30,
    )
    with session("carla", ONE) as client:
        assert eventually(lambda: client.find("INBOX", "Subject", "by-the-other"))
        (uid,) = client.find("INBOX", "Subject", "by-the-other")
        client.select("INBOX")
        client.store([uid], ["\\Flagged"], True)
    assert eventually(lambda: "\\Flagged" in seen("carla", OTHER)[1][uid][1])


@pytest.fixture
def race():
    """Both servers append to one folder at once. → ([(UID, Message-ID)], [what was refused])."""

    def append(folder, name, numbers, appended):
        with session("davide", name) as client:
            for number in numbers:
                uid = client.append(folder, message(f"{name}-{number}"))
                appended.append((uid, f"<{name}-{number}@test>"))

    def appends(folder, name, appended, refused):
        numbers = iter(range(APPENDS))
        for _ in range(APPENDS):
            try:
                return append(folder, name, numbers, appended)
            except errors.CutoverError as error:
                refused.append(str(error))  # and on with the next, in a new session

    def run(folder):
        with session("davide", ONE) as client:
            client.create(folder)
        appended, refused = [], []
        threads = [
            threading.Thread(target=appends, args=(folder, name, appended, refused))
            for name in (ONE, OTHER)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return appended, refused

    return run


def test_both_append_to_one_folder_and_no_message_is_lost(lab, night, race):
    """Dovecot may refuse an APPEND, or spoil an index: then one server may be refused throughout.

    What it took is there once, under the UID that it told.
    """
    for folder in ("race", "again", "once-more"):
        appended, refused = race(folder)
        assert len({uid for uid, _ in appended}) == len(appended) == 2 * APPENDS - len(refused)
        # as docs/shared-store.md says to do when a folder does not open: an index is made anew from
        # the files and their list of UIDs
        lab.run(ONE, ["sh", "-c", f"rm -f /var/imap/davide/.{folder}/dovecot.index*"])
        assert eventually(functools.partial(_seen_by_both, folder))
        there = {uid: key for uid, (key, _) in seen("davide", OTHER, folder)[1].items()}
        assert {uid: there.get(uid) for uid, _ in appended} == dict(appended)
        if len(appended) > APPENDS:
            return
    pytest.fail(f"never did both append: {refused[:3]}")


def _seen_by_both(folder):
    return seen("davide", ONE, folder) == seen("davide", OTHER, folder)


def test_when_one_is_gone_the_other_serves_and_it_catches_up(lab, night):
    """Its link first: a machine without power says no goodbye."""
    system.call("ip", "link", "set", network.link(OTHER), "down")
    with session("elena", ONE) as client:
        began = time.monotonic()
        uid = client.append("INBOX", message("while-alone"))
        assert time.monotonic() - began < 4 * shared_store.PING
    lab.stop(OTHER)
    system.call("ip", "link", "set", network.link(OTHER), "up")
    lab.up(shared=True)
    assert eventually(
        lambda: (
            lab.run(
                OTHER, ["findmnt", "-n", "-t", "fuse.glusterfs", "/var/imap"], check=False
            ).stdout
        )
    )
    assert eventually(
        lambda: (
            "\nNumber of entries: 0"
            in (
                output := lab.run(
                    ONE, ["gluster", "volume", "heal", shared_store.VOLUME, "info"], check=False
                ).stdout
            )
            and "entries: -" not in output
            and output.count("Number of entries: 0") == 2
        ),
        60,
    )
    assert seen("elena", OTHER)[1][uid][0] == "<while-alone@test>"
