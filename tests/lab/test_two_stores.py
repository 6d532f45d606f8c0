"""A lab of two stores: what each of its servers has, and what it knows of the other store."""

import dns.message
import dns.query
import pytest
import yaml
from click.testing import CliRunner
from cutover.commands.lab import group
from cutover.connect import smtp
from lab import control, crowd, delivery, manifest, old_users, store, topology, two_stores
from test_lab import eventually, imap, left_behind, mail, password

pytestmark = pytest.mark.lab
USERS = {"mailbox": "bruno", "posta": "vera"}  # one of each store
PROBES = {"mailbox": "sonda", "posta": "sonda2"}
OTHER = {"mailbox": "posta", "posta": "mailbox"}


@pytest.fixture(scope="module")
def lab(_lab_of_the_session):
    _lab_of_the_session.reset(stores=2)
    return _lab_of_the_session


def server(alias, role):
    return next(
        host
        for host in topology.EVER.values()
        if (host.alias, host.role) == (alias, role) and host != topology.SECOND
    )


def directory(lab, host, place):
    return set(lab.run(host.name, ["ls", place]).stdout.split())


def test_the_mail_of_all_users_is_as_it_was_seeded(lab):
    assert manifest.take() == manifest.read()


@pytest.mark.parametrize("alias", USERS)
def test_an_old_server_shows_its_users_mail_by_the_alias_of_its_store(lab, alias):
    user, host = USERS[alias], server(alias, "old")
    for name in topology.NIS_SERVERS:
        query = dns.message.make_query(f"{alias}.lab.test", "A")
        answer = dns.query.udp(query, topology.HOSTS[name].address, timeout=3)
        assert [record.address for record in answer.answer[0]] == [host.address]
    with imap(host, f"{alias}.lab.test") as client:
        assert b"Panda IMAP" in client.welcome
        client.login(user, password(user))
        (count,) = client.select("INBOX", readonly=True)[1]
    assert int(count) == manifest.read()["users"][user]["folders"]["INBOX"]["messages"] > 0
    with old_users.session(user) as client:
        assert client.select_folder("INBOX", readonly=True)[b"EXISTS"] == int(count)
    assert old_users.shell(user, "hostname; pwd").split() == [host.name, f"/home/{user}"]


@pytest.mark.parametrize("alias", USERS)
def test_servers_have_the_users_of_their_store_and_know_all(lab, alias):
    mine = {
        user for user in topology.USERS if (user in topology.SECOND_STORE) == (alias == "posta")
    }
    mine.add(PROBES[alias])
    old, new = server(alias, "old"), server(alias, "new")
    assert len(mine) == 13 and mine == directory(lab, old, "/home") == directory(lab, new, "/home")
    assert mine == directory(lab, new, "/var/imap")
    assert mine == directory(lab, new, f"/srv/{old.name}/home")
    assert directory(lab, old, "/var/mail") == directory(lab, new, f"/srv/{old.name}/spool") <= mine
    for host in (old, new):
        listed = lab.run(host.name, ["getent", "passwd"]).stdout
        for user in (*USERS.values(), *PROBES.values()):
            assert f":/home/{user}:" in listed


@pytest.mark.parametrize("alias", USERS)
def test_mail_through_an_mx_reaches_the_users_old_server(lab, alias):
    probe, host = PROBES[alias], server(alias, "old")
    place = store.spool(probe)
    for user in (USERS[alias], probe):
        texts = (mail(user, f"{number}-{user}") for number in ("first", "second"))
        delivery.deliver([(user, text, False) for text in texts])  # by each MX
    with old_users.session(USERS[alias]) as client:
        client.select_folder("INBOX", readonly=True)
        (uid,) = client.search(["SUBJECT", f"second-{USERS[alias]}"])
        head = client.fetch([uid], ["RFC822.HEADER"])[uid][b"RFC822.HEADER"]
    assert f"by {host.name}.lab.test".encode() in head and place.stat().st_size


@pytest.mark.parametrize("alias", USERS)
def test_a_new_server_answers_and_takes_its_users_mail(lab, alias):
    user, stranger, host = USERS[alias], USERS[OTHER[alias]], server(alias, "new")
    with imap(host, host.fqdn) as client:
        client.login(user, password(user))
        assert client.select("INBOX", readonly=True) == ("OK", [b"0"])
    to, text = f"{user}@{host.fqdn}", mail(user, "to-the-new-server")
    smtp.send(topology.HOSTS["postino3"].address, 25, "a@elsewhere.test", [to], text, 30)
    new = store.imap(user) / "new"
    assert eventually(lambda: new.is_dir() and list(new.iterdir()))
    with imap(host, f"{alias}.lab.test") as client:
        client.login(stranger, password(stranger))
        assert client.select("INBOX", readonly=True)[0] == "NO"


def test_its_parameters_name_what_the_hosts_have(lab):
    shown = CliRunner().invoke(group, ["up"])
    assert shown.exit_code == 0 and str(two_stores.PARAMETERS) in shown.stdout
    values = yaml.safe_load(two_stores.PARAMETERS.read_text())
    second = values["stores"]["posta"]
    old, new = (second["roles"][role] for role in ("old", "new"))
    for name in (old, new):
        assert values["hosts"][name]["address"] == lab.status()["hosts"][name]["address"]
    for there, here in second["old_store"]["seen_at"].items():
        listed = [
            lab.run(host, ["ls", place]).stdout for host, place in ((old, there), (new, here))
        ]
        assert listed[0] == listed[1] != ""
    for login in (second["outage"]["probe"], *second["production_test"]["users"]):
        assert login["password"] == f"file:{control.keys.SECRETS / login['user']}"
        assert password(login["user"])
        lab.run(old, ["test", "-d", f"/home/{login['user']}"])


def test_more_users_are_in_both_stores(lab):
    names = crowd.add(4)
    assert [store.alias(user) for user in names] == ["mailbox", "posta"] * 2
    for user in names:
        routed = lab.run("postino4", ["sendmail", "-bv", user]).stdout
        assert f"user {user}@{store.alias(user)}.lab.test" in routed
        answer = old_users.shell(
            user, "printf 'a EXAMINE INBOX\\r\\nb LOGOUT\\r\\n' | /usr/sbin/imapd"
        )
        assert f"* {crowd.MESSAGES} EXISTS" in answer


def test_a_lab_of_one_store_is_another_lab(lab, monkeypatch):
    class Cleaned(Exception):
        pass

    def clean(grace):
        raise Cleaned

    monkeypatch.setattr(control, "_clean", clean)
    there = lab.up()["lab"]
    assert there == lab.up(stores=2)["lab"]
    for other in ({"stores": 1}, {"shared": True}, {"old": True}):
        with pytest.raises(Cleaned):
            lab.up(**other)
    with pytest.raises(ValueError, match="two stores"):
        lab.up(stores=2, shared=True)


def test_a_reboot_brings_the_second_pair_back(lab):
    lab.stop("postavm")
    assert not lab.status()["hosts"]["postavm"]["up"]
    lab.reboot("postaold")
    for host in topology.SECOND_PAIR.values():
        assert all(lab.status()["hosts"][host.name]["ports"].values())
        assert "vera" in directory(lab, host, "/home")


def test_down_leaves_nothing(lab):
    assert any("posta" in line for line in left_behind())
    lab.down()
    assert left_behind() == [] == lab.rests()
