"""Parsers of facts that several steps read; no host is needed."""

import socket
import subprocess
from pathlib import Path

import pytest
from cutover.facts import crontabs, ports, processes, spool, userdb_map, webmail
from cutover.model import errors


def test_processes_as_ps_prints_them():
    text = "  144 davide     imapd\n    1 root       init\n  145 zoe          \n"
    rows = processes.parse(text)
    assert rows == [
        processes.Process(144, "davide", "imapd"),
        processes.Process(1, "root", "init"),
        processes.Process(145, "zoe", ""),
    ]
    assert str(rows[0]) == "imapd 144 (davide)"


def test_only_ports_that_listen_are_open_and_an_empty_answer_is_no_closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            listening = ports.parse(Path("/proc/net/tcp").read_text())
            assert port in listening and client.getsockname()[1] not in listening
    assert port not in ports.parse(Path("/proc/net/tcp").read_text())
    with pytest.raises(errors.Unreadable):
        ports.parse("")


def test_a_spooled_file_may_have_a_space_in_its_name():
    assert spool.parse("zoe 12\0an odd name 7\0a\nb 5\0") == {
        "zoe": 12,
        "an odd name": 7,
        "a\nb": 5,
    }


def test_the_map_of_a_source_is_what_makemap_dumps():
    source = b"# users\nBob:MailDrop\tbob@X.test \nan:maildrop caf\xe9@x.test\n"
    dump = b"bob:maildrop\tbob@X.test\nan:maildrop\tcaf\xe9@x.test\n"
    assert userdb_map.from_source(source) == userdb_map.parse(dump)
    assert userdb_map.parse(dump)[1].value == "bob@X.test"


def test_logins_of_one_user_are_found_in_dovecots_log():
    text = (
        "imap-login: Login: user=<alice>, method=PLAIN, rip=10.0.0.9, lip=10.0.0.1\n"
        "imap-login: Login: user=<alice>, method=PLAIN, rip=10.0.0.2, lip=10.0.0.1\n"
        "imap-login: Login: user=<alice2>, method=PLAIN, rip=10.0.0.3, lip=10.0.0.1\n"
        "imap(alice): Disconnected rip=10.0.0.4\n"
    )
    assert webmail.parse_logins(text, "alice") == ["10.0.0.2", "10.0.0.9"]


def test_a_folders_name_does_not_end_what_webmail_says():
    text = (
        'rcmail.set_env({"task":"mail","mailboxes":{"a});b":{"id":"a});b"}}});\n'
        "rcmail.set_env({x: 1});\nrcmail.set_env('y', {\"z\": 1});\n"
        'rcmail.set_env({"request_token":"t"});'
    )
    environment = webmail.parse_environment(text)
    assert environment == {
        "task": "mail",
        "mailboxes": {"a});b": {"id": "a});b"}},
        "request_token": "t",
    }


def test_lines_of_crontabs_are_those_about_mail(tmp_path):
    (tmp_path / "alice").write_text(
        "# 0 1 * * * procmail\n0 1 * * * cp mail/x y:z\n1 2 * * * backup --password=tr0ub4dor\n"
        "5 * * * * fetchmail -s\n"
    )
    script = crontabs._SCRIPT.replace("/var/spool/cron/tabs", str(tmp_path))
    done = subprocess.run(
        ["sh", "-c", script, "crontabs", crontabs.WORDS], capture_output=True, text=True, check=True
    )
    assert [line for line in crontabs.parse(done.stdout) if line.user == "alice"] == [
        crontabs.Line("alice", 2, "0 1 * * * cp mail/x y:z"),
        crontabs.Line("alice", 4, "5 * * * * fetchmail -s"),
    ]
