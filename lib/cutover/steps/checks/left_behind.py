"""Mail that an earlier rollback left on the new server."""

from collections.abc import Iterator, Mapping

from cutover import model
from cutover.carryback import notes


def earlier(reading: model.Reading[Mapping[str, notes.Note]], site) -> Iterator[model.Check]:
    """One warning per user with such mail; the conversion merges it like all mail there.

    reading: the notes of earlier rollbacks, by user.
    """
    question = f"No mail left behind by an earlier rollback is only on {site.roles.new}"
    if not reading.ok:
        yield model.Check(
            question,
            "0 messages",
            reading.error,
            False,
            "Fix this: such mail must be known before it is converted.",
            id="earlier-left-behind",
        )
        return
    for user, note in reading.value.items():
        if note.behind:
            yield model.Check(
                question,
                "0 messages",
                f"{user}: {notes.pending_text(note)}",
                True,
                "Nothing to do: convert merges it into the folder it is in.",
                warning=True,
                id="earlier-left-behind",
                subject=user,
                data={"messages": len(note.behind)},
            )
