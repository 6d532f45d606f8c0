"""Bacula on the backup host, as Debian's packages set it up: their default configuration, with passwords of this lab."""

import re
import secrets

DEFAULTS = "usr/share/bacula-common/defconfig"
FILES = ("bacula-dir.conf", "bacula-sd.conf", "bacula-fd.conf", "bconsole.conf")
VOLUMES = "srv/bacula"
CATALOG = {
    "XXX_DBNAME_XXX": "bacula",
    "XXX_DBUSER_XXX": "",
    "XXX_DBPASSWORD_XXX": "",
}  # SQLite, made by the package


def configure(host, root, put):
    """Write the daemons' configuration into a host's root. `put(root, name, text, mode)` writes a file.

    Nobody but these daemons needs the passwords, so they are kept nowhere else.
    """
    made = {}
    values = {
        "@debian_basename@": host.name,
        "/nonexistant/path/to/file/archive/dir": f"/{VOLUMES}",
        **CATALOG,
    }
    for name in FILES:
        text = (root / DEFAULTS / name).read_text()
        for old, new in values.items():
            text = text.replace(old, new)
        # each XXX_…PASSWORD_XXX stands for one password wherever it stands
        text = re.sub(
            r"XXX_\w+?_XXX",
            lambda found: made.setdefault(found[0], secrets.token_urlsafe(24)),
            text,
        )
        # the lab's backup host has no mail server, and nobody to read what it says
        text = re.sub(r"(?m)^ *(mail|operator)(command)? = .*\n", "", text)
        put(root, f"etc/bacula/{name}", text, 0o640)
