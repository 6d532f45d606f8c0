"""Dovecot's settings in both spellings and the space for its store, from canned replies."""

import types

import pytest
from cutover.facts import dovecot, free_space, pop3, sieve
from cutover.model import errors

NAMESPACE = """namespace inbox {{
  inbox = yes
  {more}
  mailbox Junk {{
    special_use = "\\\\Junk"
  }}
  separator = /
}}
namespace old {{
  hidden = yes
  prefix = "mail/"
}}
"""
CONF = {
    "2.3.19.1 (9b53102964)": {
        "mail_location": "maildir:/var/imap/%u",
        "pop3_uidl_format": "%08Xv%08Xu",
        "protocols": "imap pop3",
        "mail_plugin_dir": "/modules",
        "mail_plugins": " sieve",
        "userdb": "userdb {\n  args = \n  driver = passwd\n}\n",
    },
    "2.4.1-4 (7d8c0e5759)": {
        "mail_driver": "maildir",
        "mail_path": "/var/imap/%{user}",
        "mail_inbox_path": "/var/imap/%{user | username}",
        "mail_control_path": "",
        "mail_index_path": "",
        "mailbox_list_layout": "fs",  # its default, as shown; a Maildir has maildir++
        "pop3_uidl_format": "%{uidvalidity | hex(8)}%{uid | hex(8)}",
        # as Debian's own files say it; `protocols = imap pop3` is shown as before
        "protocols": "protocols {\n  imap = yes\n  lmtp = no\n  pop3 = yes\n}\n",
        "mail_plugin_dir": "/modules",
        "mail_plugins": "mail_plugins {\n  sieve = yes\n  quota = no\n}\n",
        "userdb": "userdb passwd {\n}\nuserdb more {\n  driver = static\n}\n",
    },
}
OLD, NEW = CONF


class Host:
    """Runs nothing. doveconf shows what `settings` say, and as the real one does, exits 0."""

    def __init__(self, version="", more="", changed=(), **replies):
        self.version, self.more, self.replies = version, more, replies
        self.settings = {**CONF.get(version, {}), **dict(changed)}
        self.changed = dict(changed)

    def run(self, name, argv, sudo=False, check=True):
        if argv[0] == "doveconf":
            text = self.doveconf(argv)
        elif argv[0] == "dovecot":
            text = self.version
        else:
            text = self.replies.get(argv[-1].strip("/").replace("/", "_"))
        assert text is not None or not check, argv
        return types.SimpleNamespace(rc=1 if text is None else 0, text=text or "")

    def doveconf(self, argv):
        if "namespace" in argv:
            return NAMESPACE.format(more=self.more)
        known = self.changed if "-n" in argv else self.settings
        shown = {key: known[key] for key in argv if key in known}
        return "".join(
            text if text.endswith("}\n") else f"{key} = {text}\n" for key, text in shown.items()
        )


def store(version, *changed, more=""):
    return dovecot.store(Host(version, more, changed), "h")


@pytest.mark.parametrize("version", CONF)
def test_where_dovecot_keeps_mail(version):
    setup = store(version)
    assert setup.version == version.split()[0].split("-")[0]
    assert setup.location == dovecot.Spelling(setup.version).location("/var/imap/{user}")
    assert setup.keeps("/var/imap/{user}") and setup.inbox_at("/var/imap/{user}/")
    assert not setup.keeps("/var/mail/{user}") and not setup.keeps("{home}/Maildir")
    inbox, old = setup.namespaces
    assert (inbox.inbox, inbox.separator, inbox.prefix) == (True, "/", "")
    assert (old.name, old.inbox, old.prefix) == ("old", False, "mail/")
    assert old.settings["hidden"] == "yes"
    assert setup.pop3_uidl == CONF[version]["pop3_uidl_format"]


@pytest.mark.parametrize(
    "version, changed, more",
    [
        (OLD, ("mail_location", "maildir:/var/imap/%u:INBOX=/var/mail/%u"), ""),
        (OLD, ("mail_plugins", ""), "location = maildir:/var/imap/%u:INBOX=/var/mail/%u"),
        (NEW, ("mail_inbox_path", "/var/mail/%{user}"), ""),
        (NEW, ("mail_plugins", ""), "mail_inbox_path = /var/mail/%{user}"),
    ],
)
def test_an_inbox_that_is_elsewhere_is_seen(version, changed, more):
    setup = store(version, changed, more=more)
    assert setup.keeps("/var/imap/{user}") and not setup.inbox_at("/var/imap/{user}")


