"""The files that make the copy: who gets in by which key, and the program that runs each day."""

from cutover.facts import backup_copy
from cutover.steps.checks import backup_files
from example import ROMA1


def test_other_keys_of_the_account_stay_and_ours_stands_once():
    account, key = backup_copy.Account("/var/lib/m", "/bin/sh"), "ssh-ed25519 AAAA mailbackup"

    def authorized(keys):
        return backup_files.planned(ROMA1, account, key, [], keys)[2].text

    first = authorized("ssh-rsa BBBB somebody\n")
    assert first.startswith(
        'ssh-rsa BBBB somebody\nrestrict,from="192.0.2.17",command="sudo -n /usr/bin/rsync --server'
    )
    assert authorized(first) == first


def test_the_script_is_a_program_whatever_the_parameters_hold():
    odd = ROMA1.model_copy(
        update={
            "new_store": ROMA1.new_store.model_copy(update={"work": "/var/imap/it's; rm -rf $HOME"})
        }
    )
    text = backup_files.script(odd)
    there = {"__name__": "script"}
    exec(compile(text, "mailbackup", "exec"), there)
    assert there["SETTINGS"]["exclude"][0] == "/it's; rm -rf $HOME/"
    assert there["SETTINGS"]["target"] == ROMA1.backup.target and text.startswith(
        "#!/usr/bin/python3 -I\n"
    )
