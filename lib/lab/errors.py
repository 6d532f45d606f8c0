"""Errors that a person at the terminal can fix. The command line prints the message alone."""


class LabError(Exception):
    """Something in the lab failed; the message says what, where and what to do."""


class Missing(LabError):
    """This machine lacks something the lab needs; the message names it and how to get it."""
