"""The submission host as its users' mail programs see it, in every way they may or may not come.

A way is a name:
inside       from inside, without a login
password     from outside, over TLS, with name and password
certificate  from outside, over TLS, with a client certificate
nothing      from outside, without a login: must be refused
plain        from outside without TLS, where the host must not ask for a password
"""

from dataclasses import dataclass

from cutover.connect import smtp
from cutover.facts import alias_service
from cutover.model import moving

GRANTED = {
    "inside": "from inside, without a login",
    "password": "from outside, over TLS with a password",
    "certificate": "from outside, over TLS with a client certificate",
}
REFUSED = {"nothing": "from outside, without a login", "plain": "from outside, without TLS"}
WAYS = {**GRANTED, **REFUSED}
TIMEOUT = 30  # seconds; the reply to a wrong password takes some


@dataclass(frozen=True)
class Reply:
    """The reply to RCPT. auth: password mechanisms the host offers, "" for none."""

    code: int = moving()
    text: str
    auth: str


def ways(site) -> list[str]:
    """The ways this machine can try, by the parameters."""
    section = site.submission
    if section is None:
        return []
    return [
        *(["inside"] if section.inside else []),
        *(["password"] if section.outside else []),
        *(["certificate"] if section.outside and section.certificate else []),
        *(REFUSED if section.outside else []),
    ]


def client(hosts, way: str) -> smtp.Client:
    """The client that comes in this way."""
    section, user = hosts.site.submission, hosts.site.production_test.users[0].user
    tls = {"server_hostname": hosts.site.fqdn(section.name), "ca_file": section.ca}
    outside = str(section.outside)
    if way == "inside":
        return smtp.Client(str(section.inside))
    if way == "password":
        password = alias_service.password(hosts, user)
        return smtp.Client(outside, **tls, user=user, password=password)
    if way == "certificate":
        return smtp.Client(outside, **tls, certificate=(section.certificate, section.key))
    return smtp.Client(outside)


def ask(hosts, way: str) -> Reply:
    """Whether the host accepts a message of the first test user to himself. None is sent.

    Raises smtp.SmtpError.
    """
    hosts.prove()
    site, section = hosts.site, hosts.site.submission
    address = f"{site.production_test.users[0].user}@{site.zone}"
    permits = smtp.permits(
        site.address(section.host),
        section.port,
        client(hosts, way),
        address,
        address,
        TIMEOUT,
        section.host,
    )
    code, text = permits["recipient"]
    return Reply(code, text, permits["auth"])
