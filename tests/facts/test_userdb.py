"""The userdb editor: what it must and must not touch, and byte identity of generated texts."""

import types

import pytest
from cutover import site
from cutover.facts import mx_routing, userdb, userdb_map
from hypothesis import given
from hypothesis import strategies as st

OLD, BOTH = "mailbox.lab.test", "{0}@mailboxold.lab.test, {0}@mailboxvm.lab.test"
LAB = (OLD, "mailbox", "[10.77.0.15]"), ("mailboxold.lab.test", "mailboxvm.lab.test")
B = BOTH.format("alice")


@pytest.mark.parametrize(
    "before, after",
    [
        ("alice:maildrop alice@mailbox.lab.test\n", f"alice:maildrop {B}\n"),
        ("alice:maildrop\t \talice@mailbox.lab.test\n", f"alice:maildrop\t \t{B}\n"),
        ("alice:maildrop alice@mailbox.lab.test", f"alice:maildrop {B}"),
        ("alice:maildrop alice@mailbox.lab.test\r\n", f"alice:maildrop {B}\r\n"),
        ("alice:maildrop alice@mailbox.lab.test  \n", f"alice:maildrop {B}  \n"),
        ("alice:maildrop alice@MailBox.LAB.test\n", f"alice:maildrop {B}\n"),
        ("alice:maildrop alice@mailbox.lab.test.\n", f"alice:maildrop {B}\n"),
        ("alice:MailDrop alice@mailbox.lab.test\n", f"alice:MailDrop {B}\n"),
        (
            "alice:maildrop <alice@mailbox.lab.test>\n",
            "alice:maildrop <alice@mailboxold.lab.test>, <alice@mailboxvm.lab.test>\n",
        ),
        ("alice:maildrop alice@MailBox\n", f"alice:maildrop {B}\n"),
        ("alice:maildrop alice@[10.77.0.15]\n", f"alice:maildrop {B}\n"),
        ("b:maildrop x@y.test,alice@mailbox.lab.test ,z\n", f"b:maildrop x@y.test,{B} ,z\n"),
        (
            "b:maildrop alice@mailbox.lab.test, bob@mailbox.lab.test\n",
            f"b:maildrop {B}, {BOTH.format('bob')}\n",
        ),
        (
            'b:maildrop "odd, @name"@mailbox.lab.test\n',
            'b:maildrop "odd, @name"@mailboxold.lab.test, "odd, @name"@mailboxvm.lab.test\n',
        ),
        ("a:b:maildrop alice@mailbox.lab.test\n", f"a:b:maildrop {B}\n"),
    ],
)
def test_routed_to_both_and_back(before, after):
    new, changes = userdb.route_to_both(before.encode(), *LAB)
    assert new == after.encode()
    assert changes == [(before.rstrip("\r\n"), after.rstrip("\r\n"))]
    assert userdb.route_to_both(new, *LAB) == (new, [])
    assert userdb.route_back(new, OLD, LAB[1], changes=changes)[0] == before.encode()


@pytest.mark.parametrize(
    "line, reason",
    [
        ("alice:maildrop alice@elsewhere.test", userdb.Reason.ELSEWHERE),
        ("alice:maildrop alice@submailbox.lab.test", userdb.Reason.ELSEWHERE),
        ("alice:maildrop alice@mailbox.lab.test.example", userdb.Reason.ELSEWHERE),
        ("alice:maildrop alice", userdb.Reason.LOCAL),
        ("alice:mailname alice@mailbox.lab.test", userdb.Reason.OTHER_FIELD),
        (":default:mailname mailbox.lab.test", userdb.Reason.OTHER_FIELD),
        ("alice:maildrop alice@mailboxvm.lab.test", userdb.Reason.ONE_TARGET),
        (f"alice:maildrop {B}", userdb.Reason.BOTH_ALREADY),
        (
            'alice:maildrop "|/usr/bin/vacation alice@mailbox.lab.test"',
            userdb.Reason.SPECIAL,
        ),
        ("alice:maildrop :include:/etc/list", userdb.Reason.SPECIAL),
        (
            "alice:maildrop alice%x@gw.test@mailbox.lab.test",
            userdb.Reason.ODD_ADDRESS,
        ),
        (
            "alice:maildrop Alice <alice@mailbox.lab.test>",
            userdb.Reason.ODD_ADDRESS,
        ),
        ("alice:maildrop Alice <alice@mailbox>", userdb.Reason.ODD_ADDRESS),
        ("alice:maildrop Alice <alice@mailboxes>", userdb.Reason.ELSEWHERE),
        ("alice:maildrop alice@[10.77.0.16]", userdb.Reason.ELSEWHERE),
    ],
)
def test_left_alone_with_its_reason(line, reason):
    data = b"# comment alice@mailbox.lab.test\n\n" + line.encode() + b"\n"
    assert userdb.route_to_both(data, *LAB) == (data, [])
    [(entry, actual)] = userdb.left_alone(data, *LAB)
    assert actual is reason and entry.line_number == 3 and entry.raw == line.encode() + b"\n"


