"""Schedules of several hosts, by hand-made costs. No time is measured."""

import json

import pytest
from click.testing import CliRunner
from cutover.bench import scale, schedules
from cutover.commands import main
from cutover.remote import units

COSTS = schedules.Costs(unit=0.3, user=0.05, byte=25e-9)


@pytest.mark.parametrize("hosts", [1, 3, 16])
def test_each_user_is_in_one_unit_largest_first(hosts):
    sizes = {f"u{number}": number**3 for number in range(2000)}
    order = units.divide(sizes, hosts)
    users = [user for unit in order for user in unit]
    assert sorted(users) == sorted(sizes)
    assert users == sorted(sizes, key=lambda user: -sizes[user])
    assert max(map(len, order)) <= units.MOST and len(order) > hosts


def test_a_user_larger_than_the_others_together_is_a_unit():
    assert units.divide({"a": 10, "b": 10**10, "c": 10}, 4)[0] == ["b"]


def test_small_users_are_not_alone_in_a_unit():
    order = units.divide({f"u{number}": 0 for number in range(1000)}, 4)
    assert [len(unit) for unit in order[:-1] if len(unit) < 64] == [] and len(order) < 24


def test_nobody_is_no_unit():
    assert units.divide({}, 4) == []


def test_a_large_site_takes_little_longer_than_the_bound():
    entry = schedules.schedule(schedules.sizes(20_000), 16, 8, COSTS)
    assert all(1 <= entry.ratio(case) <= 1.1 for case in schedules.CASES[:3])
    assert 1 <= entry.ratio("one host lost") <= 1.3
    assert entry.seconds["one host slow"] > entry.seconds["as estimated"]


def test_one_users_parts_are_spread_over_a_hosts_cores_only():
    entry = schedules.schedule({"a": 100 << 30}, 4, 8, COSTS)
    alone = (100 << 30) * COSTS.byte / 8
    assert entry.seconds["as estimated"] == pytest.approx(alone, rel=0.01)
    assert entry.ratio("as estimated") < 1.01
    assert (
        entry.largest == pytest.approx(alone, rel=0.01) and 4 * entry.bounds["as estimated"] > alone
    )


def test_what_is_compared_was_measured_in_one_run():
    def of_runs(*cpu):
        return {number: {"cpu": value, "seconds": 1.0} for number, value in enumerate(cpu)}

    timed = {"host": of_runs(10, 20, 40), "dask": of_runs(11, 21, 50)}
    timed |= {"pool": {0: timed["host"][0], 2: timed["host"][2]}}
    timed |= {"claims": {0: timed["host"][0], 2: timed["dask"][2]}}
    ways = {"start 1": scale.Way(1, 1.5, 1.0), "start host": scale.Way(1, 0.5, 1.0)}
    ratios = scale._ratios(timed, ways)
    assert ratios["dask"] == scale.Ratio(*map(pytest.approx, (0.1, 0.05, 0.25)))
    assert ratios["claims"] == scale.Ratio(*map(pytest.approx, (0.125, 0, 0.25)))
    assert ratios["dask, without its start"].lowest == pytest.approx(0)
    assert str(ratios["dask"]) == "+10.0 % (+5.0 to +25.0)"


def test_the_command_measures_and_writes_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(schedules, "SITES", ((100, 2),))
    survey, page = tmp_path / "survey.json", tmp_path / "scale.md"
    survey.write_text(json.dumps({"users": [{"user": "a", "bytes": 5}, {"user": "b", "bytes": 7}]}))
    options = ["--users", "3", "--runs", "1", "--survey", str(survey), "--write", str(page)]
    done = CliRunner().invoke(main.cutover, ["bench", "scale", *options, "--json"])
    assert done.exit_code == 0, done.output
    values = json.loads(done.stdout)
    assert values["costs"]["user"] > 0 and values["schedules"][0]["users"] == 100
    assert schedules.CASES[-1] in page.read_text()
