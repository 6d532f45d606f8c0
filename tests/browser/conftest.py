"""JupyterLab in a real browser: Debian's Chromium, driven by playwright, against the lab."""

import os

import pytest
import screen
from cutover.record import signing
from lab import requirements

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium():
    """Path of Chromium.

    Installed from Debian when it is missing and this is root, skipped loudly otherwise.
    """
    path = requirements.program("chromium", "chromium")
    if path is None:
        if os.environ.get("CI", "").lower() in ("true", "1") and os.geteuid() == 0:
            pytest.fail(
                "CI runs as root, so the browser must run, and Chromium cannot be installed",
                pytrace=False,
            )
        pytest.skip("NO BROWSER: Chromium is not installed; on Debian: apt-get install chromium")
    return path


@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        launched = play.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def signer(place):
    """The key file of a person who may approve, and sign records."""
    key = place / "anna"
    signing.make_key(key, "anna")
    (place / "allowed").write_text(
        'anna@lab.test namespaces="approval@mail-cutover,record@mail-cutover" '
        f"{signing.public_of(key)}\n"
    )
    return key


@pytest.fixture(scope="module")
def production(lab, place, signer):
    """JupyterLab on a run of a site that a person has to approve; its hosts are the lab's."""
    with screen.served(
        place,
        "p",
        {
            "kind": "production",
            "approval": {"allowed_signers": str(place / "allowed"), "valid": 3600},
            "record": {"key": str(signer)},
        },
    ) as server:
        yield server


@pytest.fixture(scope="module")
def rehearsal(lab, place, signer):
    """JupyterLab on a rehearsal: it approves itself."""
    with screen.served(place, "r", {"record": {"key": str(signer)}}) as server:
        yield server


@pytest.fixture
def page(browser):
    """A new window, as an operator has it."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    opened = screen.Screen(context)
    yield opened
    context.close()
    assert opened.asked_elsewhere == [], "a page asked for something on the network"
