"""Where c-client keeps copies of the messages that are removed from a user's old folders."""

import os

# $1 the set-aside directory, $2 run, $3 user, $4 UID, $5 GID: c-client writes there as the user
_MAKE = r"""
umask 066
mkdir -p "$1"; chmod go+x "$1"
mkdir -p -m 0711 "$1/$2"
[ -d "$1/$2/$3" ] || { mkdir -m 0700 "$1/$2/$3" && chown "$4:$5" "$1/$2/$3"; }
"""


class SetAside:
    """One user's directory below `directory` on the old server.

    entry: the user's in the store's plan.
    """

    def __init__(self, hosts, directory: str, run: str, entry: dict):
        self.hosts, self.directory, self.run, self.entry = hosts, directory, run, entry

    def folder_for(self, old_folder: str) -> str:
        """Make the user's directory. Returns the folder there that keeps copies of `old_folder`."""
        ids = [self.entry["user"], str(self.entry["uid"]), str(self.entry["gid"])]
        argv = ["sh", "-c", _MAKE, "make", self.directory, self.run, *ids]
        self.hosts.run(self.hosts.site.roles.old, argv, sudo=True)
        return folder_name(f"{self.directory}/{self.run}/{self.entry['user']}", old_folder)


def folder_name(base: str, old_folder: str) -> str:
    """The path of an old folder's copies: below `base`, under the folder's own name."""
    parts = [part for part in old_folder.split("/") if part not in ("", ".", "..")]
    return os.path.join(base, *parts)
