"""Secrets are given by reference; any text with one, in any spelling, shows its label instead."""

import base64
import html
import json
import urllib.parse

import pytest
from cutover import site
from cutover.connect import dns
from cutover.record import vault
from cutover.site import secrets
from hypothesis import given
from hypothesis import strategies as st

VALUE = 'p"ä\\s<w>&r d%1'


@pytest.fixture(autouse=True)
def apart():
    with secrets.apart():
        yield


@pytest.mark.parametrize(
    "spelling",
    [
        lambda value: value,
        json.dumps,
        lambda value: json.dumps(value, ensure_ascii=False),
        html.escape,
        repr,
        lambda value: repr(value.encode()),
        urllib.parse.quote,
        urllib.parse.quote_plus,
        lambda value: value.encode().hex(),
        lambda value: base64.b64encode(value.encode()).decode(),
        lambda value: base64.b64encode(b"\0u\0" + value.encode()).decode(),
        lambda value: base64.b64encode(b"\0user\0" + value.encode() + b" and more").decode(),
        lambda value: base64.b64encode(b"\0ab\0" + value.encode() + b"x").decode(),
        lambda value: html.escape(json.dumps(value)),
    ],
)
def test_every_spelling_is_removed(spelling):
    secrets.register("alice", VALUE)
    text = secrets.redact(f"before {spelling(VALUE)} after")
    assert "‹secret alice›" in text and text.startswith("before ") and "after" in text
    assert spelling(VALUE) not in text


@given(st.text(min_size=4, max_size=30), st.text(max_size=20), st.text(max_size=20))
def test_no_value_survives_in_any_json(value, before, after):
    with secrets.apart():
        secrets.register("x", value)
        data = {before + value: [value, {"in": f"{before}{value}{after}", "n": 1, "no": None}]}
        ((key, (alone, within)),) = secrets.redact_value(data).items()
        assert within["n"] == 1 and within["no"] is None
        for text in (key, alone, within["in"]):
            assert "‹secret x›" in text
            # the label's own words, or JSON's escapes, may spell the value: that is not a leak
            assert not any(value in part for part in text.split("‹secret x›"))


def test_only_what_holds_a_secret_is_copied():
    secrets.register("alice", VALUE)
    clean, secret = {"rows": [{"name": "INBOX"}, 7]}, {"rows": [{"name": f"of {VALUE}"}, 7]}
    data = {"clean": clean, "secret": secret, "pair": ("a", "b"), f"key {VALUE}": 1}
    redacted = secrets.redact_value(data)
    assert redacted["clean"] is clean and redacted["pair"] is data["pair"]
    assert redacted["secret"] == {"rows": [{"name": "of ‹secret alice›"}, 7]}
    assert secret == {"rows": [{"name": f"of {VALUE}"}, 7]}
    assert list(redacted) == ["clean", "secret", "pair", "key ‹secret alice›"]
    assert secrets.redact_value(clean) is clean


def test_longer_secrets_are_removed_first_and_labels_do_not_change():
    secrets.register("short", "hunter")
    secrets.register("long", "hunter2000")
    assert secrets.redact("hunter2000 hunter") == "‹secret long› ‹secret short›"
    secrets.register("again", "hunter")
    assert secrets.redact("hunter") == "‹secret short›"


def test_a_label_cannot_carry_markup():
    secrets.register("<b>\n", "hunter2")
    assert secrets.redact("hunter2") == "‹secret _b__›"


def test_bytes_that_are_not_text_stay_the_same():
    secrets.register("x", "hunter2")
    assert (
        secrets.redact_bytes(b"\xff\x00hunter2\xfe")
        == b"\xff\x00" + "‹secret x›".encode() + b"\xfe"
    )


def test_reading_a_secret_registers_it(tmp_path, monkeypatch):
    (tmp_path / "alice").write_text("open sesame\n")
    monkeypatch.setenv("CUTOVER_WORD", "xyzzy")
    site.secret(f"file:{tmp_path}/alice")
    site.secret("env:CUTOVER_WORD")
    (tmp_path / "tsig").write_text(
        'key "cutover" { algorithm hmac-sha256; secret "c2VjcmV0IGtleSBvZiB0aGUgem9uZQ=="; };'
    )
    dns.Key.load(tmp_path / "tsig")
    assert secrets.redact("open sesame, xyzzy, c2VjcmV0IGtleSBvZiB0aGUgem9uZQ==") == (
        "‹secret alice›, ‹secret CUTOVER_WORD›, ‹secret tsig_cutover›"
    )


def test_a_secret_too_short_to_distinguish_from_text_is_refused(tmp_path):
    (tmp_path / "alice").write_text("abc\n")
    with pytest.raises(site.SecretUnreadable, match="shorter than 4"):
        site.secret(f"file:{tmp_path}/alice")


def test_a_secret_contained_in_the_parameters_is_refused(tmp_path):
    (tmp_path / "alice").write_text("mailbox\n")
    text = (site.PROJECT / "parameters" / "lab.yaml").read_text()
    (tmp_path / "site.yaml").write_text(
        text.replace("/var/lib/mail-cutover/lab/secrets/alice", f"{tmp_path}/alice")
    )
    with pytest.raises(vault.SecretInTheOpen, match="contains the password behind"):
        vault.register(site.load(tmp_path / "site.yaml"))
