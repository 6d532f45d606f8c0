"""Dovecot's own configuration, read with doveconf(1)."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Store:
    """mail_location: "maildir:PATH", with Dovecot's variables in the path."""

    mail_location: str


def store(hosts, name: str) -> Store:
    """Where Dovecot keeps mail. Dovecot 2.4 splits the location into two settings."""
    location = hosts.run(name, ["doveconf", "-h", "mail_location"], sudo=True, check=False)
    if location.rc == 0:
        return Store(location.text.strip())
    driver, path = (
        hosts.run(name, ["doveconf", "-h", key], sudo=True).text.strip()
        for key in ("mail_driver", "mail_path")
    )
    return Store(f"{driver}:{path}")
