"""Messages of two sides, side by side by UID."""

import pytest
from cutover.carryback import matching
from cutover.connect import imap
from mailbox_fakes import DATE


def message(uid):
    return imap.Message(uid, frozenset(), False, DATE, 10)


@pytest.mark.parametrize(
    "old, new, limit, pairs",
    [
        ([1, 2, 4], [1, 3, 4], 5, [(1, 1), (2, None), (None, 3), (4, 4)]),
        # from the limit on a UID tells nothing
        ([1, 5, 6], [1, 5], 5, [(1, 1), (5, None), (None, 5), (6, None)]),
        ([], [7], 5, [(None, 7)]),
        ([3], [], 5, [(3, None)]),
        ([], [], 5, []),
    ],
)
def test_uids_side_by_side(old, new, limit, pairs):
    rows = [
        tuple(side and side.uid for side in pair)
        for pair in matching.side_by_side(map(message, old), map(message, new), limit)
    ]
    assert sorted(rows, key=str) == sorted(pairs, key=str)
