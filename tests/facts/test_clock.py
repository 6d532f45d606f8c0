"""A host's time zone, by a clock that is put forward in spring."""

import datetime
import zoneinfo

import pytest
from cutover.facts import clock


@pytest.mark.parametrize(
    "zone, day, name, shift",
    [
        ("Europe/Rome", "2026-03-28 12:00", "CET", 3600),
        ("Europe/Rome", "2026-03-27 12:00", "CET", 0),
        ("Europe/Rome", "2026-10-24 12:00", "CET", -3600),
        ("Etc/UTC", "2026-03-28 12:00", "UTC", 0),
    ],
)
def test_a_zone_tells_whether_its_clock_moves(monkeypatch, zone, day, name, shift):
    place = zoneinfo.ZoneInfo(zone)

    def local(hosts, host, times, form):
        return [datetime.datetime.fromtimestamp(at, place).strftime(form[1:]) for at in times]

    now = datetime.datetime.fromisoformat(f"{day}+00:00").timestamp()
    monkeypatch.setattr(clock, "_local", local)
    monkeypatch.setattr(clock.time, "time", lambda: now)
    read = clock.zone(None, "old")
    assert (read.name, read.shift) == (name, shift)
