"""Which messages have their contents read."""

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable


@dataclasses.dataclass
class Contents:
    """Which messages' contents are read: a share that the seed decides, none after the deadline."""

    seed: str
    share: float = 1.0
    deadline: float = math.inf  # by time.monotonic()

    def of(self, user: str, folder: str) -> Callable[[int], bool]:
        """A function: whether the content of the message with a UID is to be read."""

        def chosen(uid):
            if time.monotonic() > self.deadline:
                return False
            if self.share >= 1:
                return True
            text = f"{self.seed}\0{user}\0{folder}\0{uid}".encode("utf-8", "surrogateescape")
            return int.from_bytes(hashlib.sha256(text).digest()[:8]) < self.share * 2**64

        return chosen

    def whole(self) -> bool:
        """Whether every content is to be read now."""
        return self.share >= 1 and time.monotonic() <= self.deadline
