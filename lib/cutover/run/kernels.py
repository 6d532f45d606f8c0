"""Kernels for notebooks executed unattended, forked from a process that imported everything.

A kernel that is started anew imports for over a second, 13 times in a night, most of it while the
users wait. Here a server (multiprocessing's fork server) imports once, as soon as a run begins, and
each notebook's kernel is a fork of it. The server has one thread and no connection, so a kernel
shares nothing with the one before it. A kernel ends when the process that began the run does, and
the server after it.

While one notebook is executed, the kernels of the next ones may be there already, and connect to
the site's hosts.
"""

import contextlib
import gc
import multiprocessing
import os
import pathlib
import queue
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid

from jupyter_client import connect
from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

from cutover import site
from cutover.connect import hosts

# what a kernel imports; what fails to import here is imported, and reported, by the kernel itself
PRELOAD = ["ipykernel.kernelapp", "ipykernel.ipkernel", "cutover.notebook.page"]
NAME = "cutover-kernel"  # as ps(1) shows it
QUIET = "--IPKernelApp.log_level=CRITICAL"
READY = "ready"  # the file in its folder that a kernel makes once it has connected
PATIENCE = 30.0  # seconds
here = False  # whether this process is such a kernel: nobody watches its widgets
_waiting = []  # the next notebooks' kernels
_place = None  # the folder of all sockets of this run


def prepare() -> None:
    """Start the server. It imports while the caller continues."""
    from multiprocessing import forkserver

    multiprocessing.set_forkserver_preload(PRELOAD)
    forkserver.ensure_running()


@contextlib.contextmanager
def prepared():
    """The server runs; whatever waits at the end is ended."""
    global _place
    prepare()
    with tempfile.TemporaryDirectory(prefix="cutover-") as _place:
        try:
            yield
        finally:
            _end_waiting()
            _place = None


def folder() -> tempfile.TemporaryDirectory:
    """A private folder for a kernel's sockets: no TCP port that others on this machine could find.

    If the run is killed within `prepared`, its kernels remove it.
    """
    return tempfile.TemporaryDirectory(prefix="cutover-", dir=_place)


def expect(site_file, count: int = 1) -> None:
    """Start the kernels of the next notebooks, and have them connect to the hosts of a site.

    Does nothing while some wait that an earlier call started.
    """
    with contextlib.suppress(OSError, EOFError):  # then each starts when it is needed
        for _ in range(0 if _waiting else count):
            _waiting.append(_Waiting(str(site_file)))


def settle() -> None:
    """Wait until the kernels that wait have connected, or tried to, and so leave the processors."""
    until = time.monotonic() + PATIENCE
    while any(waiting.busy() for waiting in _waiting) and time.monotonic() < until:
        time.sleep(0.02)


def _end_waiting():
    while _waiting:
        _waiting.pop().end()


class Manager(AsyncKernelManager):
    """Starts one kernel; for nbclient's `kernel_manager_class`."""

    def __init__(self, **options):
        super().__init__(**options)
        self.client_factory = Client
        self.kernel_id = str(uuid.uuid4())
        self.provisioner = Forked(
            kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self
        )

    async def _async_wait(self, pollinterval=None):
        await super()._async_wait(0.01)  # the library looks every 0.1 s whether the kernel is gone


class Client(AsyncKernelClient):
    """A client whose kernel is ready once it has answered on both channels.

    The library waits for silence besides, 0.2 s of it.
    """

    async def wait_for_ready(self, timeout=None):
        """Raises RuntimeError if the kernel ended, or does not answer within `timeout` seconds."""
        until = time.monotonic() + (timeout or 60)
        while time.monotonic() < until:
            request = self.kernel_info()
            try:
                await self.get_shell_msg(timeout=1)
                while not _ends(await self.get_iopub_msg(timeout=0.1), request):
                    pass
                return
            except queue.Empty:
                if not await self.is_alive():
                    raise RuntimeError("The kernel ended before it was ready.") from None
        raise RuntimeError(f"The kernel did not answer within {timeout or 60:g} s.")


