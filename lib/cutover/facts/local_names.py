"""The names under which sendmail on a host accepts mail as its own: class w."""

from cutover import model


def read(hosts, name: str) -> list[str]:
    """The names, in lower case, sorted."""
    argv = ["sendmail", "-bt"]
    return parse(hosts.run(name, argv, sudo=True, input=b"$=w\n/quit\n", check=False).text)


def parse(text: str) -> list[str]:
    """The output of `sendmail -bt` for `$=w`: one name per line, the first after a prompt."""
    names = (line.removeprefix("> ").strip().lower() for line in model.lines(text))
    return sorted({name for name in names if name and " " not in name})
