"""Many more users for a lab that is up, made fast: what a site of thousands costs.

Accounts in NIS, routes in the userdb of both MX hosts, and a home per user on the old server.
c-client makes the mail of the first; the others' homes are copies of it with owners of their own.
In a lab of two stores half of the users are in each.
"""

import os
import shutil

from lab import errors, inside, nis, old_users, state, store, topology

FIRST_UID = 10001  # within users.uid_max of parameters/lab.yaml
MOST = 9000
FOLDERS = 9  # in addition to INBOX
MESSAGES = 4  # in each


def add(number: int) -> list[str]:
    """Add `number` users with FOLDERS + 1 folders each; returns their names.

    Raises errors.LabError if there would be more than MOST.
    """
    if number > MOST:
        raise errors.LabError(f"the lab takes at most {MOST} more users, not {number}")
    accounts = {f"u{index:05d}": FIRST_UID + index for index in range(number)}
    if accounts:
        _accounts(accounts)
        _routes(accounts)
        _homes(accounts)
    return list(accounts)


def _accounts(accounts):
    sources = {
        "passwd": "{user}:x:{number}:{number}::/home/{user}:/bin/bash\n",
        "group": "{user}:x:{number}:\n",
        "shadow": "{user}:!:20000:0:99999:7:::\n",  # nobody logs in as one of them
    }
    master = topology.NIS_SERVERS[0]
    for name, line in sources.items():
        text = "".join(line.format(user=user, number=number) for user, number in accounts.items())
        inside.run(master, ["sh", "-c", f"cat >> /{nis.SOURCES}/{name}"], input=text)
    inside.run(master, ["make", "-s", "-C", "/var/yp"], timeout=300)
    last = list(accounts)[-1]
    for host in topology.of(state.read()).values():
        if host.has_users:
            inside.run(host.name, ["getent", "passwd", last])


def _routes(accounts):
    text = "".join(
        f"{user}:maildrop\t{user}@{store.alias(user)}.{topology.DOMAIN}\n" for user in accounts
    )
    for host in topology.HOSTS.values():
        if host.role == "mx":
            script = (
                "cat >> /etc/mail/userdb; makemap -d btree /etc/mail/userdb.db < /etc/mail/userdb"
            )
            inside.run(host.name, ["sh", "-euc", script], input=text, timeout=300)


def _homes(accounts):
    first, *others = accounts
    _home(first, accounts[first])
    for user in others:
        shutil.copytree(store.home(first), store.home(user), symlinks=True)
        _own(store.home(user), accounts[user])


def _home(user, number):
    store.home(user).mkdir(mode=0o700)
    os.chown(store.home(user), number, number)
    dice, maker = old_users.maker(user, "crowd")
    for folder in ["INBOX", *(f"mail/folder{index}" for index in range(FOLDERS))]:
        mails = b"".join(
            f"From sender@elsewhere.test {date:%a %b %e %H:%M:%S %Y %z}\n".encode()
            + maker.message(user, date).replace(b"\r\n", b"\n").replace(b"\nFrom ", b"\n>From ")
            + b"\n"
            for date in (maker.date() for _ in range(MESSAGES))
        )
        script = (
            f'mkdir -p mail; mailutil create "#driver.mbx/{folder}" > /dev/null; '
            f"cat > .old; mailutil append .old {folder} > /dev/null; rm .old"
        )
        old_users.shell(user, script, input=mails)


def _own(top, number):
    for place, directories, files in os.walk(top):
        for name in (".", *directories, *files):
            os.chown(os.path.join(place, name), number, number, follow_symlinks=False)
