"""The kinds of values a parameters file holds, and the base of its sections."""

import posixpath
from typing import Annotated

import pydantic

from cutover.model import errors


def _text(pattern: str):
    return Annotated[str, pydantic.StringConstraints(pattern=pattern)]


def _no_climb(path: str) -> str:
    if ".." in path.split("/"):
        raise ValueError("a path must not contain '..'")
    return path


def _not_the_root(path: str) -> str:
    if not posixpath.normpath(path).strip("/"):
        raise ValueError("'/' cannot be used: name a directory of its own")
    return path


def _only_text(value):
    if not isinstance(value, str):
        raise ValueError("an address must be text, such as 192.0.2.15")
    return value


def _of_a_host(address):
    if address.is_unspecified or address.is_multicast:
        raise ValueError("no host has this address")
    return getattr(address, "ipv4_mapped", None) or address


def _path(pattern: str):
    return Annotated[_text(pattern), pydantic.AfterValidator(_no_climb)]


Name = _text(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
Zone = _text(r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$")
Login = _text(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$")
AbsolutePath = _path(r"^/[^\n\x00]*$")
PlainPath = _path(r"^/[A-Za-z0-9._/+-]*$")
PathTemplate = _path(r"^(/|\{home\}/)([^\n\x00{}]|\{(user|home)\})*$")
HomePath = _path(r"^\{home\}(/[^\n\x00{}]*)?$")
# a directory in which the cutover creates and removes files
Directory = Annotated[AbsolutePath, pydantic.AfterValidator(_not_the_root)]
PlainDirectory = Annotated[PlainPath, pydantic.AfterValidator(_not_the_root)]
IpAddress = Annotated[
    pydantic.IPvAnyAddress,
    pydantic.BeforeValidator(_only_text),
    pydantic.AfterValidator(_of_a_host),
]
# what clients put before a folder's name, such as mail/ or ~/mail/ or {home}/mail/
NamePrefix = _text(r"^([A-Za-z0-9._~#/+-]|\{(user|home)\})*/$")
FolderName = _text(r'^[^\x00-\x1f\x7f"\\%*{}]+$')
Printable = _text(r"^[^\x00-\x1f\x7f]*$")
Address = _text(r"^[A-Za-z0-9][A-Za-z0-9._+=-]*@[A-Za-z0-9.-]+$")
HttpsUrl = _text(r"^https://[a-z0-9.-]+(:\d+)?/([A-Za-z0-9._~/-]*/)?$")
HostPort = _text(r"^[A-Za-z0-9.-]+:\d+$")
Line = _text(r"^[!-~]([ -~]{0,198}[!-~])?$")
DayTime = _text(r"^([01]\d|2[0-3]):[0-5]\d$")
BaculaName = _text(r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
MilterName = _text(r"^[A-Za-z0-9_.-]+$")
ServiceName = _text(r"^[A-Za-z0-9@_.:-]+$")
NisDomain = _text(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
SecretReference = _text(r"^(file:/|env:[A-Z_])[^\n\x00]*$")


class BadParameters(errors.CutoverError):
    """A parameters file cannot be used; the message names the file, the line and the key."""


class WrongAt(ValueError):
    """Sections of a file contradict each other. `path`: the key to correct, as keys and indices."""

    def __init__(self, path: tuple, text: str):
        self.path = path
        super().__init__(text)


class Section(pydantic.BaseModel):
    """Part of a parameters file. Unknown keys are refused; values cannot be changed."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)
