"""What is read of a milter, without a host."""

import pytest
from cutover.facts import antispam


def test_milters_of_sendmail_in_their_order():
    text = (
        "O InputMailFilters=clamav, rspamd\nO Milter.macros.connect=j, _\n"
        "Xrspamd, S=inet:11332@127.0.0.1,\n\tF=T, T=S:30s;R:60s\n"
        "Xclamav, S=local:/run/clamav.sock\nXunused, S=inet:1@x\n"
    )
    milters = antispam.parse_milters(text)
    assert list(milters) == ["clamav", "rspamd"]
    assert milters["clamav"] == antispam.Milter("local:/run/clamav.sock", "")
    assert milters["rspamd"] == antispam.Milter("inet:11332@127.0.0.1", "T")
    assert antispam.parse_milters("# no milter\n") == {}


@pytest.mark.parametrize(
    "text, seconds",
    [
        ('{"timeout": 4.0, "expire": 86400.0}', 4.0),
        ("", None),
        ('{"timeout": 300, "enabled": false}', None),
        ("{}", None),
        ("[]", None),
        ("rspamadm: not found", None),
    ],
)
def test_delay_of_rspamds_greylist(text, seconds):
    assert antispam.parse_greylist(text) == seconds
