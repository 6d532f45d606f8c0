import os
import shutil

import pytest


@pytest.fixture
def rsync(base, tmp_path, monkeypatch):
    """The lab's rsync, on this machine: it need not be installed here."""
    if shutil.which("rsync") is None:
        (loader, *_), libraries = (
            base.glob("lib*/ld-linux*.so.*"),
            ":".join(map(str, base.glob("usr/lib/*-linux-gnu"))),
        )
        shim = tmp_path / "bin/rsync"
        shim.parent.mkdir()
        shim.write_text(
            f'#!/bin/sh\nexec {loader} --library-path {libraries} {base}/usr/bin/rsync "$@"\n'
        )
        shim.chmod(0o755)
        monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
