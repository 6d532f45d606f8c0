"""Changes to sendmail's userdb on an MX."""

import dataclasses
from typing import ClassVar

from cutover import model
from cutover.facts import userdb_map


@dataclasses.dataclass(frozen=True)
class UserdbEdit(model.Change):
    """Replace whole lines of a userdb source, keep a backup, rebuild the map beside it and rename it into place."""

    kind: ClassVar[str] = "userdb-edit"
    host: str
    source: str
    map: str
    backup: str
    replacements: list  # [[old line, new line], …], text without line ends

    @property
    def resource(self):
        return f"{self.source} on {self.host}"

    def title(self):
        return f"{len(self.replacements)} entries of {self.source}, then makemap"

    def _commands(self):
        """After the source is written: the map is built beside the old one and renamed, so sendmail never sees half."""
        beside = self.map.removesuffix(".db") + ".cutover.db"
        return [
            ["rm", "-f", beside],
            ["makemap", "btree", beside],
            ["chown", f"--reference={self.map}", beside],
            ["chmod", f"--reference={self.map}", beside],
            ["mv", "-f", beside, self.map],
        ]

    def describe(self):
        kept = f"cp -p {self.source} {self.backup}.part; mv -f {self.backup}.part {self.backup}"
        lines = [kept, f"--- {self.source}", f"+++ {self.source}"]
        for old, new in self.replacements:
            lines += ["-" + old, "+" + new]
        commands = [
            " ".join(argv) + (f" < {self.source}" if argv[0] == "makemap" else "")
            for argv in self._commands()
        ]
        return "\n".join([*lines, *commands])

    def settled(self, ctx):
        source = ctx.hosts.ssh(self.host).get(self.source, sudo=True)
        lines = {line.rstrip(b"\r") for line in source.split(b"\n")}
        missing = [
            new
            for _, new in self.replacements
            if new.encode("utf-8", "surrogateescape") not in lines
        ]
        if missing:
            return model.Settled(
                False,
                f"{len(missing)} of {len(self.replacements)} lines are not as wanted, "
                f"first {missing[0]!r}",
            )
        if userdb_map.read(ctx.hosts, self.host, self.map) != userdb_map.from_source(source):
            return model.Settled(False, f"{self.map} was not rebuilt from {self.source}")
        return model.Settled(
            True, f"all {len(self.replacements)} lines are as wanted, and the map holds them"
        )

    def apply(self, ctx, report):
        connection = ctx.hosts.ssh(self.host)
        before = connection.get(self.source, sudo=True)
        after, changed = _replace_lines(before, self.replacements, f"{self.host}:{self.source}")
        if connection.run(["test", "-e", self.backup], sudo=True, check=False).rc:
            # whole or not there: a part left by a full disk would be taken for the source as it was
            part = self.backup + ".part"
            connection.run(["cp", "-p", self.source, part], sudo=True)
            connection.run(["mv", "-f", part, self.backup], sudo=True)
        if after != before:
            connection.put(after, self.source, mode=None, sudo=True)
        for argv in self._commands():
            connection.run(argv, sudo=True, input=after if argv[0] == "makemap" else b"")
        return f"{changed} lines changed, {self.map} rebuilt; the earlier source is {self.backup}"

    def inverse(self):
        return dataclasses.replace(
            self,
            backup=self.backup + ".undone",
            replacements=[[new, old] for old, new in self.replacements],
        )


def _replace_lines(data: bytes, replacements, where: str):
    """Replace whole lines, each of which must stand there once (or already be replaced). → (bytes, lines changed)"""
    lines = data.split(b"\n")
    index = {}
    for number, line in enumerate(lines):
        index.setdefault(line.rstrip(b"\r"), []).append(number)
    changed = 0
    for old, new in replacements:
        old, new = old.encode("utf-8", "surrogateescape"), new.encode("utf-8", "surrogateescape")
        places = index.get(old, [])
        if not places and new in index:
            continue
        if len(places) != 1:
            raise model.ChangeFailed(
                f"{where}: the line {old!r} stands there {len(places)} times, expected once. "
                "Somebody changed the file since the plan was made: plan again."
            )
        ending = lines[places[0]][len(old) :]
        lines[places[0]] = new + ending
        changed += 1
    return b"\n".join(lines), changed
