"""Two readings of a folder compared, message by message or a sample of their contents."""

import dataclasses
import datetime
import time

import pytest
from cutover.comparison import messages, staged_sample
from cutover.comparison.contents import Contents
from cutover.connect import imap

DATE = datetime.datetime(2010, 5, 1, tzinfo=datetime.UTC)


def message(uid, digest="aa", flags=(), size=10, date=DATE):
    return imap.Message(uid, frozenset(flags), False, date, size, digest)


def folder(messages, uidnext=100):
    return imap.Folder("INBOX", 7, uidnext, iter(messages), len(messages))


def compared(old, new, **options):
    return messages.compare(folder(old), folder(new), **options)


def test_it_keeps_no_eachof_a_folder_that_is_equal():
    seen = []

    def endless():
        for uid in range(1, 3001):
            seen.append(uid)
            yield message(uid)

    first = imap.Folder("INBOX", 7, 4000, endless(), 3000)
    other = imap.Folder(
        "INBOX",
        7,
        4000,
        (message(uid) for uid in range(1, 3001) if len(seen) - uid < 2 or seen.clear()),
        3000,
    )
    result = messages.compare(first, other)
    assert (result.old, result.new, result.contents, result.differing) == (
        3000,
        3000,
        3000,
        0,
    )
    assert len(seen) == 3000, (
        "the new side was asked for a message when the old first's was just there"
    )


@pytest.mark.parametrize(
    "old, new, text",
    [
        ([message(1), message(2)], [message(1)], "UID 2: missing"),
        (
            [message(2)],
            [message(1), message(2)],
            "UID 1: not in the old folder, and below its UIDNEXT 100",
        ),
        ([message(1)], [message(1, "bb")], "UID 1: content aa… became bb…"),
        ([message(1)], [message(1, flags=["\\Seen"])], "UID 1: flags gained \\Seen"),
        ([message(1)], [message(1, date=DATE.replace(year=2011))], "UID 1: INTERNALDATE"),
        ([message(1, None)], [message(1, None, size=11)], "UID 1: size 10 became 11"),
    ],
)
def test_each_difference_is_told(old, new, text):
    result = compared(old, new)
    assert result.differing == 1 and result.differences[0].startswith(text)


def test_uids_that_imap_does_not_allow_are_compared_in_order():
    huge = [message(3), message(1 << 32), message((1 << 32) + 1)]
    old = lambda: imap.Folder("INBOX", 7, (1 << 32) + 2, iter(huge), 3)  # noqa: E731
    new = lambda *digests: imap.Folder(  # noqa: E731
        "INBOX", 8, 13, (message(uid, text) for uid, text in enumerate(digests, 10)), len(digests)
    )
    result = messages.compare(old(), new("aa", "aa", "aa", "bb"))
    assert (result.renumbered, result.differing, result.old, len(result.extra)) == (True, 0, 3, 1)
    assert messages.compare(old(), new("aa", "bb", "aa")).differing == 1
    assert messages.compare(old(), new("aa", "aa")).differences == [f"UID {huge[2].uid}: missing"]
    same = dataclasses.replace(new("aa", "aa", "aa"), uidvalidity=7)
    assert messages.compare(old(), same).differing  # UIDs under the same UIDVALIDITY stay


def test_what_only_the_new_side_has_is_handed_over():
    result = compared([message(1)], [message(1), message(100, "cc"), message(101)])
    assert (
        [extra.uid for extra in result.extra] == [100, 101]
        and result.new == 3
        and not result.differing
    )


def test_contents_count_where_both_sides_were_read():
    result = compared(
        [message(1), message(2, None), message(3)], [message(1), message(2), message(3, None)]
    )
    assert result.contents == 1 and not result.differing


def test_a_difference_too_many_is_counted_and_not_kept():
    result = compared([message(uid) for uid in range(1, 60)], [])
    assert result.differing == 59 and len(result.differences) == messages.SHOWN


def test_the_sample_is_the_same_each_time_and_of_the_size_wanted():
    some = Contents("seed", 0.2)
    chosen = {uid for uid in range(1, 5001) if some.of("alice", "INBOX")(uid)}
    assert 850 < len(chosen) < 1150
    assert chosen == {
        uid for uid in range(1, 5001) if Contents("seed", 0.2).of("alice", "INBOX")(uid)
    }
    for other in (
        Contents("other", 0.2).of("alice", "INBOX"),
        some.of("bruno", "INBOX"),
        some.of("alice", "mail/x"),
    ):
        assert chosen != {uid for uid in range(1, 5001) if other(uid)}
    assert all(map(Contents("seed").of("alice", "INBOX"), range(100)))


def test_no_content_is_read_after_the_deadline():
    assert not any(map(Contents("seed", 1, time.monotonic() - 1).of("alice", "INBOX"), range(100)))


def test_digests_know_the_same_messages_in_any_order():
    first, other = (
        [message(1), message(2, "bb"), message(3, "cc")],
        [message(8, "cc"), message(9), message(10, "bb")],
    )
    assert messages.Digests(first).same(messages.Digests(other))
    assert not messages.Digests(first).same(messages.Digests(other[:2]))
    assert not messages.Digests(first).same(messages.Digests([*other[:2], message(10, "bc")]))
    assert messages.Digests([message(1, None)]).same(messages.Digests([message(2)])), (
        "without digests, by size and date"
    )
    assert not messages.Digests([message(1, None)]).same(messages.Digests([message(2, size=11)]))


def test_users_at_work_are_told_from_what_may_never_differ():
    staged_ones = [message(3), message(4), message(5), message(6)]
    assert staged_sample.compare(staged_ones, staged_ones) == (0, [])
    # read, expunged, delivered since the pass
    assert staged_sample.compare(
        [message(3, flags=["\\Seen"]), message(5), message(6), message(7)], staged_ones
    ) == (3, [])
    for wrong, text in (
        ([message(3, "bb")], "content"),
        ([message(3, date=DATE.replace(year=2011))], "INTERNALDATE"),
    ):
        changed, differences = staged_sample.compare(wrong, staged_ones)
        assert len(differences) == 1 and text in differences[0]
    assert staged_sample.compare(staged_ones, [message(3), message(4), message(6)]) == (
        0,
        ["UID 5: not staged"],
    )


def test_mail_that_came_in_before_what_waits_in_the_spool_is_no_difference():
    later = DATE.replace(year=2011)
    staged_ones = [
        message(3),
        message(4),
        message(5, "cc"),
        message(6, "dd"),
    ]  # 5 and 6 wait in the spool
    since = [
        message(3),
        message(4),
        message(5, "ee", date=later),
        message(6, "ff", date=later),
        message(7, "gg", date=later),
    ]
    assert staged_sample.compare(since, staged_ones, waits=True) == (3, [])
    assert len(staged_sample.compare(since, staged_ones)[1]) == 2, "in another folder nothing waits"
    for wrong in (
        [*since[:3], message(6, "dd")],
        [message(3, "ee", date=later), *since[1:]],
        [*since[:2], message(5, "ee")],
    ):
        assert staged_sample.compare(wrong, staged_ones, waits=True)[1], (
            "not all from there on, or not another message"
        )
