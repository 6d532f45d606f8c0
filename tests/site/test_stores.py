"""A file with several stores: each is a site of its own that knows the others."""

import pytest
import store_sites
from cutover import site

POSTA = store_sites.OWN["posta"]
COPY = "/backup/posta/mailboxvm/current"
DASK = {"engine": "dask", "workers": ["sanbackup"]}


def written(tmp_path, stores, **common):
    return store_sites.write(tmp_path / "site.yaml", stores, **common)


def test_each_store_is_the_file_with_its_own_keys_over_it(tmp_path):
    path = written(tmp_path, {"mailbox": None, "posta": POSTA})
    assert site.store_names(path) == ["mailbox", "posta"]
    first, second = site.load(f"{path}:mailbox"), site.load(path, "posta")
    plain = site.load("parameters/lab.yaml")
    assert (first.name, first.alias, first.roles) == ("lab-mailbox", plain.alias, plain.roles)
    assert (second.name, second.alias, second.mail_hosts) == (
        "lab-posta",
        "posta",
        ("postaold", "postavm"),
    )
    assert second.roles.mx == plain.roles.mx and second.submission is None
    assert second.backup.account == plain.backup.account and second.backup.bacula is None
    assert [other.store for other in second.others] == ["mailbox"]
    # a server of another store may be down
    assert second.hosts.keys() == {*plain.hosts, "postaold", "postavm"} - {*first.mail_hosts}
    assert first.digest != second.digest and second.reference == f"{path}:posta"
    assert site.load(second.reference) == second
    assert second.mailbox_domains >= {"posta.lab.test", "postaold", "[10.77.0.22]"}
    assert not second.mailbox_domains & first.mailbox_domains


def test_a_file_of_one_store_has_no_names(tmp_path):
    plain = site.load("parameters/lab.yaml")
    assert site.store_names("parameters/lab.yaml") == [] and plain.store == ""
    assert plain.reference == str(plain.path) and plain.others == ()


def test_a_store_of_a_name_with_a_colon_in_its_path(tmp_path):
    place = tmp_path / "a:b"
    place.mkdir()
    path = written(place, {"mailbox": None, "posta": POSTA})
    assert site.store_names(path) == ["mailbox", "posta"]
    assert site.load(f"{path}:posta").store == "posta"


@pytest.mark.parametrize(
    "reference, reason",
    [
        ("", "has several stores. Name .*:mailbox, .*:posta"),
        (":nobody", "has no store nobody. Name .*:mailbox"),
    ],
)
def test_a_store_has_to_be_named(tmp_path, reference, reason):
    path = written(tmp_path, {"mailbox": None, "posta": POSTA})
    with pytest.raises(site.BadParameters, match=reason):
        site.load(f"{path}{reference}")


@pytest.mark.parametrize("long", ["a" * 300 + ":posta", "\0:posta", ":posta", "::"])
def test_what_can_be_no_file_is_refused(long):
    with pytest.raises(site.BadParameters):
        site.load(long)


def test_stores_may_use_a_worker_by_different_ports(tmp_path):
    more = {"convert": {**DASK, "ports": [8800, 8810]}}
    path = written(tmp_path, {"mailbox": {"convert": DASK}, "posta": {**POSTA, **more}})
    assert site.load(path, "posta").convert.ports == (8800, 8810)


def test_a_file_of_one_store_has_no_other(tmp_path):
    with pytest.raises(site.BadParameters, match="has no store posta"):
        site.load("parameters/lab.yaml:posta")


@pytest.mark.parametrize(
    "own, where",
    [
        ({"alias": "mailbox"}, "stores.posta.alias: mailbox is also that of the store mailbox"),
        ({"roles": {"old": "mailboxold", "new": "postavm"}}, "stores.posta.roles.old: mailboxold"),
        ({"roles": {"old": "postaold", "new": "mailboxvm"}}, "stores.posta.roles.new: mailboxvm"),
        ({"alias": "mailboxold"}, "stores.posta.alias: mailboxold is also that of the store mail"),
        (
            {"backup": {"retire": []}},
            f"stores.posta.backup.target: {COPY} is, contains or is in the copy",
        ),
        (
            {"backup": {"retire": [], "target": "/backup/posta"}},
            "target: /backup/posta is, contains or is",
        ),
        (
            {"backup": {"retire": [], "target": f"{COPY}/"}},
            "stores.posta.backup.target: .* each needs a dir",
        ),
        (
            {"backup": {"retire": [], "target": f"{COPY}/posta"}},
            "stores.posta.backup.target: .*/posta is, con",
        ),
        ({"users": {"exclude": ["marta"]}}, "stores.posta.users.exclude: is the same for all"),
        ({"users": {"uid_min": 3000}}, r"stores.posta.users.uid_min: is the same for all .*or a"),
        ({"production_test": {}}, "stores.posta.production_test.users: alice is also that of"),
        (
            {"backup": {"target": "/backup/posta/postavm", "bacula": None}},
            "stores.posta.backup.retire: .* on mailboxold is also that of the store mailbox",
        ),
        ({"outage": {}}, "stores.posta.outage.probe: sonda is also that of"),
        (
            {"maintenance": {"forwards": [{"user": "olga", "to": "sieve"}]}},
            "stores.posta.maintenance.forwards: olga is also",
        ),
        (
            {"convert": {**DASK, "ports": [8790, 8800]}},
            "stores.posta.convert.ports: port 8790 of sanbackup is also",
        ),
        ({"users": {"only": ["alice"]}}, "stores.posta.users.only: alice is also"),
        ({"dns": {"ttl": "soon"}}, r"line \d+: stores.posta.dns.ttl: a number"),
        ({"dns": {"tttl": 5}}, r"line \d+: stores.posta.dns.tttl: unknown key"),
        ({"name": "other"}, "stores.posta.name: is the same for all stores"),
        ({"zone": "other.test"}, "stores.posta.zone: is the same for all stores"),
        ({"stores": {}}, "stores.posta.stores: is the same for all stores"),
        ({"production_test": None}, "production_test: missing"),
    ],
)
def test_what_no_store_can_have_is_refused_with_its_key(tmp_path, own, where):
    first = {
        "users": {"only": ["alice"]},
        "maintenance": {"forwards": [{"user": "Olga", "to": "remove"}]},
        "convert": DASK,
    }
    path = written(tmp_path, {"mailbox": first, "posta": {**POSTA, **own}})
    with pytest.raises(site.BadParameters, match=where):
        site.load(f"{path}:mailbox")


@pytest.mark.parametrize(
    "stores, where",
    [
        ([], "stores: a mapping"),
        ({}, "stores: a mapping"),
        ({"Posta": None}, "stores.Posta: not a store's name"),
        ({"posta": "mailbox"}, "stores.posta: a mapping"),
        ({7: None}, "stores.7: not a store's name"),
    ],
)
def test_stores_that_are_none_are_refused(tmp_path, stores, where):
    with pytest.raises(site.BadParameters, match=where):
        site.store_names(written(tmp_path, stores))


def test_a_mistake_outside_the_stores_is_named_there(tmp_path):
    path = written(tmp_path, {"mailbox": None, "posta": POSTA}, dns={"tsig_key": "no"})
    with pytest.raises(site.BadParameters, match=r"line \d+: dns.tsig_key"):
        site.load(f"{path}:posta")
