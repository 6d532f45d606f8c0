"""When a proof from before the outage holds, and what is read again nevertheless."""

import dataclasses
import functools
import hashlib
import os
import subprocess
import time
import types

import pytest
from cutover.comparison import carried
from cutover.connect import imap
from cutover.facts.users import Account

ADA = Account(user="ada", uid=1, gid=1, home="/home/ada")
PROOF = carried.Proof("work", "old", "new", 5, 7, 0, 1.5)


@pytest.fixture
def hosts(tmp_path):
    """The old host is this one. `asked`: the options of its commands."""
    asked = []

    def run(host, argv, *, as_user, input, timeout):
        asked.append(as_user)
        done = subprocess.run(argv, input=input, capture_output=True, text=False, check=True)
        return types.SimpleNamespace(text=done.stdout.decode())

    site = types.SimpleNamespace(
        roles=types.SimpleNamespace(old="old", new="new"),
        verify=types.SimpleNamespace(parallel=2),
        presync=types.SimpleNamespace(back_off_ms=None, max_mb_per_second=None),
    )
    return types.SimpleNamespace(site=site, run=run, asked=asked)


def test_each_mail_file_is_known_by_its_digest_read_as_the_user(hosts, tmp_path):
    ada, names = dataclasses.replace(ADA, home=str(tmp_path)), ["mail/a b", "mail/è\n'x", "mail/w"]
    (tmp_path / "mail/mix").mkdir(parents=True)
    for name in names:
        (tmp_path / imap.encode_name(name).decode()).write_text(f"in {name}")
    seen = carried.of_old(hosts, ada, ["mail/mix", *names, "mail/gone", "INBOX"])
    assert {name: file.digest for name, file in seen.items()} == {
        name: hashlib.sha256(f"in {name}".encode()).hexdigest() for name in names
    }
    assert {file.status for file in seen.values()} == {""}, "they have just been written"
    assert hosts.asked == ["ada"], "root opens no path a user can shape"


def test_a_file_is_read_again_once_its_status_is_another(monkeypatch, hosts, tmp_path):
    ada, file = dataclasses.replace(ADA, home=str(tmp_path)), tmp_path / "mail"
    file.write_text("as it was read")
    monkeypatch.setattr(carried, "SETTLED", -60)
    look = functools.partial(carried.of_old, hosts, ada, ["mail"])
    status = look()["mail"].status
    known = {"mail": dataclasses.replace(PROOF, old="what was read", status=status)}
    assert look(known) == {"mail": carried.Seen("what was read", status)}
    # the same size and time; who writes it cannot set the time of the change
    before = file.stat()
    file.write_text("as it became! ")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    time.sleep(max(0, int(before.st_ctime) + 1.1 - time.time()))
    os.chmod(file, before.st_mode)
    seen = look(known)["mail"]
    assert seen.digest == hashlib.sha256(b"as it became! ").hexdigest()
    assert seen.status != status
    unsettled = {"mail": dataclasses.replace(PROOF, old="what was read")}
    assert look(unsettled)["mail"].digest == seen.digest


@pytest.mark.parametrize(
    "output", ["", f"{'0' * 64}|1 2 3 4 5|9\n" * 2, "one|two\n", "=|1 2 3 4 5|9\n", "||9\n"]
)
def test_an_answer_that_cannot_be_is_none(monkeypatch, hosts, output):
    monkeypatch.setattr(hosts, "run", lambda *_, **__: types.SimpleNamespace(text=output))
    assert carried.of_old(hosts, ADA, ["mail/work"]) == {}


@pytest.mark.parametrize(
    "name", ["INBOX", "inbox", "~bob/x", "/etc/x", "#mh/x", "{host}x", "*", ""]
)
def test_a_name_that_may_mean_another_place_is_not_signed(hosts, name):
    assert carried.of_old(hosts, ADA, [name]) == {} and not hosts.asked


def side(text, settled=True):
    return carried.Signature(text, settled)


@pytest.mark.parametrize(
    "old, new, holds",
    [("old", "new", True), ("other", "new", False), ("old", "other", False), (None, "new", False)],
)
def test_a_proof_holds_while_both_sides_are_as_they_were(monkeypatch, hosts, old, new, holds):
    seen = {"mail/work": carried.Seen(old, "")} if old else {}
    monkeypatch.setattr(carried, "of_old", lambda *_: seen)
    proofs = {"mail/work": PROOF}
    assert carried.unchanged(hosts, ADA, proofs, {"work": side(new)}) == (proofs if holds else {})
    assert carried.unchanged(hosts, ADA, proofs, {}) == {}


@pytest.mark.parametrize(
    "status, shown",
    [
        ({"MESSAGES": 7, "UIDVALIDITY": 5}, True),
        ({"MESSAGES": 1, "UIDVALIDITY": 5}, False),
        ({"MESSAGES": 7, "UIDVALIDITY": 6}, False),
        (None, False),
    ],
)
def test_a_folder_that_dovecot_shows_otherwise_is_not_carried(monkeypatch, status, shown):
    statuses = {PROOF.new_name: status} if status else {}
    monkeypatch.setattr(imap, "status_together", lambda *_: statuses)
    assert carried.shown(None, {"mail/work": PROOF}) == ({"mail/work": PROOF} if shown else {})


def test_what_is_read_again_depends_on_a_seed_and_lies_within_the_folder():
    proofs = {f"user{n}": {f"mail/{m}": PROOF for m in range(9)} for n in range(99)}
    again = carried.Again.of("a seed", proofs)
    assert len(again.folders) == carried.FOLDERS
    assert again.folders == carried.Again.of("a seed", proofs).folders
    assert again.folders != carried.Again.of("another", proofs).folders
    for user, name in again.folders:
        for count in (0, 1, carried.PART, 500):
            numbers = again.numbers(user, name, count)
            assert len(numbers) == min(count, carried.PART)
            assert not numbers or 1 <= numbers[0] <= numbers[-1] <= count
    assert again.numbers("nobody", "mail/work", 500) == range(0)


@pytest.mark.parametrize("folders, again", [(0, 0), (1, 1), (10, 1), (57, 6), (200, 20), (999, 20)])
def test_of_few_folders_a_tenth_is_read_again(folders, again):
    proofs = {"ada": {f"mail/{number}": PROOF for number in range(folders)}}
    assert len(carried.Again.of("a seed", proofs).folders) == again
