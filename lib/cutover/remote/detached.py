"""Long work on a host that outlives the link and this process: started apart, followed by a file.

Side by side in a folder of the host are NAME.plan.json, NAME.events (a JSON object per line, from
the work itself), NAME.err, NAME.lock (held while the work runs) and NAME.result (its exit status,
once it has ended). The work is a systemd unit where there is systemd, else a session of its own.
Whoever comes later, after a lost link or a crash on this side, finds the lock held and follows the
same file. Something is started only when nobody holds the lock.
"""

import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any

from cutover import model
from cutover.connect import ssh

# seconds for which a host may be unreachable before this side gives up; the work continues there
PATIENCE = 900
PAUSE = 2  # seconds between attempts to reach it again
BEAT = 10  # seconds after which the follower shows that it is still there
IDLE = 60  # seconds of silence after which a link counts as lost
LINE = 256 << 20  # bytes of an event: what it names, users choose

# $1 base of the files, $2 unit; then the command. The plan comes on standard input, in one line.
# Prints the plan of the work that runs there already, or nothing once this one has begun.
_START = r"""
base=$1 unit=$2; shift 2
if ! flock -n "$base.lock" true; then cat "$base.plan.json"; exit; fi
(umask 077; cat > "$base.plan.json")
if [ "$(tail -c 1 "$base.plan.json" | wc -l)" -ne 1 ]; then
    echo "only part of the plan arrived" >&2; exit 75
fi
rm -f "$base.events" "$base.result" "$base.err"
: > "$base.events"
# reserved, so that events and result can be written on a full disk
fallocate -n -l 1048576 "$base.events" 2>/dev/null || :
: > "$base.ending"; fallocate -n -l 4096 "$base.ending" 2>/dev/null || :
run='base=$1; shift; exec 9>"$base.lock"; flock -w 10 9 || exit 75
"$@" </dev/null >/dev/null 2>"$base.err"; rc=$?
echo $rc 1<>"$base.ending"; sync "$base.ending" 2>/dev/null; mv "$base.ending" "$base.result"'
if [ -d /run/systemd/system ] && command -v systemd-run >/dev/null; then
    systemctl reset-failed "$unit" 2>/dev/null || :
    systemd-run --quiet --collect --unit="$unit" sh -c "$run" sh "$base" "$@" || exit 1
else
    setsid sh -c "$run" sh "$base" "$@" </dev/null >/dev/null 2>&1 &
fi
for turn in $(seq 500); do
    [ -e "$base.result" ] && break
    flock -n -s "$base.lock" true || break
    sleep 0.02
done
"""

# Prints the events from a byte on, an empty line as a beat and, once the work has ended, a line
# with its exit status.
_FOLLOW = r"""
import fcntl, json, os, sys, threading, time
base, offset, beat = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
over = threading.Event()
def await_end():
    with open(base + ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
    over.set()
def tail(path, size):
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - size))
            return file.read().decode("utf-8", "backslashreplace")
    except OSError:
        return ""
threading.Thread(target=await_end, daemon=True).start()
out, flushed, piece = sys.stdout.buffer, time.monotonic(), 1 << 20
while True:
    ended = over.is_set()
    try:
        with open(base + ".events", "rb") as events:
            events.seek(offset)
            data = events.read(piece)
    except OSError:
        data = b""
    whole = data[:data.rfind(b"\n") + 1]
    if not whole and len(data) == piece:
        piece *= 2  # the line is longer
        continue
    piece, data = 1 << 20, whole
    if data:
        out.write(data)
        offset += len(data)
    elif ended:
        break
    elif time.monotonic() - flushed > beat:
        out.write(b"\n")
    if data or time.monotonic() - flushed > beat:
        out.flush()
        flushed = time.monotonic()
    if not data:
        over.wait(0.1)
result = tail(base + ".result", 20).strip()
ended = {"ended": int(result) if result else None, "err": tail(base + ".err", 2000)}
out.write(json.dumps(ended).encode() + b"\n")
"""


class Interrupted(model.ChangeFailed):
    """The work ended without a result: it was killed, or its host went down."""


@dataclasses.dataclass(frozen=True)
class Ended:
    """Exit status and last errors of the work. attached: it ran already when this side came."""

    rc: int
    err: str
    attached: bool


def run(
    hosts,
    host: str,
    folder: str,
    name: str,
    unit: str,
    plan: dict,
    argv: list[str],
    on_event: Callable[[dict], Any],
) -> Ended:
    """Run `argv` on a host, with `plan` in NAME.plan.json, to its end.

    on_event(dict) takes its events, each once. Work of the same name that runs there already is
    followed to its end; if it has another plan, ours runs after it. Raises Interrupted, and
    ssh.LinkLost or ssh.Unreachable when the host is unreachable for PATIENCE seconds.
    """
    base = f"{folder}/{name}"
    text = json.dumps(plan, sort_keys=True).encode() + b"\n"
    while True:
        running = _patient(hosts, host, lambda: _start(hosts.ssh(host), base, unit, text, argv))
        ended = _follow(hosts, host, base, on_event)
        if running in (b"", text):
            return dataclasses.replace(ended, attached=running == text)


def _start(connection, base, unit, plan, argv) -> bytes:
    """Start the work, unless some runs there already: then that one's plan."""
    return connection.run(
        ["sh", "-c", _START, "start", base, unit, *argv], sudo=True, input=plan
    ).out


def _patient(hosts, host, action):
    """Retry something that may be done twice while the host is unreachable."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            return action()
        except (ssh.LinkLost, ssh.Unreachable, ssh.TimedOut) as error:
            if time.monotonic() > end:
                raise
            if isinstance(error, ssh.TimedOut):
                hosts.ssh(host).close()  # a silent link is replaced
            time.sleep(PAUSE)


def _follow(hosts, host, base, on_event):
    python = hosts.site.new_store.python
    offset, last = 0, None

    def line(raw):
        nonlocal offset, last
        if not raw:
            return
        event = parse_event(raw)
        if "ended" in event and "event" not in event:
            last = event
            return
        offset += len(raw) + 1
        on_event(event)

    def follow():
        argv = [python, "-I", "-S", "-c", _FOLLOW, base, str(offset), str(BEAT)]
        return hosts.ssh(host).stream(
            argv, sudo=True, on_line=line, idle_timeout=IDLE, max_line=LINE
        )

    _patient_while_it_moves(hosts, host, follow, lambda: offset)
    # the shell around it reports a signal as 128 and its number; by itself the work ends with less
    if last is None or last["ended"] is None or last["ended"] > 128:
        err = last["err"].strip().rstrip(".")[-300:] if last else ""
        raise Interrupted(
            f"{host}: {base.rpartition('/')[2]} ended without a result: it was killed, or the host "
            f"went down. {f'It printed: {err}. ' if err else ''}Run this step again: it resumes "
            "with what is missing."
        )
    return Ended(last["ended"], last["err"], False)


def _patient_while_it_moves(hosts, host, action, mark):
    """_patient(), with new patience each time the mark has moved."""
    while True:
        before = mark()
        try:
            return _patient(hosts, host, action)
        except (ssh.LinkLost, ssh.Unreachable, ssh.TimedOut):
            if mark() == before:
                raise


def parse_event(raw: bytes) -> dict:
    """A line of events; what is no event becomes one of the log."""
    try:
        event = json.loads(raw)
    except ValueError:
        event = None
    return (
        event
        if isinstance(event, dict)
        else {"event": "log", "text": raw.decode("utf-8", "backslashreplace").rstrip()}
    )
