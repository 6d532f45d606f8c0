"""How busy a host is: its load of the last minute, and its processors."""


def read(hosts, name: str) -> tuple[float, int]:
    """(load, processors) of a host."""
    argv = ["sh", "-c", "cat /proc/loadavg; getconf _NPROCESSORS_ONLN"]
    words = hosts.run(name, argv).text.split()
    return float(words[0]), int(words[-1])
