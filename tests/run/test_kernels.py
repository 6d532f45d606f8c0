"""Kernels forked from a server: what they start with, what they share, how they end."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

import nbformat
import papermill
import pytest
from cutover import site
from cutover.run import kernels
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from traitlets.config import Config


@pytest.fixture
def executed(tmp_path):
    """Executes cells in a kernel of its own. Returns the texts they printed."""

    def execute(*cells, **options):
        source, copy = tmp_path / "source.ipynb", tmp_path / "copy.ipynb"
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        nbformat.write(made, source)
        # a path of a socket is short
        with tempfile.TemporaryDirectory(prefix="cutover-") as sockets:
            papermill.execute_notebook(
                source,
                copy,
                cwd=str(tmp_path),
                progress_bar=False,
                config=Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}}),
                kernel_name="python3",
                kernel_manager_class=kernels.Manager,
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
                **options,
            )
        shown = nbformat.read(copy, as_version=4).cells
        return ["".join(output.text for output in cell.outputs) for cell in shown]

    return execute


def gone(process):
    """Whether a directory of /proc goes away within half a minute."""
    until = time.monotonic() + 30
    while process.exists() and time.monotonic() < until:
        time.sleep(0.05)
    return not process.exists()


def ends(pids):
    return all([gone(Path("/proc") / str(pid)) for pid in pids])


def waiting():
    return [waiting.kernel.pid for waiting in kernels._waiting]


LOOK = """
import os, sys
print(os.getpid(), os.getppid(), open("/proc/self/comm").read().strip())
print("cutover.notebook.page" in sys.modules, hasattr(sys, "left"), os.environ.get("KEPT"))
print(os.getcwd())
sys.left = True
"""


def test_each_kernel_is_a_new_fork_of_the_same_server(executed, tmp_path, monkeypatch):
    first, _ = executed(LOOK, "os.environ['KEPT'] = 'no'")
    monkeypatch.setenv("KEPT", "the caller's")
    (second,) = executed(LOOK)
    (pid, server, name), (again, same, _) = (
        text.splitlines()[0].split() for text in (first, second)
    )
    assert name == kernels.NAME and pid != again
    assert server == same and int(server) != os.getpid()
    assert first.splitlines()[1:] == ["True False None", str(tmp_path)]
    assert second.splitlines()[1:] == ["True False the caller's", str(tmp_path)]


@pytest.mark.parametrize(
    "end, options, error",
    [
        ("import time; time.sleep(600)", {"execution_timeout": 3}, CellTimeoutError),
        ("import sys; sys.exit(0)", {}, Exception),
    ],
)
def test_a_kernel_that_came_to_no_end_is_gone_afterwards(executed, tmp_path, end, options, error):
    pid = tmp_path / "pid"
    with pytest.raises(error):
        executed(f"import os; open({str(pid)!r}, 'w').write(str(os.getpid()))\n{end}", **options)
    assert gone(Path("/proc") / pid.read_text())


def test_a_kernel_that_is_killed_is_reported_and_the_next_one_works(executed):
    with pytest.raises(DeadKernelError):
        executed("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert executed("print(1)") == ["1\n"]


def test_a_kernel_that_waits_is_the_next_and_is_used_once(executed, monkeypatch):
    monkeypatch.setenv("KEPT", "the caller's")
    with kernels.prepared():
        kernels.expect("there is no such file")
        (pid,), folder = waiting(), Path(kernels._waiting[0]._folder.name)
        first = executed(LOOK)[0]
        assert first.splitlines()[1:] == ["True False the caller's", str(site.PROJECT)]
        assert first.split()[0] == str(pid) and first.split()[2] == kernels.NAME
        assert not folder.exists() and ends([pid])
        second = executed(LOOK)[0]
        assert second.split()[0] != str(pid) and not waiting()


def test_one_that_died_while_it_waited_is_replaced(executed):
    with kernels.prepared():
        kernels.expect("there is no such file")
        (pid,) = waiting()
        os.kill(pid, signal.SIGKILL)
        assert gone(Path("/proc") / str(pid))
        assert executed("print(1)") == ["1\n"]


def test_none_waits_after_the_end_also_of_a_failure():
    with pytest.raises(KeyboardInterrupt), kernels.prepared():
        kernels.expect("there is no such file", 2)
        pids = waiting()
        kernels.expect("there is no such file")
        assert len(pids) == 2 and waiting() == pids
        raise KeyboardInterrupt
    assert not waiting() and ends(pids)


def test_nothing_is_drawn_for_a_browser_in_an_unattended_kernel(executed):
    assert executed(
        "import sys\nfrom cutover.notebook import live\nfrom cutover.report import tables\n"
        "data = live.View(lambda: tables.Text('seen'))._repr_mimebundle_()\n"
        "print(sorted(data), 'ipywidgets' in sys.modules)"
    ) == ["['text/html', 'text/plain'] False\n"]


CONNECTED = """
import time
from cutover.connect import hosts
until = time.monotonic() + 20
while not hosts._ahead and time.monotonic() < until:
    time.sleep(0.05)
print(sorted(login[0] for login in hosts._ahead))
"""


def test_one_that_waits_opens_the_connections_of_its_site(executed):
    parameters = site.load(site.PROJECT / "parameters/roma1.yaml")
    with kernels.prepared():
        kernels.expect(parameters.path)
        assert executed(CONNECTED) == [f"{sorted(parameters.hosts)}\n"]


def test_before_an_outage_all_that_wait_have_connected(monkeypatch):
    parameters = site.load(site.PROJECT / "parameters/roma1.yaml")
    with kernels.prepared():
        kernels.expect(parameters.path, 2)
        kernels.settle()
        assert [waiting.busy() for waiting in kernels._waiting] == [False, False]
        # one that never does delays it, and no more
        kernels._waiting.append(types.SimpleNamespace(busy=lambda: True, end=lambda: None))
        monkeypatch.setattr(kernels, "PATIENCE", 0.1)
        kernels.settle()


RUN = """
import nbformat, papermill, sys
from cutover.run import kernels
place = sys.argv[1]
text = f"import os, time; open('{place}/pid', 'w').write(str(os.getpid())); time.sleep(600)"
cell = nbformat.v4.new_code_cell(text)
nbformat.write(nbformat.v4.new_notebook(cells=[cell]), f"{place}/source.ipynb")
with kernels.prepared():
    kernels.expect("another waits meanwhile")
    waiting = list(kernels._waiting)
    open(f"{place}/waits", "w").write(f"{waiting[0].kernel.pid} {kernels._place}")
    kernels._waiting.clear()
    papermill.execute_notebook(
        f"{place}/source.ipynb", None, progress_bar=False, kernel_name="python3",
        kernel_manager_class=kernels.Manager,
    )
"""


def test_a_kernel_and_its_server_end_with_the_run(tmp_path):
    pid = tmp_path / "pid"
    run = subprocess.Popen([sys.executable, "-c", RUN, tmp_path], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 120
        while not (pid.exists() and pid.read_text()) and time.monotonic() < until:
            time.sleep(0.05)
        kernel = Path("/proc") / pid.read_text()
        waits, sockets = (tmp_path / "waits").read_text().split()
        waits = Path("/proc") / waits
        assert Path(sockets).is_dir()
        server = kernel.parent / (kernel / "stat").read_text().rpartition(")")[2].split()[1]
    finally:
        run.kill()
        run.wait()
    assert gone(kernel) and gone(waits) and gone(server) and gone(Path(sockets))
