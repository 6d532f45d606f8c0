"""Dovecot's settings in the spelling of its version, 2.3 or 2.4. No other module knows both.

They are read with doveconf(1). Its exit status does not say whether its version has a setting: for
most that it does not have it is 0, and the value is empty.
"""

import dataclasses
import re

from cutover import model
from cutover.model import errors

# Dovecot's settings for a store on any shared file system, and more for some of them
FOR_SHARED = {"mmap_disable": "yes", "mail_fsync": "always"}
_FOR_NFS = {"mail_nfs_storage": "yes", "mail_nfs_index": "yes"}
FOR_TYPE = {"nfs": _FOR_NFS, "nfs4": _FOR_NFS, "ocfs2": {"lock_method": "flock"}}
_SHARED = (*FOR_SHARED, "dotlock_use_excl", *_FOR_NFS, "lock_method")

# `Login:` before 2.4
LOGIN = r"imap-login: (?:Login|Logged in): user=<{user}>.*? rip=([0-9A-Fa-f.:]+)"

# %u, %n and their long forms: a local user's name has no domain, and auth_username_format
# makes it lower case by default
_USER = re.compile(r"%L?(?:[un]|\{ *user(?:name)? *(?:\| *(?:username|lower) *)*\})")
_HOME = re.compile(r"^~(?=/|$)|%h|%\{ *home *\}")

ESCAPE = "\\"  # the character that the converter escapes dots with; Dovecot's default, too
MANY_CLIENTS = "service_count = 0; restart_request_count = unlimited since 2.4"
_ESCAPING = ("imap", "lda", "doveadm")  # protocols that look at folders


@dataclasses.dataclass(frozen=True)
class Spelling:
    """How a version of Dovecot writes its settings, and what doveadm asks for because of them.

    version: such as "2.4.1"; "2.3" in facts of older versions.
    """

    version: str = "2.3"

    @property
    def split(self) -> bool:
        """Whether the location is split into several settings, as since 2.4."""
        return tuple(map(int, self.version.split(".")[:2])) >= (2, 4)

    def location(self, maildir: str) -> str:
        """The location for new_store.maildir: "maildir:PATH" with the variables of this version."""
        user = "%{user}" if self.split else "%u"
        return "maildir:" + maildir.replace("{user}", user).replace("{home}", "~")

    def prefix(self, template: str) -> str:
        """A namespace's prefix for one of the parameters, with the variables of this version."""
        user, home = ("%{user}", "%{home}") if self.split else ("%u", "%h")
        return template.replace("{user}", user).replace("{home}", home)

    def alias_for(self, section: str, prefix: str) -> str:
        """How a namespace refers to the one that it is another name of."""
        return section if self.split else prefix

    @property
    def escaping(self) -> str:
        """The setting that has dots escaped in the names of directories."""
        if self.split:
            return 'mailbox_list_storage_escape_char = "\\\\"'
        return "mail_plugins = $mail_plugins listescape"

    @property
    def uw_uidl(self) -> str:
        """The format of POP3's message ids that gives those of c-client's ipop3d."""
        return "%{uidvalidity | hex(8)}%{uid | hex(8)}" if self.split else "%08Xv%08Xu"

    @property
    def uidl_advice(self) -> str:
        """What to change so that POP3 programs recognise the messages they have."""
        return (
            f"Set pop3_uidl_format = {self.uw_uidl}. Otherwise POP3 programs that leave mail on "
            "the server download all of it again."
        )

    def inbox_advice(self, maildir: str) -> str:
        """What to change so that INBOX is where the other folders are."""
        if self.split:
            path = self.location(maildir).removeprefix("maildir:")
            return f"Set mail_inbox_path = {path}; it has a default of its own."
        return "Remove INBOX= from mail_location."

    def hidden_namespace(self, name: str, place: str) -> list[str]:
        """Options that give one doveadm call one more namespace, NAME/ over a Maildir."""
        key = f"namespace/{name}"
        if self.split:
            # without the +, 2.4 exits 0 and uses the live mailbox
            first = [f"namespace+={name}", f"{key}/mail_driver=maildir"]
            first += [f"{key}/mail_path={place}", f"{key}/mail_inbox_path={place}"]
        else:
            first = [f"namespace={name}", f"{key}/location=maildir:{place}"]
        settings = {
            "prefix": f"{name}/",
            "separator": "/",
            "list": "no",
            "hidden": "yes",
            "subscriptions": "no",
        }
        options = first + [f"{key}/{setting}={value}" for setting, value in settings.items()]
        return [part for option in options for part in ("-o", option)]

    def own_status(self, items: str) -> list[str]:
        """The command by which a user's own process has all its folders counted, without auth."""
        option = ["--no-userdb-lookup"] if self.split else []
        return ["doveadm", "-f", "tab", "mailbox", "status", *option, items, "*"]

    def sieve(self, relay: str, zone: str, userdbs: list[str]) -> str:
        """Settings for ManageSieve and for Sieve in dovecot-lda. relay: takes what scripts send.

        A user's address decides if mail is for the user (RFC 5230 §4.5).
        """
        if not self.split:
            return (
                "protocols = $protocols sieve\n"
                f"submission_host = {relay}\n"
                "protocol lda {\n  mail_plugins = $mail_plugins sieve\n}\n"
                f"plugin {{\n  sieve_user_email = %n@{zone}\n}}\n"
            )
        address = f"sieve_user_email = %{{user | username}}@{zone}"
        return (
            "protocols {\n  sieve = yes\n}\n"
            f"submission_host = {relay}\n"
            "protocol lda {\n  mail_plugins {\n    sieve = yes\n  }\n}\n"
        ) + "".join(f"userdb {name} {{\n  fields {{\n    {address}\n  }}\n}}\n" for name in userdbs)


