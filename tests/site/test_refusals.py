"""Parameters that are refused, each with the line and the reason; nothing ends in a traceback."""

import os

import pytest
from cutover import site
from cutover.record import journal, run_folder
from cutover.site import BadParameters

ROMA1 = (site.PROJECT / "parameters" / "roma1.yaml").read_text()
VALUE = f"line {ROMA1[: ROMA1.index('valid: 18000')].count(chr(10)) + 1}: not a usable value"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + level)}: &{chr(98 + level)} [{', '.join(['*' + chr(97 + level)] * 9)}]\n"
    for level in range(9)
)


def _workers(names, more="cores: 2"):
    return f"convert: {{engine: dask, workers: [{names}], {more}}}\nverify:"


def refusal(tmp_path, text):
    place = tmp_path / "site.yaml"
    place.write_text(text)
    with pytest.raises(BadParameters) as raised:
        site.load(place)
    return str(raised.value)


@pytest.mark.parametrize(
    "text, reason",
    [
        (BOMB, "counting each use of an alias"),
        ("[" * 3000 + "]" * 3000, "nested too deeply"),
        ("a: " + "{a: " * 3000 + "1" + "}" * 3000, "nested too deeply"),
        ("a: " + "x" * 1_100_000, "larger than"),
        (ROMA1.replace("valid: 18000", "valid: " + "9" * 5000), VALUE),
        (ROMA1.replace("valid: 18000", "valid: 2026-02-31"), VALUE),
        (ROMA1 + "\0", "not YAML"),
        (ROMA1.replace("valid: 18000", "valid: !!timestamp soon"), VALUE),
        (ROMA1.replace("valid: 18000", "valid: !!bool perhaps"), VALUE),
        ("a: [" + "x," * 200_000 + "x]", "more than 20000 values"),
    ],
)
def test_a_file_made_to_harm_is_refused_at_once(tmp_path, text, reason):
    assert reason in refusal(tmp_path, text)


@pytest.mark.parametrize(
    "old, new, reason",
    [
        ("  new: mailboxvm\n", "  new: mailboxold\n", "the old and the new host are the same"),
        ("192.0.2.16}", "192.0.2.15}", "192.0.2.15 is also the address of mailboxold"),
        ("192.0.2.16}", "192.0.2.15, ssh_port: 2222}", "is also the address of mailboxold"),
        ("{address: 192.0.2.16}", "{address: '::ffff:192.0.2.15'}", "is also the address of"),
        ("{address: 192.0.2.16}", "{address: 3221225988}", "an address must be text"),
        ("{address: 192.0.2.16}", "{address: 0.0.0.0}", "no host has this address"),
        ("/var/imap/{user}", "/var/imap/all", "use {user} or {home}"),
        ("work: /var/imap/.cutover", "work: /", "'/' cannot be used"),
        ("work: /var/imap/.cutover", "work: //", "'/' cannot be used"),
        ("work: /var/imap/.cutover", "work: /./", "'/' cannot be used"),
        ("work: /var/imap/.cutover", "work: /var/imap/", "no maildir may be in it"),
        ("/var/imap/{user}", "/var/imap/.cutover/of/{user}", "no maildir may be in it"),
        ("work: /var/imap/.cutover", "work: /var/../etc", "must not contain '..'"),
        ("work: /var/imap/.cutover", "work: /srv", "/srv belongs to the system"),
        ("work: /var/imap/.cutover", "work: /var//lib/", "/var/lib belongs to the system"),
        ("work: /var/imap/.cutover", "work: /run/work", "/run/work does not last"),
        ("target: /backup/posta/mailboxvm/current", "target: /home", "belongs to the system"),
        ("store: /var/imap ", "store: /var ", "backup.store: /var belongs to the system"),
        ("to: /srv/newstore/mail", "to: /mnt", "maintenance.move_store.to: /mnt belongs to"),
        ("/var/imap/{user}", "/{user}", "new_store.maildir: / belongs to the system"),
        ("/var/imap/{user}", "/var/{user}", "new_store.maildir: /var belongs to the system"),
        ("/var/imap/{user}", "/home/{user}/", "new_store.maildir: /home belongs to the system"),
        ("/var/imap/{user}", "'{home}/'", "the whole home would be replaced"),
        (
            "spool: /var/mail/{user}",
            "spool: '{home}/.spool'",
            "old_store.spool: expected is {user}",
        ),
        ("spool: /var/mail/{user}", "spool: /var/mail/all", "old_store.spool: expected is {user}"),
        ("source: /etc/mail/userdb", "source: /etc/mail/", "userdb.source: a file is expected"),
        ("uid_min: 2000", "uid_min: 0", "greater than or equal to 1"),
        ("uid_min: 2000", "uid_min: true", "users.uid_min: a number is expected"),
        ("uid_min: 2000", "uid_min: yes", "users.uid_min: a number is expected"),
        ("uid_min: 2000", "uid_min: '2000'", "users.uid_min: a number is expected"),
        ("uid_max: 2999", "uid_max: 4294967295", "users.uid_max: larger than 4294967294"),
        ("freeze_minutes: 30", "freeze_minutes: true", "freeze_minutes: a number is expected"),
        ("freeze_minutes: 30", "freeze_minutes: .inf", "freeze_minutes: "),
        ("freeze_minutes: 30", "freeze_minutes: .nan", "freeze_minutes: "),
        ("freeze_minutes: 30", "freeze_minutes: 30\n    switch: 1", "true or false is expected"),
        ("back_off_ms: 500", "back_off_ms: 0", "presync.back_off_ms: "),
        ("back_off_ms: 500", "back_off_ms: .nan", "presync.back_off_ms: "),
        ("max_mb_per_second: 40", "max_mb_per_second: -1", "presync.max_mb_per_second: "),
        ("nice: 10", "nice: -5", "presync.nice: "),
        ("io_class: best-effort", "io_class: realtime", "presync.io_class: "),
        ("verify:", "convert: {engine: dask}\nverify:", "engine dask needs workers"),
        ("verify:", "convert: {workers: [mailboxvm]}\nverify:", "workers need engine: dask"),
        ("verify:", _workers("mailboxvm, mailboxvm"), "workers lists a host twice"),
        ("verify:", _workers("mailboxvm9"), "convert.workers.0: mailboxvm9 is not listed"),
        ("verify:", _workers("mailboxvm", "ports: [8799, 8786]"), "the lower one first"),
        ("verify:", _workers("mailboxvm", "place: /srv"), "/srv belongs to the system"),
        ("uid_max: 2999", "uid_max: 1999", "uid_max 1999 is below uid_min 2000"),
    ],
)
def test_a_value_that_would_do_harm_is_refused_with_its_line(tmp_path, old, new, reason):
    assert old in ROMA1
    message = refusal(tmp_path, ROMA1.replace(old, new, 1))
    assert reason in message and "line " in message


def test_no_more_is_read_than_is_allowed(tmp_path):
    place = tmp_path / "site.yaml"
    place.touch()
    os.truncate(place, 8 << 40)
    with pytest.raises(BadParameters, match="larger than"):
        site.load(place)


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BadParameters, match="loop"):
        site.load(tmp_path / "loop")
    (tmp_path / "r" / journal.NAME).mkdir(parents=True)
    with pytest.raises(journal.JournalBroken, match="cannot be read: not a regular file"):
        run_folder.Run(tmp_path / "r").journal.events()
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(run_folder.NotARun, match="Make it a writable folder"):
        run_folder.create(site.load("parameters/roma1.yaml"), "run", tmp_path / "runs")
