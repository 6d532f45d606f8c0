"""Sieve's recipe in procmail's file, run by procmail: where its place is known and where not."""

import os
import subprocess
import time
import types
from pathlib import Path

import pytest
from cutover import site
from cutover.changes import home_file
from cutover.facts import users
from cutover.steps.maintenance import mail_rules, vacation
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


# subject: what an old rule did, and the folder it now leads to
OLD_RULES = {
    "list": ("$HOME/mail/lists", ".lists"),
    "relative": ("work/x.y  # mine", ".work.x_y"),
    "dmail": ("| /usr/bin/dmail +mail/SPAM", ".SPAM"),
    "spool": ("/var/mail/{user}", ""),
}


def test_rules_that_were_changed_deliver_into_the_folders_at_once(old_user):
    """As mail-rules changes them and procmail runs them: a lock in a Maildir that does not exist yet
    would take it a minute."""
    home = f"/home/{old_user.name}"
    recipes = (
        f":0:\n* ^Subject: {subject}\n{action}\n" for subject, (action, _) in OLD_RULES.items()
    )
    text = f"HOME={home}\nMAILDIR=$HOME/mail\nDEFAULT={home}/maildir/\n" + "".join(recipes)
    script = "mkdir -p maildir/new maildir/cur maildir/tmp mail; umask 077; cat > .procmailrc"
    old_user.run("sh", "-c", script, stdin=text.format(user=old_user.name).encode())
    store = {"maildir": "{home}/maildir"}
    at = site.load("parameters/roma1.yaml")
    at = at.model_copy(update={"new_store": at.new_store.model_copy(update=store)})
    account = users.Account(old_user.name, old_user.uid, old_user.uid, home)
    rules = mail_rules._of_user(OnMailHost(at, old_user), account)
    assert not mail_rules.left(rules, at)
    change = home_file.EditHomeFile(
        "new", account.user, home, ".procmailrc", ".old", mail_rules.edits(rules, at), rules.digest
    )
    change.apply(types.SimpleNamespace(hosts=OnMailHost(at, old_user)), print)
    for subject, (_, folder) in OLD_RULES.items():
        began = time.monotonic()
        message = MESSAGE.replace(b"Subject: x", f"Subject: {subject}".encode())
        old_user.run("procmail", "-m", ".procmailrc", stdin=message)
        (file,) = (old_user.home / "maildir" / folder / "new").iterdir()
        assert file.read_bytes() == message.partition(b"\n")[2]
        assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    "rules, filed", [("", [1, 0]), (":0\n* ^Subject: x\n$HOME/filed/\n", [0, 1])]
)
def test_users_own_rules_as_a_part_of_the_sites_file(old_user, rules, filed):
    """With the lines of docs/maintenance.md procmail delivers once and says that it did."""
    home = f"/home/{old_user.name}"
    page = Path("docs/maintenance.md").read_text()
    (block,) = [part for part in page.split("```\n") if "INCLUDERC" in part]
    text = f"HOME={home}\n" + block.replace("/var/imap/$LOGNAME/", f"{home}/maildir/")
    old_user.run("sh", "-c", "umask 077; cat > .procmailrc", stdin=rules.encode())
    old_user.run("sh", "-c", "umask 077; cat > rc", stdin=text.encode())
    old_user.run("procmail", "-m", "rc", stdin=MESSAGE)  # raises unless it ends with 0
    files = [list((old_user.home / name).glob("new/*")) for name in ("maildir", "filed")]
    assert [len(there) for there in files] == filed


class OnMailHost:
    """The new host is the mail host."""

    def __init__(self, at, user):
        self.site, self.user = at, user

    def run(self, name, argv, *, as_user, input=b"", check=True):
        assert as_user == self.user.name
        done = subprocess.run(self.user.argv(*argv), input=input, capture_output=True)
        assert not check or done.returncode == 0, done.stderr
        return types.SimpleNamespace(
            rc=done.returncode, text=os.fsdecode(done.stdout), err=done.stderr
        )
