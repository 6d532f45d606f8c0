"""Processes on a host, by ps(1)."""

from collections.abc import Collection
from dataclasses import dataclass

from cutover import model
from cutover.model import moving


@dataclass(frozen=True)
class Process:
    pid: int = moving()
    user: str
    command: str

    def __str__(self):
        return f"{self.command} {self.pid} ({self.user})"


def parse(text: str) -> list[Process]:
    """The output of `ps -eo pid=,user:32=,comm=`. A process may have a blank name."""
    rows = ((*line.split(None, 2), "")[:3] for line in model.lines(text))
    return [Process(int(pid), user, command.strip()) for pid, user, command in rows]


def running(hosts, name: str, commands: Collection[str]) -> list[Process]:
    """The processes on a host whose command name is one of `commands`."""
    text = hosts.run(name, ["ps", "-eo", "pid=,user:32=,comm="]).text
    return [process for process in parse(text) if process.command in commands]
