"""Of several stores: who belongs to which, and how each sees the userdb that all share."""

import types

import pytest
import store_sites
from cutover import model
from cutover.facts import userdb, userdb_map, userdb_view, users
from cutover.model import errors
from cutover.steps.checks import sendmail, stores
from cutover.steps.night import convert, decommission_facts, dual_delivery, preflight_facts
from cutover.steps.night.decommission_plan import single_delivery

USERDB = b"""# both stores
alice:maildrop\talice@mailbox.lab.test
marta:maildrop\tmarta@POSTA.lab.test.
Marta.Bianchi:maildrop\tmarta@posta.lab.test
olga:maildrop\tolga@posta.lab.test, olga@elsewhere.test
paolo:maildrop\talice@mailbox.lab.test
rita:maildrop\trita@elsewhere.test
sergio:maildrop\tsergio@mailbox.lab.test, sergio@posta.lab.test
"""


def account(user, home=""):
    return users.Account(user, 2000, 2000, home or f"/home/{user}")


@pytest.fixture
def sites(tmp_path):
    return store_sites.load(tmp_path / "site.yaml")


def routed(site, data=USERDB):
    """The userdb after the dual delivery of a store's users."""
    old = site.spellings(site.alias, site.roles.old)
    return userdb.route_to_both(data, old, dual_delivery.both_hosts(site)).data


def test_a_user_belongs_to_the_store_that_gets_its_mail(sites):
    names = ["alice", "marta", "olga", "paolo", "rita", "sergio", "nobody"]
    want = {
        "alice": ["mailbox"],
        "marta": ["posta"],
        "olga": ["posta"],
        "paolo": [],  # its mail goes to somebody else's mailbox
        "rita": [],
        "sergio": ["mailbox", "posta"],
        "nobody": [],
    }
    for site in sites.values():
        for data in (USERDB, routed(sites["posta"]), routed(sites["mailbox"])):
            recipients = userdb.recipients(data)
            assert users.stores_of(site, [account(name) for name in names], recipients) == want


def test_a_list_decides_before_the_home_and_the_home_before_the_userdb(tmp_path):
    sites = store_sites.load(
        tmp_path / "site.yaml",
        mailbox={"only": ["rita"]},
        posta={"homes": ["/srv/posta/"], "only": ["alice"]},
    )
    accounts = [
        account("alice"),
        account("rita", "/srv/posta/rita"),
        account("bruno", "/srv/posta/bruno"),
        account("carla", "/srv/postale/carla"),
        account("marta"),
    ]
    for site in sites.values():
        assert users.stores_of(site, accounts, userdb.recipients(USERDB)) == {
            "alice": ["posta"],
            "rita": ["mailbox"],
            "bruno": ["posta"],
            "carla": [],
            "marta": ["posta"],
        }


class Hosts:
    """The userdb of an MX, getent of a host."""

    def __init__(self, site, names, data=USERDB):
        self.site = site.model_copy(update={"nis": None})
        self.names, self.data = names, data

    def run(self, name, argv, **options):
        class Answer:
            text = "".join(
                f"{user}:x:{2000 + number}:2000::/home/{user}:/bin/sh\n"
                for number, user in enumerate(self.names)
            )

        assert argv == ["getent", "passwd"]
        return Answer

    def ssh(self, name):
        return self

    def each(self, names, function):
        return {name: function(name) for name in names}

    def get(self, path, sudo):
        return self.data


def test_each_store_has_its_own_users(sites):
    names = ["alice", "marta", "olga", "rita"]
    for store, want in (("mailbox", ["alice"]), ("posta", ["marta", "olga"])):
        hosts = Hosts(sites[store], names)
        assert [user.user for user in users.read(hosts, "mailboxvm")] == want
        assert [user.user for user in users.everybody(hosts, "mailboxvm")] == names


def test_a_list_or_a_home_that_the_userdb_contradicts_fails_preflight(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "_with_mail", lambda hosts, run, accounts: [])
    sites = store_sites.load(
        tmp_path / "site.yaml",
        mailbox={"homes": ["/home/olga"]},
        posta={"only": ["alice", "rita", "martha"]},
    )
    for store, unknown in (("mailbox", {}), ("posta", {"martha": []})):
        hosts = Hosts(sites[store], ["alice", "marta", "olga", "rita"])
        belonging = stores.read(hosts, "r")
        # alice is listed for posta, olga has her home in mailbox; rita's mail goes elsewhere
        both = ["mailbox", "posta"]
        assert belonging.astray == {"alice": both, "olga": both, **unknown}


def seen_before(site, data, names=("alice", "marta", "olga"), before=("marta", "olga")):
    """The context of a step, with a userdb, in whose run preflight had found some users."""
    kept = types.SimpleNamespace(
        users={"postavm": model.Reading([account(name) for name in before])}
    )
    return model.Context(Hosts(site, names, data), kept=lambda step: model.Reading(kept))


def still_here(ctx):
    stores.require_still_here(ctx, users.read(ctx.hosts, "postavm"))


