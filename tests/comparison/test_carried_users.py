"""Whose mail verify need not open at all, and what makes it open it."""

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import types

import pytest
from cutover.comparison import carried, carried_users, elsewhere, folders
from cutover.facts.users import Account

PROOF = carried.Proof("work", "old", "new", 5, 7, 0, 1.5)
PROOFS = {"mail/work": PROOF}
NEW = {"INBOX": carried.Signature("i", True), "work": carried.Signature("new", True)}


@pytest.fixture
def ada(tmp_path):
    home = tmp_path / "home"
    (home / "mail").mkdir(parents=True)
    (home / "mail/work").write_text("some mail")
    (home / "INBOX").write_text("other mail")
    return Account("ada", 1, 1, str(home))


@pytest.fixture
def hosts(monkeypatch, tmp_path):
    """The old host is this one; asked: as whom. Nothing is waited for."""
    asked = []

    def run(host, argv, *, as_user, input=None, timeout):
        asked.append(as_user)
        done = subprocess.run(argv, input=input, capture_output=True)
        return types.SimpleNamespace(out=done.stdout, text=done.stdout.decode())

    site = types.SimpleNamespace(
        roles=types.SimpleNamespace(old="old", new="new"),
        verify=types.SimpleNamespace(parallel=2),
        presync=types.SimpleNamespace(back_off_ms=None, max_mb_per_second=None),
        old_store=types.SimpleNamespace(
            inbox=["{home}/mbox", "{home}/INBOX"], spool=f"{tmp_path}/spool"
        ),
    )
    module = carried_users
    monkeypatch.setattr(module.dovecot_programs, "read_once", lambda *_: contextlib.nullcontext())
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(carried, "SETTLED", -60)
    return types.SimpleNamespace(site=site, run=run, asked=asked)


def touch(path):
    """As c-client does when it reads."""
    os.utime(path, ns=(1, 1))


HOME = {
    "a folder's times": lambda home: touch(home / "mail/work"),
    "a text with its mtime set back": lambda home: rewrite(home / "mail/work"),
    "a folder more": lambda home: (home / "mail/more").write_text(""),
    "a directory more": lambda home: (home / "mail/more").mkdir(),
    "a file of any kind": lambda home: (home / "notes").write_text("none"),
    "another file for INBOX": lambda home: (home / "mbox").write_text("From "),
    "no INBOX": lambda home: (home / "INBOX").unlink(),
    "INBOX grown": lambda home: (home / "INBOX").write_text("other mail and more"),
    "INBOX rewritten": lambda home: (home / "INBOX").write_text("Other mail"),
    "a message in the spool": lambda home: (home.parent / "spool").write_text("From "),
    "a file replaced": lambda home: replace(home / "mail/work"),
}


def rewrite(path):
    before = path.stat()
    path.write_text("Some mail")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path):
    other = path.with_name("other")
    other.write_text("some mail")
    other.rename(path)


@pytest.fixture
def whole(hosts, ada):
    seen = carried_users.listing(hosts, ada)
    digests, new = carried_users.inbox_digests(hosts, ada), carried_users.of_new(NEW)
    nothing = elsewhere.Elsewhere()
    return carried_users.Whole(seen.exact, seen.loose, digests, new, 3, 3, nothing, 1.5)


def test_a_user_of_whom_nothing_changed_holds_and_is_looked_at_as_the_user(hosts, ada, whole):
    assert carried_users.is_unchanged(hosts, ada, whole, NEW)
    assert set(hosts.asked) == {"ada"}


@pytest.mark.parametrize("change", HOME)
def test_whatever_c_client_may_look_at_counts(hosts, ada, whole, change):
    HOME[change](pathlib.Path(ada.home))
    assert not carried_users.is_unchanged(hosts, ada, whole, NEW)


def test_programs_that_look_into_inbox_all_night_change_nothing(hosts, ada, whole):
    touch(f"{ada.home}/INBOX")
    assert carried_users.listing(hosts, ada).exact != whole.exact
    assert carried_users.is_unchanged(hosts, ada, whole, NEW)
    with open(f"{ada.home}/INBOX", "r+") as file:  # as long as before, and the times as well
        file.write("Other")
    assert not carried_users.is_unchanged(hosts, ada, whole, NEW)


@pytest.mark.parametrize(
    "new",
    [
        {**NEW, "work": carried.Signature("other", True)},
        {**NEW, "INBOX": carried.Signature("other", True)},
        {**NEW, "more": carried.Signature("new", True)},
        {"INBOX": NEW["INBOX"]},
        {},
    ],
)
def test_the_new_side_counts_too(hosts, ada, whole, new):
    assert not carried_users.is_unchanged(hosts, ada, whole, new)


