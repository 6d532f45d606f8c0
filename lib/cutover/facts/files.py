"""The text of a file of a host."""

from cutover.connect import ssh


def read(hosts, host: str, path: str) -> str | None:
    """A file's text, with surrogates for bytes that are not UTF-8; None when there is no file."""
    try:
        return hosts.ssh(host).get(path, sudo=True).decode("utf-8", "surrogateescape")
    except ssh.NoSuchFile:
        return None
