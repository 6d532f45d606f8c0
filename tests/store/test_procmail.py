"""Sieve's recipe in procmail's file, run by procmail: where its place is known and where not."""

import types

import pytest
from cutover.steps.maintenance import vacation
from steps.test_upkeep import REFUSED, TAKEN

pytestmark = pytest.mark.lab

FILE = """\
SHELL=/bin/sh
DEFAULT={home}/rest
LOGNAME={user}

:0
* ^X-Spam-Flag: YES
{home}/spam/

{head}
{home}/maildir/
"""


@pytest.mark.parametrize("head", [*TAKEN, *REFUSED])
def test_the_place_of_sieves_recipe(old_user, head):
    """Where the plan takes a file, mail goes to Sieve or to the Maildir, once. Where it refuses
    one, mail does not go to the Maildir alone and whole even without Sieve, or would not after Sieve
    failed."""
    home = f"/home/{old_user.name}"
    text = FILE.format(home=home, user=old_user.name, head=head)
    (old_user.home / "lda").write_text(
        f"#!/bin/sh\n[ ! -e {home}/full ] && cat > {home}/by-sieve\n"
    )
    (old_user.home / "lda").chmod(0o755)
    site = types.SimpleNamespace(maintenance=types.SimpleNamespace(lda=f"{home}/lda"))
    after = vacation.with_recipe(text, site)
    plain = delivered(old_user, text)
    if head in REFUSED:
        assert after is None
        naive = text.replace(head, vacation.recipe(site) + head)
        full = delivered(old_user, naive, active=True, full=True)
        assert plain != [DELIVERED] or full != [DELIVERED] or head == ":0 q"  # an unknown flag
    else:
        assert plain == [DELIVERED] == delivered(old_user, after)
        assert delivered(old_user, after, active=True) == ["by-sieve"]
        assert delivered(old_user, after, active=True, full=True) == [DELIVERED]


DELIVERED = "maildir whole"
MESSAGE = b"From a@example.org Thu Jan  1 00:00:00 2009\nSubject: x\n\nbody\n"


def delivered(user, text, active=False, full=False):
    """Where procmail put a message. full: Sieve's delivery fails."""
    script = (
        "rm -rf maildir spam rest by-sieve full rc .dovecot.sieve; mkdir -p maildir/new maildir/cur "
        "maildir/tmp; umask 077; cat > rc"
    )
    if active:
        script += "; echo > x.sieve; ln -s x.sieve .dovecot.sieve"
    if full:
        script += "; echo > full"
    user.run("sh", "-c", script, stdin=text.encode())
    user.run("procmail", "-m", "rc", stdin=MESSAGE)
    places = [name for name in ("rest", "by-sieve") if (user.home / name).exists()]
    for file in (user.home / "maildir/new").iterdir():
        whole = file.read_bytes() == MESSAGE.partition(b"\n")[2]
        places.append(DELIVERED if whole else "maildir in part")
    return places
