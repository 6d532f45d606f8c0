"""Changes to sendmail's userdb on an MX."""

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

from cutover import model
from cutover.facts import userdb, userdb_map, userdb_view


@dataclasses.dataclass(frozen=True)
class UserdbEdit(model.Change):
    """Replace whole lines of a userdb source, after a backup, and rebuild its map atomically.

    undo: whether it takes back an earlier edit; entries that somebody removed since are no matter
    then. Figures: lines (changed).
    """

    kind: ClassVar[str] = "userdb-edit"
    host: str
    source: str
    map: str
    backup: str
    replacements: list  # [[old line, new line], …], text without line ends
    undo: bool = False

    @property
    def resource(self):
        return f"{self.source} on {self.host}"

    def title(self):
        return f"{len(self.replacements)} entries of {self.source}, then makemap"

    def _commands(self):
        """Run after the source is written. A rename, so sendmail never sees half a map."""
        built = self.map.removesuffix(".db") + ".cutover.db"
        return [
            ["rm", "-f", built],
            ["makemap", "btree", built],
            ["chown", f"--reference={self.map}", built],
            ["chmod", f"--reference={self.map}", built],
            ["mv", "-f", built, self.map],
        ]

    def describe(self):
        backup = f"cp -p {self.source} {self.backup}.part; mv -f {self.backup}.part {self.backup}"
        lines = [backup, f"--- {self.source}", f"+++ {self.source}"]
        for old, new in self.replacements:
            lines += ["-" + old, "+" + new]
        commands = [
            " ".join(argv) + (f" < {self.source}" if argv[0] == "makemap" else "")
            for argv in self._commands()
        ]
        return "\n".join([*lines, *commands])

    def settled(self, ctx):
        with ctx.hosts.alone(self.host):
            return self._settled(ctx)

    def _settled(self, ctx):
        source = ctx.hosts.ssh(self.host).get(self.source, sudo=True)
        lines = {line.rstrip(b"\r") for line in source.split(b"\n")}
        wanted = self._still_there(source)
        missing = [new for _, new in wanted if userdb.encode(new) not in lines]
        total = len(wanted)
        if missing:
            detail = f"{len(missing)} of {total} lines are not replaced, first {missing[0]!r}"
            return model.Settled(False, detail)
        if not self._is_map_of(self.map, source, ctx):
            return model.Settled(False, f"{self.map} was not rebuilt from {self.source}")
        return model.Settled(True, f"all {total} lines are replaced, and the map has them")

    def apply(self, ctx, report) -> model.Result:
        with ctx.hosts.alone(self.host) as turn:
            return self._apply(ctx, turn)

    def _apply(self, ctx, turn):
        # turn: what runs and writes only as long as no other store's run does
        connection = ctx.hosts.ssh(self.host)
        before = connection.get(self.source, sudo=True)
        wanted, where = self._still_there(before), f"{self.host}:{self.source}"
        after, changed = replace_lines(before, wanted, where)
        if connection.run(["test", "-e", self.backup], sudo=True, check=False).rc:
            # by a rename: a copy cut off by a full disk would pass for the earlier source
            part = self.backup + ".part"
            turn.run(["cp", "-p", self.source, part], sudo=True)
            turn.run(["sync", part], sudo=True, check=False)
            turn.run(["mv", "-f", part, self.backup], sudo=True)
        if after != before:
            turn.put(after, self.source, mode=None, sudo=True)
            if connection.get(self.source, sudo=True) != after:
                raise model.ChangeFailed(
                    f"{self.source} on {self.host} is not what was written. See who else writes "
                    f"it; the earlier source is {self.backup}. Then run this step again."
                )
        *making, rename = self._commands()
        for argv in making:
            turn.run(argv, sudo=True, input=after if argv[0] == "makemap" else b"")
        built = rename[-2]
        if not self._is_map_of(built, after, ctx):
            raise model.ChangeFailed(
                f"{self.map} on {self.host} was not replaced: makemap did not write all of "
                f"{self.source} to {built}. Check the disk's free space, then run this step again."
            )
        turn.run(["sync", built], sudo=True, check=False)
        turn.run(rename, sudo=True)
        text = f"{changed} lines changed, {self.map} rebuilt; the earlier source is {self.backup}"
        if gone := len(self.replacements) - len(wanted):
            text += f"; {gone} of the entries were removed by others"
        return model.Result(text, {"lines": changed})

    def _still_there(self, source):
        """The replacements; to undo them, those whose entries are still there."""
        if not self.undo:
            return self.replacements
        lines = [line.rstrip(b"\r") for line in source.split(b"\n")]
        known = {*lines, *map(_key, lines)}  # a forward may have become a comment
        return [
            (now, before)
            for now, before in self.replacements
            if not known.isdisjoint([userdb.encode(now), _key(userdb.encode(before))])
        ]

    def _is_map_of(self, path, source, ctx):
        records = userdb_map.from_source(userdb_view.of_text(source, ctx.site))
        return userdb_map.read(ctx.hosts, self.host, path) == records

    def inverse(self):
        return dataclasses.replace(
            self,
            backup=self.backup + ".undone",
            replacements=[[new, old] for old, new in self.replacements],
            undo=True,
        )


def _key(line):
    return line.partition(b" ")[0].partition(b"\t")[0].lower()


def replace_lines(data: bytes, replacements: Sequence, where: str) -> tuple[bytes, int]:
    """Replace whole lines, [(old, new), …]; returns (bytes, number of lines changed).

    Line ends stay. Each old line must occur once, unless its new line is there already.
    Raises ChangeFailed, naming the file by `where`.
    """
    lines = data.split(b"\n")
    index = {}
    for number, line in enumerate(lines):
        index.setdefault(line.rstrip(b"\r"), []).append(number)
    changed = 0
    for before, after in replacements:
        old, new = userdb.encode(before), userdb.encode(after)
        places = index.get(old, [])
        if not places and new in index:
            continue
        if len(places) != 1:
            raise model.ChangeFailed(
                f"{where}: the line {old!r} occurs {len(places)} times, expected once. "
                f"Somebody changed it. Plan again; to undo the edit, make it {new!r} by hand, then "
                "run this step again."
            )
        ending = lines[places[0]][len(old) :]
        lines[places[0]] = new + ending
        changed += 1
    return b"\n".join(lines), changed
