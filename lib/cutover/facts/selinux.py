"""SELinux on a host: whether it enforces, and the context of a directory."""

import dataclasses

from cutover.facts import free_space


@dataclasses.dataclass(frozen=True)
class Label:
    """The SELinux context of the directory that holds, or will hold, a path.

    enforcing: what the policy refuses does not happen; otherwise context and directory are "".
    context: such as system_u:object_r:mail_spool_t:s0.
    """

    enforcing: bool
    directory: str = ""
    context: str = ""

    @property
    def type(self) -> str:
        """The type in the context, which the policy goes by."""
        parts = self.context.split(":")
        return parts[2] if len(parts) > 2 else ""


def read(hosts, name: str, path: str) -> Label:
    """The label on a host of the nearest directory of `path` that exists."""
    enforce = hosts.run(name, ["cat", "/sys/fs/selinux/enforce"], sudo=True, check=False)
    if enforce.text.strip() != "1":
        return Label(False)
    place = free_space.existing(hosts, name, path)
    context = hosts.run(name, ["stat", "-L", "-c", "%C", "--", place], sudo=True).text.strip()
    return Label(True, place, context)
