"""Which faults happen in which night: in the order of the steps, and one of a step."""

import dataclasses
import fnmatch
import os

from catalogue import CATALOGUE, STEPS

CI = (
    "kill-kernel-dns-rename-middle",
    "makemap-dies",
    "kill-sshd-stop-imap-middle",
    "kill-control-convert-middle",
)
FORWARD, BACK = "forward", "back"


@dataclasses.dataclass(frozen=True)
class End:
    """How a night ends.

    Each night's is a value of its own: pytest gathers what equal values are given to.
    """

    way: str
    night: int

    @property
    def name(self):
        return self.way


def chosen():
    """By CUTOVER_FAULTS.

    Unset, the short selection; "all"; "K/N", every N-th night of all from the K-th on; or names,
    with *.
    """
    wanted = os.environ.get("CUTOVER_FAULTS", "")
    if not wanted:
        return pack([fault for fault in CATALOGUE if fault.name in CI])
    if wanted == "all":
        return pack(CATALOGUE)
    if "/" in wanted:
        part, of = map(int, wanted.split("/"))
        return {
            number: night for number, night in pack(CATALOGUE).items() if number % of == part - 1
        }
    return pack(
        [
            fault
            for fault in CATALOGUE
            if any(fnmatch.fnmatchcase(fault.name, pattern) for pattern in wanted.split(","))
        ]
    )


def pack(faults):
    """`{number.

    [Fault…]}`, each night in the order of the steps; a kill's target and moment make a night.
    """
    nights = []
    for fault in sorted(faults, key=lambda fault: STEPS.index(fault.step)):
        for night in nights:
            taken = any(other.step == fault.step for other in night)
            if (night[0].ground, night[0].by) == (fault.ground, fault.by) and not taken:
                night.append(fault)
                break
        else:
            nights.append([fault])
    return dict(enumerate(nights))


def items(nights):
    """`[(night, Fault | End)]`.

    After the faults the night goes to its end, and back when a fault is in going back.
    """
    pairs = []
    for number, night in nights.items():
        ahead = [fault for fault in night if fault.step != "rollback"]
        back = [fault for fault in night if fault.step == "rollback"]
        pairs += [
            (number, item)
            for item in [
                *ahead,
                End(FORWARD, number),
                *back,
                *([End(BACK, number)] if back else []),
            ]
        ]
    return pairs
