"""What a Dask worker runs on a host, as one zip file: Dask, what it needs, and our program.

The packages are those of this environment, so every host has the versions that requirements.lock
pins; each file is checked against the hash that its wheel came with. The host needs Python and
nothing else: no pip, no network. Compiled modules for another version of Python are passed over,
as all but psutil's have a form in Python next to them.
"""

import base64
import functools
import hashlib
import importlib.metadata
import io
import pathlib
import platform
import sys
import zipfile
from collections.abc import Iterator, Sequence

from cutover.model import errors

# what `distributed` needs, on every version of Python
PACKAGES = (
    *("click", "cloudpickle", "dask", "distributed", "fsspec", "importlib-metadata", "Jinja2"),
    *("lazy-importer", "locket", "MarkupSafe", "msgpack", "packaging", "partd", "psutil"),
    *("PyYAML", "sortedcontainers", "tblib", "toolz", "tornado", "zict", "zipp"),
)
OLDEST = (3, 10)  # Python that Dask runs on
COMPILED = "psutil"  # needs its compiled module
MAIN = b"""import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from cutover.remote import dask_worker

sys.exit(dask_worker.main(sys.argv[1]))
"""
FIXED_TIME = (1980, 1, 1, 0, 0, 0)


class Unusable(errors.CutoverError):
    """This environment's packages cannot be given to a host."""


def refusal(version: Sequence[int], machine: str) -> str:
    """Why a host with this version of Python and this processor cannot be a worker, or ""."""
    if tuple(version[:2]) < OLDEST:
        return f"Dask needs Python {'.'.join(map(str, OLDEST))} or later"
    if machine != platform.machine():
        return f"the packages of this environment are for {platform.machine()}"
    own = tuple(version[:2]) == sys.version_info[:2]
    if not own and not any(".abi3." in path.name for path in _files(COMPILED)):
        return f"this environment's {COMPILED} works with Python {platform.python_version()} only"
    return ""


def versions() -> dict[str, str]:
    """The version of each package."""
    return {name: _distribution(name).version for name in PACKAGES}


def mark() -> str:
    """A name for this set of files: another for any other."""
    program = pathlib.Path(__file__).with_name("dask_worker.py").read_bytes()
    text = repr((sorted(versions().items()), platform.machine(), MAIN, program))
    return "dask-" + hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.cache
def content() -> bytes:
    """The zip file. Raises Unusable, naming a file that is not as its package has it."""
    target = io.BytesIO()
    program = pathlib.Path(__file__).with_name("dask_worker.py").read_bytes()
    own = [
        ("__main__.py", MAIN),
        ("cutover/__init__.py", b""),
        ("cutover/remote/__init__.py", b""),
        ("cutover/remote/dask_worker.py", program),
    ]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in [*own, *_packaged()]:
            entry = zipfile.ZipInfo(name, FIXED_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o100600 << 16
            archive.writestr(entry, data)
    return target.getvalue()


def _packaged() -> Iterator[tuple[str, bytes]]:
    for package in PACKAGES:
        for path in _files(package):
            yield str(path), _checked(package, path)


def _checked(package, path):
    """The bytes of a package's file. Raises Unusable if it is not as the package has it."""
    data = pathlib.Path(path.locate()).read_bytes()
    if path.hash is not None:
        digest = hashlib.new(path.hash.mode, data).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != path.hash.value:
            raise Unusable(
                f"{path.locate()} is not as {package} has it. Delete .venv: the next command "
                "makes it anew."
            )
    return data


def _distribution(package):
    try:
        return importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        raise Unusable(
            f"the package {package} is missing. Delete .venv: the next command makes it anew."
        ) from None


def _files(package):
    """The files of a package that a worker may need: not its tests, not its programs."""
    return [
        path
        for path in _distribution(package).files or []
        if ".." not in path.parts
        and not path.is_absolute()
        and not {"tests", "__pycache__"}.intersection(path.parts)
        and path.suffix != ".pyc"
    ]
