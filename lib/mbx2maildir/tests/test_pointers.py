"""Files of users that deliver into the old mail, or read it."""

import tracemalloc

import pytest

from mbx2maildir import pointers

PROCMAILRC = r"""# comment: mail/no
MAILDIR=$HOME/mail   # where
DEFAULT=$MAILDIR/inbox
LOGFILE=$HOME/procmail.log
INCLUDERC=$HOME/.procmail/lists

:0:
* ^List-Id: debian
lists/debian

:0
* ^Subject: x
{
  :0 c
  ! bob@example.org
  :0
  | /usr/bin/dmail \
    +mail/SPAM
}
:0
* ^X-Spam: yes
/dev/null

:0
/var/imap/alice/.x/

:0 w
| /usr/bin/vacation alice

:0
${MAILDIR}/rest
"""


@pytest.fixture
def user(tmp_path):
    return {
        "user": "alice",
        "home": "/home/alice",
        "old_home": str(tmp_path),
        "folders": str(tmp_path / "mail"),
        "maildir": "/var/imap/alice",
    }


def test_each_file_and_what_breaks(tmp_path, user):
    (tmp_path / ".procmailrc").write_text(PROCMAILRC)
    (tmp_path / ".forward").write_text(
        '\\alice, bob@example.org, /home/alice/mail/copy\n"|/usr/bin/vacation alice"\n'
    )
    (tmp_path / ".muttrc").write_text("set folder=~/mail\nset from=a@mail/x\nset x=~/mailing\n")
    (tmp_path / ".profile").write_text('export MAIL=/var/mail/alice\ncat "$MAIL"\n')
    settings = [
        (item["file"][len(str(tmp_path)) + 1 :], item["line"], item["kind"])
        for item in pointers.read(user)
    ]
    assert settings == [
        (".procmailrc", 3, "delivers"),
        (".procmailrc", 5, "includes"),
        (".procmailrc", 9, "delivers"),
        (".procmailrc", 17, "pipes"),
        (".procmailrc", 31, "delivers"),
        (".forward", 1, "delivers"),
        (".forward", 2, "pipes"),
        (".muttrc", 1, "names"),
        (".profile", 1, "names"),
        (".profile", 2, "names"),
    ]


def test_a_line_may_name_another_place_first(user):
    text = "mailboxes ~/mailing ~/mail/x\nmailboxes ~/mailing /var/mail/alice2\n"
    lines = pointers.lines(b".muttrc", text, pointers.Places(user))
    assert [line.number for line in lines] == [1]


def test_what_cannot_be_read_and_what_is_no_text_is_no_error(tmp_path, user):
    (tmp_path / ".forward").symlink_to("/nowhere")
    (tmp_path / ".pinerc").mkdir()
    (tmp_path / ".procmailrc").write_bytes(b"\xff\x00:0\n:0\n\x80/x\n" * 1000)
    listed = pointers.read(user)
    assert len(listed) == pointers.MOST + 1
    assert listed[-1]["text"] == "and 950 more lines"
    assert pointers.read(dict(user, old_home=None)) == []


def test_no_value_grows_whatever_it_is_made_of(user):
    text = "A=xxxxxxxx\n" + "A=$A$A\n" * 20 + f"B={'$A' * 100_000}\n:0\n$A\n:0\n$B\n"
    tracemalloc.start()
    try:
        lines = pointers.lines(pointers.PROCMAILRC, text, pointers.Places(user))
        assert [(line.kind, line.target) for line in lines] == [("delivers", "")] * 2
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_blanks_cost_no_time(user):
    text = f"A=x{' ' * 250_000}y\n:0\n$A{' ' * 1000}# a comment\n"
    (line,) = pointers.lines(pointers.PROCMAILRC, text, pointers.Places(user))
    assert line.number == 3
