"""The lists of report.html, short however many users a site has: what is wrong first, and sums."""

import collections

from cutover.record import step_facts
from cutover.report import step_tables, tables

MANY = 60  # users shown, and files of one folder


def users(run, events):
    """The figures of each user; who differs comes first: nobody looks through thousands."""

    def order(user):
        return not (user.differences or user.new != user.old + user.added), not user.notes

    return sorted(step_facts.users(run, events), key=order)


def marks(attempts) -> dict[str, int]:
    """How many checks passed, warn or failed."""
    return collections.Counter(
        check.mark for attempt in attempts.values() for check in attempt.checks
    )


def remarks(attempts, mark):
    """[(step, check)] of the checks with a mark; of very many of one id, the first ones."""
    return [
        (attempt.step, check)
        for attempt in attempts.values()
        for check in step_tables.condensed([item for item in attempt.checks if item.mark == mark])
    ]


def as_text(sums):
    """Every user of the verification as text, one per line between tabs; who differs comes first.

    "" where the page shows all of them.
    """
    if len(sums) <= MANY:
        return ""
    rows = [("user", "folders", "old", "added", "new", "differences", "notes")]
    for user in sums:
        numbers = (user.folders, user.old, user.added, user.new)
        rows.append((user.user, *numbers, "; ".join(user.differences), "; ".join(user.notes)))
    return "".join(
        "\t".join(" ".join(tables.printable(str(value)).split()) for value in row) + "\n"
        for row in rows
    )


def gathered(rows):
    """Of folders with very many files, such as the users' pages, one row with their number."""
    folders = collections.Counter(name.rpartition("/")[0] for name, _, _ in rows)
    large = {folder for folder, number in folders.items() if folder and number > MANY}
    shown = [row for row in rows if row[0].rpartition("/")[0] not in large]
    for folder in large:
        sizes = [size for name, size, _ in rows if name.rpartition("/")[0] == folder]
        shown.append((f"{folder}/ ({len(sizes)} files)", sum(sizes), "each in record.json"))
    return sorted(shown)