def test_two_lines_of_one_key_are_both_routed():
    data = b"bob:maildrop bob@mailbox.lab.test\nbob:maildrop other@mailbox.lab.test\n"
    new, changes = userdb.route_to_both(data, *LAB)
    assert len(changes) == 2 and new.count(b"\n") == 2
    assert userdb.duplicates(data) == [("bob:maildrop", [1, 2])]


def test_equal_new_lines_get_their_own_old_spelling_back():
    data = (
        b"bob:maildrop bob@MAILBOX.lab.test\nbob:maildrop bob@mailbox.lab.test\n"
        b"bob:maildrop bob@mailbox.LAB.test.\n"
    )
    new, changes = userdb.route_to_both(data, *LAB)
    assert userdb.route_back(new, OLD, LAB[1], changes=changes)[0] == data


def test_bytes_that_are_no_utf8_survive():
    data = b"caf\xe9:maildrop caf\xe9@mailbox.lab.test\n\xff\xfe\n"
    new, _ = userdb.route_to_both(data, *LAB)
    assert (
        new
        == b"caf\xe9:maildrop caf\xe9@mailboxold.lab.test, caf\xe9@mailboxvm.lab.test\n\xff\xfe\n"
    )
    assert userdb.route_back(new, OLD, LAB[1])[0] == data


def test_parse_and_problems():
    data = b"#c\n\na:maildrop x\n b:maildrop y\nnokey\nc:maildrop\nd:maildrop z\r\nplain v\n"
    data += b"e:maildrop " + b"x" * 1012
    entries = userdb.parse(data)
    assert [(entry.line_number, entry.key, entry.field, entry.value[:3]) for entry in entries] == [
        (3, "a", "maildrop", "x"),
        (7, "d", "maildrop", "z"),
        (8, "", "plain", "v"),
        (9, "e", "maildrop", "xxx"),
    ]
    assert [number for number, _ in userdb.problems(data)] == [4, 5, 6, 7, 8, 9]


# Hosts in canonical spelling, so that the inverse needs no memory; never a pair routed already.
recipients = st.one_of(
    st.from_regex(
        r"[a-z][a-z0-9._+-]{0,8}@(mailbox\.lab\.test|elsewhere\.test|mailboxold\.lab\.test)",
        fullmatch=True,
    ),
    st.from_regex(r"[a-z]{1,8}", fullmatch=True),
    st.just('"|/bin/prog a,b"'),
)
values = st.lists(recipients, min_size=1, max_size=4).flatmap(
    lambda parts: st.lists(
        st.sampled_from([",", ", ", " , "]), min_size=len(parts), max_size=len(parts)
    ).map(
        lambda commas: "".join(
            part + comma for part, comma in zip(parts, [*commas[1:], ""], strict=True)
        )
    )
)
fields = st.sampled_from(["maildrop", "mailname", "MAILDROP"])
records = st.builds(
    lambda key, name, gap, value: f"{key}:{name}{gap}{value}",
    st.from_regex(r"[a-z:]{1,8}", fullmatch=True),
    fields,
    st.sampled_from([" ", "\t", " \t "]),
    values,
)
rubbish = st.binary(max_size=40).map(lambda data: data.replace(b"\n", b""))
lines = st.one_of(records.map(str.encode), rubbish, st.just(b"# x@mailbox.lab.test"))
texts = st.lists(st.tuples(lines, st.sampled_from([b"\n", b"\r\n", b"\n\n"]))).map(
    lambda pairs: b"".join(line + end for line, end in pairs)
)


