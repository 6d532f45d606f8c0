"""The names under which Dovecot finds folders: its namespaces and its special folders."""

import dataclasses
import re

from cutover import model
from cutover.facts import dovecot, files

ESCAPE = dovecot.ESCAPE
OURS = "cutover-"  # the namespaces we declare: cutover-1, cutover-2, …
_VERSION = re.compile(r"# (\d+(?:\.\d+)+)")


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
    def spelling(self) -> dovecot.Spelling:
        return dovecot.Spelling(self.version)

    def answers(self, template: str, *, without_ours: bool = False) -> bool:
        """Whether a prefix of the parameters leads to the users' own folders."""
        inbox, prefix = self.inbox, self.spelling.prefix(template)
        return inbox is not None and any(
            space.prefix == prefix and (space.inbox or space.alias_for == self._target(inbox))
            for space in self.namespaces
            if not (without_ours and space.section.startswith(OURS))
        )

    def _target(self, inbox):
        return self.spelling.alias_for(inbox.section, inbox.prefix)

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
                f'  prefix = "{self.spelling.prefix(template)}"',
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
    return State(names, file, dovecot.escapes(hosts, host))


def parse(text: str) -> Names:
    """The output of `doveconf -n`."""
    version = _VERSION.match(text)
    root, stack = {}, []
    place = root
    for line in map(str.strip, text.split("\n")):
        if line.endswith("{"):
            stack.append(place)
            kind, _, name = line[:-1].strip().partition(" ")
            place = place.setdefault((kind, dovecot.unquoted(name)), {})
        elif line == "}" and stack:
            place = stack.pop()
        elif not line.startswith("#"):
            key, equals, value = line.partition("=")
            if equals:
                place[key.strip()] = dovecot.unquoted(value)
    return Names(
        version[1] if version else "2.3",
        [_namespace(key[1], inside) for key, inside in root.items() if key[0] == "namespace"],
    )


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
