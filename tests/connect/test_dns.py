"""DNS: messages in tables, servers that answer oddly, and the lab's BIND."""

import contextlib
import json
import socket
import threading
import time

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import dns.tsig
import pytest
from cutover.connect.dns import (
    BadAnswer,
    BadKey,
    BadUpdate,
    Key,
    KeyFileBad,
    NoAnswer,
    NotAuthoritative,
    PrerequisiteFailed,
    RRset,
    Server,
    Update,
    UpdateRefused,
    ZoneMissing,
    reached,
    update_permitted,
)

KEY = Key("test", "hmac-sha256", b"sixteen bytes or more")


def _same_port():
    """A UDP and a TCP socket on one port.

    The free one of the one kind may be taken for the other.
    """
    for _ in range(50):
        tcp = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            udp.bind(tcp.getsockname())
            return udp, tcp
        except OSError:
            udp.close()
            tcp.close()
    raise AssertionError("no port is free for both")


@contextlib.contextmanager
def server(behave, timeout=0.5):
    """A name server on UDP and TCP of one port.

    behave(question, over) returns messages, bytes, or None for silence.
    """
    udp, tcp = _same_port()

    def reply(wire, over):
        question = dns.message.from_wire(
            wire, keyring=lambda message, name: KEY.tsig(), continue_on_error=True
        )
        made = behave(question, over)
        return made.to_wire() if isinstance(made, dns.message.Message) else made

    def serve_udp():
        with contextlib.suppress(OSError):
            while True:
                wire, peer = udp.recvfrom(65535)
                if not wire:  # the end: a socket that is only closed would go on to receive
                    return
                if made := reply(wire, "udp"):
                    udp.sendto(made, peer)

    def serve_tcp():
        with contextlib.suppress(OSError):
            while True:
                link, _ = tcp.accept()
                with link, link.makefile("rb") as file:
                    size = int.from_bytes(file.read(2), "big")
                    if made := reply(file.read(size), "tcp"):
                        link.sendall(len(made).to_bytes(2, "big") + made)

    threads = [threading.Thread(target=serve, daemon=True) for serve in (serve_udp, serve_tcp)]
    for thread in threads:
        thread.start()
    try:
        yield Server("box", "127.0.0.1", udp.getsockname()[1], timeout)
    finally:
        udp.sendto(b"", udp.getsockname())
        tcp.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(5)
        udp.close()
        tcp.close()


def answering(*records, rcode=dns.rcode.NOERROR, flags=dns.flags.AA):
    def behave(question, over):
        made = dns.message.make_response(question)
        made.flags |= flags
        made.set_rcode(rcode)
        made.answer = [dns.rrset.from_text(*record) for record in records]
        return made

    return behave


# -- questions


def test_lookup():
    with server(answering(("a.lab.test.", 60, "IN", "A", "10.0.0.2", "10.0.0.1"))) as box:
        addresses = box.lookup("A.lab.test", "A")
        assert addresses == RRset("a.lab.test.", 60, "A", ("10.0.0.1", "10.0.0.2"))
        assert box.lookup("a.lab.test", "MX") is None
    with server(answering(rcode=dns.rcode.NXDOMAIN)) as box:
        assert box.lookup("a.lab.test", "A") is None


def test_an_alias_is_not_followed():
    chain = [
        ("a.lab.test.", 60, "IN", "CNAME", "b.lab.test."),
        ("b.lab.test.", 60, "IN", "A", "10.0.0.1"),
    ]
    with server(answering(*chain)) as box:
        assert box.lookup("a.lab.test", "A") is None
        assert box.lookup("a.lab.test", "CNAME").values == ("b.lab.test.",)


def test_questions_ask_for_no_recursion():
    asked = []
    with server(
        lambda question, over: asked.append(question) or answering()(question, over)
    ) as box:
        box.lookup("a.lab.test", "A")
    assert not asked[0].flags & dns.flags.RD


