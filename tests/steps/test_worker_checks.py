"""Several hosts convert: what is planned for them, and whether preflight takes them as workers."""

import dataclasses
import json
import os
import platform
import sys
import types

import example
import local
import pytest
from cutover import model
from cutover.facts import convert_workers
from cutover.site import night_sections
from cutover.steps.checks import worker_checks
from cutover.steps.night import convert, verify, verify_hosts
from example import ROMA1, altered, recorded

NEW, OTHER = ROMA1.roles.new, "postino3"
SITE = ROMA1.model_copy(
    update={"convert": night_sections.Convert(engine="dask", workers=[NEW, OTHER], cores=4)}
)
FOLDER = "/var/imap/.cutover/RUN"
STORE = convert_workers.Place("/var/imap", "nfs4", "san:/imap", 64, 5, 1 << 40, 77)
FUSE = convert_workers.Place("/var/imap", "fuse.glusterfs", "localhost:/v", 1, 5, 1 << 40, 0)
READER = convert_workers.Reader("2.3.21", {"mail_path": "a", "ssl_server": "b"}, "c")
WORKER = convert_workers.Worker(
    *([3, 13, 5], platform.machine(), 14, 1 << 30, True),
    {"/var/imap/.cutover": STORE, FOLDER: dataclasses.replace(STORE, path=FOLDER)},
    model.Reading(READER),
)


def judged(**other):
    workers = {NEW: model.Reading(WORKER), OTHER: model.Reading(WORKER)}
    return {
        (check.id, check.subject): check for check in worker_checks.checks(workers | other, SITE)
    }


def with_place(**values):
    places = {**WORKER.places, "/var/imap/.cutover": dataclasses.replace(STORE, **values)}
    return model.Reading(dataclasses.replace(WORKER, places=places))


def with_folder(**values):
    place = dataclasses.replace(WORKER.places[FOLDER], **values)
    return model.Reading(dataclasses.replace(WORKER, places={**WORKER.places, FOLDER: place}))


def test_hosts_with_the_same_stores_are_workers():
    assert all(check.passed for check in judged().values()) and len(judged()) == 5


@pytest.mark.parametrize(
    "values, words",
    [
        ({"python": [3, 9, 2]}, "Dask needs Python 3.10"),
        ({"machine": "sparc64"}, "on sparc64"),
        ({"ports": 0}, "no TCP port from 8786 to 8799 is free"),
        ({"free": 1 << 20}, "has 1 MiB free"),
        ({"systemd": False}, "no systemd"),
    ],
)
def test_what_a_worker_needs(values, words):
    checks = judged(**{OTHER: model.Reading(dataclasses.replace(WORKER, **values))})
    assert words in checks["worker-usable", OTHER].actual
    assert [key for key, check in checks.items() if not check.passed] == [("worker-usable", OTHER)]


def test_a_host_that_cannot_be_asked_is_no_worker():
    checks = judged(**{OTHER: model.Reading(error="no route")})
    assert not checks["worker-usable", OTHER].passed
    assert ("worker-same-stores", OTHER) not in checks


@pytest.mark.parametrize(
    "values", [{"fsid": 78}, {"inode": 2}, {"total": 1 << 41}, {"type": "ext4"}, {"path": "/var"}]
)
def test_another_file_system_is_refused(values):
    check = judged(**{OTHER: with_place(**values)})["worker-same-stores", OTHER]
    assert not check.passed and check.data["different"] == ["/var/imap/.cutover"]


def test_times_tell_stores_apart_only_where_nothing_else_does():
    """Users get mail while the hosts are asked."""
    assert judged(**{OTHER: with_place(mtime=6)})["worker-same-stores", OTHER].passed
    assert not FUSE.is_same(dataclasses.replace(FUSE, mtime=6)) and FUSE.is_same(FUSE)


