"""What presync does ahead for the outage, on the lab.

The sample of the staged mail, go or no-go, contents that verify need not read again, and its
budget. The tests follow one another, as the night does.
"""

import contextlib
import imaplib
import os

import pytest
from cutover.comparison import carried, second_reading, staged_sample
from cutover.connect import imap
from cutover.connect.hosts import Hosts
from cutover.facts import mailboxes, users
from cutover.notebook import progress
from cutover.record import step_facts
from cutover.run import engine, plans_ahead, prediction
from lab import keys, store, topology
from night import Night

pytestmark = pytest.mark.lab
NEW = "mailboxvm"


class Told(Night):
    """A night whose work leaves its events, as a notebook's does.

    Predictions are made from them.
    """

    @contextlib.contextmanager
    def engine(self, name, mode="execute"):
        with super().engine(name, mode) as driver:
            driver.report = progress.Progress(self.run, name).event
            yield driver


@pytest.fixture(scope="module")
def night(lab, tmp_path_factory):
    return Told(tmp_path_factory.mktemp("outage"))


@pytest.fixture
def reached(night):
    with Hosts(night.site) as reached:
        yield reached


def staging():
    """Where the staged trees lie, as a path of this machine."""
    return store.STORE / "imap/.cutover/staging"


def messages(user):
    """The staged message files of a user's INBOX."""
    return sorted(path for name in ("cur", "new") for path in (staging() / user / name).iterdir())


def look(path):
    """Everything below a directory, with the times of its change."""
    return {entry: (entry.lstat().st_ctime_ns, entry.lstat().st_size) for entry in path.rglob("*")}


def spoil(path):
    """Another text of the same size and date."""
    times = path.stat()
    path.write_bytes(path.read_bytes()[:-3] + b"!\n\n")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def sampled(reached, count, *names):
    accounts = [account for account in users.read(reached, NEW) if account.user in names]
    return staged_sample.read(reached, accounts, count, "a seed")


@pytest.fixture(scope="module")
def proven(night):
    """presync's facts."""
    with night.set("verify.ahead", True):
        night.up_to("presync")
    return step_facts.read(night.run, night.run.journal.events(), "presync")


@pytest.fixture(scope="module")
def proofs(proven):
    """What presync has proven: {user: {old name: carried.Proof}}."""
    return proven.proofs


@pytest.fixture(scope="module")
def wholes(proven):
    """Of whom presync has proven all mail."""
    assert {"alice", "paolo", "walter"} < proven.wholes.keys()
    assert not {"bruno", "irene", "luca"} & proven.wholes.keys(), "dots; mail in the spool"
    return set(proven.wholes)


def test_presync_has_a_sample_read_and_tells_what_the_outage_will_cost(night, proofs):
    verified = night.events("verified", "presync")[-1]
    (check,) = [check for check in verified["checks"] if check["id"] == "sample-equal"]
    assert (
        check["data"] == {**check["data"], "seed": "night", "differences": 0} and verified["passed"]
    )
    predicted = prediction.predicted(night.run.journal.events())
    assert predicted["step"] == "presync" and predicted["staged"]["messages"] > 5000
    for kind in ("reading", "delivery"):
        assert 0 < predicted[kind]["low"] < predicted[kind]["likely"] < predicted[kind]["high"]


def test_the_plans_of_the_outage_are_worked_out_ahead(night):
    """The last test of this file finds each step's own plan to be the same, to the hash."""
    made = plans_ahead.make(night.site, night.run)
    named = [plan["step"] for plan in made["plans"]]
    assert named == [name for name in plans_ahead.STEPS if name != "verify"]
    assert not made["asked"]


def test_sampling_leaves_no_trace_in_the_staging_area_or_the_live_one(night, reached):
    before = look(staging()), look(store.imap("alice"))
    sample = sampled(reached, 100, "alice", "bruno")
    assert sample.messages >= 90 and not sample.differences and not sample.errors
    assert (look(staging()), look(store.imap("alice"))) == before


