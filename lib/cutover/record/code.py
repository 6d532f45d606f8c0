"""Which code a run uses: the package's sources, the notebook templates, and their git commit.

The digest of a template covers what it does and says: kind, text and tags of its cells. Saving it
with other outputs in JupyterLab does not change it.
"""

import functools
import hashlib
import json
import os
import subprocess

from cutover import site

SKIPPED = {"__pycache__", ".ipynb_checkpoints"}  # folders


@functools.cache
def files() -> dict:
    """`{name: SHA-256}` of every source file and notebook template, relative to the project."""
    root, digests = site.PROJECT, {}
    # every step of the outage does this: with pathlib it takes twice as long
    for place, folders, names in os.walk(root / "lib"):
        folders[:] = set(folders) - SKIPPED
        for path in filter(os.path.isfile, (os.path.join(place, name) for name in names)):
            with open(path, "rb") as file:
                digests[os.path.relpath(path, root)] = hashlib.sha256(file.read()).hexdigest()
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        digests[str(path.relative_to(root))] = template(path.read_bytes())
    return digests


def template(data: bytes) -> str:
    """SHA-256 of what a notebook does and says; of the bytes if it is not a notebook."""
    try:
        cells = [
            [
                cell["cell_type"],
                "".join(cell["source"]),
                sorted(cell.get("metadata", {}).get("tags", [])),
            ]
            for cell in json.loads(data)["cells"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return hashlib.sha256(data).hexdigest()
    return _digest(cells)


@functools.cache
def parts() -> dict:
    """`{"code": digest of the package, "notebooks": digest of the templates}`."""
    sources, templates = {}, {}
    for name, digest_of_file in files().items():
        (templates if name.startswith("notebooks/") else sources)[name] = digest_of_file
    return {"code": _digest(sources), "notebooks": _digest(templates)}


def digest(of: dict | None = None) -> str:
    """SHA-256 over code and notebooks. `of`: the digests of both; default: as they are now."""
    return _digest(parts() if of is None else of)


def _digest(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def commit() -> dict:
    """`{"commit": hash, "changed": whether the checkout differs from it}`.

    Both are None outside a git checkout.
    """
    try:
        head = _git("rev-parse", "HEAD")
        changed = bool(_git("status", "--porcelain", "--", "lib", "notebooks")) if head else None
    except (OSError, subprocess.TimeoutExpired):
        head = changed = None
    return {"commit": head, "changed": changed}


def _git(*arguments):
    """What a git command prints; None if it fails."""
    done = subprocess.run(
        ["git", "-C", str(site.PROJECT), *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=20,
    )
    return done.stdout.strip() if done.returncode == 0 else None
