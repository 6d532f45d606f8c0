"""Folder names: what stays, what must change, and that no two folders ever meet."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbx2maildir.formats import names

CASES = [
    # old path, name below the Maildir, words of the reason
    (b"plain", b"plain", None),
    (b"work/2009/spring", b"work.2009.spring", None),
    (b"a.b", b"a_b", '"." separates'),
    (b"x.y/z.w", b"x_y.z_w", '"." separates'),
    (b"Entw&APw-rfe", b"Entw&APw-rfe", None),
    (b"Entw\xc3\xbcrfe", b"Entw&APw-rfe", "not modified UTF-7"),
    (b"caf\xe9", b"caf&AOk-", "not modified UTF-7"),
    (b"a&b", b"a&-b", "not modified UTF-7"),
    (b"&ACY-", b"&-", "not acceptable"),
    (b"&2D0-", b"&-2D0-", "not modified UTF-7"),
    (b"~x", b"_x", "home"),
    (b"y/~x", b"y.~x", None),
    (b"InBox", b"InBox_", "INBOX"),
    (b"InBox/sub", b"InBox_.sub", "INBOX"),
    (b"sub/INBOX", b"sub.INBOX", None),
    (b"tab\there", b"tab_here", "not modified UTF-7"),
    (b"..", b"__", '"." separates'),
    (b".hidden", b"_hidden", '"." separates'),
]


@pytest.mark.parametrize("path, name, why", CASES)
def test_one_name(path, name, why):
    mapped = names.Names([path])
    assert mapped.maildir(path) == name
    assert [change["from"] for change in mapped.changes] == ([path] if why else [])
    if why:
        assert why in mapped.changes[0]["why"] and mapped.changes[0]["to"] == name


ESCAPED = [
    # old path, name below the Maildir, as Dovecot with the escape character writes it
    (b"plain", b"plain"),
    (b"list.announce", b"list\\2eannounce"),
    (b"x.y/z.w", b"x\\2ey.z\\2ew"),
    (b"~weird", b"\\7eweird"),
    (b"y/~x", b"y.\\7ex"),
    (b".hidden/..", b"\\2ehidden.\\2e\\2e"),
    (b"back\\slash", b"back\\5cslash"),
    (b"a\\2eb", b"a\\5c2eb"),
    (b"Entw&APw-rfe.alt", b"Entw&APw-rfe\\2ealt"),
]


@pytest.mark.parametrize("path, name", ESCAPED)
def test_one_name_that_is_escaped_and_stays(path, name):
    mapped = names.Names([path], names.ESCAPE)
    assert (mapped.maildir(path), mapped.changes) == (name, [])
    assert names.unescaped(name.replace(b".", b"/")) == path


def test_escaped_names_do_not_meet_and_others_change_as_ever():
    paths = [b"a.b", b"a_b", b"INBOX", b"caf\xe9.x", b"tab\there.x"]
    mapped = names.Names(paths, names.ESCAPE)
    assert [mapped.maildir(path) for path in paths] == [
        b"a\\2eb",
        b"a_b",
        b"INBOX_",
        b"caf&AOk-\\2ex",
        b"tab_here\\2ex",
    ]
    assert [change["from"] for change in mapped.changes] == [
        b"INBOX",
        b"caf\xe9.x",
        b"tab\there.x",
    ]
    assert not any('"." separates' in change["why"] for change in mapped.changes)


@given(st.binary(min_size=1, max_size=40))
def test_escaping_can_be_taken_back(name):
    name = name.replace(b"/", b"-")
    assert names.unescaped(names.escaped(name)) == name
    assert b"." not in names.escaped(name)


def test_a_long_name_is_not_cut_within_an_escaped_character():
    for length in range(60, 66):
        path = b"x" * length + b"." * 80
        (change,) = names.Names([path], names.ESCAPE).changes
        assert len(change["to"]) < names.LONGEST
        assert set(names.unescaped(change["to"][:-9])) <= set(b"x.")


def test_the_unchanged_name_keeps_its_place():
    mapped = names.Names([b"a.b", b"a_b", b"a_b_2", b"a:b", b"a\x01b"])
    assert {path: mapped.maildir(path) for path in (b"a_b", b"a_b_2", b"a:b")} == {
        b"a_b": b"a_b",
        b"a_b_2": b"a_b_2",
        b"a:b": b"a:b",
    }
    assert {mapped.maildir(b"a.b"), mapped.maildir(b"a\x01b")} == {b"a_b_3", b"a_b_4"}
    assert all("meet another" in change["why"] for change in mapped.changes)


def test_directories_that_would_meet_stay_apart():
    mapped = names.Names([b"x.y/one", b"x_y/two", b"x.y/two"])
    assert [mapped.maildir(path) for path in (b"x_y/two", b"x.y/one", b"x.y/two")] == [
        b"x_y.two",
        b"x_y_2.one",
        b"x_y_2.two",
    ]


def test_a_path_that_is_no_folder_maps_like_its_siblings():
    mapped = names.Names([b"a.b/c"])
    assert mapped.maildir(b"a.b/gone") == b"a_b.gone"


def test_too_long():
    paths = [b"x" * 300 + end for end in (b"1", b"2")] + [b"/".join([b"&AOk-" * 30] * 4)]
    mapped = names.Names(paths)
    mapped_names = [mapped.maildir(path) for path in paths]
    assert len(set(mapped_names)) == 3
    for name in mapped_names:
        assert len(name) <= 254
        assert all(names.decode_utf7(level) is not None for level in name.split(b"."))
    assert all("longer than 255" in change["why"] for change in mapped.changes)


COMPONENT = st.one_of(
    st.sampled_from(
        [
            b"a",
            b"a.b",
            b"a_b",
            b"a_b_2",
            b"A",
            b"inbox",
            b"~a",
            b"&-",
            b"&",
            b"caf\xe9",
            b"x" * 140,
            b"...",
        ]
    ),
    st.binary(min_size=1, max_size=12),
).map(lambda part: part.replace(b"/", b"-").replace(b"\0", b"0"))


@given(
    st.lists(st.lists(COMPONENT, min_size=1, max_size=3).map(b"/".join), unique=True, max_size=12)
)
def test_always_apart_acceptable_and_the_same_again(paths):
    mapped = names.Names(paths)
    mapped_names = {path: mapped.maildir(path) for path in paths}
    assert len(set(mapped_names.values())) == len(paths)
    for path, name in mapped_names.items():
        assert 0 < len(name) < 255 and not name.startswith(b"~")
        for level in name.split(b"."):
            assert level and names.encode_utf7(names.decode_utf7(level)) == level
        assert name.upper() != b"INBOX"
        assert (path.replace(b"/", b".") != name) == any(
            change["from"] == path for change in mapped.changes
        )
    again = names.Names(list(reversed(paths)))
    assert {path: again.maildir(path) for path in paths} == mapped_names


def mutf7(text):
    """Python's view of modified UTF-7, independent of the converter's."""
    return re.sub(
        "[^\x20-\x7e]+",
        lambda match: (
            "&"
            + base64.b64encode(match.group().encode("utf-16-be"))
            .decode()
            .rstrip("=")
            .replace("/", ",")
            + "-"
        ),
        text.replace("&", "&-"),
    ).encode()


@given(st.text(st.characters(codec="utf-8"), max_size=30))
def test_modified_utf7_both_ways(text):
    encoded = names.encode_utf7(text)
    assert encoded == mutf7(text)
    assert names.decode_utf7(encoded) == text