@dataclasses.dataclass(frozen=True)
class Namespace:
    """One namespace of Dovecot, as configured. settings: as written, also those of its location."""

    name: str
    settings: dict[str, str]

    @property
    def inbox(self) -> bool:
        return self.settings.get("inbox") == "yes"

    @property
    def prefix(self) -> str:
        return self.settings.get("prefix", "").strip('"')

    @property
    def separator(self) -> str:
        """ "" for the default, which is "." of a Maildir."""
        return self.settings.get("separator", "").strip('"')


@dataclasses.dataclass(frozen=True)
class Store:
    """Where Dovecot keeps mail, with its variables in the paths.

    mail_location: "maildir:PATH" and options, as 2.3 writes it. inbox: the path of INBOX; "" where
    the location decides. pop3_uidl: the format of POP3's message ids; "" in facts of older
    versions, which also have no namespaces.
    """

    mail_location: str
    inbox: str = ""
    version: str = "2.3"
    namespaces: list[Namespace] = dataclasses.field(default_factory=list)
    pop3_uidl: str = ""

    @property
    def spelling(self) -> Spelling:
        return Spelling(self.version)

    @property
    def location(self) -> str:
        return self.mail_location

    def keeps(self, maildir: str) -> bool:
        """Whether mail is kept as Maildir++ at new_store.maildir."""
        return plain(self.mail_location) == "maildir:" + plain(maildir)

    def inbox_at(self, maildir: str) -> bool:
        """Whether INBOX is at new_store.maildir, if the rest is."""
        return self.inbox == "" or plain(self.inbox) == plain(maildir)


def plain(path: str) -> str:
    """A path or location with its variables as in new_store.maildir: {user}, {home}."""
    driver, colon, rest = path.partition(":")
    if not colon:
        driver, rest = "", path
    rest = _HOME.sub("{home}", _USER.sub("{user}", rest))
    rest = rest.removesuffix(":LAYOUT=maildir++").rstrip("/")
    return driver + colon + rest


def spelling(hosts, name: str) -> Spelling:
    """How Dovecot on a host writes its settings. Raises errors.Unreadable."""
    text = hosts.run(name, ["dovecot", "--version"], sudo=True).text
    version = re.match(r"(\d+\.\d+(?:\.\d+)*)", text)
    if version is None:
        raise errors.Unreadable(f"`dovecot --version` on {name} has no version: {text[:100]!r}")
    return Spelling(version[1])


def store(hosts, name: str) -> Store:
    """Where Dovecot keeps mail: its global settings, or those of the namespace with INBOX."""
    version = spelling(hosts, name)
    namespaces = _namespaces(hosts, name)
    inner = next((space.settings for space in namespaces if space.inbox), {})
    (uidl,) = values(hosts, name, "pop3_uidl_format")
    if not version.split:
        location = inner.get("location") or values(hosts, name, "mail_location")[0]
        path, inbox = _without_inbox(location)
        return Store(path, inbox, version.version, namespaces, uidl)
    keys = ("mail_driver", "mail_path", "mail_inbox_path", "mail_control_path", "mail_index_path")
    shown = dict(zip(keys, values(hosts, name, *keys), strict=True))
    # doveconf shows `fs` as the layout's default, which a Maildir does not have
    shown |= _sections(_doveconf(hosts, name, "-n", "mailbox_list_layout", "mailbox_list_utf8"))
    shown |= {key: value for key, value in inner.items() if value}
    options = {
        "LAYOUT": shown.get("mailbox_list_layout"),
        "CONTROL": shown["mail_control_path"],
        "INDEX": shown["mail_index_path"],
    }
    location = f"{shown['mail_driver']}:{shown['mail_path']}"
    location += "".join(f":{option}={value}" for option, value in options.items() if value)
    location += ":UTF-8" if shown.get("mailbox_list_utf8") == "yes" else ""
    return Store(location, shown["mail_inbox_path"], version.version, namespaces, uidl)