def test_a_host_is_read_by_one_command(tmp_path):
    section = types.SimpleNamespace(ports=(18180, 18181), place=str(tmp_path / "not" / "yet"))
    site = types.SimpleNamespace(
        convert=section,
        address=lambda name: "127.0.0.1",
        new_store=types.SimpleNamespace(python=sys.executable, work=str(tmp_path / "work")),
        old_store=types.SimpleNamespace(seen_at={"/home": str(tmp_path)}),
    )
    hosts = types.SimpleNamespace(
        site=site, run=lambda name, *argv, **more: local.Local().run(*argv)
    )
    worker = convert_workers.read(hosts, "here")
    assert worker.python == list(sys.version_info[:3]) and worker.ports == 2
    assert {place.path for place in worker.places.values()} == {str(tmp_path)}
    assert worker.places[str(tmp_path)].inode == os.stat(tmp_path).st_ino
    assert worker.places[str(tmp_path)].is_same(worker.places[str(tmp_path / "work")])


def test_the_plan_divides_the_users_by_size():
    def sized(facts):
        facts["sizes"] = {"alice": 1 << 40}

    facts = altered(recorded("convert", "before"), sized)
    (change,) = example.step("convert").plan(facts, SITE).changes
    names = [user["user"] for user in change.users]
    assert change.engine["workers"] == [NEW, OTHER] and change.engine["units"][0] == ["alice"]
    assert sorted(name for unit in change.engine["units"] for name in unit) == sorted(names)
    assert f"4 processes on each of {NEW}, {OTHER}, by Dask" in change.describe()
    assert model.change_from_json(json.loads(json.dumps(change.to_json()))) == change
    (alone,) = example.step("convert").plan(facts).changes
    assert alone.engine == {} and "by Dask" not in alone.describe()


def test_sizes_are_those_of_preflight():
    user = types.SimpleNamespace(bytes=7)
    survey = model.Reading(types.SimpleNamespace(users={"alice": user}))
    before = model.Reading(types.SimpleNamespace(survey=survey))
    kept = {"preflight": before}
    assert convert._sizes(types.SimpleNamespace(kept=kept.get)) == {"alice": 7}
    assert convert._sizes(types.SimpleNamespace(kept={}.get)) == {}


@pytest.mark.parametrize(
    "values, words",
    [
        ({"version": "2.3.19"}, "Dovecot 2.3.19 instead of 2.3.21"),
        ({"settings": {"mail_path": "other"}}, "other settings in `doveconf -n`: mail_path"),
        ({"settings": {}}, "mail_path"),
        ({"settings": {**READER.settings, "namespace inbox": "d"}}, "namespace inbox"),
        ({"users": "d"}, f"other users than {NEW}"),
        ({"settings": {**READER.settings, "ssl_server": "d"}}, ""),
    ],
)
def test_only_a_worker_with_the_same_dovecot_and_users_reads_mail(values, words):
    worker = with_reader(model.Reading(dataclasses.replace(READER, **values)))
    reason = worker_checks.cannot_read(worker, model.Reading(WORKER), FOLDER, SITE)
    assert words in reason and bool(words) == bool(reason)
    check = judged(**{OTHER: worker})["worker-reads", OTHER]
    assert check.passed and check.warning == bool(words) and words in check.actual


def test_since_dovecot_24_a_worker_reads_with_the_new_hosts_settings():
    new = with_reader(model.Reading(dataclasses.replace(READER, version="2.4.1")))
    worker = with_reader(model.Reading(convert_workers.Reader("2.4.1", {}, READER.users)))
    assert worker_checks.cannot_read(worker, new, FOLDER, SITE) == ""


def with_reader(reader):
    return model.Reading(dataclasses.replace(WORKER, reader=reader))


@pytest.mark.parametrize(
    "worker, words",
    [
        (model.Reading(error="no route"), "no route"),
        (with_reader(model.Reading(error="no doveconf")), "no doveconf"),
        (with_reader(None), "not looked at"),
        (with_folder(inode=2), "not the same directory"),
        (with_folder(path="/var/imap/.cutover"), "not the same directory"),
    ],
)
def test_a_worker_that_cannot_be_asked_or_has_another_store_reads_no_mail(worker, words):
    assert words in worker_checks.cannot_read(worker, model.Reading(WORKER), FOLDER, SITE)
    assert worker_checks.cannot_read(model.Reading(WORKER), worker, FOLDER, SITE)


