"""Dovecot's store and the space for it, from a host with canned replies."""

import types

import pytest
from cutover.facts import dovecot, free_space


class Host:
    """Runs nothing: `replies` maps a command's last word to its output; other commands fail."""

    def __init__(self, **replies):
        self.replies = replies

    def run(self, name, argv, sudo=False, check=True):
        text = self.replies.get(argv[-1].strip("/").replace("/", "_"))
        assert text is not None or not check, argv
        return types.SimpleNamespace(rc=1 if text is None else 0, text=text or "")


@pytest.mark.parametrize(
    "settings",
    [
        {"mail_location": "maildir:/var/imap/%u\n"},
        {"mail_driver": "maildir\n", "mail_path": "/var/imap/%u\n"},
    ],
    ids=["2.3", "2.4"],
)
def test_where_dovecot_keeps_mail(settings):
    assert dovecot.store(Host(**settings), "h") == dovecot.Store("maildir:/var/imap/%u")


def test_space_is_that_of_the_nearest_existing_directory():
    host = Host(var_imap="Avail IFree Inodes\n100 7 9\n")
    assert free_space.existing(host, "h", "/var/imap/.cutover/x") == "/var/imap"
    assert free_space.read(host, "h", "/var/imap/.cutover/x") == free_space.FreeSpace(100, 7)
    assert free_space.existing(Host(), "h", "/var/imap") == "/"
