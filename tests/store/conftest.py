"""Fixtures of the store's tests: a mail host in an overlay (c-client and Dovecot), and builders of
MBX files."""

import contextlib
import functools
import os

import pytest
from mbx2maildir.tests import build

from store import oracle


@pytest.fixture(scope="session")
def mail_hosts():
    """mail_hosts(suite): the mail host of a Debian release, made when it is asked for."""
    if os.geteuid() != 0:
        pytest.skip("needs root: the oracles run in an overlay over the lab's base")
    from lab import base_image, errors

    with contextlib.ExitStack() as stack:

        @functools.cache
        def host(suite=None):
            try:
                base = base_image.ensure(suite or base_image.suites()["new"])
            except errors.LabError as error:
                pytest.skip(f"the lab's base cannot be made here: {error}")
            return oracle.MailHost(stack.enter_context(oracle.mounted(base)))

        yield host


@pytest.fixture(scope="session")
def mail_host(mail_hosts):
    return mail_hosts()


@pytest.fixture
def old_user(mail_hosts, request):
    """A fresh user on the mail host; a parameter names its Debian release."""
    host = mail_hosts(request.param) if hasattr(request, "param") else mail_hosts()
    host.complaints()
    return host.user(f"u{len(host.users)}")


@pytest.fixture
def site():
    """A site of plain files: site.user("alice") makes homes, site.plan() the plan."""
    with build.open_site() as made:
        yield made
