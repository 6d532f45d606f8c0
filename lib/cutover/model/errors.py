"""One base for every error an operator may meet; each message says what, where, and what to do."""


class CutoverError(Exception):
    """Something the operator can act on. Printed without a traceback by the command line.

    `outcome_unknown`: what was asked for may have been done all the same; the world has to be looked at.
    """

    outcome_unknown = False

    def _render_traceback_(self):
        """What IPython shows in a notebook: the message alone, as on the command line. Our own faults keep their traceback."""
        return [f"{type(self).__name__}: {self}"]


class TemplatedError(CutoverError):
    """An error that is made of its data: each is an attribute, and `template` puts them into the message."""

    template = ""

    def __init__(self, **data):
        self.__dict__.update(data)
        super().__init__(self.template.format(**data))


class Missing(CutoverError):
    """The machine lacks something this command needs; the message names it and how to get it."""


class Unreadable(CutoverError):
    """A host's answer to a command that only reads cannot be understood."""
