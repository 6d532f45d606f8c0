"""One host as a systemd-nspawn container: its overlay, its control groups, its processes."""

import contextlib
import os
import pathlib
import signal
import subprocess
import time

from cutover import errors
from cutover.lab import network, paths, state, system

CGROUP = "cutover-lab"


def directory(name):
    return paths.STATE / "hosts" / name


def root(name):
    """The host's root directory as this machine sees it, while mounted."""
    return directory(name) / "root"


def mounted(below=None):
    """Mount points below a directory (default: the lab's state), deepest last."""
    prefix = f"{below or paths.STATE}"
    with open("/proc/self/mounts") as mounts:
        points = [line.split()[1] for line in mounts]
    return [point for point in points if point == prefix or point.startswith(prefix + "/")]


def mount(name, base):
    """Mount the host's overlay of the base; nothing when it is mounted. The upper layer is the host's own disk."""
    place = directory(name)
    for part in ("upper", "work", "root"):
        (place / part).mkdir(parents=True, exist_ok=True)
    if str(root(name)) in mounted():
        return
    system.call("mount", "-t", "overlay", "-o", f"lowerdir={base},upperdir={place}/upper,workdir={place}/work",
                f"lab-{name}", root(name))


def unmount():
    """Unmount everything below the lab's state, deepest first."""
    for point in reversed(mounted()):
        for _ in range(20):
            if subprocess.run(["umount", point], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.05)
        else:
            system.call("umount", "--lazy", point, check=False)


def _hierarchies():
    """Roots of the control group hierarchies that systemd uses: the unified one and, on old layouts, name=systemd."""
    found = []
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            _, point, kind, options = line.split()[:4]
            if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
                found.append(pathlib.Path(point))
    return found


def groups():
    """The lab's control groups that exist, leaves first."""
    found = []
    for hierarchy in _hierarchies():
        for place, _, _ in os.walk(hierarchy / CGROUP, topdown=False):
            found.append(pathlib.Path(place))
    return found


def remove_groups():
    for _ in range(40):
        for group in groups():
            with contextlib.suppress(OSError):
                group.rmdir()
        if not groups():
            return
        time.sleep(0.05)


