"""What the first morning after the night shows: what run/first_morning.py has added up so far."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Minute:
    """One minute, `at` seconds since the epoch. load: None where it was not read.

    queued: messages on all MX. missing: how often programs asked for folders that do not exist.
    """

    at: int
    logins: int = 0
    refused: int = 0
    missing: int = 0
    load: float | None = None
    queued: int | None = None


@dataclasses.dataclass(frozen=True)
class Refused:
    """Logins refused for one reason under one name. reason: a constant of facts/dovecot_activity.

    name: as the program sent it; the program's address where it sent none.
    account: the user this name means, "" for none. later: that user has logged in since.
    """

    reason: str
    name: str
    account: str
    count: int
    later: bool


@dataclasses.dataclass(frozen=True)
class Missing:
    """A folder that a program asked for and that does not exist.

    folder: the user's folder that the name means, None if there is none such.
    """

    user: str
    asked: str
    folder: str | None
    count: int


@dataclasses.dataclass(frozen=True)
class Morning:
    """Times are seconds since the epoch.

    opened: when reading was resumed; Dovecot's log is read from then on. began, until: between
    which folders and queues were watched. minutes_asked: how long it should last. over: it ended.
    users: logins of each. limits: what Dovecot said of limits it reached, and how often.
    waiting: by MX, messages that stayed in its queue for PATIENCE seconds or more.
    unread: what the last look could not read, and why.
    """

    opened: float
    began: float
    until: float
    minutes_asked: float
    over: bool = False
    minutes: list[Minute] = dataclasses.field(default_factory=list)
    users: dict[str, int] = dataclasses.field(default_factory=dict)
    refused: list[Refused] = dataclasses.field(default_factory=list)
    missing: list[Missing] = dataclasses.field(default_factory=list)
    limits: dict[str, int] = dataclasses.field(default_factory=dict)
    load: float | None = None
    processors: int | None = None
    waiting: dict[str, int] = dataclasses.field(default_factory=dict)
    unread: dict[str, str] = dataclasses.field(default_factory=dict)