@pytest.mark.parametrize(
    "harm, message",
    [
        (lambda path: spoil(path), "content"),
        (lambda path: os.utime(path, (1, 1)), "INTERNALDATE"),
        (lambda path: path.unlink(), "not staged"),
    ],
)
def test_what_was_staged_wrong_is_found(reached, harm, message, monkeypatch):
    """One message in the middle of an INBOX that is read whole; it is put back afterwards."""
    monkeypatch.setattr(staged_sample, "PART", 5000)
    path = messages("vera")[len(messages("vera")) // 2]
    held, times = path.read_bytes(), path.stat()
    try:
        harm(path)
        sample = sampled(reached, 5000, "vera")
        (wrong,) = sample.differences
        assert wrong.startswith("vera: INBOX: UID ") and message in wrong
    finally:
        path.write_bytes(held)
        os.chown(path, times.st_uid, times.st_gid)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.fixture(scope="module")
def used(proofs):
    """Two proven folders, (user, old name): before the outage the user of one flags a message on
    the old server, and a client of the other leaves one on the new server."""
    flagged, grown = ("walter", "mail/archivio"), ("paolo", "mail/sent-mail")
    with imaplib.IMAP4(topology.HOSTS["mailboxold"].address, timeout=30) as client:
        client.login("walter", (keys.SECRETS / "walter").read_text().strip())
        client.select(flagged[1])
        assert client.store("1", "-FLAGS", r"(\Seen)")[0] == "OK"
        assert client.store("1", "+FLAGS", r"(\Flagged \Answered)")[0] == "OK"
    password = (keys.SECRETS / "paolo").read_text().strip()
    new = topology.HOSTS[NEW].address
    with imap.login(new, 993, "mailbox.lab.test", keys.CA, "paolo", password, 30) as session:
        if not session.client.folder_exists("sent-mail"):
            session.create("sent-mail")
        session.client.append("sent-mail", b"Subject: of the new side\r\n\r\nText.\r\n")
    assert proofs["walter"][flagged[1]] and proofs["paolo"][grown[1]]
    return {flagged, grown}


def test_a_longer_outage_than_announced_does_not_begin(night, lab, used):
    with (
        night.set("outage.reading_minutes", 0.01),
        pytest.raises(engine.NoGo, match=r"found [\d.]+ to [\d.]+ min"),
    ):
        night.step("stop-imap")
    assert night.states()["stop-imap"] == "failed" and not night.events("intent", "stop-imap")
    assert lab.run("mailboxold", ["systemctl", "is-active", "xinetd"]).stdout.strip() == "active"


def test_once_it_has_begun_the_gate_asks_nothing_more(night):
    assert night.crashing("stop-imap")
    with night.set("outage.reading_minutes", 0.01):
        night.step("stop-imap")
    (check,) = night.checks("stop-imap", "gated").values()
    assert check["id"] == "outage-not-begun" and check["passed"] and check["warning"]


def looked_at(night):
    """({(user, old name): row}, its checks by id and subject) of verify, which leaves no trace in
    the journal."""
    with night.set("verify.ahead", True), night.engine("verify", "plan") as driver:
        facts = driver.probe()
        driver.plan()
        checks = {(check.id, check.subject): check for check in driver.verify()}
    rows = {(user, row.old_name): row for user, mail in facts.users.items() for row in mail.rows}
    return rows, checks


def failed(checks):
    return {key: check.actual for key, check in checks.items() if not check.passed}


@pytest.fixture(scope="module")
def chosen(proofs):
    """Four proven folders of alice, old names."""
    return [name for name, proof in proofs["alice"].items() if proof.messages][:4]


def test_what_nobody_touched_is_carried_and_a_sample_of_it_read(
    night, proofs, wholes, used, chosen
):
    night.up_to("convert")
    rows, checks = looked_at(night)
    over = {place: row for place, row in rows.items() if row.proven}
    proven = {(user, name) for user, known in proofs.items() for name in known}
    check = checks["contents-carried", ""]
    opened = {text.partition(":")[0] for text in check.data["sample"]} | {user for user, _ in used}
    unopened = wholes - opened - {"vera"}  # whose staged file was replaced by its copy
    assert set(over) == proven - used | {(user, "INBOX") for user in unopened}
    assert {("alice", name) for name in chosen} <= set(over)
    assert not failed(checks) and check.data["users"] == len(unopened)
    assert check.data["folders"] == len(over) > carried.FOLDERS
    assert check.data["messages"] == sum(row.old for row in over.values())
    assert 0 < check.data["again"] == sum(row.again for row in over.values())
    assert max(row.again for row in over.values()) <= carried.PART
    assert check.data["seed"] in check.actual
    compared = checks["contents-compared", ""].data
    assert compared["compared"] == compared["messages"]


def test_an_altered_record_proves_nothing(night):
    (event,) = [event for event in night.events("probed", "presync") if event["when"] == "after"]
    path = night.run_dir / event["facts"]
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b'"messages": 1', b'"messages": 2'))
    assert path.read_bytes() != kept
    try:
        rows, checks = looked_at(night)
    finally:
        path.write_bytes(kept)
    assert not any(row.proven for row in rows.values())
    check = checks["contents-carried", ""]
    assert check.warning and "another digest" in check.actual and not failed(checks)


