"""Processes that run on a host."""


def running(hosts, name: str, commands) -> list:
    """Processes whose command name is one of `commands`: `[{"pid", "user", "command"}]`."""
    text = hosts.run(name, ["ps", "-eo", "pid=,user:32=,comm="]).text
    found = []
    for line in text.splitlines():
        pid, user, command = line.split(None, 2)
        if command.strip() in commands:
            found.append({"pid": int(pid), "user": user, "command": command.strip()})
    return found
