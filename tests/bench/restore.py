"""How long a restore of many messages takes, on the running lab: `python tests/bench/restore.py [MESSAGES]`.

The lab must be up with a copy (`cutover rehearse --keep-lab`). A folder of that many small messages is put into alice's copy on
the backup host, as if she had lost it. Measured: bringing it beside (one stream of tar; and file by file over the same links, of
a part, scaled), and adding it through Dovecot (so many messages a command). What was added is taken out again.
"""

import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from cutover import site
from cutover.changes import restore
from cutover.hosts import Hosts, copies, facts, mailboxes
from cutover.lab import hosts as lab_hosts
from cutover.lab import store

NAME, USER, PART, RUNS = "misura", "alice", 100, 2


TREE = store.STORE / "backup/posta/mailboxvm/current" / USER / f".{NAME}"


def plant(number):
    """The folder in the copy. → bytes"""
    tree = TREE
    owner, total = lab_hosts.USERS[USER], 0
    for part in ("cur", "new", "tmp"):
        (tree / part).mkdir(parents=True, exist_ok=True)
    with open(tree / "dovecot-uidlist", "w") as uids:
        uids.write(f"3 V1700000000 N{number + 1} G{'0' * 31}1\n")
        for each in range(1, number + 1):
            text = f"From: a@elsewhere.test\nSubject: {each}\nMessage-ID: <{each}@bench>\n\n" + f"line {each} of it\n" * 250
            name = f"{1_600_000_000 + each}.M{each}P1.bench,S={len(text)}"
            path = tree / "cur" / f"{name}:2,S"
            path.write_text(text)
            os.utime(path, (1_600_000_000 + each,) * 2)
            uids.write(f"{each} :{name}\n")
            total += len(text)
    for path in (tree, *tree.rglob("*")):
        os.chown(path, owner, owner)
    return total


def timed(function, *arguments):
    os.sync()
    began = time.monotonic()
    function(*arguments)
    return time.monotonic() - began


def file_by_file(hosts, place):
    """A get and a put for each of PART files. → nothing"""
    folder = f"{hosts.site.backup.target}/{USER}/.{NAME}/cur"
    names = hosts.run(hosts.site.roles.backup, ["ls", folder], sudo=True).text.split()[:PART]
    hosts.run(hosts.site.roles.new, ["mkdir", "-p", place], sudo=True)
    for name in names:
        hosts.ssh(hosts.site.roles.new).put(hosts.ssh(hosts.site.roles.backup).get(f"{folder}/{name}", sudo=True),
                                            f"{place}/{name}", sudo=True)


def main(number):
    size = plant(number)
    found = {"bring, one stream": [], "bring, file by file (scaled)": [], "add": []}
    with Hosts(site.load("parameters/lab.yaml")) as hosts, tempfile.TemporaryDirectory() as unique:
        account = next(each for each in facts.users(hosts, hosts.site.roles.new) if each["user"] == USER)
        with mailboxes.new_session(hosts, USER) as live:
            if NAME in [name for name, _, _ in live.folders()]:      # left by a run that was broken off
                live.client.delete_folder(NAME)
        owner = f"{account['uid']}:{account['gid']}"
        for run in range(RUNS):
            place = copies.tree(hosts.site, f"bench-{Path(unique).name}-{run}", USER, NAME)
            found["bring, one stream"].append(timed(copies.bring, hosts, USER, owner, [f".{NAME}"], place))
            found["bring, file by file (scaled)"].append(timed(file_by_file, hosts, f"{place}-files") * number / PART)
            add = restore.AddMissing(hosts.site.roles.new, USER, account, place, [NAME], "")
            found["add"].append(timed(add.apply, hosts, lambda event: None))
            print({what: round(seconds[-1], 1) for what, seconds in found.items()}, file=sys.stderr)
            took = add.inverse()
            took.apply(hosts, lambda event: None)
            assert took.settled(hosts).done
    shutil.rmtree(TREE)
    print(f"{number} messages, {size / 1e6:.0f} MB, {os.cpu_count()} processors, Python {platform.python_version()}, {RUNS} runs")
    for what, seconds in found.items():
        print(f"{what:30} {statistics.median(seconds):8.1f} s   {number / statistics.median(seconds):8.0f} messages/s   "
              f"{min(seconds):.1f} to {max(seconds):.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20000)