def flip(path, place):
    """Flip a bit of a file as it is, and set its mtime back."""
    before = path.stat()
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path, data):
    """Put another file in the place of one, with its owner and its times, the directory's too."""
    before, directory = path.stat(), path.parent.stat()
    other = store.imap("alice") / "tmp/other"
    other.write_bytes(data)
    os.chown(other, before.st_uid, before.st_gid)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)
    os.utime(path.parent, ns=(directory.st_atime_ns, directory.st_mtime_ns))


@pytest.fixture
def altered(night, proofs, chosen):
    """Something else is altered in each chosen folder; afterwards all is as it was."""
    old, *new = chosen
    home = store.home("alice") / os.fsdecode(imap.encode_name(old))
    written, replaced, listed = (
        store.imap("alice")
        / ("." + mailboxes.directory(night.site, proofs["alice"][name].new_name))
        for name in new
    )
    message, other = (
        sorted([*(folder / "cur").iterdir(), *(folder / "new").iterdir()])[-1]
        for folder in (written, replaced)
    )
    text, uidlist = other.read_bytes(), (listed / "dovecot-uidlist").read_bytes()
    flip(home, home.stat().st_size - 3)
    flip(message, 5)
    replace(other, text.replace(b"e", b"a"))
    replace(listed / "dovecot-uidlist", uidlist.replace(b" V", b" V1", 1))
    yield {("alice", name) for name in chosen}
    flip(home, home.stat().st_size - 3)
    flip(message, 5)
    replace(other, text)
    replace(listed / "dovecot-uidlist", uidlist)
    for path in listed.glob("dovecot.index*"):  # Dovecot's, of the other UIDVALIDITY
        path.unlink()


def test_what_was_altered_is_found_though_its_times_were_set_back(night, proofs, altered, chosen):
    rows, checks = looked_at(night)
    assert not any(rows[place].proven for place in altered)
    assert {place for place, row in rows.items() if row.differing} == altered
    assert ("user-mail-equal", "alice") in failed(checks)
    # as it would be by the second reading
    known = proofs["alice"]
    folders = {"alice": {name: (known[name].new_name, known[name].messages) for name in chosen}}
    with Hosts(night.site) as hosts:
        second = second_reading.read(hosts, folders)
    assert {text.split(":")[1].strip() for text in second.differences} >= set(chosen[:3])


def test_what_is_equal_again_is_no_longer_proven(night, chosen):
    rows, checks = looked_at(night)
    assert not failed(checks)
    assert not any(rows["alice", name].proven for name in chosen[1:3])
    assert sum(bool(row.proven) for row in rows.values()) >= carried.FOLDERS


@pytest.mark.parametrize("part", [0, 0.3, 1])
def test_verify_reads_contents_as_far_as_the_time_allows(night, part):
    night.up_to("convert")
    predicted = prediction.predicted(night.run.journal.events())
    # with room for a machine that has become slower: the deadline is the share's as well
    minutes = predicted["contents"] * part / 60 if part < 1 else 10
    with night.set("verify.content_minutes", minutes):
        checks = night.step("verify")
    check = next(check for check in checks if check.id == "contents-compared")
    read, of = check.data["compared"], check.data["messages"]
    assert check.passed and check.warning == (part < 1)
    if part == 1:
        assert read == of
    else:
        assert (
            read <= of * (part + 0.05)
            and check.data["share"] == pytest.approx(part, abs=0.001)
            and check.data["seed"] == "night"
        )
    assert all(check.passed for check in checks)


def test_each_step_made_the_plan_that_was_worked_out_ahead(night):
    night.up_to("restore-imap")
    (ahead,) = night.events("planned-ahead")
    made = {plan["step"]: plan["hash"] for plan in ahead["plans"]}
    assert {name: night.events("planned", name)[0]["hash"] for name in made} == made
