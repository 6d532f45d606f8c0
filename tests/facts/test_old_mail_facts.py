"""The survey's JSON and the facts made of it hold the same."""

import os

from cutover import model
from cutover.facts import old_mail
from mbx2maildir import errors, survey

MBOX = b"From a@b Mon Jan  1 00:00:00 2024\nSubject: x\n\nhello\n\n"
BAD_MBX = b"*mbx*\r\n" + b"not a header\r\n"


def test_nothing_of_a_users_survey_is_lost(tmp_path):
    mail = tmp_path / "mail"
    mail.mkdir()
    (tmp_path / "INBOX").write_bytes(MBOX)
    (mail / "notes.txt").write_bytes(b"just text\n")
    (mail / "damaged").write_bytes(BAD_MBX)
    (mail / "a.b").write_bytes(MBOX)
    (tmp_path / ".mailboxlist").write_text("mail/damaged\n")
    data = survey.survey_user(
        {
            "user": "alice",
            "uid": os.getuid(),
            "gid": os.getgid(),
            "home": str(tmp_path),
            "inbox": [str(tmp_path / "INBOX")],
            "spool": str(tmp_path / "spool"),
            "folders": str(mail),
            "subscriptions": str(tmp_path / ".mailboxlist"),
        },
        lambda *_: None,
    )
    assert data["folders"] and data["passed"] and data["renamed"]
    assert data["damage"] or data["errors"]
    facts = model.from_json(old_mail.User, data)
    without = [{**problem, "traceback": ""} for problem in data["errors"]]
    assert model.to_json(facts) == data | {"errors": without}


def test_problems_of_every_kind_are_read():
    for error in (
        errors.StoreError("cut short", "/x", 7),
        PermissionError(13, "Permission denied", "/x"),
        ValueError("bug"),
    ):
        data = errors.describe(error)
        problem = model.from_json(old_mail.Problem, data)
        assert model.to_json(problem) == {"traceback": "", **data}