@pytest.mark.parametrize(
    "behave, kind, says",
    [
        (
            answering(rcode=dns.rcode.REFUSED),
            BadAnswer,
            "answered REFUSED when asked for a.lab.test. A",
        ),
        (
            answering(rcode=dns.rcode.SERVFAIL),
            BadAnswer,
            "SERVFAIL.*not loaded or has expired",
        ),
        (answering(rcode=dns.rcode.NOTIMP), BadAnswer, "NOTIMP"),
        (answering(flags=0), NotAuthoritative, "not authoritative for a.lab.test. A"),
        (answering(flags=0, rcode=dns.rcode.NXDOMAIN), NotAuthoritative, "not authoritative"),
        (lambda question, over: None, NoAnswer, "timed out"),
        (lambda question, over: b"rubbish", NoAnswer, "no answer"),
    ],
)
def test_odd_answers(behave, kind, says):
    with server(behave) as box, pytest.raises(kind, match=says) as caught:
        box.lookup("a.lab.test", "A")
    assert "box" in str(caught.value)


def test_one_lost_datagram_is_asked_again():
    tries = []
    with server(
        lambda question, over: (
            tries.append(1) or (answering()(question, over) if len(tries) > 1 else None)
        )
    ) as box:
        assert box.lookup("a.lab.test", "A") is None
    assert len(tries) == 2


def test_a_truncated_answer_is_asked_for_over_tcp():
    whole = answering(("a.lab.test.", 60, "IN", "A", "10.0.0.1"))

    def behave(question, over):
        return (
            whole(question, over)
            if over == "tcp"
            else answering(flags=dns.flags.AA | dns.flags.TC)(question, over)
        )

    with server(behave) as box:
        assert box.lookup("a.lab.test", "A").values == ("10.0.0.1",)


def test_an_answer_to_another_question_is_not_taken():
    def behave(question, over):
        made = answering(("a.lab.test.", 60, "IN", "A", "10.0.0.1"))(question, over)
        made.id = question.id ^ 1
        return made

    with server(behave) as box, pytest.raises(NoAnswer):
        box.lookup("a.lab.test", "A")


def test_all_types_survives_a_server_that_will_not_answer_any():
    def behave(question, over):
        if over == "tcp":
            return answering(rcode=dns.rcode.REFUSED)(question, over)
        mx = question.question[0].rdtype == dns.rdatatype.MX
        return answering(*([("a.lab.test.", 60, "IN", "MX", "10 b.lab.test.")] if mx else []))(
            question, over
        )

    with server(behave) as box:
        assert list(box.all_types("a.lab.test")) == ["MX"]


def test_all_types_takes_from_any_what_it_did_not_ask_for():
    def behave(question, over):
        everything = [
            ("a.lab.test.", 60, "IN", "MX", "10 b.lab.test."),
            ("a.lab.test.", 60, "IN", "RP", "a. b."),
        ]
        signature = "MX 13 3 60 20300101000000 20200101000000 1 lab.test. YQ=="
        everything += [
            ("a.lab.test.", 60, "IN", "RRSIG", signature),
            ("b.lab.test.", 60, "IN", "LOC", "1 N 1 E 0"),
        ]
        return answering(*(everything if over == "tcp" else []))(question, over)

    with server(behave) as box:
        assert {kind: rrset.values for kind, rrset in box.all_types("a.lab.test").items()} == {
            "RP": ("a. b.",)
        }


def test_a_zone_that_is_not_there():
    with (
        server(answering(rcode=dns.rcode.NXDOMAIN)) as box,
        pytest.raises(ZoneMissing, match="no zone lab.test."),
    ):
        box.serial("lab.test")


@pytest.mark.parametrize(
    "have, wanted, is_there",
    [(5, 5, True), (6, 5, True), (5, 6, False), (1, 2**32 - 1, True), (2**32 - 1, 1, False)],
)
def test_serials_go_round(have, wanted, is_there):
    assert reached(have, wanted) is is_there


