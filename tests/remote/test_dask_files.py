"""What is shipped to a worker: this environment's own packages, whole and as their wheels had them."""

import importlib.metadata
import io
import json
import re
import subprocess
import sys
import zipfile

import pytest
from cutover.remote import dask_files
from packaging import requirements

PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


def needed(name, python, known):
    """The names of a package and of all that it needs."""
    normal = re.sub(r"[-_.]+", "-", name).lower()
    if normal not in known:
        known.add(normal)
        for text in importlib.metadata.requires(name) or []:
            requirement = requirements.Requirement(text)
            environment = {"python_version": python, "extra": ""}
            if requirement.marker is None or requirement.marker.evaluate(environment):
                needed(requirement.name, python, known)
    return known


def test_the_packages_are_all_that_dask_needs():
    everywhere = set().union(*(needed("distributed", python, set()) for python in PYTHONS))
    listed = {re.sub(r"[-_.]+", "-", name).lower() for name in dask_files.PACKAGES}
    # on 3.10, which this environment never has, importlib.metadata's package may need one more
    assert everywhere - {"typing-extensions"} == listed


def test_a_host_needs_nothing_but_python(tmp_path):
    zipfile.ZipFile(io.BytesIO(dask_files.content())).extractall(tmp_path)
    program = (
        f"import sys; sys.path[:] = [{str(tmp_path)!r}, *(p for p in sys.path if 'site-' not in p)]\n"
        "import json, distributed, yaml, msgpack, tornado\n"
        "from cutover.remote import dask_worker\n"
        "print(json.dumps([m.__file__ for m in (distributed, yaml, msgpack, tornado, dask_worker)]))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert all(path.startswith(str(tmp_path)) for path in json.loads(done.stdout))


def test_a_file_that_is_not_as_its_package_has_it_is_named(monkeypatch, tmp_path):
    changed = tmp_path / "file_lock.py"
    changed.write_text("import os\n")
    path = next(path for path in dask_files._files("locket") if path.name == "__init__.py")
    monkeypatch.setattr(type(path), "locate", lambda self: changed)
    with pytest.raises(dask_files.Unusable, match=r"file_lock.py is not as locket has it"):
        dask_files._checked("locket", path)


def test_who_cannot_be_a_worker_is_told_why(monkeypatch):
    machine = dask_files.platform.machine()
    assert dask_files.refusal(sys.version_info, machine) == ""
    assert "3.10 or later" in dask_files.refusal([3, 9, 2], machine)
    assert f"are for {machine}" in dask_files.refusal([3, 13, 5], "sparc64")
    monkeypatch.setattr(dask_files, "_files", lambda package: [])
    assert "psutil works with" in dask_files.refusal([3, 99, 0], machine)


def test_other_files_have_another_name(monkeypatch):
    before = dask_files.mark()
    monkeypatch.setattr(dask_files, "versions", lambda: {"dask": "1"})
    assert dask_files.mark() != before
