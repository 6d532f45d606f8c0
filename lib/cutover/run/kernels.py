"""Kernels for notebooks executed unattended, forked from a process that imported everything.

A kernel that is started anew imports for over a second, 13 times in a night, most of it while the
users wait. Here a server (multiprocessing's fork server) imports once, as soon as a run begins, and
each notebook's kernel is a fork of it. The server has one thread and no connection, so a kernel
shares nothing with the one before it. A kernel ends when the process that began the run does, and
the server after it.

While one notebook is executed, the process that becomes the next one's kernel may wait already, and
connects to the site's hosts.
"""

import contextlib
import multiprocessing
import os
import queue
import signal
import sys
import threading
import time
import uuid

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

from cutover import site
from cutover.connect import hosts

# what a kernel imports; what fails to import here is imported, and reported, by the kernel itself
PRELOAD = ["ipykernel.kernelapp", "ipykernel.ipkernel", "cutover.notebook.page"]
NAME = "cutover-kernel"  # as ps(1) shows it
WAITS = "cutover-waits"
here = False  # whether this process is such a kernel: nobody watches its widgets
_waiting = []  # the process that waits to become the next kernel


def prepare() -> None:
    """Start the server. It imports while the caller continues."""
    from multiprocessing import forkserver

    multiprocessing.set_forkserver_preload(PRELOAD)
    forkserver.ensure_running()


@contextlib.contextmanager
def prepared():
    """The server runs; whatever waits at the end is ended."""
    prepare()
    try:
        yield
    finally:
        _end_waiting()


def expect(site_file) -> None:
    """Have a process wait to become the next kernel, connected to the hosts of a site."""
    _end_waiting()
    with contextlib.suppress(OSError, EOFError):  # then it starts when it is needed
        _waiting.append(_Child(str(site_file)))


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
    """A kernel on this machine, as its process."""

    async def launch_kernel(self, cmd, **options):
        arguments = cmd[cmd.index("-f") :]
        self.process = Process(arguments, options["env"], options.get("cwd") or os.getcwd())
        self.pid = self.pgid = self.process.pid
        return self.connection_info


class Process:
    """A forked kernel, with what LocalProvisioner asks of a subprocess.Popen."""

    stdin = stdout = stderr = None

    def __init__(self, arguments, environment, cwd):
        child = _waiting.pop() if _waiting else _Child()
        try:
            child.become(arguments, environment, cwd)
        except OSError:  # it ended while it waited
            child = _Child()
            child.become(arguments, environment, cwd)
        self._child, self.pid = child.process, child.process.pid

    def poll(self):
        return self._child.exitcode

    def wait(self):
        self._child.join()
        return self._child.exitcode

    def send_signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def terminate(self):
        self.send_signal(signal.SIGTERM)


class _Child:
    """A fork of the server that waits until its pipe says which kernel it becomes."""

    def __init__(self, site_file=None):
        prepare()
        context = multiprocessing.get_context("forkserver")
        theirs, self.pipe = context.Pipe(duplex=False)
        self.process = context.Process(target=_wait, args=(theirs, site_file), daemon=True)
        self.process.start()
        theirs.close()

    def become(self, *which):
        """Raises OSError if the process has ended."""
        self.pipe.send(which)
        self.pipe.close()

    def end(self):
        self.pipe.close()
        self.process.kill()
        self.process.join()


def _wait(pipe, site_file):
    # the server, this process's parent, lives as long as a kernel does: watch the run itself
    threading.Thread(
        target=_end_with, args=(multiprocessing.parent_process(),), daemon=True
    ).start()
    os.setsid()
    _call_itself(WAITS)
    if site_file:
        os.chdir(site.PROJECT)  # as the step's kernel does: a key may be named by a relative path
        threading.Thread(target=_connect, args=(site_file,), daemon=True).start()
    try:
        arguments, environment, cwd = pipe.recv()
    except EOFError:  # it is not needed
        return
    pipe.close()
    _be_a_kernel(arguments, environment, cwd)


def _connect(site_file):
    """Connect to the hosts. If that fails, the step tries again and reports it."""
    with contextlib.suppress(Exception):
        hosts.open_ahead(site.load(site_file))


def _be_a_kernel(arguments, environment, cwd):
    """What ipykernel_launcher does."""
    global here
    here = True
    # nobody debugs this kernel, and to import the debugger takes half of a kernel's start
    sys.modules["debugpy"] = None
    from ipykernel import kernelapp

    _call_itself(NAME)
    os.environ.clear()
    os.environ.update(environment, JPY_PARENT_PID=str(os.getppid()))
    os.chdir(cwd)
    sys.argv = [NAME, *arguments]
    kernelapp.launch_new_instance()


def _call_itself(name):
    with open("/proc/self/comm", "w") as comm:
        comm.write(name)


def _end_with(parent):
    parent.join()
    os._exit(1)
