"""TSIG keys (RFC 8945) from BIND key files."""

import base64
import binascii
import re
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tsig
import dns.update

from cutover.connect.dns.errors import KeyFileBad
from cutover.connect.dns.names import full
from cutover.site import secrets

_KEY_CLAUSE = re.compile(r'\bkey\s+"?([^\s"{;]+)"?\s*\{(.*?)\}', re.DOTALL)

_COMMENT = re.compile(r'("[^"\n]*")|/\*.*?\*/|//[^\n]*|#[^\n]*', re.DOTALL)


@dataclass(frozen=True)
class Key:
    """A TSIG key (RFC 8945). Its secret is in no repr and no message."""

    name: str
    algorithm: str
    secret: bytes = field(repr=False)

    @classmethod
    def load(cls, path) -> "Key":
        """Read the one `key "name" { algorithm ….

        Secret "…"; };` clause of a BIND file (tsig-keygen writes it).
        """
        try:
            text = _COMMENT.sub(lambda match: match.group(1) or " ", Path(path).read_text("utf-8"))
        except OSError as error:
            raise KeyFileBad(
                path=path, reason=f"{error.strerror}; `tsig-keygen NAME` makes one"
            ) from error
        except UnicodeDecodeError as error:
            raise KeyFileBad(path=path, reason="it is no text") from error
        clauses = _KEY_CLAUSE.findall(text)
        if len(clauses) != 1:
            raise KeyFileBad(
                path=path,
                reason=f'{len(clauses)} clauses of the form key "name" {{ … }}; one is needed',
            )
        name, body = clauses[0]
        values = dict(re.findall(r'(algorithm|secret)\s+"?([^\s";]+)"?\s*;', body))
        for wanted in ("algorithm", "secret"):
            if wanted not in values:
                raise KeyFileBad(path=path, reason=f"key {name} has no {wanted}")
        algorithm = values["algorithm"].lower().rstrip(".")
        if algorithm == "hmac-md5":
            algorithm = "hmac-md5.sig-alg.reg.int"
        if dns.name.from_text(algorithm) not in dns.tsig.mac_sizes:
            raise KeyFileBad(path=path, reason=f"key {name} has an unknown algorithm {algorithm}")
        try:
            secret = base64.b64decode(values["secret"], validate=True)
        except binascii.Error:
            raise KeyFileBad(path=path, reason=f"the secret of key {name} is not base64") from None
        secrets.register(f"tsig {name}", values["secret"])
        return cls(name, algorithm, secret)

    def tsig(self) -> dns.tsig.Key:
        return dns.tsig.Key(full(self.name), self.secret, self.algorithm)
