"""Files that come with the lab's code."""

import importlib.resources
import string


def read(name, **values):
    """Text of a file below this package, e.g. "files/trim.sh"; with values, its $names are filled in."""
    text = importlib.resources.files("lab").joinpath(name).read_text()
    return string.Template(text).substitute(values) if values else text
