"""Detached signatures by `ssh-keygen -Y`, made and verified without network or server.

A signature counts only in its own namespace, and only if the allowed_signers file (ssh-keygen(1))
lists the signer for it. The armour must be in its one canonical form, because ssh-keygen ignores
what surrounds the data.
"""

import base64
import binascii
import dataclasses
import hashlib
import os
import re
import struct
import subprocess
import tempfile
from pathlib import Path

from cutover import model
from cutover.model import errors

BEGIN, END = b"-----BEGIN SSH SIGNATURE-----\n", b"-----END SSH SIGNATURE-----\n"
WIDTH = 70  # characters of base64 per line, as ssh-keygen writes them
NOT_RUN = (126, 127)  # exit statuses of a program that the system could not start
PATIENCE = 60  # seconds; a hardware key may wait for a touch


class CannotSign(errors.CutoverError):
    """A signature cannot be made. The message names the key and the reason."""


class BadSignature(errors.CutoverError):
    """A signature is damaged, belongs to other data, or its signer is not listed."""


@dataclasses.dataclass(frozen=True)
class Signer:
    principal: str  # as allowed_signers names them
    key: str  # fingerprint, "SHA256:…"


def sign(data: bytes, key, namespace: str) -> bytes:
    """A detached signature, armoured.

    `key`: a private key file, or a public one whose private key ssh-agent holds.
    """
    with tempfile.TemporaryDirectory(prefix="cutover-") as folder:
        text = Path(folder, "text")
        text.write_bytes(data)
        done = _keygen(["-q", "-f", str(key), "-n", namespace, str(text)], "sign")
        if done.returncode:
            raise CannotSign(
                f"signing with {key} failed: {_reason(done)}. Give a private key file without a "
                "passphrase, or a public key file whose private key ssh-agent holds (`ssh-add`)."
            )
        return text.with_suffix(".sig").read_bytes()


def verify(
    data: bytes, signature: bytes, allowed: bytes, namespace: str, at: str | None = None
) -> Signer:
    """Who signed the data. Raises BadSignature.

    `allowed`: content of an allowed_signers file. `at`: UTC time (ISO 8601) at which the key must
    have been valid; None: now.
    """
    key = fingerprint_in(signature)
    with tempfile.TemporaryDirectory(prefix="cutover-") as folder:
        listed, armoured = Path(folder, "allowed_signers"), Path(folder, "signature")
        listed.write_bytes(allowed)
        armoured.write_bytes(signature)
        moment = (
            ["-O", "verify-time=" + re.sub(r"[-:]", "", at[:19]).replace("T", "") + "Z"]
            if at
            else []
        )
        who = _keygen(["-s", str(armoured), "-f", str(listed), *moment], "find-principals")
        names = who.stdout.decode("utf-8", "replace").split("\n")[0].split(",")
        if who.returncode or not names[0]:
            raise BadSignature(
                f"signed with the key {key}, which the allowed signers do not list ({_reason(who)})"
            )
        if any(mark in names[0] for mark in "*?!"):
            raise BadSignature(
                f"the allowed signers list the key {key} as {names[0]!r}: a pattern names no person"
            )
        done = _keygen(
            ["-s", str(armoured), "-f", str(listed), "-n", namespace, "-I", names[0], *moment],
            "verify",
            data,
        )
        if done.returncode:
            raise BadSignature(
                f"the signature by {names[0]} is not valid for {namespace}: {_reason(done)}"
            )
    return Signer(names[0], key)