def _ends(message, request):
    """Whether a message says that the kernel is done with a request."""
    return (
        message["parent_header"].get("msg_id") == request
        and message["content"].get("execution_state") == "idle"
    )


class Forked(LocalProvisioner):
    """A kernel on this machine, as its process: the one that waits, if it lives."""

    _taken = None

    async def launch_kernel(self, cmd, **options):
        while _waiting and self._taken is None:
            waiting = _waiting.pop()
            if waiting.kernel.is_alive():
                self._taken, self.connection_info = waiting, waiting.connection
            else:
                waiting.end()
        if self._taken:
            kernel = self._taken.kernel
        else:
            kernel = _started(cmd[cmd.index("-f") :], options["env"], options.get("cwd"))
        self.process = Process(kernel)
        self.pid = self.pgid = self.process.pid
        return self.connection_info

    async def cleanup(self, restart=False):
        await super().cleanup(restart)
        if self._taken:
            self._taken.end()


class Process:
    """A forked kernel, with what LocalProvisioner asks of a subprocess.Popen."""

    stdin = stdout = stderr = None

    def __init__(self, kernel):
        self._kernel, self.pid = kernel, kernel.pid

    def poll(self):
        return self._kernel.exitcode

    def wait(self):
        self._kernel.join()
        return self._kernel.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        self.send_signal(signal.SIGTERM)


class _Waiting:
    """A kernel that waits for its notebook. connection: how to reach it, as in its file."""

    def __init__(self, site_file):
        self._folder = folder()
        place, key = self._folder.name, secrets.token_hex().encode()
        file, written = connect.write_connection_file(
            f"{place}/connection.json", transport="ipc", ip=f"{place}/kernel", key=key
        )
        self.connection = {**written, "key": key}
        try:
            # a site may name a key by a path within the project
            arguments = ["-f", file, QUIET], dict(os.environ), site.PROJECT
            self.kernel = _started(*arguments, site_file)
        except BaseException:
            self._folder.cleanup()
            raise

    def busy(self):
        return self.kernel.is_alive() and not pathlib.Path(self._folder.name, READY).exists()

    def end(self):
        self.kernel.kill()
        self.kernel.join()
        self._folder.cleanup()


def _started(arguments, environment, cwd, site_file=None):
    """A fork of the server that becomes a kernel, as a multiprocessing.Process."""
    prepare()
    kernel = multiprocessing.get_context("forkserver").Process(
        target=_be_a_kernel,
        args=(arguments, environment, str(cwd or os.getcwd()), site_file, _place),
        daemon=True,
    )
    kernel.start()
    return kernel


def _connect(site_file, connection_file):
    """Connect to the hosts, then say so. If that fails, the step tries again and reports it."""
    with contextlib.suppress(Exception):
        try:
            hosts.open_ahead(site.load(site_file))
        finally:
            pathlib.Path(connection_file).with_name(READY).touch()


def _be_a_kernel(arguments, environment, cwd, site_file, place):
    """What ipykernel_launcher does."""
    global here
    here = True
    gc.freeze()  # else each full collection looks through what the server imported, and copies it
    # the server, this process's parent, lives as long as a kernel does: watch the run itself
    threading.Thread(
        target=_end_with, args=(multiprocessing.parent_process(), place), daemon=True
    ).start()
    os.setsid()
    # nobody debugs this kernel, and to import the debugger takes half of a kernel's start
    sys.modules["debugpy"] = None
    from ipykernel import kernelapp

    _call_itself(NAME)
    os.environ.clear()
    os.environ.update(environment, JPY_PARENT_PID=str(os.getppid()))
    os.chdir(cwd)
    if site_file:
        threading.Thread(target=_connect, args=(site_file, arguments[1]), daemon=True).start()
    sys.argv = [NAME, *arguments]
    kernelapp.launch_new_instance()


def _call_itself(name):
    with open("/proc/self/comm", "w") as comm:
        comm.write(name)


def _end_with(parent, place):
    parent.join()
    if place:
        shutil.rmtree(place, ignore_errors=True)
    os._exit(1)
