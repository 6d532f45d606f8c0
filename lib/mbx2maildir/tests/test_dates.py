"""Dates by c-client's rules."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbx2maildir.formats import dates

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

INTERNAL = [
    (b" 3-Feb-2009 01:02:03 +0100", 1233619323),
    (b"03-Feb-2009 01:02:03 +0100", 1233619323),
    (b"29-Feb-2024 12:00:00 +0530", 1709188200),
    (b"31-Feb-2009 00:00:00 +0000", 1236038400),  # c-client takes any day up to 31: 3 March
    (b" 1-Jan-1970 00:30:00 +0100", -1800),
    (b"31-Dec-2097 23:59:60 +0000", 4039372800),
    (b" 3-FEB-2009 01:02:03 -0000", 1233622923),
    (b"32-Feb-2009 01:02:03 +0100", None),
    (b" 1-Jan-1970 00:00:00 +0100", -3600),
    (b" 3-Feb-98 01:02:03 +0000", 886467723),
    (b"3-February-1998 1:2 +0000", 886467720),
    (b"Tue, 3 Feb 1998 01:02:03 +0000", 886467723),
    (b" 3-Feb-1998 01:02:03-PST", 886496523),
    (b" 3-Feb-1998 01:02:03 PST", 886496523),
    (b" 3-Feb-1998 01:02:03-Q", 886482123),
    (b" 3-Feb-1998 01:02:03 +02", 886467723),  # a zone it cannot read is Greenwich
    (b" 3-Feb-1998 01:02:03 LCL", 886464123),
    (b" 3-Feb-1998", 886460400),
    (b"02/03/98", 886460400),
    (b"1998-02-03", 886460400),
    (b"19980203", 886460400),
    (b" 3-Feb-100 00:00:00 +0000", 949536000),
    (b" 3-Feb-1998 01 +0000", None),
    (b" 3-Feb-98x", None),
    (b" 0-Feb-2009 01:02:03 +0100", None),
    (b" 3-Foo-2009 01:02:03 +0100", None),
    (b" 3-Feb-1969 01:02:03 +0100", None),
    (b" 3-Feb-2098 01:02:03 +0100", None),
    (b" 3-Feb-2009 24:02:03 +0100", None),
    (b" 3-Feb-2009 01:60:03 +0100", None),
    (b"", None),
    (b"\xff\xfe", None),
]


@pytest.mark.parametrize("text, seconds", INTERNAL)
def test_internaldate(text, seconds, monkeypatch):
    monkeypatch.setattr(dates, "zone", 3600)
    assert dates.internaldate(text) == seconds


@given(
    st.datetimes(datetime.datetime(1970, 1, 2), datetime.datetime(2097, 12, 30)),
    st.integers(-14 * 60, 14 * 60),
)
def test_internaldate_against_the_standard_library(when, minutes):
    zone = datetime.timezone(datetime.timedelta(minutes=minutes))
    when = when.replace(microsecond=0, tzinfo=zone)
    sign = "-" if minutes < 0 else "+"
    zone = f"{sign}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"
    text = f"{when.day:2d}-{MONTHS[when.month - 1]}-{when.year:04d} {when:%H:%M:%S} {zone}"
    assert dates.internaldate(text.encode()) == int(when.timestamp())


FROM = [  # the forms c-client's VALID macro knows, by its own comment
    (b"From user Wed Dec  2 05:53 1992\n", 723275580),
    (b"From user Wed Dec  2 05:53:22 1992\n", 723275602),
    (b"From user Wed Dec  2 05:53 PST 1992\n", 723275580 + 8 * 3600),
    (b"From user Wed Dec  2 05:53:22 PST 1992\n", 723275602 + 8 * 3600),
    (b"From user Wed Dec  2 05:53 -0700 1992\n", 723275580 + 7 * 3600),
    (b"From user Wed Dec  2 05:53:22 -0700 1992\n", 723275602 + 7 * 3600),
    (b"From user Wed Dec  2 05:53 1992 PST\n", 723275580 + 8 * 3600),
    (b"From user Wed Dec  2 05:53:22 1992 PST\n", 723275602 + 8 * 3600),
    (b"From user Wed Dec  2 05:53 1992 -0700\n", 723275580 + 7 * 3600),
    (b"From user Wed Dec  2 05:53:22 1992 -0700 remote from host\n", 723275602 + 7 * 3600),
    (b"From user with spaces Wed Dec  2 05:53:22 1992\r\n", 723275602),
    (b"From  Wed Dec  2 05:53:22 1992\n", 723275602),
    (b"From user Wed Dec 99 05:53:22 1992\n", 0),
    (b"From user Mer M\xe4r  2 05:53:22 1992\n", 0),
    (b"From user Wed Dec  2 05:53:22 +02 1992\n", 0),
    (b"From user Wed Dec  2 05:53:22  100\n", 975736402),
    (b"From user Wed Dec  2 25:53:22 1992\n", 723254400),  # the day without the time
    (b"From user xxx xxx xx xx:xx xxxx\n", 0),
    (b"From %b Wed Dec  2 05:53:22 1992\n" % (b"x" * 1100), 723275602),
    (b"From Wed Dec  2 05:53:22 1992\n", 723275602),  # the shortest: no sender at all
    (b"From user Thursday Dec  2 05:53:22 1992\n", None),
    (b"From user Wed\tDec  2 05:53:22 1992\n", None),
    (b"From us\0er Wed Dec  2 05:53:22 1992\n", None),
    (b"From user Wed Dec  2 05:53:22 1992", None),  # the file ends in it
    (b"From the start\n", None),
    (b"From user\n", None),
    (b">From user Wed Dec  2 05:53:22 1992\n", None),
    (b"from user Wed Dec  2 05:53:22 1992\n", None),
]


@pytest.mark.parametrize("line, seconds", FROM)
def test_from_line(line, seconds, monkeypatch):
    monkeypatch.setattr(dates, "zone", 0)
    assert dates.from_line(line) == seconds


def test_from_line_without_a_zone_is_local_time(monkeypatch):
    monkeypatch.setattr(dates, "zone", 3600)
    assert dates.from_line(b"From user Wed Dec  2 05:53:22 1992\n") == 723275602 - 3600