def fingerprint_in(signature: bytes) -> str:
    """The fingerprint of the key a signature claims.

    Raises BadSignature unless the signature is in canonical form.
    """
    if not (signature.startswith(BEGIN) and signature.endswith(END)):
        raise BadSignature("not a signature by ssh-keygen -Y sign")
    body = signature[len(BEGIN) : -len(END)]
    try:
        blob = base64.b64decode(body.replace(b"\n", b""), validate=True)
        magic, version, size = struct.unpack_from(">6sII", blob)
        public = blob[14 : 14 + size]
    except (binascii.Error, struct.error, ValueError) as error:
        raise BadSignature(f"a damaged signature ({error})") from error
    again = base64.b64encode(blob)
    lines = [again[start : start + WIDTH] + b"\n" for start in range(0, len(again), WIDTH)]
    if b"".join(lines) != body or magic != b"SSHSIG" or version != 1:
        raise BadSignature("a damaged signature: not in the form that ssh-keygen writes")
    return "SHA256:" + base64.b64encode(hashlib.sha256(public).digest()).decode().rstrip("=")


def make_key(path, comment: str):
    """A new ed25519 key pair without a passphrase: `path` (0600) and `path`.pub."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    done = _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])
    if done.returncode:
        raise CannotSign(f"{path} cannot be created: {_reason(done)}")


def public_of(key) -> str:
    """The public key, `type base64`, of a key file (private or public). Raises CannotSign."""
    for candidate in (Path(f"{key}.pub"), Path(key)):
        try:
            words = candidate.read_text().split()
        except (OSError, UnicodeDecodeError):
            continue
        if len(words) >= 2 and words[0].startswith(("ssh-", "ecdsa-", "sk-")):
            return " ".join(words[:2])
    done = _run(["ssh-keygen", "-y", "-P", "", "-f", str(key)])
    if done.returncode:
        raise CannotSign(f"the key {key} cannot be read: {_reason(done)}. Give another key file.")
    return " ".join(done.stdout.decode().split()[:2])


def fingerprint(public: str) -> str:
    """`SHA256:…` of a public key (`type base64`)."""
    return "SHA256:" + base64.b64encode(
        hashlib.sha256(base64.b64decode(public.split()[1])).digest()
    ).decode().rstrip("=")


def agent_keys() -> list:
    """Public keys (`type base64`) in ssh-agent; none if no agent runs."""
    done = _run(["ssh-add", "-L"])
    return (
        []
        if done.returncode
        else [" ".join(line.split()[:2]) for line in model.lines(done.stdout.decode()) if line]
    )


def lists(allowed: bytes, public: str) -> bool:
    """Whether an allowed_signers file lists a public key, for any namespace."""
    return any(
        public.split()[1] in line.split()
        for line in model.lines(allowed.decode("utf-8", "replace"))
        if not line.startswith("#")
    )


def _keygen(options, verb, data: bytes = b""):
    return _run(["ssh-keygen", "-Y", verb, *options], data)


def _run(argv, data: bytes = b""):
    # never ask for a passphrase: a cell or an unattended run cannot answer; an agent asks itself
    environment = {**os.environ, "SSH_ASKPASS_REQUIRE": "never", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            argv,
            input=data,
            capture_output=True,
            timeout=PATIENCE,
            env=environment,
            start_new_session=True,
        )
        if done.returncode < 0 or done.returncode in NOT_RUN:
            raise errors.Missing(
                f"{argv[0]} cannot run: {_reason(done)}. No signature was checked or made."
            )
        return done
    except FileNotFoundError:
        raise errors.Missing(
            f"{argv[0]} is not installed on this machine. On Debian: apt-get install openssh-client"
        ) from None
    except OSError as error:
        raise errors.Missing(
            f"{argv[0]} cannot run: {error.strerror}. No signature was checked or made."
        ) from None
    except subprocess.TimeoutExpired:
        raise CannotSign(
            f"{' '.join(argv[:3])} did not end within {PATIENCE} s. Is ssh-agent waiting for a "
            "touch or a confirmation?"
        ) from None


def _reason(done) -> str:
    """Why ssh-keygen failed, in its own words."""
    text = (done.stderr or done.stdout).decode("utf-8", "replace").strip().replace("\n", "; ")
    return text[:300] or f"exit status {done.returncode}"
