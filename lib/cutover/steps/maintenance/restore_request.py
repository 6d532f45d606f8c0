"""What the operator asks a restore for."""

import dataclasses
import datetime
import re

from cutover.facts import trial_restore

_DAY = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d)(:\d\d)?)?")


@dataclasses.dataclass(frozen=True)
class Request:
    """folder: its name as IMAP says it, "" for all. message: a Message-ID, "" for all.

    source: a key of trial_restore.NAMES; "" is the copy. day: the last moment that counts,
    "YYYY-MM-DD" or with a time; "" is now.
    """

    user: str = ""
    folder: str = ""
    message: str = ""
    source: str = ""
    day: str = ""

    @property
    def from_bacula(self) -> bool:
        return self.source == trial_restore.BACULA

    @property
    def moment(self) -> str:
        """The last moment that counts, as Bacula writes it; "" when the last job counts."""
        if not self.day:
            return ""
        date, minute, second = _DAY.fullmatch(self.day).groups()
        return f"{date} {minute or '23:59'}{second or ':59'}"

    def covers(self, folder: str) -> bool:
        """Whether a folder is asked for: the one named, or one below it.

        Only INBOX may be written in any case (RFC 3501).
        """
        name = "INBOX" if self.folder.upper() == "INBOX" else self.folder
        return not name or folder == name or folder.startswith(f"{name}/")

    def problem(self, site) -> str:
        """Why this cannot be asked for at a site with a backup, or ""."""
        if self.source not in ("", *trial_restore.NAMES):
            names = " or ".join(trial_restore.NAMES)
            return f"source {self.source!r} does not exist. Give {names}."
        if self.from_bacula and not site.backup.bacula:
            return (
                "the parameters do not declare Bacula (`backup.bacula`). Restore from the copy of "
                "last night."
            )
        if self.day and not self.from_bacula:
            return "the copy has no earlier days. Restore them from bacula."
        if self.day and not self._is_day():
            return (
                f"{self.day!r} is not a day. Give YYYY-MM-DD, or YYYY-MM-DD HH:MM by Bacula's "
                "clock."
            )
        return ""

    def _is_day(self):
        try:
            return bool(_DAY.fullmatch(self.day) and datetime.datetime.fromisoformat(self.moment))
        except ValueError:  # 30 February
            return False


CHOICES = tuple(field.name for field in dataclasses.fields(Request))
