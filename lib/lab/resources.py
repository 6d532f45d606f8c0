"""Files that come with the lab's code."""

import importlib.resources
import string


def read(name, **values):
    """Text of a file of this package, such as "files/trim.sh"; `values` replace its $names."""
    text = importlib.resources.files("lab").joinpath(name).read_text()
    return string.Template(text).substitute(values) if values else text
