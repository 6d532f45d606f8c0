"""Dovecot's namespaces and special folders, in the spellings of 2.3 and of 2.4."""

import dataclasses

import pytest
from cutover import model
from cutover.facts import dovecot_names

# as doveconf prints them
OLDER = """\
# 2.3.19.1 (9b53102964): /etc/dovecot/dovecot.conf
mail_location = maildir:/var/imap/%u
namespace inbox {
  inbox = yes
  location = 
  mailbox Drafts {
    special_use = \\Drafts
  }
  mailbox "Sent Messages" {
    special_use = \\Sent
  }
  prefix = 
  separator = /
}
namespace more {
  alias_for = 
  hidden = yes
  list = no
  location = 
  prefix = "#mbx/"
  separator = /
}
service imap {
  process_limit = 1000
}
"""  # noqa: W291
NEWER = OLDER.replace("2.3.19.1", "2.4.1-4").replace("alias_for = ", "alias_for = inbox")


@pytest.fixture(params=[OLDER, NEWER], ids=["2.3", "2.4"])
def names(request):
    return dovecot_names.parse(request.param)


def test_what_doveconf_shows(names):
    inbox, more = names.namespaces
    assert names.inbox == inbox and inbox.section == "inbox" and inbox.prefix == ""
    assert inbox.special == {"Drafts": "\\Drafts", "Sent Messages": "\\Sent"}
    assert (more.section, more.prefix, more.inbox) == ("more", "#mbx/", False)
    assert names.answers("#mbx/") and names.answers("") and not names.answers("mail/")


def test_a_namespace_of_other_folders_leads_elsewhere(names):
    inbox, more = names.namespaces
    for elsewhere in (None, "shared/"):
        other = dataclasses.replace(more, alias_for=elsewhere)
        assert not dataclasses.replace(names, namespaces=[inbox, other]).answers("#mbx/")


def test_what_is_written_is_what_is_then_read(names):
    prefixes, special = ["mail/", "~/mail/", "{home}/mail/"], {"Posta inviata": "\\Sent"}
    text = names.text(prefixes, special)
    written = dovecot_names.parse(text).namespaces
    assert all(space.section.startswith(dovecot_names.OURS) for space in written[:3])
    assert {space.prefix for space in written[:3]} == {
        "mail/",
        "~/mail/",
        "%{home}/mail/" if names.spelling.split else "%h/mail/",
    }
    assert written[3].section == "inbox" and written[3].special == special
    both = dataclasses.replace(names, namespaces=[*names.namespaces, *written[:3]])
    assert all(both.answers(prefix) for prefix in prefixes)
    assert not any(both.answers(prefix, without_ours=True) for prefix in prefixes)


def test_the_newer_dovecot_names_a_namespace_and_the_older_its_prefix(names):
    assert ("alias_for = inbox\n" in names.text(["mail/"], {})) == names.spelling.split


def test_a_prefix_is_listed_only_where_that_is_asked_for(names):
    text = names.text(["mail/", "~/mail/"], {}, ["mail/"])
    assert text.count("list = children\n") == 1 and text.count("list = no\n") == 1
    assert text.index("list = children") < text.index('"~/mail/"')


def test_nothing_is_added_to_a_configuration_without_a_namespace():
    for text in ("# 2.3.19.1 (x)\n", OLDER.replace("namespace inbox", "namespace")):
        with pytest.raises(model.CannotPlan):
            dovecot_names.parse(text).text([], {"Sent": "\\Sent"})
