"""Lines of a mail host's journal: who logged in, and who handed mail in."""

import types

from cutover.facts import logs


def read(*lines):
    reader = logs.Reader()
    for number, line in enumerate(lines):
        reader.line(f"{1000 + number}.5 mailboxold {line}".encode())
    return reader


def mail(
    key, relay, msgid="<m@x>", to="<alice@mailboxold.lab.test>", result="stat=Sent", mailer="local"
):
    return (
        f"sm-mta[7]: {key}: from=<a@b>, size=10, class=0, nrcpts=1, msgid={msgid}, "
        f"proto=ESMTP, daemon=MTA-v4, relay={relay}",
        f"sm-mta[8]: {key}: to={to}, delay=00:00:01, xdelay=00:00:00, mailer={mailer}, "
        f"pri=30, dsn=2.0.0, {result}",
    )


def test_logins_are_those_of_users_and_not_those_of_verify():
    reader = read(
        "imapd[1]: Login user=alice host=localhost [127.0.0.1]",
        "imapd[1]: Preauthenticated user=bruno host=UNKNOWN",
        "imapd[1]: Login failed user=carla auth=carla host=x",
        "ipop3d[2]: Auth user=davide host=pc [10.0.0.1] nmsgs=3",
        "imapd[3]: Authenticated user=elena host=y mech=PLAIN",
        "imapd[3]: Logout user=elena host=y",
        "other[3]: Login user=fabio host=y",
    )
    assert [login.user for login in reader.logins] == ["alice", "davide", "elena"]


def test_a_delivery_is_known_by_who_handed_it_in():
    reader = read(
        *mail("A1", "postino3.lab.test [10.77.0.13]"),
        *mail("A2", "root@localhost", to="bruno,<carla@x>"),
        *mail("A3", "pc [10.0.0.9] (may be forged)", msgid="<a, relay=postino3 [10.77.0.13]>"),
        *mail("A4", "pc [IPv6:fd00::9]"),
        *mail("A5", "x [10.0.0.1]", mailer="esmtp"),
        *mail("A6", "x [10.0.0.1]", result="stat=Deferred"),
        "sm-mta[8]: A7: to=<x@y>, delay=0, mailer=local, stat=Sent",
    )
    assert [(delivery.relay, delivery.users) for delivery in reader.deliveries] == [
        ("10.77.0.13", ["alice"]),
        ("", ["bruno", "carla"]),
        ("10.0.0.9", ["alice"]),
        ("fd00::9", ["alice"]),
    ]


def test_what_only_the_old_host_logged_is_told_by_message_and_user(monkeypatch):
    postino = "postino3.lab.test [10.77.0.13]"
    both = mail("A1", postino, msgid="<both@x>", to="<alice@o>,<bruno@o>")
    hosts = {
        "old": read(
            *both,
            *mail("A2", postino, msgid="<alias@x>", to="<bruno@o>"),
            *mail("A3", postino, msgid="<list@x>", to="<alice@o>,<nobody@o>"),
            *mail("A4", postino, msgid="<too late@x>"),
        ),
        "new": read(*both, *mail("B3", postino, msgid="<list@x>", to="<bruno@n>")),
    }
    monkeypatch.setattr(logs, "read", lambda _, name, since: hosts[name])
    roles = types.SimpleNamespace(old="old", new="new")
    site = types.SimpleNamespace(site=types.SimpleNamespace(roles=roles))
    alone = logs.old_alone(site, 1000, 1006, ["alice", "bruno"])
    assert alone == logs.OldAlone(
        4, 2, ["<alias@x> to bruno by 10.77.0.13", "<list@x> to alice by 10.77.0.13"]
    )
