"""The order in which changes are applied: one after the other, or at several hosts at once."""

import concurrent.futures
import threading


def groups(changes) -> list:
    """Groups of changes, applied in order. A group is a list of lanes that run at the same time.

    A lane is a list of `(number, change)`, applied in order; see Change.lane. Changes share a group
    if they follow each other in the plan and have the same word `beside`.
    """
    lanes_of_groups, together = [], ""
    for number, change in enumerate(changes):
        if not change.beside or change.beside != together:
            lanes_of_groups.append({})
        lanes_of_groups[-1].setdefault(change.lane, []).append((number, change))
        together = change.beside
    return [list(lanes.values()) for lanes in lanes_of_groups]


def run(lanes, apply) -> None:
    """Call `apply(number, change)` for every change of one group.

    After a failure no other change begins; those that began finish first. Raises the first error.
    """
    stopped = threading.Event()

    def go(lane):
        for number, change in lane:
            if stopped.is_set():
                return
            try:
                apply(number, change)
            except BaseException:
                stopped.set()
                raise

    if len(lanes) == 1:
        go(lanes[0])
        return
    with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
        try:
            for future in concurrent.futures.as_completed(
                [pool.submit(go, lane) for lane in lanes]
            ):
                future.result()
        except BaseException:
            stopped.set()
            raise