# -- updates

RENAME = Update(
    "lab.test",
    [
        ("exists", "mailbox.lab.test", "A", ("10.0.0.1", "10.0.0.2")),
        ("exists", "ns1.lab.test", "A", None),
        ("absent", "mailbox.lab.test", "CNAME"),
        ("unused", "old.lab.test"),
    ],
    [("mailbox.lab.test", "ANY"), ("old.lab.test", "TXT")],
    [("old.lab.test", 60, "A", "10.0.0.1"), ("mailbox.lab.test", 60, "CNAME", "old.lab.test")],
)
TEXT = """\
zone lab.test.
prereq yxrrset mailbox.lab.test. A 10.0.0.1
prereq yxrrset mailbox.lab.test. A 10.0.0.2
prereq yxrrset ns1.lab.test. A
prereq nxrrset mailbox.lab.test. CNAME
prereq nxdomain old.lab.test.
update delete mailbox.lab.test.
update delete old.lab.test. TXT
update add old.lab.test. 60 A 10.0.0.1
update add mailbox.lab.test. 60 CNAME old.lab.test.
send
"""


def test_update_as_nsupdate_is_fed():
    assert RENAME.text() == TEXT


def test_update_through_json():
    assert Update.from_json(json.loads(json.dumps(RENAME.to_json()))) == RENAME


@pytest.mark.parametrize(
    "change, says",
    [
        ({"adds": [("a.other.test", 60, "A", "10.0.0.1")]}, "outside the zone.*a.other.test"),
        ({"adds": [("a.lab.test", 60, "A", "10.0.0.256")]}, "10.0.0.256"),
        ({"adds": [("a.lab.test", 60, "NOSUCH", "x")]}, "NOSUCH"),
        ({"deletes": [("a" * 70 + ".lab.test", "A")]}, "lab.test"),
        ({"prerequisites": [("exists", "a.lab.test", "A", ())]}, "empty RRset"),
        ({"prerequisites": [("perhaps", "a.lab.test", "A")]}, "no such prerequisite"),
    ],
)
def test_updates_that_cannot_be_written(change, says):
    with pytest.raises(BadUpdate, match=says):
        Update("lab.test", **change).message()
    with pytest.raises(BadUpdate, match=says):
        Update("lab.test", **change).text()


def judging(rcode, sign=True, **tsig):
    def behave(question, over):
        made = dns.message.make_response(question)
        made.set_rcode(rcode)
        if not sign:
            made.tsig = None
            made.keyring = None
        return made

    return behave


@pytest.mark.parametrize(
    "rcode, kind, says",
    [
        (
            "REFUSED",
            UpdateRefused,
            "with REFUSED: check that key test is in the zone's allow-update",
        ),
        ("SERVFAIL", UpdateRefused, "with SERVFAIL"),
        ("NOTIMP", UpdateRefused, "with NOTIMP"),
        ("NOTAUTH", NotAuthoritative, "NOTAUTH"),
        ("NOTZONE", NotAuthoritative, "NOTZONE"),
        ("YXDOMAIN", PrerequisiteFailed, "name that should be unused has records"),
        ("YXRRSET", PrerequisiteFailed, "records that should be absent exist"),
        ("NXRRSET", PrerequisiteFailed, "absent or different"),
        ("NXDOMAIN", PrerequisiteFailed, "should exist has no records"),
    ],
)
def test_update_answers(rcode, kind, says):
    with server(judging(dns.rcode.from_text(rcode))) as box:
        with pytest.raises(kind, match=says) as caught:
            box.update(RENAME, KEY)
        if kind is PrerequisiteFailed:
            assert caught.value.which == rcode and "prereq nxdomain old.lab.test." in str(
                caught.value
            )


