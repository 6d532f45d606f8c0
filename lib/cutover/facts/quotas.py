"""What users may store: quotas of a file system by repquota(8), and Dovecot's own by doveadm(1).

Read on the host that has the file system. A file system mounted by NFS has its quotas on its own
server, which is not asked.
"""

import dataclasses
import os

from cutover import model
from cutover.connect import ssh
from cutover.facts import dovecot, free_space
from cutover.facts.users import Account

KIB = 1024
# $1 a directory. 44: no repquota, or no quota is on there.
_REPQUOTA = r"""
command -v repquota > /dev/null || exit 44
where=$(df -P -- "$1" | sed -n '2s|.* [-0-9]*%* *\(/.*\)|\1|p')
repquota -un "$where" || exit 44
"""


@dataclasses.dataclass(frozen=True)
class Quota:
    """Bytes and files that a user has, and may have at most. None: without a limit.

    soft: bytes that may be exceeded for some days only.
    """

    used: int
    soft: int | None
    limit: int | None
    files: int = 0
    files_limit: int | None = None


@dataclasses.dataclass(frozen=True)
class Quotas:
    """Those of users with a limit, by name. old, new: of the file systems; dovecot: its own."""

    old: dict[str, Quota]
    new: dict[str, Quota]
    dovecot: dict[str, Quota]


def read(hosts, accounts: dict[str, list[Account]]) -> Quotas:
    """accounts: by host. Raises CommandFailed."""
    site = hosts.site
    old, new = site.mail_hosts
    home = os.path.dirname(accounts[old][0].home) if accounts[old] else "/"
    folders = site.old_store.folders.partition("{")[0]
    return Quotas(
        of_file_system(hosts, old, folders or home, accounts[old]),
        of_file_system(
            hosts, new, free_space.existing(hosts, new, site.new_store.work), accounts[new]
        ),
        of_dovecot(hosts, new, {account.user for account in accounts[new]}),
    )


def of_file_system(hosts, name: str, path: str, accounts: list[Account]) -> dict[str, Quota]:
    """The users' quotas where a directory lies; none where quotas are off."""
    argv = ["sh", "-c", _REPQUOTA, "quotas", path]
    result = hosts.run(name, argv, sudo=True, check=False, timeout=300)
    if result.rc == 44:
        return {}
    if result.rc:
        raise ssh.CommandFailed.of(result)
    return parse(result.text, {account.uid: account.user for account in accounts})


def parse(text: str, names: dict[int, str]) -> dict[str, Quota]:
    """The output of `repquota -un`, in KiB; names: of users by uid."""
    quotas = {}
    for line in model.lines(text):
        uid, *rest = line.split() or [""]
        # a grace time, such as 6days, stands behind a limit that is passed
        numbers = [int(word) for word in rest if word.isdigit()]
        name = names.get(int(uid[1:])) if uid[:1] == "#" and uid[1:].isdigit() else None
        if name and len(numbers) == 6:
            used, soft, hard, files, _, files_hard = numbers
            if soft or hard or files_hard:
                quotas[name] = Quota(
                    used * KIB, soft * KIB or None, hard * KIB or None, files, files_hard or None
                )
    return quotas


def of_dovecot(hosts, name: str, users: set[str]) -> dict[str, Quota]:
    """Dovecot's quotas; none where its plugin is off."""
    if "quota" not in dovecot.plugins(hosts, name):
        return {}
    result = hosts.run(
        name, ["doveadm", "-f", "tab", "quota", "get", "-A"], sudo=True, check=False, timeout=600
    )
    if not result.text.strip():
        raise ssh.CommandFailed.of(result)
    return {user: quota for user, quota in parse_dovecot(result.text).items() if user in users}


def parse_dovecot(text: str) -> dict[str, Quota]:
    """The output of `doveadm -f tab quota get -A`: a head, then one line per user and resource.

    Of several quota roots the tightest counts.
    """
    head, *lines = model.lines(text)
    quotas = {}
    for line in lines:
        row = dict(zip(head.lower().split("\t"), line.split("\t"), strict=False))
        if not row.get("limit", "-").isdigit():
            continue
        user, before = row["username"], quotas.get(row["username"], Quota(0, None, None))
        number, limit = int(row["value"]), int(row["limit"])
        if row["type"] == "STORAGE" and (before.limit is None or limit * KIB < before.limit):
            before = dataclasses.replace(before, used=number * KIB, limit=limit * KIB)
        elif row["type"] == "MESSAGE" and (
            before.files_limit is None or limit < before.files_limit
        ):
            before = dataclasses.replace(before, files=number, files_limit=limit)
        quotas[user] = before
    return quotas
