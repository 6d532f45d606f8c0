"""Runs of several stores of one file: each knows its store."""

import hashlib

import pytest
import store_sites
import yaml
from cutover import site
from cutover.record import audit, drift, record_json, run_folder
from cutover.site import stores


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("lab.state.read", lambda: None)
    return store_sites.write(tmp_path / "site.yaml")


def test_a_run_of_a_store_continues_with_that_store(tmp_path, file):
    runs = {
        store: run_folder.create(site.load(file, store), "run", tmp_path / "runs")
        for store in ("mailbox", "posta")
    }
    assert [run.name[11:] for run in runs.values()] == ["01_lab-mailbox_run", "01_lab-posta_run"]
    for store, run in runs.items():
        again = run_folder.Run(run.path)
        assert run.journal.events()[0]["store"] == store
        # from the copy in its folder, from the file, and from the store's own reference
        for given in (None, file, f"{file}:{store}"):
            parameters = again.parameters(given)
            assert parameters.store == store and [other.name for other in parameters.others]
            again.require_site(parameters)
            assert not drift.difference(run.journal.events(), parameters)


def test_a_run_of_one_store_is_not_continued_as_that_of_another(tmp_path, file):
    run = run_folder.create(site.load(file, "posta"), "run", tmp_path / "runs")
    with pytest.raises(run_folder.NotARun, match="run of site lab-posta"):
        run.require_site(run.parameters(f"{file}:mailbox"))


def findings(run):
    """{(kind, file)} of what the audit says of a run's record."""
    return {(finding.kind, finding.where) for finding in audit.verify(run.path).findings}


def corrected(file, store, **own):
    """Correct keys of a store in the file."""
    values = yaml.safe_load(file.read_text())
    values["stores"][store] |= own
    file.write_text(yaml.safe_dump(values, sort_keys=True))


@pytest.mark.parametrize(
    ("own", "concerned"),
    [
        ({"dns": {"ttl": 61}}, {"posta"}),
        ({"old_store": {"seen_at": {"/home": "/a", "/var/mail": "/b"}}}, {"posta"}),
        ({}, set()),  # other text, same keys
        ({"alias": "post"}, {"posta", "mailbox"}),  # by it mailbox knows whose users are whose
        ({"users": {"only": ["olga"]}}, {"posta", "mailbox"}),
    ],
)
def test_a_correction_of_one_store_concerns_its_run(tmp_path, file, own, concerned):
    stores = ("mailbox", "posta")
    runs = {
        store: run_folder.create(site.load(file, store), "run", tmp_path / "runs")
        for store in stores
    }
    corrected(file, "posta", **own)
    differ = {
        store
        for store, run in runs.items()
        if drift.difference(run.journal.events(), site.load(file, store))
    }
    assert differ == concerned


def test_a_key_of_all_stores_concerns_all_runs(tmp_path, file):
    before = {store: site.load(file, store).digest for store in ("mailbox", "posta")}
    assert len(set(before.values())) == 2
    file.write_text(file.read_text().replace("ttl: ", "ttl: 1"))
    assert not {site.load(file, store).digest for store in before} & set(before.values())


def test_the_record_of_a_store_holds_with_a_correction_and_with_the_digest_of_earlier_versions(
    tmp_path, file, monkeypatch
):
    def audited(run):
        parameters = run.parameters()
        record_json.write(run, parameters, "test")
        return findings(run)

    run = run_folder.create(site.load(file, "posta"), "run", tmp_path / "runs")
    clean = audited(run)
    corrected(file, "posta", dns={"ttl": 61})
    run.check(site.load(file, "posta"), run.journal.append)
    (drifted,) = [event for event in run.journal.events() if event["event"] == "drift"]
    assert drifted["parameters"] == site.load(file, "posta").digest
    assert audited(run) == clean
    for name in ("parameters.yaml", f"parameters.{drifted['parameters'][:8]}.yaml"):
        kept = (run.path / name).read_bytes()
        (run.path / name).write_bytes(kept.replace(b"marta", b"olga "))
        assert ("changed", name) in audited(run)
        (run.path / name).write_bytes(b"stores: [}")
        assert ("changed", name) in findings(run)
        (run.path / name).write_bytes(kept)
    assert audited(run) == clean

    by_file = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr(stores, "digest", lambda *_: by_file)
    old = run_folder.create(site.load(file, "posta"), "run", tmp_path / "runs")
    record_json.write(old, old.parameters(), "test")
    monkeypatch.undo()
    assert findings(old) == clean


def test_a_run_of_a_site_has_no_store(tmp_path, file):
    run = run_folder.create(site.load("parameters/lab.yaml"), "run", tmp_path / "runs")
    assert "store" not in run.journal.events()[0]
    assert run.parameters().store == ""
