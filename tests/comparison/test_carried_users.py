"""Whose mail verify need not open at all, and what makes it open it."""

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import types

import pytest
from cutover.comparison import carried, carried_users, elsewhere, folders, proving
from cutover.facts.users import Account
from cutover.model import errors

PROOF = carried.Proof("work", "old", "new", 5, 7, 0, 1.5)
PROOFS = {"mail/work": PROOF}
NOTHING = proving.Proved({}, {})
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
            inbox=["{home}/mbox", "{home}/INBOX"], spool=f"{tmp_path}/spool", imap_prefix="mail/"
        ),
    )
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
def servers(monkeypatch, hosts, ada):
    """prove() with what the servers would show; `reads`, `folders`: how often they were asked."""
    state = types.SimpleNamespace(
        rows=EQUAL, besides=elsewhere.Elsewhere(3, 1), during=lambda: None, reads=0, new=NEW
    )
    state.folders, state.differing, state.waits = 0, 0, []

    def read_user(*_, uidls, proofs, again):
        state.reads += 1
        state.during()
        assert uidls and not again.folders
        assert {name: proof.new_name for name, proof in proofs.items()} == {"mail/work": "work"}
        return state.rows

    def compare(*_):
        state.folders += 1
        touch(pathlib.Path(ada.home) / "mail/work")
        counts = {"old": 7, "new": 7, "contents": 7, "line_ends": 0, "differing": state.differing}
        return types.SimpleNamespace(**counts, extra=[], renumbered={})

    session = types.SimpleNamespace(stream=lambda *_: types.SimpleNamespace(uidvalidity=5))
    for name in ("old_session", "tree_session"):
        monkeypatch.setattr(proving.mailboxes, name, lambda *_: contextlib.nullcontext(session))
    once = lambda *_: contextlib.nullcontext()  # noqa: E731
    monkeypatch.setattr(proving.dovecot_programs, "read_once", once)
    monkeypatch.setattr(proving.messages, "compare", compare)
    monkeypatch.setattr(proving.folders, "read_user", read_user)
    monkeypatch.setattr(proving.elsewhere, "read", lambda *_: state.besides)
    monkeypatch.setattr(proving.pop3, "served", lambda *_: True)
    monkeypatch.setattr(proving.time, "sleep", state.waits.append)
    monkeypatch.setattr(carried, "of_new", lambda *_, staged: {"ada": state.new})

    def prove(known=NOTHING):
        return proving.prove(hosts, "night", [ada], known, 1e9)

    state.prove = prove
    return state


def test_a_user_whose_mail_is_all_equal_is_proven_once(servers):
    proved = servers.prove()
    whole, proofs = proved.wholes["ada"], proved.proofs["ada"]
    assert (whole.messages, whole.uidls, whole.besides) == (7, 7, servers.besides)
    assert proofs["mail/work"].status, "by which verify need not read the file's digest"
    assert (servers.folders, servers.reads, len(servers.waits)) == (1, 1, 1)
    assert servers.prove(proved) == proved
    assert (servers.folders, servers.reads, len(servers.waits)) == (1, 1, 1)
    rows = carried_users.rows("ada", whole, proofs)
    assert [(item.old_name, item.new_name, item.old, item.contents) for item in rows] == [
        ("INBOX", "INBOX", 7, 7),
        ("mail/work", "work", 7, 7),
    ]
    assert all(item.proven for item in rows) and rows[0].uidls == 7


def test_folders_stay_proven_while_the_rest_of_their_user_changes(servers, ada):
    proved = servers.prove()
    (pathlib.Path(ada.home) / "INBOX").write_text("more mail")
    again = servers.prove(proved)
    assert (servers.folders, servers.reads) == (1, 2)
    assert again.proofs == proved.proofs and again.wholes != proved.wholes


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
def test_a_user_with_anything_to_say_of_is_not_proven(servers, rows):
    servers.rows = rows
    proved = servers.prove()
    assert servers.reads == 1
    assert proved.wholes == {} and proved.proofs["ada"].keys() == {"mail/work"}


@pytest.mark.parametrize(
    "besides",
    [elsewhere.Elsewhere(mail=[elsewhere.Unknown("notes", 3)]), elsewhere.Elsewhere(unseen=1)],
)
def test_a_user_with_mail_besides_is_not_proven(servers, besides):
    servers.besides = besides
    assert servers.prove().wholes == {}


@pytest.mark.parametrize("change", HOME)
def test_a_user_who_works_meanwhile_is_not_proven(servers, ada, change):
    servers.during = lambda: HOME[change](pathlib.Path(ada.home))
    proved = servers.prove()
    assert proved.wholes == {} and servers.reads == 1
    equal = change not in ("a text with its mtime set back",)
    assert proved.proofs["ada"].keys() == ({"mail/work"} if equal else set())


def test_a_folder_that_differs_keeps_its_user_from_being_read(servers):
    servers.differing = 1
    proved = servers.prove()
    assert (proved.proofs, proved.wholes) == ({"ada": {}}, {})
    assert (servers.folders, servers.reads) == (1, 0)


@pytest.mark.parametrize("name, folders_read", [("INBOX", 1), ("work", 0)])
def test_what_may_still_change_unseen_is_waited_for_and_then_left(servers, name, folders_read):
    servers.new = {**NEW, name: dataclasses.replace(NEW[name], settled=False)}
    assert servers.prove().wholes == {}
    assert (servers.folders, servers.reads) == (folders_read, 0)
    assert len(servers.waits) == 1 + folders_read


@pytest.mark.parametrize("old, new", [("other", "new"), ("same", "other")])
def test_a_folder_that_one_side_changed_is_read_anew(servers, ada, old, new):
    proved = servers.prove()
    if old == "other":
        (pathlib.Path(ada.home) / "mail/work").write_text("other mail")
    servers.new = {**NEW, "work": carried.Signature(new, True)}
    again = servers.prove(proved)
    assert (servers.folders, servers.reads) == (2, 2)
    assert again.proofs["ada"]["mail/work"] != proved.proofs["ada"]["mail/work"]


def test_a_user_of_whom_the_rest_cannot_be_read_keeps_the_folders(monkeypatch, servers):
    def fail(*_, **__):
        raise errors.CutoverError("the session ended")

    monkeypatch.setattr(proving.folders, "read_user", fail)
    proved = servers.prove()
    assert proved.wholes == {} and proved.proofs["ada"].keys() == {"mail/work"}
