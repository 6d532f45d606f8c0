"""Parsers of facts that several steps read; no host is needed."""

from cutover.facts import processes, spool, userdb_map, webmail


def test_processes_as_ps_prints_them():
    text = "  144 davide     imapd\n    1 root       init\n"
    rows = processes.parse(text)
    assert rows == [
        processes.Process(144, "davide", "imapd"),
        processes.Process(1, "root", "init"),
    ]
    assert str(rows[0]) == "imapd 144 (davide)"


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
