"""Which users a host converts together, where several hosts convert one site.

A unit is a list of users that one converter converts, on all cores of its host. A host gets the
next unit when it has finished one. Large users come first and alone, small ones last and together:
each unit has about a SHARE-th of what is left per host, so that all hosts finish at about the same
time and few units are needed. A unit costs as much as three users without mail, so it has LEAST.
"""

from collections.abc import Mapping

SHARE = 2
MOST = 200  # users of a unit: the converter has a file open for each
USER_BYTES = 1 << 20  # what a user costs without any mail, as bytes of mail
LEAST = 64 * USER_BYTES


def divide(sizes: Mapping[str, int], hosts: int) -> list[list[str]]:
    """Divide users into units, in the order in which to begin them. sizes: bytes of each user."""
    cost = {user: size + USER_BYTES for user, size in sizes.items()}
    left = sum(cost.values())
    units, unit, filled = [], [], 0
    for user in sorted(cost, key=lambda user: (-cost[user], user)):
        unit.append(user)
        filled += cost[user]
        if filled >= max(LEAST, left / (SHARE * hosts)) or len(unit) == MOST:
            units.append(unit)
            left, unit, filled = left - filled, [], 0
    return units + ([unit] if unit else [])