@pytest.mark.parametrize(
    "version, changed",
    [
        (OLD, ("mail_location", "mbox:~/mail")),
        (OLD, ("mail_location", "maildir:/var/imap/%u:LAYOUT=fs")),
        (OLD, ("mail_location", "maildir:/var/imap/%u:CONTROL=/var/control/%u")),
        (NEW, ("mail_driver", "mbox")),
        (NEW, ("mailbox_list_layout", "fs")),
        (NEW, ("mailbox_list_utf8", "yes")),
        (NEW, ("mail_control_path", "/var/control/%{user}")),
        (NEW, ("mail_path", "/var/imap/%{user | domain}")),
    ],
)
def test_what_is_no_maildir_of_ours(version, changed):
    assert not store(version, changed).keeps("/var/imap/{user}")


@pytest.mark.parametrize(
    "path",
    ["%u", "%n", "%Lu", "%Ln", "%{user}", "%{username}", "%{user|username}", "%{ user }"]
    + ["%{user | username | lower}"],
)
def test_every_spelling_of_the_user(path):
    assert dovecot.plain(f"/var/imap/{path}/") == "/var/imap/{user}"


@pytest.mark.parametrize("path", ["~/Maildir", "%h/Maildir", "%{home}/Maildir"])
def test_every_spelling_of_the_home(path):
    assert dovecot.plain(f"maildir:{path}:LAYOUT=maildir++") == "maildir:{home}/Maildir"


def test_a_setting_that_is_not_there_and_a_version_that_is_none_are_refused():
    with pytest.raises(errors.Unreadable, match="mail_driver"):
        dovecot.values(Host(OLD), "h", "protocols", "mail_driver")
    with pytest.raises(errors.Unreadable, match="protocols"):
        dovecot.protocols(Host(), "h")
    with pytest.raises(errors.Unreadable, match="version"):
        dovecot.spelling(Host("command not found"), "h")


@pytest.mark.parametrize(
    "version, userdbs", [(OLD, []), (NEW, ["passwd", "more"])], ids=["2.3", "2.4"]
)
def test_what_dovecot_has_of_sieve(version, userdbs):
    host = Host(version, **{"modules_lib90_sieve_plugin.so": ""})
    settings = sieve.settings(host, "h", "/lda")
    assert (settings.lda, settings.sieve) == (False, True)
    assert (settings.protocols, settings.plugins) == (["imap", "pop3"], ["sieve"])
    assert settings.userdbs == userdbs


@pytest.mark.parametrize("version", CONF)
def test_what_is_switched_on(version):
    """A section of switches may have one that is off."""
    assert pop3.served(Host(version), "h")
    assert dovecot.plugins(Host(version), "h") == ["sieve"]
    off = {OLD: "imap", NEW: "protocols {\n  imap = yes\n  pop3 = no\n}\n"}[version]
    assert not pop3.served(Host(version, changed=[("protocols", off)]), "h")


@pytest.mark.parametrize(
    "version, changed, character",
    [
        (OLD, [], ""),
        (OLD, [("mail_plugins", "quota listescape")], "\\"),
        (
            OLD,
            [
                ("mail_plugins", "listescape"),
                ("plugin", 'plugin {\n  listescape_char = "%%"\n}\n'),
            ],
            "%",
        ),
        (NEW, [], ""),
        (NEW, [("mailbox_list_storage_escape_char", r'"\\"')], "\\"),
    ],
)
def test_the_character_that_escapes_dots(version, changed, character):
    escapes = dovecot.escapes(Host(version, changed=changed), "h")
    assert escapes == dict.fromkeys(("imap", "lda", "doveadm"), character)


def test_space_is_that_of_the_nearest_existing_directory():
    host = Host(var_imap="Avail IFree Inodes\n100 7 9\n")
    assert free_space.existing(host, "h", "/var/imap/.cutover/x") == "/var/imap"
    assert free_space.read(host, "h", "/var/imap/.cutover/x") == free_space.FreeSpace(100, 7)
    assert free_space.existing(Host(), "h", "/var/imap") == "/"
