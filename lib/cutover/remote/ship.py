"""The converter as a mail host's own python3 runs it: one zip file.

It runs from memory once, or unpacked for work that repeats. `store` is its name on the host.

    python3 store.pyz state --plan …
    python3 -m zipfile -e store.pyz store && python3 -I -S store/__main__.py convert-users --plan …

Unpacked, it starts in half the time: Python keeps what it compiled next to the modules. The same
sources give the same bytes: entries sorted, times fixed, modes fixed.
"""

import hashlib
import io
import os
import pathlib
import zipfile

import mbx2maildir

MAIN = b"""import os
import sys

if sys.version_info < (3, 8):
    sys.exit("cutover store needs Python 3.8 or later; this is " + sys.version.split()[0])
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cutover.remote import store_program

sys.exit(store_program.main())
"""
MOVER = (
    "confined",
    "store_copies",
    "store_mover",
    "store_program",
    "store_use",
    "trees",
)  # modules of this room that are shipped
FIXED_TIME = (1980, 1, 1, 0, 0, 0)


def sources():
    """[(name in the archive, content)]: mbx2maildir and the store mover."""
    converter, here = pathlib.Path(mbx2maildir.__file__).parent, pathlib.Path(__file__).parent
    modules = [
        (f"mbx2maildir/{path.relative_to(converter).as_posix()}", path.read_bytes())
        for room in ("", "convert", "formats", "publish")
        for path in sorted((converter / room).glob("*.py"))
    ]
    mover = [(f"cutover/remote/{name}.py", (here / f"{name}.py").read_bytes()) for name in MOVER]
    packages = [("cutover/__init__.py", b""), ("cutover/remote/__init__.py", b"")]
    return [("__main__.py", MAIN), *packages, *mover, *modules]


def mark():
    """Name of an empty file in the archive that tells these sources from any others."""
    return "sources-" + hashlib.sha256(repr(sources()).encode("utf-8")).hexdigest()[:16]


def content():
    """The zipapp → bytes."""
    target = io.BytesIO()
    target.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, module in [*sources(), (mark(), b"")]:
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
