"""What Dovecot logs and counts on a busy morning, in the wording of 2.3 and of 2.4."""

import pytest
from cutover.facts import dovecot_activity
from cutover.run import first_morning


def read(*lines):
    reader = dovecot_activity.Reader()
    for number, line in enumerate(lines):
        reader.line(f"{1000 + number}.5 mailboxvm dovecot[9]: {line}".encode())
    return reader


def test_logins_are_those_of_imap_and_pop3_in_both_wordings():
    reader = read(
        "imap-login: Login: user=<alice>, method=PLAIN, rip=10.0.0.9, lip=10.0.0.1, mpid=7, TLS",
        "pop3-login: Logged in: user=<bruno>, method=PLAIN, rip=fd00::9, lip=fd00::1, mpid=8",
        "imap(alice)<7><x>: Disconnected: Logged out in=1 out=2",
        "imap-login: Disconnected: Connection closed (no auth attempts in 0 secs): user=<>, "
        "rip=10.0.0.9, lip=10.0.0.1",
        "imap-login: Disconnected: Connection closed (no auth attempts in 0 secs): user=<>, "
        "rip=10.0.0.9, lip=10.0.0.1, TLS handshaking: Connection closed",
    )
    assert [(login.user, login.address) for login in reader.logins] == [
        ("alice", "10.0.0.9"),
        ("bruno", "fd00::9"),
    ]
    assert not reader.refusals and not reader.limits


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        (
            dovecot_activity.FAILED,
            "imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): "
            "user=<alice@lab.test>, method=PLAIN, rip=10.0.0.9, lip=10.0.0.1, TLS, session=<x>",
        ),
        (
            dovecot_activity.FAILED,
            "imap-login: Login aborted: Connection closed (auth failed, 1 attempts in 2 secs) "
            "(auth_failed): user=<alice@lab.test>, method=PLAIN, rip=10.0.0.9, lip=10.0.0.1",
        ),
        (
            dovecot_activity.LIMIT,
            "imap-login: Disconnected: Maximum number of connections from user+IP exceeded "
            "(mail_max_userip_connections=10): user=<alice@lab.test>, method=PLAIN, rip=10.0.0.9",
        ),
        (
            dovecot_activity.TEMPORARY,
            "imap-login: Disconnected: Auth process broken (auth service reported temporary "
            "failure): user=<alice@lab.test>, method=PLAIN, rip=10.0.0.9, lip=10.0.0.1",
        ),
    ],
)
def test_a_refused_login_has_its_reason(reason, line):
    (refusal,) = read(line).refusals
    assert (refusal.reason, refusal.name, refusal.address) == (
        reason,
        "alice@lab.test",
        "10.0.0.9",
    )


def test_an_old_program_without_common_tls_is_refused_before_it_sends_a_name():
    (refusal,) = read(
        "imap-login: Disconnected: Connection closed: SSL_accept() failed: error:0A000102:SSL "
        "routines::unsupported protocol (no auth attempts in 0 secs): user=<>, rip=10.0.0.9, "
        "lip=10.0.0.1, TLS handshaking: SSL_accept() failed, session=<x>"
    ).refusals
    assert (refusal.reason, refusal.name) == (dovecot_activity.TLS, "")


def test_limits_are_those_that_dovecot_names():
    lines = (
        "master: Warning: service(imap-login): process_limit (2) reached, client connections are "
        "being dropped",
        "imap(alice)<7><x>: Warning: Inotify instance limit for user 2000 (UID alice) exceeded, "
        "disabling. Increase /proc/sys/fs/inotify/max_user_instances",
    )
    assert read(*lines).limits == list(lines)


def test_counts_of_missing_folders_are_of_the_user_with_the_longest_name():
    text = (
        "metric_name\tfield\tcount\n"
        "cutover_missing\tduration\t9\n"
        "cutover_missing_al\tduration\t3\n"
        "cutover_missing_al_SELECT\tduration\t1\n"
        'cutover_missing_al_SELECT_"mail/work"\tduration\t1\n'
        'cutover_missing_al_STATUS_"mail/work"_(MESSAGES_UNSEEN)\tduration\t1\n'
        "cutover_missing_al_STATUS_mail/work_(MESSAGES_UNSEEN)\tduration\t1\n"
        "cutover_missing_al_APPEND_mail/work_<17_byte_literal>\tduration\t1\n"
        'cutover_missing_al_SELECT_"mail/a_(b"\tduration\t1\n'
        "cutover_missing_al_SELECT_\"mail/Posta_inviata_dell'anno_s…\tduration\t2\n"
        "cutover_missing_al_x_EXAMINE_mail/caff&AOk-\tduration\t4\n"
        'cutover_missing_al_LIST_""_"mail/*"\tduration\t1\n'
        'cutover_missing_al_LIST_"mail/"_"*"\tduration\t1\n'
        'cutover_missing_al_LIST_""_mail/%\tduration\t1\n'
        'cutover_missing_al_LIST_(SUBSCRIBED)_""_"mail/*"_RETURN…\tduration\t1\n'
        "cutover_missing_al_LSUB_mail/_*\tduration\t1\n"
        'cutover_missing_al_LIST_""_("mail/*"_"x/%")\tduration\t1\n'
        'cutover_missing_al_EXAMINE_"mail/a\tb"\tduration\t1\n'
        "other_al\tduration\t9\n"
    )
    assert dovecot_activity.parse_counts(text, ["al", "al_x"]) == {
        ("al", "mail/work"): 4,
        ("al", "mail/a_(b"): 1,
        ("al", "mail/Posta_inviata_dell'anno_s…"): 2,
        ("al_x", "mail/caffé"): 4,
        ("al", "mail/*"): 5,
        ("al", "mail/%"): 1,
        ("al", "mail/a\udc09b"): 1,
    }
    assert (
        dovecot_activity.parse_counts("metric_name\tfield\tcount\nother\tduration\t1\n", ["al"])
        is None
    )


def test_a_name_means_the_folder_that_it_ends_with():
    folders = ["INBOX", "work", "work/old", "list_announce"]
    assert first_morning.meant("mail/work", folders) == "work"
    assert first_morning.meant("~/mail/work/old", folders) == "work/old"
    assert first_morning.meant("mail/list.announce", folders) == "list_announce"
    assert first_morning.meant("mail/lis…", folders) == "list_announce"
    assert first_morning.meant("mail/Posta_inviata", [*folders, "Posta inviata"]) == "Posta inviata"
    assert first_morning.meant("mail/rework", folders) is None
    assert first_morning.meant("Drafts", folders) is None


def test_a_pattern_that_shows_nothing_means_all_folders():
    assert first_morning.meant("mail/*", ["INBOX", "work"]) == "*"
    assert first_morning.meant("~/mail/%", ["INBOX", "work"]) == "%"
    assert first_morning.meant("mail/*", ["INBOX"]) is None
    assert first_morning.meant("mail/*", ["INBOX", "mail/x"]) is None
