"""Each situation of the public reports occurs in the random stores."""

import os
import re

import pytest

from store import oracle
from store.oddities import homes

STORES = 150
# what a file's content, or a line `path` or `path -> target` of a home, must match
CONTENT = {
    "a month outside ASCII": rb"^From [^\n]* M\xe4r ",
    "a zone of two digits": rb"^From [^\n]* \+02[ \n]",
    "a year that begins with a blank": rb"^From [^\n]*:\d\d  100",
    "a sender of more than a kilobyte": rb"^From x{1100}",
    "a tab in a From line": rb"^From [^\n]*\t[^\n]*\d\d:\d\d",
    "a NUL in a From line": rb"^From [^\n]*\0[^\n]*\n",
    "a day of eight letters": rb"^From [^\n]*Thursday ",
    "an epoch before the epoch": rb"^From [^\n]* Thu Jan  1 00:00:00 1970 \+0100",
    "UIDs under a base": rb"X-IMAPbase: 1254000000 10[^\0]*X-UID: \d",
    "a date of MBX before the epoch": rb"^( 1|01)-Jan-1970 0[^,\n]* \+\d\d\d\d,",
    "a year of two digits": rb"^[ \d]\d-\w{3}-98 [^,\n]*,",
    "a zone by its name": rb"^[ \d]\d-\w{3}-\d{4} [\d:]*[ -][A-Z]{3},",
    "keywords of one name": rb"\*mbx\*[^\0]*Lavoro\r\nlavoro",
    "too many keywords": rb"\*mbx\*[^\0]*k29\r\n",
    "a blank before the colon": rb"^(Status|X-Status|X-UID|X-Keywords) : ",
    "no colon": rb"^X-Status\n",
    "a NUL in a field name": rb"^(Sta|X-)[^:\n]*\0",
    "a pseudo message": rb"DON'T DELETE THIS MESSAGE",
    "mtx": rb"\A[^,\n]*,\d+;\d{12}\r\n",
    "tenex": rb"\A[^,\n]*,\d+;\d{12}\n",
    "MMDF": rb"\A\x01{4}\n",
    "NULs alone": rb"\A\0+\Z",
    "one newline": rb"\A\n\Z",
    "text before mail": rb"\Atext before\n",
    "a host within a subscription": rb"^mail/(Progetti \{2008\}|\{2008\}|\{old\})",
    "an empty level in a subscription": rb"^mail//\w",
    "the user's own home in a subscription": rb"^~o\d+/mail/\w",
    "a subscription without the root": rb"^(Sent Items|archive/2009|work)$",
    "a host before a subscription": rb"^\{localhost\}mail/",
}
PLACES = {
    "mail outside": rb"^(Sent Items|archive/2009)$",
    "a link that sorts first": rb"^mail/Archive -> ",
    "a loop": rb"^mail/loop -> \.$",
    "a link to the home": rb"^mail/loop -> \.\.$",
    "a hidden directory at the top": rb"^mail/\.archive/2009$",
    "a shared file": rb"^mail/office -> /shared/office$",
    "a name with a line end": rb"^mail/(cr\r|l\nf)$",
    "a name of more than 255 bytes": rb"^mail/d/n{250}$",
    "a spool beside INBOX": rb"^/var/mail/",
    "mbox as a directory": rb"^mbox/x$",
    "a FIFO on the new side": rb"^/var/imap/[^/]*/new/fifo$",
}


def entries(store):
    """(path, target of a link or "", content) of all that a store consists of."""
    host = os.fsencode(store.host.root)
    for top in (store.home, os.fsencode(store.user.maildir), os.fsencode(store.user.spool)):
        paths = [os.path.join(where, name) for where, _, names in os.walk(top) for name in names]
        paths += [os.path.join(where, name) for where, names, _ in os.walk(top) for name in names]
        for path in [*paths, *([top] if os.path.isfile(top) else [])]:
            name = path.removeprefix(store.home + b"/").removeprefix(host)
            if os.path.islink(path):
                yield name + b" -> " + os.readlink(path), b""
            elif os.path.isfile(path):
                with open(path, "rb") as file:
                    yield name, file.read()
            else:
                yield name, b""


@pytest.mark.skipif(os.geteuid() != 0, reason="files of several users")
def test_each_row_of_the_reports_is_a_block(tmp_path):
    for name in ("etc/dovecot", "opt"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "etc/debian_version").write_text("12.0\n")
    host = oracle.MailHost(tmp_path)
    homes.share(host)
    missing = {
        what: re.compile(pattern, re.MULTILINE)
        for rows in (CONTENT, PLACES)
        for what, pattern in rows.items()
    }
    for seed in range(STORES):
        for place, content in entries(homes.Store(host, 0, seed)):
            for what in list(missing):
                if missing[what].search(content if what in CONTENT else place):
                    del missing[what]
    assert not missing
