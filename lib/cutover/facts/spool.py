"""Mail files in a spool directory."""


def parse(text: str) -> dict[str, int]:
    """`{file name: bytes}` from `name size`, each with a NUL after it: users choose names."""
    return {
        file: int(size)
        for file, _, size in (line.rpartition(" ") for line in text.split("\0") if line)
    }


def files(hosts, name: str, directory: str) -> dict[str, int]:
    """`{file name: bytes}` of the files that are not empty; {} when there is no such directory."""
    argv = ["find", directory, "-maxdepth", "1", "-type", "f", "-size", "+0", "-printf", "%f %s\\0"]
    return parse(hosts.run(name, argv, sudo=True, check=False).text)
