"""One base for every error an operator may see. Its message says what, where and what to do."""


class CutoverError(Exception):
    """Something the operator can act on. Printed without a traceback by the command line.

    outcome_unknown: it may have been done all the same. Look at the live state.
    """

    outcome_unknown = False

    def _render_traceback_(self):
        """What IPython shows: only the message. Bugs keep their traceback."""
        return [f"{type(self).__name__}: {self}"]


class TemplatedError(CutoverError):
    """An error made of its data: each item is an attribute; `template` makes the message."""

    template = ""

    def __init__(self, **data):
        self.__dict__.update(data)
        super().__init__(self.template.format(**data))


class Missing(CutoverError):
    """The machine lacks something this command needs; the message names it and how to get it."""


class Unreadable(CutoverError):
    """A host's answer to a command that only reads cannot be understood."""
