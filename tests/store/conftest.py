"""Fixtures of the store's tests: a mail host in an overlay (c-client and Dovecot), and builders of
MBX files."""

import os

import pytest
from mbx2maildir.tests import build

from store import oracle


@pytest.fixture(scope="session")
def mail_base():
    if os.geteuid() != 0:
        pytest.skip("needs root: the oracles run in an overlay over the lab's base")
    from lab import base_image, errors

    try:
        return base_image.ensure(base_image.suites()["new"])
    except errors.LabError as error:
        pytest.skip(f"the lab's base cannot be made here: {error}")


@pytest.fixture(scope="session")
def mail_host(mail_base):
    with oracle.mounted(mail_base) as root:
        yield oracle.MailHost(root)


@pytest.fixture
def old_user(mail_host, request):
    """A fresh user on the mail host."""
    mail_host.complaints()
    return mail_host.user(f"u{len(mail_host.users)}")


@pytest.fixture
def site():
    """A site of plain files: site.user("alice") makes homes, site.plan() the plan."""
    with build.open_site() as made:
        yield made