def start(name, binds=()):
    """Start the host; `binds` are options such as --bind=A:B. Returns at once, while it boots.

    The wrapping shell writes its own identity before it becomes systemd-nspawn, so that a lab command killed at any
    moment leaves no process it has no record of. Each host gets control groups of its own: else the seven systemds
    would share one and see each other's services in it.
    """
    place = directory(name)
    steps = [f'read -r stat < /proc/$$/stat && echo "$stat" > {place}/process.part && '
             f"mv {place}/process.part {place}/process"]
    for hierarchy in _hierarchies():
        group = hierarchy / CGROUP / name
        group.mkdir(parents=True, exist_ok=True)
        steps.append(f"echo 0 > {group}/cgroup.procs")
    command = ["systemd-nspawn", "--quiet", "--settings=no", "--register=no", "--keep-unit", "--boot", "--console=pipe",
               f"--machine={name}", f"--directory={root(name)}", "--link-journal=no", "--resolv-conf=off",
               "--timezone=off", f"--network-namespace-path={network.NAMESPACES / network.namespace(name)}", *binds]
    script = " && ".join([*steps, 'exec "$@"'])
    (place / "process").unlink(missing_ok=True)
    with open(place / "console.log", "ab") as log:
        done = subprocess.run(["setsid", "--fork", "sh", "-c", script, "sh", *command], stdin=subprocess.DEVNULL,
                              stdout=log, stderr=log, cwd="/", env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"})
    for _ in range(500):
        if done.returncode or (place / "process").exists():
            break
        time.sleep(0.01)
    if not (place / "process").exists():
        raise errors.CutoverError(f"{name} could not be started (exit {done.returncode}); see {place}/console.log")


def process(name):
    """(pid, start time) of the host's systemd-nspawn as recorded; None before its first start."""
    try:
        fields = (directory(name) / "process").read_text().rpartition(")")
    except FileNotFoundError:
        return None
    return int(fields[0].split()[0]), int(fields[2].split()[19])


def running(name):
    """True while the host's systemd-nspawn runs."""
    identity = process(name)
    return identity is not None and state.alive(*identity)


def leader(name):
    """(pid, start time) of the host's init as this machine sees it; None while there is none."""
    identity = process(name)
    if identity is None or not state.alive(*identity):
        return None
    try:
        children = pathlib.Path(f"/proc/{identity[0]}/task/{identity[0]}/children").read_text().split()
    except FileNotFoundError:
        return None
    for child in map(int, children):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if os.readlink(f"/proc/{child}/ns/pid") != os.readlink("/proc/self/ns/pid"):
                return child, state.start_time(child)
    return None


def stop(names, grace):
    """End hosts: a clean poweroff within `grace` seconds for all together, then a kill. 0 kills at once."""
    live = {name: process(name) for name in names if running(name)}
    inits = {name: leader(name) for name in live}
    if grace:
        for identity in live.values():
            state.end(*identity, signal.SIGTERM)
        _gone(live.values(), grace)
    for name, identity in live.items():
        state.end(*identity, signal.SIGKILL)
        if inits[name]:
            state.end(*inits[name], signal.SIGKILL)
    _gone([*live.values(), *filter(None, inits.values())], 5)
    for name in names:
        _empty(name)


def _gone(identities, seconds):
    until = time.monotonic() + seconds
    while any(state.alive(*identity) for identity in identities) and time.monotonic() < until:
        time.sleep(0.02)


def _empty(name):
    """Kill what is still in the host's own control groups: only the lab puts processes there."""
    for _ in range(100):
        left = set()
        for hierarchy in _hierarchies():
            for place, _, _ in os.walk(hierarchy / CGROUP / name):
                with contextlib.suppress(OSError):
                    left |= set(map(int, (pathlib.Path(place) / "cgroup.procs").read_text().split()))
        left = {pid for pid in left if pid and state.start_time(pid) is not None}
        if not left:
            return
        for pid in left:
            state.end(pid, state.start_time(pid), signal.SIGKILL)
        time.sleep(0.02)
    raise errors.CutoverError(f"processes of {name} do not end: {sorted(left)}")


def run(name, argv, input=None, timeout=60, check=True, user=None, text=True):
    """Run a command as root (or as `user`, a login of the host, in its home) inside a host, apart from its services.

    Returns a subprocess.CompletedProcess, its output as str, or bytes with text=False. Output goes through files: a
    daemon that the command leaves behind holds no pipe of ours. Raises errors.CutoverError when the host is down, when
    it takes more than `timeout` seconds, or, with check, on a non-zero exit.
    """
    found = leader(name)
    if found is None:
        raise errors.CutoverError(f"{name} is not up; run: cutover lab up")
    command = [str(part) for part in argv]
    if user is not None:
        command = ["setpriv", "--reuid", user, "--regid", user, "--init-groups", "--reset-env",
                   "sh", "-c", 'cd && exec "$@"', "sh", *command]
    enter = ["nsenter", "-t", str(found[0]), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", *command]
    return _captured(enter, name, command, input, timeout, check, text)


def _captured(enter, name, command, input, timeout, check, text):
    import tempfile

    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
                   "LC_ALL": "C.UTF-8", "TERM": "dumb", "SYSTEMD_PAGER": ""}
    payload = input.encode("utf-8", "surrogateescape") if isinstance(input, str) else input
    source = {"input": payload} if payload is not None else {"stdin": subprocess.DEVNULL}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        try:
            done = subprocess.run(enter, **source, stdout=out, stderr=err, timeout=timeout, env=environment, cwd="/")
        except subprocess.TimeoutExpired:
            raise errors.CutoverError(f"on {name}, this command took more than {timeout} s: {' '.join(command)}") from None
        out.seek(0)
        err.seek(0)
        outputs = out.read(), err.read()
    if text:
        outputs = tuple(data.decode("utf-8", "surrogateescape") for data in outputs)
    result = subprocess.CompletedProcess(command, done.returncode, *outputs)
    if check and result.returncode:
        said = result.stderr or result.stdout
        said = said if text else said.decode("utf-8", "replace")
        raise errors.CutoverError(f"on {name}, this command failed (exit {result.returncode}): {' '.join(command)}\n"
                                  f"{said.strip()}")
    return result
