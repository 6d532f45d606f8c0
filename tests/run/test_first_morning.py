"""The watch over the first morning: it adds up, judges, and ends by itself."""

import json
import threading
import time

import pytest
import recorded
from click import testing
from cutover import site
from cutover.commands import main
from cutover.facts import dovecot_activity, load, mail_queue, users
from cutover.model import errors
from cutover.notebook import board
from cutover.record import run_folder
from cutover.report import morning_tables
from cutover.run import first_morning
from cutover.steps.checks import morning

SITE = site.load("parameters/lab.yaml")
NOW = time.time()


class Site:
    """What the hosts say in the next look."""

    def __init__(self):
        self.logins, self.refusals, self.limits, self.missing = [], [], [], {}
        self.queue, self.stopped, self.site = [], 0, SITE

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def hosts(monkeypatch):
    world = Site()

    def log(hosts, name, since, cursor):
        reader = dovecot_activity.Reader()
        reader.logins, world.logins = world.logins, []
        reader.refusals, world.refusals = world.refusals, []
        reader.limits, world.limits = world.limits, []
        return reader

    def stop(hosts, name):
        world.stopped += 1

    accounts = [users.Account(name, 2000, 2000, f"/home/{name}") for name in ("alice", "bruno")]
    for place, name, function in (
        (users, "read", lambda *_: accounts),
        (dovecot_activity, "read", log),
        (dovecot_activity, "missing", lambda *_: dict(world.missing)),
        (dovecot_activity, "folders", lambda *_: ["INBOX", "work"]),
        (dovecot_activity, "stop_counting", stop),
        (load, "read", lambda *_: (0.5, 2)),
        (mail_queue, "read", lambda *_: mail_queue.Queue(len(world.queue), list(world.queue))),
    ):
        monkeypatch.setattr(place, name, function)
    return world


@pytest.fixture
def run(tmp_path):
    begun = run_folder.begin(SITE, tmp_path / "run")
    recorded.step(begun, "restore-imap")
    return begun


def login(user):
    return dovecot_activity.Login(NOW, user, "10.0.0.9")


def refusal(name, reason=dovecot_activity.FAILED, at=NOW):
    return dovecot_activity.Refusal(at, reason, name, "10.0.0.9")


def judged(hosts, looks=1):
    watching = first_morning.Watching(hosts, NOW - 60, 5)
    for _ in range(looks):
        watching.look()
    return {check.id: check for check in morning.checks(watching.morning(), SITE)}


def test_a_good_morning_is_called_good(hosts):
    hosts.logins = [login("alice"), login("bruno"), login("alice")]
    checks = judged(hosts, looks=2)
    assert {check.mark for check in checks.values()} == {"ok"}
    assert checks["morning-logins"].data == {"users": 2, "logins": 3}


def test_a_folder_that_a_program_lost_is_the_sharpest_sign(hosts):
    hosts.logins = [login("alice")]
    hosts.missing = {("alice", "mail/work"): 2, ("bruno", "Drafts"): 1}
    check = judged(hosts, looks=2)["morning-folders"]
    assert check.mark == "FAIL" and "alice: mail/work is work" in check.actual
    assert " mail/ " in check.todo
    assert check.data == {"lost": [["alice", "mail/work", "work"]], "other": 1}
    hosts.missing = {("bruno", "Drafts"): 1}
    assert judged(hosts)["morning-folders"].mark == "warn"


def test_a_program_that_only_lists_below_a_lost_prefix_is_seen_too(hosts):
    hosts.logins = [login("alice")]
    answered = SITE.new_store.compatibility[1]
    for pattern in ("#mbx/*", "/elsewhere/alice/mail/%"):
        hosts.missing = {("alice", pattern): 1}
        check = judged(hosts)["morning-folders"]
        assert check.mark == "FAIL" and len(check.data["lost"]) == 1, pattern
    for pattern in (answered + "*", answered + "work/%", "/home/alice/mail/*", "work/%"):
        hosts.missing = {("alice", pattern): 1}
        assert judged(hosts)["morning-folders"].mark == "ok", pattern


def test_requests_are_counted_on_after_dovecot_was_restarted(hosts):
    watching = first_morning.Watching(hosts, NOW, 5)
    for number in (3, 5, 1):
        hosts.missing = {("alice", "mail/work"): number}
        watching.look()
    (missing,) = watching.morning().missing
    assert missing.count == 6


