"""Joins standard input and output to a TCP connection: `python relay.py ADDRESS PORT`."""

import os
import socket
import sys
import threading

PIECE = 1 << 16  # bytes


def main(address: str, port: str) -> None:
    with socket.create_connection((address, int(port)), 30) as remote:
        remote.settimeout(None)
        threading.Thread(target=_send, args=(remote,), daemon=True).start()
        while data := remote.recv(PIECE):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


def _send(remote):
    while data := os.read(sys.stdin.fileno(), PIECE):
        remote.sendall(data)
    remote.shutdown(socket.SHUT_WR)


if __name__ == "__main__":
    main(*sys.argv[1:])
