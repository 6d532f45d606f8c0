"""The store as one file for a mail host's own python3: `python3 store.pyz convert-users …`.

The same sources give the same bytes: entries sorted, times fixed, modes fixed.
"""

import io
import os
import zipfile

PACKAGE = "cutover/store/"
MAIN = b"""import sys

if sys.version_info < (3, 8):
    sys.exit("cutover store needs Python 3.8 or later; this is " + sys.version.split()[0])

from cutover.store.__main__ import main

sys.exit(main())
"""
FIXED_TIME = (1980, 1, 1, 0, 0, 0)


def sources():
    """(name in the archive, content) of every module, sorted; the package as it lies on disk."""
    here = os.path.dirname(os.path.abspath(__file__))
    found = []
    for name in sorted(os.listdir(here)):
        if name.endswith(".py"):
            with open(os.path.join(here, name), "rb") as module:
                found.append((PACKAGE + name, module.read()))
    return [("__main__.py", MAIN), ("cutover/__init__.py", b"")] + found


def content():
    """The zipapp → bytes."""
    target = io.BytesIO()
    target.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, module in sources():
            entry = zipfile.ZipInfo(name, FIXED_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, module)
    return target.getvalue()


def build(path):
    """Write the zipapp (executable) to `path` → its path. Errors: OSError."""
    temporary = str(path) + ".tmp"
    with open(temporary, "wb") as target:
        target.write(content())
    os.chmod(temporary, 0o755)
    os.replace(temporary, path)
    return path
