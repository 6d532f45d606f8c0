"""Start JupyterLab: on this machine only, with a token, without contacting the network."""

import os
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from cutover import site


def argv(port: int, opened: Path, edit_templates: bool = False) -> list:
    """The command.

    opened: the folder or notebook to open first. The file browser shows the project or, for a run
    outside it, only the run's folder.
    """
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.open_browser": False,
        "ServerApp.root_dir": _root(opened),
        "ServerApp.default_url": _path(opened),
        "ServerApp.contents_manager_class": "cutover.notebook.contents.Contents",
        "Contents.edit_templates": edit_templates,
        # a checkpoint next to a notebook would become part of the run's record
        "AsyncFileCheckpoints.checkpoint_dir": tempfile.mkdtemp(prefix="cutover-jupyter-"),
        # sockets in a private folder: no TCP port that others on this machine could find
        "KernelManager.transport": "ipc",
        "KernelSpecManager.allowed_kernelspecs": {"python3"},
        "MultiKernelManager.default_kernel_name": "python3",
        "LabApp.app_settings_dir": Path(__file__).with_name("lab-settings"),
        "LabApp.news_url": None,
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
    }
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        *(f"--{name}={value}" for name, value in options.items()),
        *(["--allow-root"] if os.geteuid() == 0 else []),
    ]


def _root(opened):
    return site.PROJECT if opened.is_relative_to(site.PROJECT) else opened.parents[1]


def _path(opened):
    return f"/lab/tree/{quote(opened.relative_to(_root(opened)).as_posix())}"


def address(port: int, opened: Path, token: str) -> str:
    """The address of what to open, whatever was open last."""
    return f"http://127.0.0.1:{port}{_path(opened)}?token={token}"


def environment(token: str) -> dict:
    """JupyterLab's environment, with the token: other users can read a command line.

    Kernels of this environment take precedence over the user's own with the same name.
    """
    return {**os.environ, "JUPYTER_PREFER_ENV_PATH": "1", "JUPYTER_TOKEN": token}
