"""Regular expressions that are compiled when they are first used.

Python compiles them at each start: all of the store's take longer than a pass over a store in which
nothing changed. For the same reason some modules import what they seldom need (shutil, hashlib,
base64, traceback) where they need it.
"""

import re


class Pattern:
    """A compiled pattern, in time. Its methods become attributes at their first use, so that later
    ones cost no more."""

    def __init__(self, text, flags=0):
        self._text, self._flags = text, flags

    def __getattr__(self, name):
        method = getattr(re.compile(self._text, self._flags), name)
        setattr(self, name, method)
        return method