def test_update_is_done_and_sent_once_over_tcp():
    seen = []
    with server(
        lambda question, over: seen.append(over) or judging(dns.rcode.NOERROR)(question, over)
    ) as box:
        box.update(RENAME, KEY)
    assert seen == ["tcp"]


@pytest.mark.parametrize(
    "behave", [lambda question, over: None, judging(dns.rcode.NOERROR, sign=False)]
)
def test_an_update_without_a_trustworthy_answer_is_unknown(behave):
    with (
        server(behave, timeout=0.2) as box,
        pytest.raises(NoAnswer, match="UNKNOWN") as caught,
    ):
        box.update(RENAME, KEY)
    assert caught.value.sent


def test_an_update_that_was_never_sent_says_so():
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(NoAnswer, match="nothing was sent") as caught:
        Server("box", "127.0.0.1", port, 0.5).update(RENAME, KEY)
    assert not caught.value.sent


# -- keys


def test_key_file(tmp_path):
    file = tmp_path / "key"
    file.write_text(
        '# x\n/* key "no" {} */ key "cut-over" {\n\talgorithm hmac-sha512; // y\n\tsecret "c2VjcmV0Lw==";\n};\n'
    )
    key = Key.load(file)
    assert (key.name, key.algorithm, key.secret) == ("cut-over", "hmac-sha512", b"secret/")
    assert "secret" not in repr(key) and "c2VjcmV0" not in repr(key)


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "0 clauses"),
        (
            'key a { algorithm hmac-sha256; secret "YQ=="; }; key b { algorithm hmac-sha256; secret "YQ=="; };',
            "2 clauses",
        ),
        ('key "a" { secret "YQ=="; };', "key a has no algorithm"),
        ('key "a" { algorithm hmac-sha256; };', "key a has no secret"),
        ('key "a" { algorithm rot13; secret "YQ=="; };', "unknown algorithm rot13"),
        ('key "a" { algorithm hmac-sha256; secret "UXU*A"; };', "not base64"),
    ],
)
def test_bad_key_files(tmp_path, text, says):
    file = tmp_path / "key"
    file.write_text(text)
    with pytest.raises(KeyFileBad, match=says) as caught:
        Key.load(file)
    assert "UXU" not in str(caught.value) and str(file) in str(caught.value)
    with pytest.raises(KeyFileBad, match="tsig-keygen"):
        Key.load(tmp_path / "none")


# -- the lab's BIND

TRIAL = ["hosts-trial.lab.test", "hosts-trial-two.lab.test"]


@pytest.fixture
def bind(real):
    """The primary, with the trial names cleared away before and after."""
    primary = real.dns("ns1")
    clear = Update("lab.test", deletes=[(name, "ANY") for name in TRIAL])
    primary.update(clear, real.key())
    yield primary
    primary.update(clear, real.key())


@pytest.mark.lab
def test_real_update_prerequisites_and_transfer(real, bind):
    first, second_name = TRIAL
    make = Update(
        "lab.test",
        [("unused", first)],
        [],
        [(first, 60, "A", "10.0.0.1"), (first, 60, "TXT", '"a b"')],
    )
    bind.update(make, real.key())
    with pytest.raises(PrerequisiteFailed) as caught:
        bind.update(make, real.key())
    assert caught.value.which == "YXDOMAIN"
    rename = Update(
        "lab.test",
        [
            ("exists", first, "A", ("10.0.0.1",)),
            ("absent", first, "CNAME"),
            ("unused", second_name),
        ],
        [(first, "ANY")],
        [(second_name, 60, "A", "10.0.0.1"), (first, 60, "CNAME", second_name)],
    )
    bind.update(rename, real.key())
    assert {kind: rrset.values for kind, rrset in bind.all_types(first).items()} == {
        "CNAME": (f"{second_name}.",)
    }
    for prerequisite, which in [
        (("exists", first, "A", None), "NXRRSET"),
        (("exists", second_name, "A", ("10.0.0.2",)), "NXRRSET"),
        (("absent", second_name, "A"), "YXRRSET"),
    ]:
        with pytest.raises(PrerequisiteFailed) as caught:
            bind.update(Update("lab.test", [prerequisite], [(second_name, "ANY")]), real.key())
        assert caught.value.which == which
    assert bind.lookup(second_name, "A").values == ("10.0.0.1",)
    serial, second, deadline = bind.serial("lab.test"), real.dns("ns2"), time.monotonic() + 180
    while not reached(second.serial("lab.test"), serial):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert second.lookup(first, "CNAME").values == (f"{second_name}.",)


