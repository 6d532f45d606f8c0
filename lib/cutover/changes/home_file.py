"""Replace lines of a file in a user's home, in a process that is the user."""

import dataclasses
from typing import ClassVar

from cutover import model
from cutover.facts import home_files

CHANGED = 44
# $1 home, $2 file, $3 name of the former one, $4 its digest, $5 bytes of the new one
_PUT = f"""
umask 077
cd -- "$1" || exit 73
beside=$(mktemp -- "$2.XXXXXX") || exit 73
trap 'rm -f -- "$beside"' EXIT
cat > "$beside" && [ "$(wc -c < "$beside")" -eq "$5" ] || exit 75
[ -f "$2" ] && [ ! -L "$2" ] && [ "$(sha256sum < "$2")" = "$4  -" ] || exit {CHANGED}
chmod --reference="$2" -- "$beside" && cp -p -- "$2" "$3" && mv -f -- "$beside" "$2" || exit 75
"""
# $1 home, $2 file, $3 name of the former one, $4 the digest of the file, $5 of the former one
_BACK = f"""
cd -- "$1" || exit 73
[ -f "$2" ] && [ ! -L "$2" ] && [ "$(sha256sum < "$2")" = "$4  -" ] || exit {CHANGED}
[ -f "$3" ] && [ "$(sha256sum < "$3")" = "$5  -" ] || exit {CHANGED}
mv -f -- "$3" "$2"
"""


@dataclasses.dataclass(frozen=True)
class _Lines(model.Change):
    host: str
    user: str
    home: str
    file: str  # its name in the home
    aside: str  # name of the former file in the home
    lines: list[list]  # [number from 1, text, new text]; the line ends stay
    before: str  # digest of the former file

    @property
    def resource(self):
        return f"{self.home}/{self.file} on {self.host}"

    def _now(self, hosts):
        files = home_files.read(hosts, self.host, self.user, self.home, [self.file])
        return files[self.file].data if self.file in files else b""

    def _is_ours(self, now):
        """Whether a file is the former one with the new lines, and nothing else."""
        former = edited(now, [[number, new, old] for number, old, new in self.lines])
        return former is not None and home_files.digest(former) == self.before

    def _run(self, hosts, script, *arguments, data=b""):
        argv = ["sh", "-c", script, "file", self.home, self.file, self.aside, *arguments]
        return hosts.run(self.host, argv, as_user=self.user, input=data, check=False)


@dataclasses.dataclass(frozen=True)
class EditHomeFile(_Lines):
    """Some lines get another text; the former file stays beside it, under another name.

    Refused when the file is not the one the plan was made for.
    """

    kind: ClassVar[str] = "home-file-edit"

    def title(self):
        return f"change {len(self.lines)} lines of {self.user}'s {self.file}"

    def describe(self):
        out = [f"as {self.user}: {self.home}/{self.file} (the former file stays as {self.aside})"]
        for number, old, new in self.lines:
            out += [f"line {number}:", f"-{old}", f"+{new}"]
        return "\n".join(out)

    def settled(self, ctx):
        done = self._is_ours(self._now(ctx.hosts))
        return model.Settled(done, f"the file is {'' if done else 'not '}as planned")

    def apply(self, ctx, report):
        now = self._now(ctx.hosts)
        if self._is_ours(now):
            return model.Result("already so")
        data = edited(now, self.lines) if home_files.digest(now) == self.before else None
        if data is None:
            raise self._refused("its user changed it since the plan was made")
        result = self._run(ctx.hosts, _PUT, self.before, str(len(data)), data=data)
        if result.rc:
            error = result.err.decode("utf-8", "replace").strip()
            raise self._refused(error or "its user is changing it")
        return model.Result(f"{len(self.lines)} lines changed", {"lines": len(self.lines)})

    def _refused(self, why):
        return model.ChangeFailed(f"{self.resource} was not changed: {why}. Run this step again.")

    def inverse(self):
        return RestoreHomeFile(**vars(self))


@dataclasses.dataclass(frozen=True)
class RestoreHomeFile(_Lines):
    """The former file is put back, unless its user has changed the file since."""

    kind: ClassVar[str] = "home-file-back"
    no_inverse: ClassVar[str] = "run the step again to change the lines once more"

    def title(self):
        return f"put back {self.user}'s former {self.file}"

    def describe(self):
        return (
            f"as {self.user}, in {self.home}: mv {self.aside} {self.file} "
            "(unless its user has changed the file since)"
        )

    def settled(self, ctx):
        return self._settled(self._now(ctx.hosts))

    def _settled(self, now):
        if self._is_ours(now):
            return model.Settled(False, "the file is as this run left it")
        if home_files.digest(now) == self.before:
            return model.Settled(True, "the file is the former one")
        return model.Settled(True, f"its user has changed the file, so it stays; see {self.aside}")

    def apply(self, ctx, report):
        now = self._now(ctx.hosts)
        state = self._settled(now)
        if state.done:
            return model.Result(state.detail)
        result = self._run(ctx.hosts, _BACK, home_files.digest(now), self.before)
        if result.rc:
            raise model.ChangeFailed(
                f"{self.resource} was not put back: {self.aside} is no longer the former file. "
                "Change the lines back by hand: the plan shows them."
            )
        return model.Result("put back")


def edited(data: bytes, lines: list[list]) -> bytes | None:
    """A file with some lines replaced; None if one of them is not the line expected."""
    parts = data.decode("utf-8", "surrogateescape").split("\n")
    for number, old, new in lines:
        if number > len(parts) or parts[number - 1] != old:
            return None
        parts[number - 1] = new
    return "\n".join(parts).encode("utf-8", "surrogateescape")
