"""The folder of one run, `runs/<date>_<nn>_<site>_<kind>/`: executed notebooks, journal, parameters as used, facts."""

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import re
from pathlib import Path

from cutover import site
from cutover.connect import vault
from cutover.model import errors
from cutover.record import drift, journal, signers

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
PARAMETERS = "parameters.yaml"  # as used, copied when the run began


class NotARun(errors.CutoverError):
    """A folder given as a run's is none, or belongs to another site."""


class RunBusy(errors.CutoverError):
    """Another process is at work on the same run."""


def create(parameters: site.Site, kind: str, base: Path | None = None) -> "Run":
    """Make the next run folder of today. `kind`: "rehearse" or "run"."""
    base = base or site.PROJECT / "runs"
    base.mkdir(parents=True, exist_ok=True)
    today = datetime.date.today().isoformat()
    for number in range(1, 1000):
        path = base / f"{today}_{number:02d}_{parameters.name}_{kind}"
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return begin(parameters, path)
    raise NotARun(f"{base} already holds 999 runs of today")


def begin(parameters: site.Site, path: Path) -> "Run":
    """Start a run in a folder (made if need be) or go on with the one it holds. Raises NotARun for any other folder."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise NotARun(
            f"{path}: cannot be made a run folder: {error.strerror}. Give a folder that can be written."
        ) from error
    run = Run(path)
    if not run.journal.events():
        strangers = sorted(entry.name for entry in path.iterdir() if not _of_a_new_run(entry))
        if strangers:
            raise NotARun(
                f"{run.path}: holds {', '.join(strangers[:5])} and no journal, so it is no run's folder. "
                "Give the folder of a run, or a new one."
            )
        vault.register(parameters)
        used, _ = run.keep(PARAMETERS, parameters.path.read_bytes())
        run.journal.append(
            "run-begun",
            run=path.name,
            site=parameters.name,
            kind=parameters.kind,
            file=used,
            **drift.begin(run, parameters),
        )
    return run


def _of_a_new_run(entry):
    """Whether a file may lie in a run's folder before its journal begins: executed copies, what a crash left, locks."""
    return entry.suffix in (".ipynb", ".lock") or entry.name.removesuffix(".part") in (
        PARAMETERS,
        drift.FILE,
        signers.FILE,
        journal.NAME,
    )


class Run:
    """An existing run folder. Raises NotARun for a path that is no folder."""

    def __init__(self, path):
        self.path = Path(path).resolve()
        if not NAME.fullmatch(self.path.name):
            raise NotARun(
                f"{path}: a run's name goes into paths and test messages: letters, digits, '.', '_' and '-' only"
            )
        if not self.path.is_dir():
            raise NotARun(f"{path}: no such run folder")
        self.name = self.path.name
        self.journal = journal.Journal(self.path)

    def parameters(self, given=None) -> site.Site:
        """The parameters of a file, or those this run was begun with. Raises NotARun for a folder in which none began."""
        if given is None and not (self.path / PARAMETERS).is_file():
            raise NotARun(
                f"{self.path}: holds no {PARAMETERS}, so no run began there; give the folder of a run"
            )
        return site.load(given or self.path / PARAMETERS)

    def keep(self, name: str, data: bytes):
        """Write a file of the record, atomically. → (its name within the folder, SHA-256)."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_name(path.name + ".part")
        with open(beside, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(beside, path)
        return name, hashlib.sha256(data).hexdigest()

    @contextlib.contextmanager
    def alone(self, what: str):
        """Be the only process that does `what` ("run" or "apply") in this run. Raises RunBusy, naming the other one.

        The lock goes with its process, so a crash leaves none behind.
        """
        with open(self.path / f"{what}.lock", "a+b", buffering=0) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise RunBusy(
                    f"{self.path}: another process is at work on this run ({_holder(lock.read())}). Wait until it "
                    "has ended, or end it; then do the same again."
                ) from None
            lock.truncate(0)
            with contextlib.suppress(
                OSError
            ):  # a full disk: the lock holds, it only does not say whose it is
                lock.write(
                    json.dumps(
                        {"pid": os.getpid(), "who": journal.who(), "since": journal.now()}
                    ).encode()
                )
            try:
                yield
            finally:
                lock.truncate(0)

    def check(self, parameters: site.Site, record):
        """Refuse a run of another site, and one whose code or parameters are no longer those it began with (drift.check)."""
        events = self.journal.events()
        if not events or events[0]["event"] != "run-begun":
            raise NotARun(
                f"{self.path}: its journal does not begin with a run; give the folder of a run, or a new one"
            )
        if events[0]["site"] != parameters.name:
            raise NotARun(
                f"{self.path} is a run of site {events[0]['site']}, the parameters are those of {parameters.name}"
            )
        drift.check(self, parameters, record)


def _holder(said: bytes) -> str:
    try:
        return "process {pid} of {who}, since {since}".format(**json.loads(said))
    except (ValueError, KeyError, TypeError):
        return "it does not say which"