@pytest.mark.parametrize("kind", ["link", "fifo", "hidden", "too much", "nobody home"])
def test_what_cannot_be_known_from_outside_is_not_carried(monkeypatch, hosts, ada, kind):
    if kind == "link":
        os.symlink("work", f"{ada.home}/mail/link")
    elif kind == "fifo":
        os.mkfifo(f"{ada.home}/mail/pipe")
    elif kind == "hidden":
        monkeypatch.setattr(carried_users, "_LIST", carried_users._LIST.replace("find", "false"))
    elif kind == "too much":
        monkeypatch.setattr(carried_users, "LARGEST", 100)
    else:
        ada = dataclasses.replace(ada, home=f"{ada.home}/none")
    assert carried_users.listing(hosts, ada) is None


def row(name, new_name, **values):
    numbers = {"old": 7, "new": 7, "contents": 7} | values
    return folders.Row("ada", name, new_name, **numbers)


EQUAL = [row("INBOX", "INBOX", uidls=7), row("mail/work", "work", proven=1.5)]


@pytest.fixture
def proving(monkeypatch, hosts, ada):
    """prove() with what the servers would show; `reads` counts how often they were asked."""
    state = types.SimpleNamespace(
        rows=EQUAL, besides=elsewhere.Elsewhere(3, 1), during=lambda: None, reads=0, new=NEW
    )

    def read_user(*_, uidls, proofs, again):
        state.reads += 1
        state.during()
        assert uidls and proofs == PROOFS and not again.folders
        return state.rows

    session = types.SimpleNamespace()
    for name in ("old_session", "tree_session"):
        monkeypatch.setattr(
            carried_users.mailboxes, name, lambda *_: contextlib.nullcontext(session)
        )
    monkeypatch.setattr(carried_users.folders, "read_user", read_user)
    monkeypatch.setattr(carried_users.elsewhere, "read", lambda *_: state.besides)
    monkeypatch.setattr(carried_users.pop3, "served", lambda *_: True)
    monkeypatch.setattr(carried, "of_new", lambda *_, staged: {"ada": state.new})
    monkeypatch.setattr(carried, "kept", lambda hosts, user, proofs: proofs)

    def prove(known=None, proofs=PROOFS):
        return carried_users.prove(hosts, "night", [ada], {"ada": proofs}, known or {}, 1e9)

    state.prove = prove
    return state


def test_a_user_whose_mail_is_all_equal_is_proven_once(proving):
    wholes = proving.prove()
    assert (wholes["ada"].messages, wholes["ada"].uidls) == (7, 7)
    assert wholes["ada"].besides == proving.besides
    assert proving.prove(wholes) == wholes and proving.reads == 1
    rows = carried_users.rows("ada", wholes["ada"], PROOFS)
    assert [(item.old_name, item.new_name, item.old, item.contents) for item in rows] == [
        ("INBOX", "INBOX", 7, 7),
        ("mail/work", "work", 7, 7),
    ]
    assert all(item.proven for item in rows) and rows[0].uidls == 7


@pytest.mark.parametrize(
    "rows",
    [
        [row("INBOX", "INBOX", **{name: value}), EQUAL[1]]
        for name, value in {
            "new": 6,
            "contents": 6,
            "extra": 1,
            "spool": 1,
            "notes": ["it is odd"],
            "differing": 1,
        }.items()
    ]
    + [
        [*EQUAL, row("mail/unknown", None)],
        [EQUAL[0], row("mail/work", "work")],
        [EQUAL[0], row("mail/work", "work", proven=1.5, differing=1)],
        [*EQUAL, row(None, "new one")],
    ],
)
def test_a_user_with_anything_to_say_of_is_not_proven(proving, rows):
    proving.rows = rows
    assert proving.prove() == {} and proving.reads == 1


@pytest.mark.parametrize(
    "besides",
    [elsewhere.Elsewhere(mail=[elsewhere.Unknown("notes", 3)]), elsewhere.Elsewhere(unseen=1)],
)
def test_a_user_with_mail_besides_is_not_proven(proving, besides):
    proving.besides = besides
    assert proving.prove() == {}


@pytest.mark.parametrize("change", HOME)
def test_a_user_who_works_meanwhile_is_not_proven(proving, ada, change):
    proving.during = lambda: HOME[change](pathlib.Path(ada.home))
    assert proving.prove() == {} and proving.reads == 1


def test_a_folder_that_is_not_proven_keeps_its_user_from_being_read(proving):
    assert proving.prove(proofs={}) == {} and proving.reads == 0
    proving.new = {**NEW, "INBOX": carried.Signature("i", False)}
    assert proving.prove() == {} and proving.reads == 0


def test_a_folder_that_is_no_longer_as_proven_keeps_its_user_from_being_proven(
    monkeypatch, proving
):
    monkeypatch.setattr(carried, "kept", lambda *_: {})
    assert proving.prove() == {} and proving.reads == 1
