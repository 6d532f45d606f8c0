"""Bacula on the backup host: the default configuration of Debian's packages, with new passwords."""

import re
import secrets

DEFAULTS = "usr/share/bacula-common/defconfig"
FILES = ("bacula-dir.conf", "bacula-sd.conf", "bacula-fd.conf", "bconsole.conf")
VOLUMES = "srv/bacula"
# SQLite, made by the package
CATALOG = {"XXX_DBNAME_XXX": "bacula", "XXX_DBUSER_XXX": "", "XXX_DBPASSWORD_XXX": ""}


def configure(host, root, put):
    """Write the daemons' configuration into a host's root; `put(root, name, text, mode)` writes.

    Only these daemons need the passwords, so they are kept nowhere else.
    """
    made = {}
    values = {
        "@debian_basename@": host.name,
        # Debian 12's spelling, and Debian 13's
        "/nonexistant/path/to/file/archive/dir": f"/{VOLUMES}",
        "/nonexistent/path/to/file/archive/dir": f"/{VOLUMES}",
        **CATALOG,
    }
    for name in FILES:
        text = (root / DEFAULTS / name).read_text()
        for old, new in values.items():
            text = text.replace(old, new)
        # XXX_…PASSWORD_XXX of one name is the same password in every file
        text = re.sub(
            r"XXX_\w+?_XXX",
            lambda match: made.setdefault(match[0], secrets.token_urlsafe(24)),
            text,
        )
        # the lab's backup host has no mail server, and nobody reads its mail
        text = re.sub(r"(?m)^ *(mail|operator)(command)? = .*\n", "", text)
        put(root, f"etc/bacula/{name}", text, 0o640)
