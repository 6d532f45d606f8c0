"""A root directory with c-client and Dovecot, and an imapd that listens for Dovecot.

The root is an overlay of the lab's base. Mounts are made in the process's own mount namespace (see
commands/bench.py).
"""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading

from lab import system

from cutover.connect import imap

USER, UID = "bench", 2999
DOVECOT = """
mail_location = maildir:{maildir}
namespace inbox {{
  inbox = yes
  separator = /
}}
mail_fsync = never
mail_prefetch_count = 20
imapc_host = 127.0.0.1
imapc_port = {port}
imapc_user = bench
imapc_password = bench
log_path = /dev/stderr
info_log_path = /dev/null
ssl = no
stats_writer_socket_path =
"""


class MailHost:
    """root: the directory. place: where the store is, inside it /bench."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.place = self.root / "bench"
        with open(self.root / "etc/passwd", "a") as passwd:
            passwd.write(f"{USER}:x:{UID}:{UID}::/bench/home:/bin/sh\n")
        # over the network imapd asks for a password; only this process reaches it
        word = system.call("chroot", self.root, "openssl", "passwd", "-6", USER).strip()
        with open(self.root / "etc/shadow", "a") as shadow:
            shadow.write(f"{USER}:{word}:20000:0:99999:7:::\n")

    @contextlib.contextmanager
    def on(self, kind):
        """Mount /bench on a tmpfs, or on the disk."""
        self.place.mkdir()
        if kind == "tmpfs":
            system.call("mount", "-t", "tmpfs", "-o", "mode=0755,size=90%", "tmpfs", self.place)
        else:
            disk = self.root.parent / "disk"
            disk.mkdir()
            system.call("mount", "--bind", disk, self.place)
        try:
            (self.place / "home/mail").mkdir(parents=True)
            self.own(self.place / "home")
            yield self.place
        finally:
            system.call("umount", "-l", self.place)
            self.place.rmdir()

    def own(self, path):
        system.call("chown", "-R", f"{UID}:{UID}", path)

    def argv(self, *command):
        return [
            "chroot",
            f"--userspec={UID}:{UID}",
            str(self.root),
            "/usr/bin/env",
            "-i",
            "HOME=/bench/home",
            f"USER={USER}",
            "TZ=UTC",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "/bin/sh",
            "-c",
            'cd; exec "$@"',
            "sh",
            *command,
        ]

    def run(self, *command):
        return system.call(*self.argv(*command))

    def configure(self, name, maildir, port=0):
        """Write a configuration of Dovecot for a Maildir. → its path inside

        port: of the imapd from which Dovecot copies.
        """
        path = f"/etc/dovecot/bench-{name}.conf"
        (self.root / path[1:]).write_text(DOVECOT.format(maildir=maildir, port=port))
        return path

    @contextlib.contextmanager
    def imapd(self):
        """Start a real imapd per connection, as inetd does. → port"""
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def serve():
                while True:
                    try:
                        connection, _address = listener.accept()
                    except OSError:
                        return
                    with connection:
                        subprocess.Popen(
                            ["chroot", str(self.root), "/usr/sbin/imapd"],
                            stdin=connection,
                            stdout=connection,
                            stderr=subprocess.DEVNULL,
                            env={"TZ": "UTC", "PATH": os.environ["PATH"]},
                        )

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            try:
                yield listener.getsockname()[1]
            finally:
                listener.shutdown(socket.SHUT_RDWR)


class Stream:
    """Like ssh.Stream, for a command on this machine."""

    timeout = None

    def __init__(self, argv):
        self.argv = argv
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.read, self.readline = self.process.stdout.read, self.process.stdout.readline

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def session(argv):
    """A session with a server that starts in PREAUTH. → imap.Session"""
    return imap.preauth(Stream(argv), timeout=300)


@contextlib.contextmanager
def mounted(base):
    """Mount a mail host over the base. → MailHost"""
    top = pathlib.Path(tempfile.mkdtemp(prefix="cutover-bench-", dir="/var/tmp"))
    try:
        for name in ("upper", "work", "root"):
            (top / name).mkdir()
        root = top / "root"
        system.call(
            "mount",
            "-t",
            "overlay",
            "overlay",
            "-o",
            f"lowerdir={base},upperdir={top}/upper,workdir={top}/work",
            root,
        )
        system.call("mount", "--bind", "/dev", root / "dev")
        system.call("mount", "-t", "proc", "proc", root / "proc")
        try:
            yield MailHost(root)
        finally:
            for path in (root / "proc", root / "dev", root):
                system.call("umount", "-l", path, check=False)
    finally:
        if not os.path.ismount(top / "root"):
            shutil.rmtree(top, ignore_errors=True)
