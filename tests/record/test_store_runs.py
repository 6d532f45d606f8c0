"""Runs of several stores of one file: each knows its store."""

import pytest
import store_sites
from cutover import site
from cutover.record import drift, run_folder


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


def test_a_run_of_a_site_has_no_store(tmp_path, file):
    run = run_folder.create(site.load("parameters/lab.yaml"), "run", tmp_path / "runs")
    assert "store" not in run.journal.events()[0]
    assert run.parameters().store == ""
