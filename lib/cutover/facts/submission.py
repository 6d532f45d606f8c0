"""The submission host as its users' mail programs meet it, in each of the ways in which they may come, or may not.

A way is a name: `inside`, with nothing to show; `password`, from outside by TLS with name and password; `certificate`, from
outside by TLS with a client certificate; `nothing`, from outside; `plain`, from outside without TLS, where it must ask for no
password.
"""

from cutover.connect import smtp
from cutover.facts import alias_service as live

TIMEOUT = 30  # a password that is wrong takes some seconds


def _client(hosts, way: str) -> smtp.Client:
    section, user = hosts.site.submission, hosts.site.production_test.users[0].user
    tls = {"server_hostname": hosts.site.fqdn(section.name), "ca_file": section.ca}
    outside = str(section.outside)
    return {
        "inside": lambda: smtp.Client(str(section.inside)),
        "password": lambda: smtp.Client(
            outside, **tls, user=user, password=live.password(hosts, user)
        ),
        "certificate": lambda: smtp.Client(
            outside, **tls, certificate=(section.certificate, section.key)
        ),
        "nothing": lambda: smtp.Client(outside),
        "plain": lambda: smtp.Client(outside),
    }[way]()


def ask(hosts, way: str) -> dict:
    """Would it take a message of the first test user to himself? None is sent.

    → `{"code": of its answer to the recipient, "text": that answer, "auth": password mechanisms it offers, "" for none}`.
    """
    hosts.prove()
    site, section = hosts.site, hosts.site.submission
    himself = f"{site.production_test.users[0].user}@{site.zone}"
    said = smtp.permits(
        site.address(section.host),
        section.port,
        _client(hosts, way),
        himself,
        himself,
        TIMEOUT,
        section.host,
    )
    return {"code": said["recipient"][0], "text": said["recipient"][1], "auth": said["auth"]}


def send(hosts, way: str, sender: str, recipient: str, message: bytes) -> str:
    """Hand a message in. → the host's queue id. Raises smtp.SmtpError."""
    site = hosts.site
    return smtp.send(
        site.address(site.submission.host),
        site.submission.port,
        sender,
        [recipient],
        message,
        TIMEOUT,
        name=site.submission.host,
        client=_client(hosts, way),
    )