def _without_inbox(location):
    parts = location.split(":")
    inbox = [part.removeprefix("INBOX=") for part in parts if part.startswith("INBOX=")]
    return ":".join(part for part in parts if not part.startswith("INBOX=")), "".join(inbox)


def _namespaces(hosts, name):
    sections = _sections(_doveconf(hosts, name, "-n", "namespace"))
    return [
        Namespace(
            section.partition(" ")[2],
            {key: value for key, value in settings.items() if isinstance(value, str)},
        )
        for section, settings in sections.items()
    ]


def values(hosts, name: str, *keys: str) -> list[str]:
    """The values of global settings that the version has, in the order of the keys."""
    shown = _sections(_doveconf(hosts, name, *keys))
    missing = [key for key in keys if not isinstance(shown.get(key), str)]
    if missing:
        raise errors.Unreadable(f"doveconf on {name} does not show {', '.join(missing)}")
    return [shown[key] for key in keys]


def of_protocol(hosts, name: str, protocol: str, key: str) -> str:
    """The value of a setting for one protocol."""
    return _sections(_doveconf(hosts, name, "-f", f"protocol={protocol}", key)).get(key, "")


def plugins(hosts, name: str, protocol: str = "") -> list[str]:
    """The plugins that are on for one protocol, or for everything, and so for doveadm."""
    only = ["-f", f"protocol={protocol}"] if protocol else []
    return _switched_on(hosts, name, "mail_plugins", *only)


def protocols(hosts, name: str) -> list[str]:
    """The protocols that Dovecot serves, such as imap."""
    return _switched_on(hosts, name, "protocols")


def _switched_on(hosts, name, key, *arguments):
    """The words of a setting. Since 2.4 it may be shown as a section of switches."""
    value = _sections(_doveconf(hosts, name, *arguments, key)).get(key)
    if value is None:
        raise errors.Unreadable(f"doveconf on {name} does not show {key}")
    if isinstance(value, str):
        return value.split()
    return [word for word, switch in value.items() if switch == "yes"]


def escapes(hosts, name: str) -> dict[str, str]:
    """By protocol, the character that escapes dots: of a plugin before 2.4, a setting since."""
    if spelling(hosts, name).split:
        key = "mailbox_list_storage_escape_char"
        return {
            protocol: unquoted(of_protocol(hosts, name, protocol, key)) for protocol in _ESCAPING
        }
    plugin = sections(hosts, name, "plugin").get("plugin", {})
    # `%%` is one %
    character = unquoted(plugin.get("listescape_char", "")).replace("%%", "%") or ESCAPE
    return {
        protocol: character if "listescape" in plugins(hosts, name, protocol) else ""
        for protocol in _ESCAPING
    }


def unquoted(value: str) -> str:
    """A value as it is meant, without the quotes of the configuration."""
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def one_client(service: dict[str, str]) -> bool:
    """Whether a process of a service serves one client and ends; the setting was renamed in 2.4."""
    return service.get("restart_request_count", service.get("service_count", "")) == "1"


def sections(hosts, name: str, kind: str) -> dict[str, dict]:
    """The sections of a kind, such as "service", by their heads: `{"service imap": {…}}`; by "-n"
    all settings and sections that are not as Dovecot has them by default."""
    return _sections(_doveconf(hosts, name, kind))


def _doveconf(hosts, name, *arguments):
    return hosts.run(name, ["doveconf", *arguments], sudo=True).text


def _sections(text):
    """The output of doveconf: {setting: value, section: {…}}."""
    top, above = {}, []
    current = top
    for line in map(str.strip, model.lines(text)):
        setting, equals, value = line.partition(" =")
        if line.endswith("{"):
            above.append(current)
            current = current.setdefault(line[:-1].strip(), {})
        elif line == "}":
            current = above.pop()
        elif equals:
            current[setting] = value.strip()
    return top


def shared(hosts, name: str) -> dict[str, str]:
    """The settings that matter on a shared file system. Both versions have all of them."""
    return dict(zip(_SHARED, values(hosts, name, *_SHARED), strict=True))


def has_module(hosts, name: str, file: str) -> bool:
    """Whether a module of Dovecot is installed."""
    (directory,) = values(hosts, name, "mail_plugin_dir")
    return hosts.run(name, ["test", "-e", f"{directory}/{file}"], sudo=True, check=False).rc == 0


def userdbs(hosts, name: str) -> list[str]:
    """The names of the user databases, which are named since 2.4."""
    databases = sections(hosts, name, "userdb")
    return [kind.partition(" ")[2] for kind in databases if " " in kind]
