"""A lease on a host: one file, read and written under a lock by a short program on the host.

The file is made once and then overwritten in its own blocks, so that a full disk cannot prevent its
release. Its age is by the host's own clock. No policy here: see run/lease.py.
"""

import json

from cutover.model import errors

SIZE = 1024  # bytes of the file


class LeaseUnusable(errors.CutoverError):
    """The lease's file on the host cannot be read or written."""


# take: a free lease, or one with the same token; renew, release: one with the same token;
# break: the one that was seen; read: any
_PROGRAM = r"""
import fcntl, json, os, sys, time
path, size, verb = sys.argv[1], int(sys.argv[2]), sys.argv[3]
request = json.loads(sys.stdin.read())
if verb == "read" and not os.path.exists(path):
    print(json.dumps({"done": True, "holder": None, "age": None}))
    sys.exit(0)
if verb == "take":
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
handle = os.open(path, os.O_RDWR | (os.O_CREAT if verb == "take" else 0) | os.O_NOFOLLOW, 0o600)
fcntl.flock(handle, fcntl.LOCK_EX)
raw = os.pread(handle, size, 0).rstrip(b" \n\0")
try:
    holder = json.loads(raw.decode()) if raw else None
except ValueError:
    holder = {"owner": "unreadable", "token": "unreadable"}
age = time.time() - os.fstat(handle).st_mtime
token = holder["token"] if holder else None
kept = token is not None and token == request.get("token")
def put(value):
    data = json.dumps(value).encode() if value else b""
    assert len(data) < size
    os.pwrite(handle, data.ljust(size - 1) + b"\n", 0)
    os.fsync(handle)
done = True
ours = holder is None or token == request.get("token") or token == request.get("instead_of")
if verb == "take" and ours:
    put(request["holder"])
    holder, age = request["holder"], 0.0
elif verb == "renew" and token == request["token"]:
    os.utime(handle)
elif verb in ("release", "break") and token == request["token"]:
    put(None)
elif verb != "read":
    done = False
print(json.dumps({"done": done, "holder": holder, "age": round(age, 1), "kept": kept}))
"""


def ask(hosts, host: str, path: str, verb: str, **request) -> dict:
    """Have the program do one verb: "read", "take", "renew", "release" or "break".

    Returns {"done": bool, "holder": dict or None, "age": seconds, "kept": whether the same token
    had it before}; without a file no "kept". Raises LeaseUnusable.
    """
    argv = [hosts.site.new_store.python, "-I", "-S", "-c", _PROGRAM, path, str(SIZE), verb]
    data = json.dumps(request).encode()
    result = hosts.run(host, argv, sudo=True, input=data, timeout=30, check=False)
    try:
        return json.loads(result.out)
    except ValueError:
        lines = result.err.decode("utf-8", "backslashreplace").strip()
        reason = lines.rpartition("\n")[2] or f"status {result.rc}"
        raise LeaseUnusable(f"{host}: the lease {path} cannot be used: {reason}") from None
