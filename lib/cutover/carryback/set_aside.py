"""Where c-client keeps copies of the messages that are removed from a user's old folders."""

import os

from cutover.remote import own_directories

# $1 the user's directory, below root's own; $2 UID; $3 GID: c-client writes there as the user
_GIVE = r"""
[ -L "$1" ] || [ -d "$1" ] || { mkdir -m 0700 -- "$1" && chown -h "$2:$3" -- "$1"; }
"""


class SetAside:
    """One user's directory below `directory` on the old server.

    entry: the user's in the store's plan.
    """

    def __init__(self, hosts, directory: str, run: str, entry: dict):
        self.hosts, self.directory, self.run, self.entry = hosts, directory, run, entry

    def folder_for(self, old_folder: str) -> str:
        """Make the user's directory. Returns the folder there that keeps copies of `old_folder`."""
        old, above = self.hosts.site.roles.old, f"{self.directory}/{self.run}"
        make = own_directories.command("0711", self.directory, above)
        self.hosts.run(old, make, sudo=True)
        ids = [str(self.entry["uid"]), str(self.entry["gid"])]
        place = f"{above}/{self.entry['user']}"
        self.hosts.run(old, ["sh", "-c", _GIVE, "give", place, *ids], sudo=True)
        return folder_name(place, old_folder)


def folder_name(base: str, old_folder: str) -> str:
    """The path of an old folder's copies: below `base`, under the folder's own name."""
    parts = [part for part in old_folder.split("/") if part not in ("", ".", "..")]
    return os.path.join(base, *parts)
