"""Files in a spool directory."""


def files(hosts, name: str, directory: str) -> dict:
    """`{file name: bytes}` of what lies in a spool directory of a host; empty where there is no such directory."""
    argv = ["find", directory, "-maxdepth", "1", "-type", "f", "-size", "+0", "-printf", "%f %s\\n"]
    lines = hosts.run(name, argv, sudo=True, check=False).text.splitlines()
    return {file: int(size) for file, _, size in (line.rpartition(" ") for line in lines)}
