"""Kernels for notebooks executed unattended, forked from a process that imported everything.

A kernel that is started anew imports for over a second, 13 times in a night, most of it while the
users wait. Here a server (multiprocessing's fork server) imports once, as soon as a run begins, and
each notebook's kernel is a fork of it. The server has one thread and no connection, so a kernel
shares nothing with the one before it. A kernel ends when the process that began the run does, and
the server after it.
"""

import multiprocessing
import os
import signal
import sys
import threading
import uuid

from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

# what a kernel imports; what fails to import here is imported, and reported, by the kernel itself
PRELOAD = ["ipykernel.kernelapp", "ipykernel.ipkernel", "cutover.notebook.page"]
NAME = "cutover-kernel"  # as ps(1) shows it


def prepare() -> None:
    """Start the server. It imports while the caller continues."""
    from multiprocessing import forkserver

    multiprocessing.set_forkserver_preload(PRELOAD)
    forkserver.ensure_running()


class Manager(AsyncKernelManager):
    """Starts one kernel; for nbclient's `kernel_manager_class`."""

    def __init__(self, **options):
        super().__init__(**options)
        self.kernel_id = str(uuid.uuid4())
        self.provisioner = Forked(
            kernel_id=self.kernel_id, kernel_spec=self.kernel_spec, parent=self
        )


class Forked(LocalProvisioner):
    """A kernel on this machine, as its process."""

    async def launch_kernel(self, cmd, **options):
        arguments = cmd[cmd.index("-f") :]
        self.process = Process(arguments, options["env"], options.get("cwd"))
        self.pid = self.pgid = self.process.pid
        return self.connection_info


class Process:
    """A forked kernel, with what LocalProvisioner asks of a subprocess.Popen."""

    stdin = stdout = stderr = None

    def __init__(self, arguments, environment, cwd):
        prepare()
        self._child = multiprocessing.get_context("forkserver").Process(
            target=_be_a_kernel, args=(arguments, environment, cwd), daemon=True
        )
        self._child.start()
        self.pid = self._child.pid

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


def _be_a_kernel(arguments, environment, cwd):
    """What ipykernel_launcher does, in a session of its own."""
    from ipykernel import kernelapp

    # the server, this process's parent, lives as long as a kernel does: watch the run itself
    threading.Thread(
        target=_end_with, args=(multiprocessing.parent_process(),), daemon=True
    ).start()
    os.setsid()
    with open("/proc/self/comm", "w") as comm:
        comm.write(NAME)
    os.environ.clear()
    os.environ.update(environment, JPY_PARENT_PID=str(os.getppid()))
    if cwd:
        os.chdir(cwd)
    sys.argv = [NAME, *arguments]
    kernelapp.launch_new_instance()


def _end_with(parent):
    parent.join()
    os._exit(1)
