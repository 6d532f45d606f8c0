"""The files that make the copy: who gets in by which key, and the program that runs each day."""

from cutover.facts import backup_copy
from cutover.steps.checks import backup_files
from example import ROMA1


def test_other_keys_of_the_account_stay_and_ours_stands_once():
    account, key = backup_copy.Account("/var/lib/m", "/bin/sh"), "ssh-ed25519 AAAA mailbackup"

    def authorized(keys):
        return backup_files.planned(ROMA1, account, key, [], keys)[3].text

    first = authorized("ssh-rsa BBBB somebody\n")
    assert first.startswith(
        'ssh-rsa BBBB somebody\nrestrict,from="192.0.2.17",command="sudo -n '
        '/usr/local/sbin/mailbackup-server" ssh-ed25519 AAAA'
    )
    assert authorized(first) == first


def test_the_key_s_one_command_serves_the_store_and_takes_no_argument():
    account = backup_copy.Account("/var/lib/m", "/bin/sh")
    files = {file.path: file for file in backup_files.planned(ROMA1, account, "a b", [], None)}
    assert files[backup_files.SUDOERS].text.endswith(f'NOPASSWD: {backup_files.SERVER} ""\n')
    server = files[backup_files.SERVER]
    assert server.mode == "0755" and server.text.startswith("#!/usr/bin/python3 -I\n")
    assert "serve('/var/imap', ['/usr/bin/rsync', '--server', '--daemon'," in server.text
    compile(server.text, "server", "exec")


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
