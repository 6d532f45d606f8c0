"""The names under which Dovecot finds folders: its namespaces and its special folders.

Reads and writes both spellings of its configuration, that of 2.3 and that of 2.4.
"""

import dataclasses
import re

from cutover import model
from cutover.facts import dovecot, files

ESCAPE = "\\"  # the character that the converter escapes dots with; Dovecot's default, too
_ESCAPING = ("imap", "lda", "doveadm")  # protocols that look at folders
OURS = "cutover-"  # the namespaces we declare: cutover-1, cutover-2, …
_VERSION = re.compile(r"# (\d+(?:\.\d+)+)")
# placeholders of the parameters → variables of Dovecot before 2.4, and since
_VARIABLES = {"{user}": ("%u", "%{user}"), "{home}": ("%h", "%{home}")}


@dataclasses.dataclass(frozen=True)
class Namespace:
    """alias_for: the namespace it is another name of; its prefix before 2.4, its section since.

    special: `{folder: use}`, such as `{"Sent": "\\\\Sent"}`.
    """

    section: str
    prefix: str = ""
    inbox: bool = False
    separator: str = ""
    alias_for: str | None = None
    special: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Names:
    """What `doveconf -n` shows. version: such as "2.4.1"."""

    version: str
    namespaces: list[Namespace]

    @property
    def inbox(self) -> Namespace | None:
        """The namespace of the users' own folders."""
        return next((space for space in self.namespaces if space.inbox), None)

    @property
    def modern(self) -> bool:
        """Whether Dovecot is 2.4 or later."""
        return dovecot.Spelling(self.version).split

    def prefix(self, template: str) -> str:
        """A prefix of the parameters as Dovecot's configuration spells it."""
        for placeholder, variables in _VARIABLES.items():
            template = template.replace(placeholder, variables[self.modern])
        return template

    def answers(self, template: str, *, without_ours: bool = False) -> bool:
        """Whether a prefix of the parameters leads to the users' own folders."""
        inbox, prefix = self.inbox, self.prefix(template)
        return inbox is not None and any(
            space.prefix == prefix and (space.inbox or space.alias_for == self._target(inbox))
            for space in self.namespaces
            if not (without_ours and space.section.startswith(OURS))
        )

    def _target(self, inbox):
        return inbox.section if self.modern else inbox.prefix

    def text(self, prefixes: list[str], special: dict[str, str], listed=()) -> str:
        """Dovecot's settings that make it answer to prefixes, and that declare special folders.

        prefixes: of the parameters; listed: those that LIST shows too. special: `{folder: use}`.
        Raises CannotPlan.
        """
        inbox = self.inbox
        if inbox is None or special and not inbox.section:
            raise model.CannotPlan(
                "Dovecot's configuration has no named namespace with `inbox = yes`, so nothing can "
                "be added to it. Write `namespace inbox { inbox = yes }` there with the separator "
                "and prefix in use, then run this step again."
            )
        lines = ["# The names that users' mail programs know from the old server."]
        for number, template in enumerate(prefixes, 1):
            lines += [
                f"namespace {OURS}{number} {{",
                f'  prefix = "{self.prefix(template)}"',
                "  separator = /",
                "  hidden = yes",
                f"  list = {'children' if template in listed else 'no'}",
                f"  alias_for = {self._target(inbox)}".rstrip(),
                "}",
            ]
        if special:
            lines.append(f"namespace {inbox.section} {{")
            for folder, use in special.items():
                lines += [f'  mailbox "{folder}" {{', f"    special_use = {use}", "  }"]
            lines.append("}")
        return "\n".join(lines) + "\n"


@dataclasses.dataclass(frozen=True)
class State:
    """names: Dovecot's. file: the text of the file in which we declare ours, None without it.

    escapes: by protocol, the character that escapes dots on the disk; "" where none does.
    """

    names: Names
    file: str | None
    escapes: dict[str, str] = dataclasses.field(default_factory=dict)


def read(hosts, host: str) -> State:
    """The names Dovecot on a host answers to."""
    names = parse(hosts.run(host, ["doveconf", "-n"], sudo=True).text)
    file = files.read(hosts, host, hosts.site.new_store.names_file)
    return State(names, file, _escapes(hosts, host, names))


def _escapes(hosts, host, names):
    """The escape character of each protocol: of a plugin before 2.4, a setting since."""
    if names.modern:
        key = "mailbox_list_storage_escape_char"
        return {
            protocol: _plain(dovecot.of_protocol(hosts, host, protocol, key))
            for protocol in _ESCAPING
        }
    plugin = dovecot.sections(hosts, host, "plugin").get("plugin", {})
    # `%%` is one %
    character = _plain(plugin.get("listescape_char", "")).replace("%%", "%") or ESCAPE
    loaded = {
        protocol: dovecot.of_protocol(hosts, host, protocol, "mail_plugins").split()
        for protocol in _ESCAPING
    }
    return {
        protocol: character if "listescape" in plugins else ""
        for protocol, plugins in loaded.items()
    }


def escaping(modern: bool) -> str:
    """The setting that has Dovecot escape dots, for people."""
    if modern:
        return 'mailbox_list_storage_escape_char = "\\\\"'
    return "mail_plugins = $mail_plugins listescape"


def parse(text: str) -> Names:
    """The output of `doveconf -n`."""
    version = _VERSION.match(text)
    root, stack = {}, []
    place = root
    for line in map(str.strip, text.split("\n")):
        if line.endswith("{"):
            stack.append(place)
            kind, _, name = line[:-1].strip().partition(" ")
            place = place.setdefault((kind, _plain(name)), {})
        elif line == "}" and stack:
            place = stack.pop()
        elif not line.startswith("#"):
            key, equals, value = line.partition("=")
            if equals:
                place[key.strip()] = _plain(value)
    return Names(
        version[1] if version else "2.3",
        [_namespace(key[1], inside) for key, inside in root.items() if key[0] == "namespace"],
    )


def _plain(value):
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def _namespace(section, inside):
    return Namespace(
        section,
        inside.get("prefix", ""),
        inside.get("inbox") == "yes",
        inside.get("separator", ""),
        inside.get("alias_for"),
        {
            key[1]: settings["special_use"]
            for key, settings in inside.items()
            if key[0] == "mailbox" and settings.get("special_use")
        },
    )