def test_a_store_on_which_the_run_is_at_work_is_the_same():
    """Its times change meanwhile, and nothing else tells some shared file systems apart."""
    places = {FOLDER: dataclasses.replace(FUSE, path=FOLDER)}
    new = model.Reading(dataclasses.replace(WORKER, places=places))
    places = {FOLDER: dataclasses.replace(places[FOLDER], mtime=6)}
    worker = model.Reading(dataclasses.replace(WORKER, places=places))
    assert worker_checks.cannot_read(worker, new, FOLDER, SITE) == ""


def test_users_are_divided_among_readers_by_size():
    sizes = {"a": 100, "b": 60, "c": 50, "d": 0, "e": 0}
    hosts = verify_hosts.assigned(sizes, [NEW, OTHER])
    assert hosts == {"a": NEW, "b": OTHER, "c": OTHER, "d": NEW, "e": NEW}
    assert set(verify_hosts.assigned(sizes, [NEW]).values()) == {NEW}
    assert set(verify_hosts.assigned(dict.fromkeys("abcd", 0), [NEW, OTHER]).values()) == {
        NEW,
        OTHER,
    }


class Failed(model.ChangeFailed):
    pass


def spread(monkeypatch, read):
    """What two users, one of each host, gave; and what is recorded."""
    monkeypatch.setattr(verify_hosts, "usable", lambda hosts, run: ([NEW, OTHER], {}))
    hosts = types.SimpleNamespace(site=SITE)
    readers = verify_hosts.Spread(hosts, "RUN", {"a": 4, "b": 3, "c": 2})
    assert readers.host_of == {"a": NEW, "b": OTHER, "c": OTHER}
    given = [model.read(readers.read, user, read, lambda mail: mail == "equal") for user in "abc"]
    return [reading.value for reading in given], readers.facts()


def test_each_user_is_read_by_one_host(monkeypatch):
    asked = []

    def read(user, host):
        asked.append((user, host))
        return "equal"

    values, facts = spread(monkeypatch, read)
    assert values == ["equal"] * 3 and asked == [("a", NEW), ("b", OTHER), ("c", OTHER)]
    assert facts == verify_hosts.HostsRead({NEW: 1, OTHER: 2})
    check = verify_hosts.check(facts)
    assert check.passed and not check.warning and f"{OTHER}: 2 users" in check.actual


def test_what_a_worker_shows_otherwise_the_new_host_decides(monkeypatch):
    values, facts = spread(monkeypatch, lambda user, host: "equal" if host == NEW else "other")
    assert values == ["equal"] * 3
    assert facts == verify_hosts.HostsRead({NEW: 3}, again=["b", "c"])
    values, facts = spread(monkeypatch, lambda user, host: f"{host} differs")
    assert values == [f"{NEW} differs"] * 3
    assert verify_hosts.check(facts).warning


def test_a_worker_that_is_lost_reads_no_more(monkeypatch):
    asked = []

    def read(user, host):
        asked.append(host)
        if host == OTHER:
            raise Failed("link lost")
        return "equal"

    values, facts = spread(monkeypatch, read)
    assert values == ["equal"] * 3 and asked.count(OTHER) == 1
    assert facts == verify_hosts.HostsRead({NEW: 3}, {OTHER: "link lost"}, ["b"])


def test_a_user_whom_nobody_can_read_is_not_the_workers_fault(monkeypatch):
    def read(user, host):
        if user == "b":
            raise Failed("the old server ended")
        return "equal"

    values, facts = spread(monkeypatch, read)
    assert values == ["equal", None, "equal"] and not facts.without
    assert facts.users == {NEW: 1, OTHER: 1}


def test_verify_says_who_read_the_new_mail():
    facts = recorded("verify", "after")
    checks = example.step("verify").verify(facts)
    assert "verify-hosts" not in {check.id for check in checks}
    read = {"users": {NEW: 1, OTHER: 2}, "without": {}, "again": []}
    facts = altered(facts, lambda facts: facts.update(hosts=read))
    (check,) = [
        check for check in example.step("verify").verify(facts) if check.id == "verify-hosts"
    ]
    assert check.data["users"] == read["users"]
    assert model.from_json(verify.Facts, facts).hosts.users == read["users"]
