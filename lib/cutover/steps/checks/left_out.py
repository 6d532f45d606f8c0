"""Users whom a conversion left out: their mail is on the old server only."""

from collections.abc import Iterator, Mapping, Sequence

from cutover import model


def checks(users: Sequence[str], site) -> Iterator[model.Check]:
    """A warning per user whom this run leaves out."""
    for name in users:
        yield model.Check(
            f"Is {name}'s mail left on {site.roles.old}, unconverted?",
            "no",
            f"yes: the run continued without {name}; {site.roles.new} has only what was delivered "
            "there",
            True,
            f"tell {name}; before restore-sendmail: fix the cause, then run convert again with an "
            f"empty `without`, and verify. Later, roll back, or keep {site.roles.old} until the "
            "mail is brought over (docs/operator.md, convert)",
            warning=True,
            id="user-left-out",
            subject=name,
        )


def earlier(reading: model.Reading[Mapping[str, str]], site) -> Iterator[model.Check]:
    """A warning per user whom an earlier run left out.

    reading: the runs, by user.
    """
    question = f"No user was left out by an earlier run and has mail on {site.roles.old} only"
    if not reading.ok:
        yield model.Check(
            question,
            "0 users",
            reading.error,
            False,
            f"Fix this: {site.roles.new} must be able to say what it has published.",
            id="earlier-left-out",
        )
        return
    for user, run in sorted(reading.value.items()):
        yield model.Check(
            question,
            "0 users",
            f"{user}: left out by {run}",
            True,
            "See whether the cause is fixed. This run converts the user like all others.",
            warning=True,
            id="earlier-left-out",
            subject=user,
        )
