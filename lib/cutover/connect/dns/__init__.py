"""What one name server answers, and RFC 2136 updates signed with TSIG, sent to its address.

Names are written in full; a missing final dot is supplied. Values are in zone-file form with full
names (`10 mx.lab.test.`). An update is one message: all its prerequisites hold and all of it is
done, or nothing is.
"""

from cutover.connect.dns.errors import (
    BadAnswer,
    BadKey,
    BadUpdate,
    DnsError,
    KeyFileBad,
    NoAnswer,
    NotAuthoritative,
    PrerequisiteFailed,
    UpdateRefused,
    ZoneMissing,
)
from cutover.connect.dns.key import Key
from cutover.connect.dns.names import TYPES, RRset, full, reached
from cutover.connect.dns.server import Server, update_permitted
from cutover.connect.dns.update import Update

__all__ = [
    "TYPES",
    "BadAnswer",
    "BadKey",
    "BadUpdate",
    "DnsError",
    "Key",
    "KeyFileBad",
    "NoAnswer",
    "NotAuthoritative",
    "PrerequisiteFailed",
    "RRset",
    "Server",
    "Update",
    "UpdateRefused",
    "ZoneMissing",
    "full",
    "reached",
    "update_permitted",
]