@pytest.mark.parametrize("elsewhere", [b"marta@elsewhere.test", b"marta@mailbox.lab.test"])
def test_a_user_who_leaves_the_store_meanwhile_is_not_left_behind(sites, elsewhere, monkeypatch):
    ctx = seen_before(sites["posta"], USERDB.replace(b"marta@POSTA.lab.test.", elsewhere))
    production = decommission_facts.Production(since=1.0, converted=1.0, days=9.0)
    monkeypatch.setattr(decommission_facts.services, "read", lambda *asked: [])
    empty = decommission_facts.Facts("r", production, begun=False, off=False, servers={}, mx={})
    for probe in (
        still_here,
        convert.probe,
        lambda ctx: decommission_facts._with_old_host(ctx, empty),
    ):
        with pytest.raises(stores.MovedAway, match="^marta: belonged to the store posta"):
            probe(ctx)


def test_users_who_are_gone_or_new_stop_nothing(sites):
    posta = sites["posta"]
    still_here(seen_before(posta, USERDB))
    still_here(seen_before(posta, USERDB, names=("alice", "olga")))
    still_here(seen_before(posta, USERDB, before=("olga",)))


def test_a_store_without_users_cannot_be_moved(sites):
    with pytest.raises(
        errors.Unreadable, match="no mail user of postavm belongs to the store posta"
    ):
        users.read(Hosts(sites["posta"], ["alice", "rita"]), "postavm")


def test_a_store_does_not_see_how_far_the_others_are(sites):
    mailbox, posta = sites["mailbox"], sites["posta"]
    # rolled back, in production, or never touched
    alone = USERDB.replace(b", sergio@posta.lab.test", b"")
    seen = {userdb_view.of_text(data, mailbox) for data in (alone, routed(posta, alone))}
    assert len(seen) == 1
    lines = seen.pop().decode().split("\n")
    assert "marta:maildrop\tmarta@posta.lab.test" in lines
    assert "olga:maildrop\tolga@posta.lab.test, olga@elsewhere.test" in lines
    assert "alice:maildrop\talice@mailbox.lab.test" in lines
    own = userdb_view.of_text(routed(posta), posta).decode()
    assert "marta@postaold.lab.test, marta@postavm.lab.test" in own


def test_the_map_is_seen_as_its_source_is(sites):
    moved = routed(sites["posta"])

    class Mx(Hosts):
        def run(self, name, argv, **options):
            records = userdb_map.from_source(self.data)

            class Answer:
                rc = 0
                out = b"".join(f"{key}\t{value}\n".encode() for key, value in records)

            return Answer

    hosts = Mx(sites["mailbox"], [], moved)
    source = userdb_view.read_source(hosts, "postino3", "/etc/mail/userdb")
    assert userdb_map.read(hosts, "postino3", "/etc/mail/userdb.db") == userdb_map.from_source(
        source
    )
    assert source != moved


def test_only_the_own_lines_are_edited(sites):
    mailbox, posta = sites["mailbox"], sites["posta"]
    source = userdb.decode(userdb_view.of_text(routed(posta), mailbox))
    keys = [old.partition(":")[0] for old, _ in dual_delivery.rerouted(source, mailbox)[1]]
    assert keys == ["alice", "paolo", "sergio"]


def test_one_store_leaves_dual_delivery_and_the_other_stays(sites):
    mailbox, posta = sites["mailbox"], sites["posta"]
    both = routed(mailbox, routed(posta))

    class Mx:
        source = userdb.decode(userdb_view.of_text(both, mailbox))
        backup = userdb.decode(userdb_view.of_text(USERDB, mailbox))

    keys = [old.partition(":")[0] for old, _ in single_delivery(Mx, mailbox)[1]]
    assert keys == ["alice", "paolo", "sergio"]


def test_an_entry_of_two_stores_is_refused_before_the_night(sites):
    for site in sites.values():
        checks = {check.id: check for check in sendmail.routing(userdb.decode(USERDB), 2, site)}
        assert not checks["userdb-two-stores"].passed
        assert checks["userdb-two-stores"].data == {"entries": ["sergio"]}
        without = userdb.decode(USERDB.replace(b", sergio@posta.lab.test", b""))
        assert "userdb-two-stores" not in {check.id for check in sendmail.routing(without, 2, site)}


@pytest.mark.parametrize(
    "reading, failing",
    [
        (model.Reading(stores.Belonging({}, [])), set()),
        (model.Reading(stores.Belonging({"rita": []}, [])), {"user-in-one-store"}),
        (model.Reading(stores.Belonging({"rita": ["a", "b"]}, [])), {"user-in-one-store"}),
        (model.Reading(stores.Belonging({}, ["marta"])), {"mail-in-another-store"}),
        (model.Reading(error="no answer"), {"user-in-one-store"}),
        (None, set()),
    ],
)
def test_users_of_no_store_and_mail_in_the_wrong_one_fail_preflight(reading, failing):
    assert {check.id for check in stores.checks(reading) if not check.passed} == failing


def test_who_belongs_where_keeps_its_json_form():
    kind = model.Reading[stores.Belonging] | None
    assert preflight_facts.Facts.__annotations__["belonging"] == kind
    data = {"value": {"astray": {"rita": []}, "with_mail": ["marta"]}}
    assert model.to_json(model.from_json(kind, data)) == data
