"""The zone that the runs of several stores update at the same time."""

import pytest
import store_sites
from cutover.facts import zone


class Hosts:
    """Name servers; `serials` are their answers, one after another; the last one stays."""

    def __init__(self, site, serials):
        self.site, self.serials = site, {name: list(listed) for name, listed in serials.items()}

    def each(self, names, function):
        return {name: function(name) for name in names}

    def dns(self, name):
        listed = self.serials[name]

        class Server:
            def serial(self, of):
                return listed.pop(0) if len(listed) > 1 else listed[0]

            def all_types(self, name):
                return {}

            def like_wildcard(self, *asked):
                return False

        return Server()


@pytest.fixture
def sites(tmp_path):
    return store_sites.load(tmp_path / "site.yaml")


def test_an_update_of_another_store_on_its_way_is_waited_for(sites):
    site = sites["posta"]
    first, second = site.roles.nameservers[:2]
    served = zone.read(Hosts(site, {first: [8, 8, 8], second: [7, 7, 8]}))
    assert {server.serial for server in served.values()} == {8}


def test_a_server_that_stays_behind_is_shown_as_it_is(sites):
    site = sites["posta"]
    limits = site.limits.model_copy(update={"dns_spread": 0})
    first, second = site.roles.nameservers[:2]
    hosts = Hosts(site.model_copy(update={"limits": limits}), {first: [8], second: [7]})
    assert [server.serial for server in zone.read(hosts).values()] == [8, 7]


def test_a_site_of_one_store_is_asked_once(sites):
    site = sites["posta"].beside([])
    first, second = site.roles.nameservers[:2]
    hosts = Hosts(site, {first: [8], second: [7, 8]})
    assert [server.serial for server in zone.read(hosts).values()] == [8, 7]