@given(texts, st.booleans())
def test_inverse_and_idempotence(data, cut):
    data = data.rstrip(b"\r\n") if cut else data
    new, changes = userdb.route_to_both(data, *LAB)
    assert userdb.route_to_both(new, *LAB) == (new, [])
    assert userdb.route_back(new, OLD, LAB[1], changes=changes)[0] == data
    assert userdb.route_back(new, OLD, LAB[1])[0] == data
    assert OLD.encode() not in b"".join(
        line for line in new.split(b"\n") if line in [c[1].encode() for c in changes]
    )


@given(texts)
def test_only_changed_lines_differ(data):
    new, changes = userdb.route_to_both(data, *LAB)
    pairs = [
        (old, made)
        for old, made in zip(data.split(b"\n"), new.split(b"\n"), strict=True)
        if old != made
    ]
    assert [
        (old.rstrip(b"\r").decode(), made.rstrip(b"\r").decode()) for old, made in pairs
    ] == changes


@given(st.binary())
def test_arbitrary_bytes_are_not_touched(data):
    data = data.replace(b"@", b"")
    assert userdb.route_to_both(data, *LAB) == (data, [])
    assert b"".join(userdb._lines(data)) == data
    userdb.problems(data)
    userdb.left_alone(data, *LAB)


@pytest.mark.lab
def test_real_makemap_reads_the_text_as_parse_does(real):
    """What makemap itself refuses, how it folds keys and what it makes of dual routes."""
    link = real.ssh("postino3")

    def makemap(data, *options):
        folder = link.run(["mktemp", "-d"]).text.strip()
        try:
            made = link.run(
                ["/usr/sbin/makemap", *options, "btree", f"{folder}/x.db"], input=data, check=False
            )
            return made, link.run(
                ["/usr/sbin/makemap", "-u", "btree", f"{folder}/x.db"], check=False
            ).text
        finally:
            link.run(["rm", "-r", folder])

    good = b"# c\n\nAlice:maildrop\t alice@mailbox.lab.test\n"
    good += b"bob:maildrop b@x.test, bob@mailbox.lab.test\n"
    good += b"bob:mailname B\nz:maildrop z"
    for data in (good, userdb.route_to_both(good, *LAB)[0]):
        made, shown = makemap(data)
        entries = {
            (f"{entry.key}:{entry.field}".lower(), entry.value) for entry in userdb.parse(data)
        }
        assert made.rc == 0 and userdb.problems(data) == []
        assert {tuple(line.split("\t", 1)) for line in shown.splitlines()} == entries
    for wrong in (
        b" a:maildrop x\n",
        b"\t\n",
        b"nokey\n",
        b"a:maildrop \n",
        b"a:maildrop " + b"x" * 1012 + b"\n",
    ):
        assert makemap(wrong)[0].rc and len(userdb.problems(wrong)) == 1, wrong
    longest = b"a:maildrop " + b"x" * 1011 + b"\n"
    assert makemap(longest)[0].rc == 0 and userdb.problems(longest) == []
    twice = b"bob:maildrop a\nbob:maildrop b\n"
    assert makemap(twice)[0].rc and userdb.duplicates(twice)
    assert makemap(twice, "-d")[1] == "bob:maildrop\ta\nbob:maildrop\tb\n"
    _, carried = makemap(b"a:maildrop x@y\r\n")
    assert carried.endswith("x@y\r\n") and userdb.problems(b"a:maildrop x@y\r\n")


def test_entries_whose_mail_would_reach_the_old_server_alone(monkeypatch):
    parameters = site.load("parameters/roma1.yaml")
    old, new, alias = (parameters.fqdn(name) for name in ("mailboxold", "mailboxvm", "mailbox"))
    text = "\n".join(
        [
            f"anna:maildrop anna@{old},anna@{new}",
            f"zoe:maildrop zoe@{alias}",
            "ada:maildrop ada@mailbox",
            f"bert:maildrop bert@{old}",
            f"carl:maildrop carl@{new}",
            "dora:maildrop dora@elsewhere.example",
            f"eva:mailname eva@{alias}",
        ]
    ).encode()
    records = userdb_map.from_source(text)
    monkeypatch.setattr(mx_routing.userdb_map, "with_source", lambda *_: (text, records))
    hosts = types.SimpleNamespace(site=parameters)
    assert mx_routing.to_one_server(hosts, "postino3") == mx_routing.OneServer(
        ["ada", "bert", "zoe"], True
    )
    monkeypatch.setattr(mx_routing.userdb_map, "with_source", lambda *_: (text, records[1:]))
    assert not mx_routing.to_one_server(hosts, "postino3").map_is_current
