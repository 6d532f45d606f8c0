"""Names on the old server for folders that only Dovecot has."""

import pytest
from cutover.carryback.old_names import OldNames
from cutover.connect import imap

LONG = "è" * 200
LISTED = {"mail/lavori": True, "mail/archivio": False, "INBOX": True}
TAKEN = ["INBOX", "mail/lavori", "mail/archivio/2017"]


@pytest.mark.parametrize(
    "name, target",
    [
        ("Bozze", "mail/Bozze"),
        ("lavori/2026", "mail/lavori_2026"),  # lavori is a file of mail
        ("lavori/2026/marzo", "mail/lavori_2026_marzo"),
        ("archivio", "mail/archivio_"),  # archivio is a directory
        ("archivio/2018", "mail/archivio/2018"),
        ("../../etc", "mail/__/__/etc"),
    ],
)
def test_a_name_that_the_old_server_cannot_have_gets_a_similar_one(name, target):
    assert OldNames("mail/", LISTED, TAKEN).give(name) == target


def test_a_name_that_is_too_long_is_cut_and_stays_unique():
    names = OldNames("mail/", LISTED, TAKEN)
    first, other = names.give(LONG), names.give(LONG + "x")
    assert first.startswith("mail/" + "è" * 20 + "-") and len(imap.encode_name(first)) < 255
    assert first != other


def test_no_name_is_given_twice_and_the_answers_are_the_same_once_the_folders_exist():
    wanted = ["a", "a/b", "a_b", "c", "c/d", "d/e"]
    first = OldNames("mail/", {"INBOX": True}, ["INBOX"])
    given = [first.give(name) for name in wanted]
    assert len(set(given)) == len(wanted) and given[:2] == ["mail/a", "mail/a_b"]
    made = {**dict.fromkeys(given, True), "mail/d": False}
    again = OldNames("mail/", {"INBOX": True, **made}, ["INBOX"])
    assert [again.give(name) for name in wanted] == given