@pytest.mark.lab
def test_real_nsupdate_takes_the_text(real, bind):
    """The text shown for approval does what the message sent does."""
    first, second = TRIAL
    bind.update(
        Update(
            "lab.test", adds=[(first, 60, "A", "10.0.0.1"), (first, 60, "MX", "5 ns1.lab.test")]
        ),
        real.key(),
    )
    shown = Update(
        "lab.test",
        [
            ("exists", first, "A", ("10.0.0.1",)),
            ("exists", first, "MX", None),
            ("absent", first, "TXT"),
            ("unused", second),
        ],
        [(first, "MX")],
        [(second, 60, "CNAME", first)],
    )
    host, key = real.ssh("ns1"), real.site.dns.tsig_key
    held = host.run(["mktemp"]).text.strip()
    try:
        with open(key, "rb") as file:
            host.put(file.read(), held)
        text = f"server 127.0.0.1\n{shown.text()}"
        host.run(["nsupdate", "-k", held], input=text.encode())
    finally:
        host.run(["rm", "-f", held])
    assert bind.lookup(first, "MX") is None and bind.lookup(second, "CNAME").values == (
        f"{first}.",
    )


@pytest.mark.lab
def test_real_permission_is_proved_without_a_change(real, bind, tmp_path, monkeypatch):
    key, before = real.key(), bind.serial("lab.test")
    update_permitted(bind, "lab.test", key)
    update_permitted(
        bind, "lab.test", key, [("ns1.lab.test", "A"), ("ns1.lab.test", "CNAME"), (TRIAL[0], "A")]
    )
    assert bind.serial("lab.test") == before
    with pytest.raises(BadKey) as caught:
        update_permitted(bind, "lab.test", Key("no-such-key", key.algorithm, key.secret))
    assert caught.value.tsig == "BADKEY"
    with pytest.raises(BadKey) as caught:
        update_permitted(bind, "lab.test", Key(key.name, key.algorithm, key.secret[::-1]))
    assert caught.value.tsig == "BADSIG"
    with pytest.raises(NotAuthoritative):
        update_permitted(bind, "no-such-zone.test", key)
    real_time = time.time
    monkeypatch.setattr(time, "time", lambda: real_time() - 3600)
    with pytest.raises(BadKey) as caught:
        update_permitted(bind, "lab.test", key)
    assert caught.value.tsig == "BADTIME"


@pytest.mark.lab
def test_real_questions(real):
    primary = real.dns("ns1")
    assert primary.nameservers("lab.test") == ("ns1.lab.test.", "ns2.lab.test.")
    assert primary.lookup("ns1.lab.test", "A").values == (real.site.address("ns1"),)
    with pytest.raises(ZoneMissing):
        primary.serial("ns1.lab.test")
    with pytest.raises((BadAnswer, ZoneMissing)):  # as it serves the parent or not
        primary.serial("no-such-zone.test")


@pytest.mark.lab
def test_real_server_refuses_a_record_it_finds_wrong(real, bind):
    """BIND looks for the address an MX names.

    The refusal is not the key's fault, and the error says so.
    """
    wrong = Update("lab.test", adds=[(TRIAL[0], 60, "MX", "5 nowhere.lab.test")])
    with pytest.raises(UpdateRefused, match="its log"):
        bind.update(wrong, real.key())
    assert bind.all_types(TRIAL[0]) == {}
