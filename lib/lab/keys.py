"""The lab's secrets: SSH keys, the CA and its certificates, the TSIG key, users' passwords.

Each lab gets new ones, below STATE. They are made with the cryptography package, a dependency of
paramiko.
"""

import base64
import datetime
import hashlib
import os
import secrets

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab import paths, topology

OPERATOR_KEY = paths.STATE / "keys" / "operator"
OLD_OPERATOR_KEY = paths.STATE / "keys" / "operator-rsa"  # for hosts of the old world
BACKUP_KEY = paths.STATE / "keys" / "mailbackup"  # sanbackup's, for reading mailboxvm's store
OLD_BACKUP_KEY = paths.STATE / "keys" / "backup-posta"  # mailboxold's, of the old backup procedure
# of a client that sends mail from outside
CLIENT, CLIENT_KEY = paths.STATE / "keys" / "client.pem", paths.STATE / "keys" / "client.key"
TSIG_KEY = paths.STATE / "keys" / "tsig.key"
KNOWN_HOSTS = paths.STATE / "known_hosts"
CA = paths.STATE / "ca.pem"
SECRETS = paths.STATE / "secrets"


def private(path, data):
    """Write a file that only root can read, from its first moment on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as output:
        output.write(data if isinstance(data, bytes) else data.encode())


def make(hosts=topology.HOSTS, old=()):
    """Make every secret of a new lab of these hosts (name → Host); `old` ones know RSA only.

    → name → {"key": private key in OpenSSH's format, "pub": public key line}.
    """
    paths.STATE.mkdir(parents=True, exist_ok=True)
    os.chmod(paths.STATE, 0o755)
    for path, comment in (
        (OPERATOR_KEY, "operator@cutover-lab"),
        (BACKUP_KEY, "mailbackup"),
        (OLD_BACKUP_KEY, "backup-posta"),
        *([(OLD_OPERATOR_KEY, "operator@cutover-lab")] if old else []),
    ):
        key, public = _ssh_key(comment, path == OLD_OPERATOR_KEY)
        private(path, key)
        path.with_suffix(".pub").write_text(public + "\n")
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    private(
        TSIG_KEY,
        f'key "{topology.TSIG_NAME}" {{\n    algorithm hmac-sha256;\n    secret "{secret}";\n}};\n',
    )
    SECRETS.mkdir(mode=0o700, exist_ok=True)
    for user in topology.accounts(hosts):
        private(SECRETS / user, secrets.token_urlsafe(12))
    made = {
        name: dict(zip(("key", "pub"), _ssh_key(host.fqdn, name in old), strict=True))
        for name, host in hosts.items()
    }
    KNOWN_HOSTS.write_text(
        "".join(
            f"{name},{hosts[name].fqdn},{hosts[name].address} {' '.join(pair['pub'].split()[:2])}\n"
            for name, pair in made.items()
        )
    )
    return made


def _ssh_key(comment, old):
    """(private key in OpenSSH's format, public key line) of a new ed25519 or, if `old`, RSA key."""
    key = rsa.generate_private_key(65537, 2048) if old else ed25519.Ed25519PrivateKey.generate()
    data = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return data.decode(), f"{public.decode()} {comment}"


def fingerprint(public):
    """SHA256:… of an OpenSSH public key line, as ssh-keygen -l prints it."""
    digest = hashlib.sha256(base64.b64decode(public.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


class Authority:
    """The lab's CA. Its key is never stored: certificates are made only when a lab is made."""

    def __init__(self):
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = _name("mail-cutover lab CA")
        self.certificate = (
            _builder(name, name, self.key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.KeyUsage(False, False, False, False, False, True, True, False, False),
                critical=True,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )
        CA.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, names, client=False):
        """(certificate, private key) as PEM text for a server with these DNS names, or a client.

        The first name is its common name.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(_name(names[0]), self.certificate.subject, key.public_key())
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage(
                    [ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH]
                ),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode(), pem.decode()


def _name(common):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject, issuer, public):
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=365))
    )
