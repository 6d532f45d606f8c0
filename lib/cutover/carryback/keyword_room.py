"""How many keywords c-client can keep in a folder, and which ones found no room."""

import collections
from collections.abc import Iterable, Mapping

KEYWORDS = 30  # c-client's, in one folder
KEYWORD_LENGTH = 64  # its longest


class KeywordRoom:
    """`keywords`: `{old folder: keywords in lower case}` that are in use already."""

    def __init__(self, keywords: Mapping[str, Iterable[str]]):
        self._used = {folder: set(words) for folder, words in keywords.items()}
        self._refused = collections.defaultdict(collections.Counter)

    def fitting(self, folder: str, flags: Iterable[str]) -> frozenset[str]:
        """The flags the folder can take; its room is used up accordingly."""
        return frozenset(flag for flag in sorted(flags) if self._takes(folder, flag))

    def _takes(self, folder, flag):
        used, word = self._used.setdefault(folder, set()), flag.lower()
        if flag.startswith("\\") or word in used:
            return True
        if len(used) < KEYWORDS and len(flag) <= KEYWORD_LENGTH:
            used.add(word)
            return True
        self._refused[folder][flag] += 1
        return False

    def problems(self) -> list[str]:
        """One text per folder and keyword that found no room."""
        return [
            f"{folder}: no room for the keyword {keyword} of {count} messages: c-client keeps "
            f"{KEYWORDS} per folder, of at most {KEYWORD_LENGTH} characters"
            for folder, keywords in self._refused.items()
            for keyword, count in keywords.items()
        ]
