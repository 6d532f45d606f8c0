"""Dovecot's programs, started with a configuration that was read once."""

import types

import pytest
from cutover.facts import dovecot_programs
from cutover.model import errors

ANSWERS = {"dovecot": "2.4.1", "sh": "/run/cutover-dovecot.1", "doveconf": "libexec_dir = /lib"}


class Lost(errors.CutoverError):
    """A host is gone."""


class Hosts:
    """Hosts of which one is lost once a program is removed, or from the beginning."""

    def __init__(self, lost, at_once):
        self.kept, self.lost, self.at_once, self.commands = {}, lost, at_once, []
        self.given = {}

    def each(self, names, function):
        return {name: function(name) for name in names}

    def run(self, name, argv, input=b"", **_more):
        self.commands.append((name, argv[0]))
        if name == self.lost and (self.at_once or argv[0] == "rm"):
            raise Lost(name)
        self.given[name] = input or self.given.get(name)
        return types.SimpleNamespace(
            rc=0, text=ANSWERS.get(argv[0], ""), out=b"of " + name.encode()
        )


@pytest.mark.parametrize("at_once", [True, False])
def test_a_host_that_is_lost_is_no_error_for_the_others(at_once):
    hosts = Hosts("other", at_once)
    with dovecot_programs.read_once(hosts, ["new", "other"]):
        command = dovecot_programs.argv(hosts, "new", "imap")
        assert command[0] == "sh" and command[3:] == [
            "/run/cutover-dovecot.1/configuration",
            "/lib/imap",
        ]
        alone = dovecot_programs.argv(hosts, "other", "imap") == ["doveadm", "exec", "imap"]
        assert alone == at_once
        assert hosts.given.get("other") == (None if at_once else b"of new")
    assert ("new", "rm") in hosts.commands and not hosts.kept
    assert dovecot_programs.argv(hosts, "new", "pop3") == ["doveadm", "exec", "pop3"]
