"""The folder of one run, `runs/<date>_<nn>_<site>_<kind>/`: executed notebooks, journal, parameters as used, facts."""

import contextlib
import datetime
import fcntl
import functools
import hashlib
import json
import os
from pathlib import Path

from cutover import errors, site
from cutover.run import journal


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
        raise NotARun(f"{path}: cannot be made a run folder: {error.strerror}. Give a folder that can be written.") from error
    run = Run(path)
    if not run.journal.events():
        strangers = sorted(entry.name for entry in path.iterdir() if not _of_a_new_run(entry))
        if strangers:
            raise NotARun(f"{run.path}: holds {', '.join(strangers[:5])} and no journal, so it is no run's folder. "
                          "Give the folder of a run, or a new one.")
        used, digest = run.keep("parameters.yaml", parameters.path.read_bytes())
        run.journal.append("run-begun", run=path.name, site=parameters.name, kind=parameters.kind, parameters=digest,
                           file=used, code=code_digest())
    return run


def _of_a_new_run(entry):
    """Whether a file may lie in a run's folder before its journal begins: executed copies, what a crash left, locks."""
    return entry.suffix in (".ipynb", ".lock") or entry.name in ("parameters.yaml", "parameters.yaml.part", journal.NAME)


class Run:
    """An existing run folder. Raises NotARun for a path that is no folder."""

    def __init__(self, path):
        self.path = Path(path).resolve()
        if not self.path.is_dir():
            raise NotARun(f"{path}: no such run folder")
        self.name = self.path.name
        self.journal = journal.Journal(self.path)

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
        with open(self.path / f"{what}.lock", "a+b") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise RunBusy(f"{self.path}: another process is at work on this run ({_holder(lock.read())}). Wait until it "
                              "has ended, or end it; then do the same again.") from None
            lock.truncate(0)
            lock.write(json.dumps({"pid": os.getpid(), "who": journal._who(), "since": journal.now()}).encode())
            lock.flush()
            yield

    def check(self, parameters: site.Site, record):
        """Refuse a run of another site; journal a change of parameters or code since it began (or last changed)."""
        events = self.journal.events()
        if not events or events[0]["event"] != "run-begun":
            raise NotARun(f"{self.path}: its journal does not begin with a run; give the folder of a run, or a new one")
        if events[0]["site"] != parameters.name:
            raise NotARun(f"{self.path} is a run of site {events[0]['site']}, the parameters are those of {parameters.name}")
        known = {"parameters": None, "code": None}
        for event in events:
            if event["event"] in ("run-begun", "drift"):
                known.update({key: event[key] for key in known if key in event})
        current = {"parameters": parameters.digest, "code": code_digest()}
        if known != current:
            fields = {key: value for key, value in current.items() if known[key] != value}
            if "parameters" in fields:
                self.keep(f"parameters.{parameters.digest[:8]}.yaml", parameters.path.read_bytes())
            record("drift", **fields)


def _holder(said: bytes) -> str:
    try:
        return "process {pid} of {who}, since {since}".format(**json.loads(said))
    except (ValueError, KeyError, TypeError):
        return "it does not say which"


@functools.cache
def code_digest() -> str:
    """SHA-256 over every source file of the package and every notebook template, by name and content."""
    digest = hashlib.sha256()
    root = site.PROJECT
    files = [*(root / "lib" / "cutover").rglob("*"), *(root / "notebooks").glob("*.ipynb")]
    for path in sorted(files):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(root)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


