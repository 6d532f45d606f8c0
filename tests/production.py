"""Fixtures of a production site with no host behind it.

See stub.py. Imported by the conftest files that need them.
"""

import pytest
import stub
from cutover.site import secrets


@pytest.fixture(autouse=True)
def no_secrets_left():
    """The registry of secrets is the process's: what one test registers must not show in the next."""
    with secrets.apart():
        yield


@pytest.fixture
def night(tmp_path, monkeypatch):
    """A production site with nothing behind it, see stub.Site."""
    return stub.Site(tmp_path, monkeypatch)


@pytest.fixture
def rehearsal(tmp_path, monkeypatch):
    return stub.Site(tmp_path, monkeypatch, kind="rehearsal")
