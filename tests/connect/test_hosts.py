"""Connections opened before a step asks for them: used by the same login only."""

import types

import fakes
import paramiko
import pytest
from cutover.connect import hosts, ssh


@pytest.fixture
def place(tmp_path, monkeypatch):
    """(a site of one host, the links that its sshd has served)."""
    host, client = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    client.write_private_key_file(str(tmp_path / "key"))
    links = set()

    def behave(transport, channel, line):
        links.add(transport)
        channel.sendall(b"fine\n")
        channel.send_exit_status(0)
        channel.close()

    monkeypatch.setattr(hosts, "_ahead", {})
    with fakes.ssh_server(host, client, behave) as port:
        known = tmp_path / "known_hosts"
        known.write_text(f"[box]:{port} {host.get_name()} {host.get_base64()}\n")
        box = types.SimpleNamespace(
            ssh_port=port, ssh_key=None, legacy_ssh=False, legacy_sudo=False
        )
        yield (
            types.SimpleNamespace(
                kind="production",
                hosts={"box": box},
                ssh=types.SimpleNamespace(
                    user="operator", key=str(tmp_path / "key"), known_hosts=str(known)
                ),
                address=lambda name: "127.0.0.1",
            ),
            links,
        )


def test_what_was_opened_ahead_serves_the_first_that_asks(place):
    site, links = place
    hosts.open_ahead(site)
    (opened,) = hosts._ahead.values()
    link = opened.links.transport()
    with hosts.Hosts(site) as first, hosts.Hosts(site) as second:
        assert first.ssh("box") is opened and opened.links.transport() is link
        assert second.ssh("box") is not opened
        assert first.run("box", ["true"]).text == second.run("box", ["true"]).text == "fine\n"
    assert len(links) == 2


def test_other_parameters_get_a_connection_of_their_own(place):
    site, _ = place
    hosts.open_ahead(site)
    (opened,) = hosts._ahead.values()
    site.ssh.user = "somebody"
    with hosts.Hosts(site) as asked:
        assert asked.ssh("box") is not opened and asked.ssh("box").user == "somebody"


def test_a_link_lost_while_it_waited_is_made_again(place):
    site, links = place
    hosts.open_ahead(site)
    (opened,) = hosts._ahead.values()
    opened.run(["true"])
    links.pop().close()
    opened.links.transport().join(10)
    with hosts.Hosts(site) as asked:
        assert asked.run("box", ["true"]).text == "fine\n"


def test_a_host_that_cannot_be_reached_ahead_is_tried_again_when_asked_for(place, tmp_path):
    site, _ = place
    known = tmp_path / "known_hosts"
    pinned = known.read_text()
    known.write_text("")
    with pytest.raises(ssh.UnknownHostKey):
        hosts.open_ahead(site)
    known.write_text(pinned)
    with hosts.Hosts(site) as asked:
        assert asked.run("box", ["true"]).text == "fine\n"
