"""How an MX routes users: one command over ssh, however many they are."""

import subprocess

from cutover.connect import ssh
from cutover.facts import routes

# answers as sendmail does for users whom userdb sends to two hosts; refuses more than it takes
SENDMAIL = """#!/bin/sh
[ "$1" = -bv ] && shift
[ $# -le 200 ] || exit 64
for user; do
    for host in old new; do
        echo "$user@$host.test... deliverable: mailer esmtp, host $host.test, user $user@$host.test"
    done
done
exit 1
"""


class Hosts:
    """Runs commands here, where `sendmail` is a script."""

    def __init__(self, place):
        self.place, self.ran = place, 0

    def run(self, name, argv, *, sudo=False, input=b"", check=True, timeout=60):
        self.ran += 1
        environment = {"PATH": f"{self.place}:/usr/bin:/bin"}
        done = subprocess.run(argv, input=input, capture_output=True, env=environment)
        return ssh.Result(name, tuple(argv), done.returncode, done.stdout, done.stderr, 0.0)


def test_thousands_of_users_are_asked_for_in_one_command(tmp_path):
    (tmp_path / "sendmail").write_text(SENDMAIL)
    (tmp_path / "sendmail").chmod(0o755)
    hosts, users = Hosts(tmp_path), [f"u{number:05d}" for number in range(1000)]
    read = routes.read(hosts, "postino3", users)
    assert read == {user: [f"{user}@old.test", f"{user}@new.test"] for user in users}
    assert hosts.ran == 1


def test_two_users_with_one_mailbox_each_get_it(tmp_path):
    (tmp_path / "sendmail").write_text(SENDMAIL.replace("$user@", "shared@"))
    (tmp_path / "sendmail").chmod(0o755)
    both = {user: ["shared@old.test", "shared@new.test"] for user in ("anna", "bert")}
    assert routes.read(Hosts(tmp_path), "postino3", ["anna", "bert"], both) == both
