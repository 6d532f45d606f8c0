"""What is carried back, as far as it can be told without servers: names, UIDs side by side, queues. tests/lab/test_carry.py has
the rest."""

import datetime

import pytest
from cutover.carryback import carrying
from cutover.changes import mail
from cutover.connect import imap

LONG = "è" * 200


def message(uid):
    return imap.Message(
        uid, frozenset(), False, datetime.datetime(2026, 3, 14, tzinfo=datetime.UTC), 10
    )


@pytest.mark.parametrize(
    "name, target",
    [
        ("Bozze", "mail/Bozze"),
        ("lavori/2026", "mail/lavori_2026"),  # lavori is a file of mail
        ("lavori/2026/marzo", "mail/lavori_2026_marzo"),
        ("archivio", "mail/archivio_"),  # archivio is a directory
        ("archivio/2018", "mail/archivio/2018"),
        ("../../etc", "mail/__/__/etc"),
        (LONG, None),
    ],
)
def test_a_name_that_the_old_server_cannot_have_gets_one_close_to_it(name, target):
    names = carrying._Names(
        "mail/",
        {"mail/lavori": True, "mail/archivio": False, "INBOX": True},
        ["INBOX", "mail/lavori", "mail/archivio/2017"],
    )
    given = names.give(name)
    if name == LONG:
        assert given.startswith("mail/" + "è" * 20 + "-") and len(imap.encode_name(given)) < 255
    else:
        assert given == target


def test_no_name_is_given_twice_and_each_the_same_once_it_stands_there():
    wanted = ["a", "a/b", "a_b", "c", "c/d", "d/e"]
    first = carrying._Names("mail/", {"INBOX": True}, ["INBOX"])
    given = [first.give(name) for name in wanted]
    assert len(set(given)) == len(wanted) and given[:2] == ["mail/a", "mail/a_b"]
    made = {**dict.fromkeys(given, True), "mail/d": False}
    again = carrying._Names("mail/", {"INBOX": True, **made}, ["INBOX"])
    assert [again.give(name) for name in wanted] == given


@pytest.mark.parametrize(
    "old, new, limit, pairs",
    [
        ([1, 2, 4], [1, 3, 4], 5, [(1, 1), (2, None), (None, 3), (4, 4)]),
        (
            [1, 5, 6],
            [1, 5],
            5,
            [(1, 1), (5, None), (None, 5), (6, None)],
        ),  # from the limit on a UID tells nothing
        ([], [7], 5, [(None, 7)]),
        ([3], [], 5, [(3, None)]),
        ([], [], 5, []),
    ],
)
def test_uids_side_by_side(old, new, limit, pairs):
    found = [
        tuple(each and each.uid for each in pair)
        for pair in carrying._beside(map(message, old), map(message, new), limit)
    ]
    assert sorted(found, key=str) == sorted(pairs, key=str)


@pytest.mark.parametrize(
    "item, domains",
    [
        (
            "6AO6nSYY002387 378 Tue Nov 24 06:49 <a@elsewhere.test> (Deferred: Connection refused by vm.lab.test.) n@vm.lab.test",
            {"vm.lab.test"},
        ),
        (
            "6AO6nSYY002387 378 Tue Nov 24 06:49 <a@vm.lab.test> n@old.lab.test <n@VM.lab.test.>",
            {"old.lab.test", "vm.lab.test"},
        ),
        (
            "6AO6nSYY002387 378 Tue Nov 24 06:49 MAILER-DAEMON (host (old@x) said no) n@old.lab.test",
            {"old.lab.test"},
        ),
        ("6AO6nSYY002387 378 Tue Nov 24 06:49 <a@elsewhere.test>", set()),
    ],
)
def test_for_whom_a_queued_message_waits(item, domains):
    assert mail.waits_for(item) == domains