def test_a_refused_user_counts_until_a_login_succeeds(hosts):
    hosts.logins = [login("alice")]
    hosts.refusals = [refusal("alice", at=NOW - 5), refusal("intruder")]
    assert judged(hosts)["morning-refused"].mark == "ok"
    hosts.logins, hosts.refusals = [login("alice")], [refusal("bruno@lab.test")]
    check = judged(hosts)["morning-refused"]
    assert check.mark == "warn" and check.data["other_names"] == ["bruno@lab.test"]
    hosts.refusals = [refusal("alice"), refusal("bruno")]
    assert judged(hosts)["morning-refused"].mark == "FAIL"


def test_limits_fail_and_waiting_mail_warns(hosts, monkeypatch):
    hosts.logins = [login("alice")]
    hosts.limits = ["master: Warning: service(imap): process_limit (1) reached"]
    assert judged(hosts)["morning-limits"].mark == "FAIL"
    hosts.refusals = [refusal("alice", dovecot_activity.LIMIT)]
    assert judged(hosts)["morning-limits"].data["dropped"] == 1
    monkeypatch.setattr(first_morning, "PATIENCE", 0.0)
    hosts.queue = ["4AS0000000001 100 Sat <a@b> alice@lab.test"]
    assert judged(hosts, looks=2)["morning-queue"].mark == "warn"


def test_what_cannot_be_read_fails_and_hides_nothing_else(hosts, monkeypatch):
    def refuse(*_):
        raise errors.Unreadable("doveadm has no answer")

    hosts.logins = [login("alice")]
    monkeypatch.setattr(dovecot_activity, "missing", refuse)
    checks = judged(hosts)
    assert checks["morning-readable"].mark == "FAIL"
    assert checks["morning-logins"].data["logins"] == 1


def test_it_ends_by_itself_says_for_how_long_and_leaves_no_counter(hosts, run):
    looks = []
    hosts.logins = [login("alice")]
    began = time.monotonic()
    seen = first_morning.watch(hosts, run, 0.01, looks.append, every=0.1)
    assert time.monotonic() - began < 20 and len(looks) > 2
    assert seen.over and not looks[0].over and hosts.stopped == 1
    assert first_morning.latest(run) == seen
    word, sentence = morning_tables.verdict(seen, morning.checks(seen, SITE))
    assert word == "passed" and "of 0.01 minutes" in sentence and "over" in sentence
    assert "alice" in json.dumps(json.loads((run.path / first_morning.NAME).read_text()))


def test_a_counter_that_stays_is_reported(hosts, run, monkeypatch):
    def refuse(*_):
        raise errors.Unreadable("doveadm refuses")

    monkeypatch.setattr(dovecot_activity, "stop_counting", refuse)
    seen = first_morning.watch(hosts, run, 0.001, lambda _: None, every=0.1)
    assert seen.unread == {"counter of missing folders": "doveadm refuses"}


def test_before_reading_is_open_there_is_nothing_to_watch(hosts, tmp_path):
    early = run_folder.begin(SITE, tmp_path / "early")
    with pytest.raises(first_morning.NotOpen):
        first_morning.watch(hosts, early, 1)
    assert "has not passed" in repr(board.Board(SITE, early, measure=True).morning(1))


def test_a_second_watch_shows_the_first(hosts, run, monkeypatch):
    stop = threading.Event()
    first = threading.Thread(
        target=first_morning.watch, args=(hosts, run, 1), kwargs={"stop": stop, "every": 0.05}
    )
    first.start()
    try:
        while first_morning.latest(run) is None:
            time.sleep(0.02)
        with pytest.raises(run_folder.RunBusy):
            first_morning.watch(hosts, run, 1)
        shown = board.Board(SITE, run).morning(1)
        assert "Watching for" in repr(shown.draw())
    finally:
        stop.set()
        first.join()
    assert first_morning.latest(run).over


def test_the_command_prints_the_verdict_and_exits_by_it(hosts, run, monkeypatch):
    monkeypatch.setattr("cutover.connect.hosts.Hosts", lambda parameters: hosts)
    hosts.logins = [login("alice")]
    asked = ["watch", "--run", str(run.path), "--minutes", "0.1"]
    good = testing.CliRunner().invoke(main.cutover, asked)
    assert good.exit_code == 0 and "Watched for" in good.stdout, good.output
    hosts.missing = {("alice", "mail/work"): 1}
    bad = testing.CliRunner().invoke(main.cutover, [*asked, "--json"])
    answer = json.loads(bad.stdout)
    assert (bad.exit_code, answer["passed"]) == (1, False)
    assert answer["watched"]["missing"][0]["folder"] == "work" and answer["seconds"] > 5
