"""Which code a run is done with: the package's sources, the notebook templates, and their git commit.

The digest of a template is over what it does and says (kind, text and tags of its cells), so that saving it with other
outputs in JupyterLab is no other code.
"""

import functools
import hashlib
import json
import subprocess

from cutover import site


@functools.cache
def files() -> dict:
    """`{name: SHA-256}` of every source file of the package and every notebook template, names relative to the project."""
    root, found = site.PROJECT, {}
    for path in sorted((root / "lib").rglob("*")):
        if (
            path.is_file()
            and "__pycache__" not in path.parts
            and ".ipynb_checkpoints" not in path.parts
        ):
            found[str(path.relative_to(root))] = hashlib.sha256(path.read_bytes()).hexdigest()
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        found[str(path.relative_to(root))] = template(path.read_bytes())
    return found


def template(data: bytes) -> str:
    """SHA-256 of what a notebook does and says. What is no notebook counts by its bytes."""
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
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


@functools.cache
def parts() -> dict:
    """`{"code": digest of the package, "notebooks": of the templates}`."""
    return {
        name: hashlib.sha256(
            json.dumps(
                {
                    path: each
                    for path, each in files().items()
                    if path.startswith("notebooks/") == (name == "notebooks")
                },
                sort_keys=True,
            ).encode()
        ).hexdigest()
        for name in ("code", "notebooks")
    }


def digest() -> str:
    """SHA-256 over both."""
    return hashlib.sha256(json.dumps(parts(), sort_keys=True).encode()).hexdigest()


def commit() -> dict:
    """`{"commit": hash or None, "changed": whether the checkout differs from it}`; None outside a git checkout."""

    def git(*argv):
        done = subprocess.run(
            ["git", "-C", str(site.PROJECT), *argv],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=20,
        )
        return done.stdout.strip() if done.returncode == 0 else None

    try:
        head = git("rev-parse", "HEAD")
        return {
            "commit": head,
            "changed": bool(git("status", "--porcelain", "--", "lib", "notebooks"))
            if head
            else None,
        }
    except (OSError, subprocess.TimeoutExpired):
        return {"commit": None, "changed": None}
