"""Runs commands as users, one after another: the part of runner.py on the host, run there by root.

Shipped as text to the host's python3 (3.5 or later), so it imports nothing of cutover. Both
directions carry frames: a letter, the length in four bytes, the content. From there: "c" a command
(JSON: user, argv), "i" its input, "z" the end of its input. From here: "r" ready, "o" and "e"
output, "x" how the command ended (its status, or minus the number of a signal).

Every command has pipes of its own, so what it may leave behind meets nothing of the next user's.
"""

import json
import os
import pwd
import select
import signal
import struct
import sys
import time

HEAD = struct.Struct("!cI")
PIECE = 65536
KNOWN = 64  # users whose account is kept
GRACE = 2.0  # seconds to wait for the end of output once a command has ended: a daemon may hold it


def main():
    if sys.version_info < (3, 5) or os.getuid():
        sys.exit(1)
    inbox = bytearray()
    send(b"r")
    while True:
        kind, content = frame(inbox)
        if kind is None and not arrived(inbox):
            return
        # input may still come for a command that has ended
        if kind == b"c":
            command = json.loads(content.decode())
            if not run(inbox, command["user"], command["argv"]):
                return


def send(kind, content=b""):
    data = memoryview(HEAD.pack(kind, len(content)) + content)
    while data:
        data = data[os.write(1, data) :]


def frame(inbox):
    """(kind, content) of the first frame, which leaves the inbox; (None, b"") without one."""
    if len(inbox) < HEAD.size:
        return None, b""
    kind, length = HEAD.unpack_from(inbox)
    end = HEAD.size + length
    if len(inbox) < end:
        return None, b""
    content = bytes(inbox[HEAD.size : end])
    del inbox[:end]
    return kind, content


def arrived(inbox):
    """Whether anything came; nothing does once the link is gone."""
    data = os.read(0, PIECE)
    inbox += data
    return bool(data)


accounts = {}


def account_of(user):
    """(entry of passwd, groups) of a user, or None; kept for those asked for last.

    Asked for by this process, not by each of its children: they would load the name service and
    bind to NIS anew, and where groups come from NIS, all of them are read each time.
    """
    if user not in accounts:
        if len(accounts) >= KNOWN:
            accounts.clear()
        try:
            entry = pwd.getpwnam(user)
        except KeyError:
            return None
        accounts[user] = entry, os.getgrouplist(user, entry.pw_gid)
    return accounts[user]


def run(inbox, user, argv):
    """Run one command to its end. False when the link is gone."""
    pipes, account = [os.pipe() for _ in range(3)], account_of(user)
    pid = os.fork()
    if pid == 0:
        become(user, account, argv, pipes[0][0], pipes[1][1], pipes[2][1])
    to_child, outputs = pipes[0][1], {pipes[1][0]: b"o", pipes[2][0]: b"e"}
    for number in (pipes[0][0], pipes[1][1], pipes[2][1]):
        os.close(number)
    os.set_blocking(to_child, False)
    waiting, over, status, linked, since = bytearray(), False, None, True, 0.0
    while linked and (status is None or outputs and time.monotonic() - since < GRACE):
        while len(waiting) < PIECE:  # first: input may have come together with the command
            kind, content = frame(inbox)
            if kind is None:
                break
            waiting += content if to_child is not None else b""
            over = over or kind == b"z"
        if over and not waiting and to_child is not None:
            os.close(to_child)
            to_child = None
        asked = [*outputs, 0] if len(waiting) < PIECE else [*outputs]
        room = [to_child] if waiting else []
        ready, room, _ = select.select(asked, room, [], 0.1 if outputs else 0.001)
        for number in ready:
            if number == 0:
                linked = arrived(inbox)
                continue
            data = os.read(number, PIECE)
            if data:
                send(outputs[number], data)
            else:
                del outputs[number]
                os.close(number)
        if room:
            try:
                del waiting[: os.write(to_child, waiting)]
            except BlockingIOError:
                pass
            except OSError:  # the command closed its input
                waiting.clear()
                over = True
        if status is None:
            ended, how = os.waitpid(pid, os.WNOHANG)
            if ended:
                status, since = how, time.monotonic()
    for number in outputs:
        os.close(number)
    if to_child is not None:
        os.close(to_child)
    if linked:
        rc = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        send(b"x", str(rc).encode())
    return linked


def become(user, account, argv, stdin, stdout, stderr):
    """Turn this process into the user's command, for good. account: as account_of()."""
    try:
        for number, place in ((stdin, 0), (stdout, 1), (stderr, 2)):
            os.dup2(number, place)
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python
            signal.signal(ignored, signal.SIG_DFL)
        if account is None:
            os.write(2, b"unknown user " + os.fsencode(user) + b"\n")
            os._exit(1)
        entry, groups = account
        os.setgroups(groups)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
        environment = {
            "HOME": entry.pw_dir,
            "LC_ALL": "C",
            "LOGNAME": entry.pw_name,
            "PATH": os.environ["PATH"],
            "SHELL": entry.pw_shell or "/bin/sh",
            "USER": entry.pw_name,
        }
        words = [word.encode("utf-8", "surrogateescape") for word in argv]
        os.execvpe(words[0], words, environment)
    except FileNotFoundError:
        os.write(2, os.fsencode(argv[0]) + b": command not found\n")
    except BaseException as error:
        os.write(2, ascii(error).encode() + b"\n")
    os._exit(127)


if __name__ == "__main__":
    main()
