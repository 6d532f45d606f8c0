"""What a mail program's own copy says of the move. The lab's nights run the program itself."""

import os

from cutover.facts import mail_program


def message(place, folder, uid, text, flags="S"):
    part = place / mail_program.COPY / folder / "cur"
    part.mkdir(parents=True, exist_ok=True)
    (part.parent / "new").mkdir(exist_ok=True)
    (part / f"1.{uid}.host,U={uid}:2,{flags}").write_bytes(text)


def state(place, folder, validity):
    text = f"FarUidValidity {validity}\nNearUidValidity 1\nMaxPulledUid 9\n\n1 1 S\n"
    (place / mail_program.COPY / folder / ".mbsyncstate").write_text(text)


def filled(place):
    message(place, "INBOX", 1, b"From: a\nX-TUID: abcdefghijkl\n\none\n")
    message(place, "work/old", 1, b"From: b\n\ntwo\n", "FS")
    for folder, validity in (("INBOX", 7), ("work/old", 8)):
        state(place, folder, validity)
    return {"status": 0, "folders": mail_program.folders(place)}


def test_new_mail_is_no_message_transferred_again(tmp_path):
    before = filled(tmp_path)
    message(tmp_path, "INBOX", 2, b"From: c\n\nthree\n", "")
    outcome = mail_program.compare(before, mail_program.folders(tmp_path), 0, [])
    assert outcome == mail_program.Outcome(0, 2, [], 0, 0, False) and outcome.passed


def test_the_same_text_once_more_is(tmp_path):
    before = filled(tmp_path)
    message(tmp_path, "INBOX", 2, b"From: a\nX-TUID: mnopqrstuvwx\n\none\n")
    outcome = mail_program.compare(before, mail_program.folders(tmp_path), 0, [])
    assert outcome.again == 1 and outcome.opened and not outcome.passed


def test_other_flags_and_messages_that_are_gone_are_counted(tmp_path):
    before = filled(tmp_path)
    inbox, old = (tmp_path / mail_program.COPY / name / "cur" for name in ("INBOX", "work/old"))
    os.rename(inbox / "1.1.host,U=1:2,S", inbox / "1.1.host,U=1:2,")
    os.remove(old / "1.1.host,U=1:2,FS")
    outcome = mail_program.compare(before, mail_program.folders(tmp_path), 0, [])
    assert outcome.changed == 2 and outcome.passed


def test_a_folder_with_another_uidvalidity_or_that_cannot_be_opened_is_lost(tmp_path):
    before = filled(tmp_path)
    state(tmp_path, "INBOX", 9)
    after = mail_program.folders(tmp_path)
    assert mail_program.compare(before, after, 0, []).lost == ["INBOX"]
    outcome = mail_program.compare(before, after, 1, ["work/old"])
    assert outcome.lost == ["INBOX", "work/old"] and not outcome.opened


def test_an_error_that_it_had_before_is_none_of_the_move(tmp_path):
    before = filled(tmp_path)
    after = mail_program.folders(tmp_path)
    assert not mail_program.compare(before, after, 1, []).opened
    assert mail_program.compare({**before, "status": 1}, after, 1, []).opened
