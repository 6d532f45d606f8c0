"""A connection that runs its commands on this machine."""

import subprocess
import sys
import types

from cutover.connect import ssh


class Local:
    """As ssh.Connection, on this machine; after `breaks[0]` lines of a stream the link is lost."""

    def __init__(self, breaks=()):
        self.breaks, self.started = list(breaks), 0

    def run(self, argv, *, sudo=False, check=True, timeout=60, input=b"", max_output=64 << 20):
        done = subprocess.run(argv, input=input, capture_output=True)
        self.started += "start" in argv and not done.stdout
        assert not check or done.returncode == 0, done.stderr
        assert len(done.stdout) <= max_output
        return types.SimpleNamespace(rc=done.returncode, out=done.stdout, err=done.stderr)

    def put(self, data, path, *, mode=0o600, sudo=False):
        with open(path, "wb") as file:
            file.write(data)

    def stream(self, argv, *, sudo=False, on_line, idle_timeout, max_line=1 << 20):
        process = subprocess.Popen(
            [sys.executable, *argv[1:]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        left = self.breaks.pop(0) if self.breaks else None
        try:
            for raw in process.stdout:
                if left == 0:
                    raise ssh.LinkLost(host="new", reason="cut", command="follow")
                left = left and left - 1
                assert len(raw) <= max_line
                on_line(raw.rstrip(b"\n"))
        finally:
            process.kill()
            process.wait()

    def close(self):
        pass
