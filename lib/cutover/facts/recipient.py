"""The recipients in one value of the user database."""

import re
from collections.abc import Sequence

# A recipient and what surrounds it, up to a comma outside "quotes", <angles> and (comments).
_RECIPIENT = re.compile(
    r'((?:"(?:\\.|[^"\\])*"|<[^<>]*>|\([^()]*\)|[^,"<(]|["<(])*)(,|$)', re.DOTALL
)


def split(value: str) -> list[str]:
    """The comma-separated parts with their white space; ",".join gives the value back."""
    parts = []
    for match in _RECIPIENT.finditer(value):
        parts.append(match.group(1))
        if match.group(2) == "":
            break
    return parts


def is_special(recipient: str) -> bool:
    """A program, a file or an include list (aliases(5)), which no host receives."""
    bare = recipient.strip().strip('"')
    return bare.startswith(("|", "/", ":include:"))


_ADDRESS = re.compile(
    r'(?P<lead>\s*)(?P<open><?)(?P<local>(?:"(?:\\.|[^"\\])*"|[^\s"@<>(),])+)@(?P<host>[^\s@<>(),"]+?)'
    r"(?P<dot>\.?)(?P<close>>?)(?P<trail>\s*)"
)


def address(recipient: str) -> re.Match | None:
    """The parts of a plain address; None for anything else."""
    match = _ADDRESS.fullmatch(recipient)
    balanced = match and bool(match["open"]) == bool(match["close"])
    return match if balanced and not is_special(recipient) else None


def goes_to(recipient: str, *hosts: str) -> re.Match | None:
    """The parts of an address at one of the hosts; None for anything else."""
    match, names = address(recipient), [host.lower().rstrip(".") for host in hosts]
    return match if match and match["host"].lower() in names else None


def only_at(addresses: Sequence[str], at: Sequence[str], other: Sequence[str]) -> list[str]:
    """The addresses at a host that has no partner of the same local part at another host.

    at, other: the spellings of each host.
    """
    there = {match["local"] for part in addresses if (match := goes_to(part, *other))}
    return [
        part for part in addresses if (match := goes_to(part, *at)) and match["local"] not in there
    ]
