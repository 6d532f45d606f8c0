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


def _not_the_systems(path: str) -> str:
    """The directory gets another mode and other contents, and has to last."""
    normal = "/" + posixpath.normpath(path).strip("/")
    if normal.count("/") == 1 or normal in SYSTEM:
        raise ValueError(f"{normal} belongs to the system: name a directory of its own below one")
    if normal.startswith(PASSING):
        raise ValueError(f"{normal} does not last: name a directory on a disk")
    return path


def _a_file(path: str) -> str:
    if posixpath.basename(path) in ("", "."):
        raise ValueError("a file is expected, not a directory")
    return path


def _named_as_its_user(path: str) -> str:
    directory, name = posixpath.split(path)
    if name != "{user}" or "{" in directory:
        raise ValueError("expected is {user} in one directory for all, such as /var/mail/{user}")
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


# directories that other programs own; no user's may be directly below them
SYSTEM = frozenset(
    [
        *("/bin", "/boot", "/dev", "/etc", "/home", "/lib"),
        *("/lib32", "/lib64", "/libx32", "/proc", "/root", "/run"),
        *("/sbin", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib"),
        *("/usr/local", "/usr/sbin", "/usr/share", "/var", "/var/backups", "/var/cache"),
        *("/var/lib", "/var/lock", "/var/log", "/var/mail", "/var/opt", "/var/run"),
        *("/var/spool", "/var/spool/mail", "/var/tmp"),
    ]
)
PASSING = ("/dev/", "/proc/", "/run/", "/sys/", "/var/lock/", "/var/run/")
LARGEST = 2**32 - 2  # no number in a file is larger; the largest uid

Name = _text(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
Zone = _text(r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$")
Login = _text(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$")
AbsolutePath = _path(r"^/[^\n\x00]*$")
PlainPath = _path(r"^/[A-Za-z0-9._/+-]*$")
PathTemplate = _path(r"^(/|\{home\}/)([^\n\x00{}]|\{(user|home)\})*$")
SpoolFile = Annotated[PathTemplate, pydantic.AfterValidator(_named_as_its_user)]
HomePath = _path(r"^\{home\}(/[^\n\x00{}]*)?$")
# a directory in which the cutover creates and removes files
Directory = Annotated[
    AbsolutePath,
    pydantic.AfterValidator(_not_the_root),
    pydantic.AfterValidator(_not_the_systems),
]
PlainDirectory = Annotated[
    PlainPath,
    pydantic.AfterValidator(_not_the_root),
    pydantic.AfterValidator(_not_the_systems),
]
# a file that the cutover writes
File = Annotated[AbsolutePath, pydantic.AfterValidator(_a_file)]
PlainFile = Annotated[PlainPath, pydantic.AfterValidator(_a_file)]
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

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value, info):
        """Neither true for 1 nor 1 for true; no number that no date and no system call takes."""
        kind = cls.model_fields[info.field_name].annotation
        if kind in (int, float):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError("a number is expected")
            if abs(value) > LARGEST:
                raise ValueError(f"larger than {LARGEST}")
        if kind is bool and not isinstance(value, bool):
            raise ValueError("true or false is expected")
        return value
