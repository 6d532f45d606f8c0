"""One base for every error an operator may meet; each message says what, where, and what to do."""


class CutoverError(Exception):
    """Something the operator can act on. Printed without a traceback by the command line."""


class Missing(CutoverError):
    """The machine lacks something this command needs; the message names it and how to get it."""
