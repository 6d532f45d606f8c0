"""Links to a host whose sshd is too old for paramiko: signatures and key exchange with SHA-1.

Only for hosts of `legacy_ssh: true`. OpenSSH before 6.5 offers nothing newer, and before 7.2 its
RSA keys sign with SHA-1 alone.
"""

import hashlib

import paramiko
from cryptography.hazmat.primitives import hashes
from paramiko.kex_group14 import KexGroup14SHA256

from cutover.connect.ssh import channel

KEX, RSA = "diffie-hellman-group14-sha1", "ssh-rsa"


class _Group14(KexGroup14SHA256):
    name, hash_algo = KEX, hashlib.sha1

    def __init__(self, transport):
        super().__init__(transport)
        transport.old_kex = KEX  # paramiko forgets what was agreed


class RSAKey(paramiko.RSAKey):
    """An RSA key that can also sign with SHA-1."""

    HASHES = {**paramiko.RSAKey.HASHES, RSA: hashes.SHA1}


class Transport(channel.Transport):
    """A link on which SHA-1 is the last resort of the key exchange and of the host's key."""

    _preferred_kex = (*channel.Transport._preferred_kex, KEX)
    _preferred_keys = (*channel.Transport._preferred_keys, RSA)
    # an old sshd does not say what it accepts; then paramiko takes the first
    _preferred_pubkeys = (RSA, *channel.Transport._preferred_pubkeys)
    _kex_info = {**channel.Transport._kex_info, KEX: _Group14}
    _key_info = {**channel.Transport._key_info, RSA: RSAKey}


def user_key(key: paramiko.PKey) -> paramiko.PKey:
    """The operator's key, as it must sign for such a host."""
    return RSAKey(key=key.key) if isinstance(key, paramiko.RSAKey) else key


def agreed(transport: paramiko.Transport) -> list[str]:
    """The old algorithms that a link uses."""
    names = ("old_kex", "host_key_type", "_agreed_pubkey_algorithm")
    return sorted({getattr(transport, name, None) for name in names} & {KEX, RSA})
