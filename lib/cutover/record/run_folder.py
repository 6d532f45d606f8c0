"""The folder of one run, `runs/<date>_<nn>_<site>_<kind>/`.

It holds the executed notebooks, the journal, the parameters as used, and the facts.
"""

import contextlib
import datetime
import fcntl
import hashlib
import json
import os
import re
import secrets
from pathlib import Path

from cutover import site
from cutover.model import errors, runbook
from cutover.record import drift, journal, signers, vault

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
PARAMETERS = "parameters.yaml"  # as used, copied when the run began


class NotARun(errors.CutoverError):
    """A folder is not a run's folder, or belongs to a run of another site."""


class RunBusy(errors.CutoverError):
    """Another process is at work on the same run."""


def create(parameters: site.Site, kind: str, base: Path | None = None) -> "Run":
    """Make the next run folder of today. `kind`: "rehearse" or "run"."""
    base = base or site.PROJECT / "runs"
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotARun(
            f"{base}: cannot hold run folders: {error.strerror}. Make it a writable folder."
        ) from error
    today = datetime.date.today().isoformat()
    for number in range(1, 1000):
        path = base / f"{today}_{number:02d}_{parameters.name}_{kind}"
        try:
            path.mkdir(mode=0o700)
        except FileExistsError:
            continue
        except OSError as error:
            raise NotARun(
                f"{path}: cannot be created: {error.strerror}. Make {base} writable."
            ) from error
        return begin(parameters, path)
    raise NotARun(f"{base} already holds 999 runs of today. Move some of them elsewhere.")


def begin(parameters: site.Site, path: Path) -> "Run":
    """Begin a run in a folder, which is created if missing, or resume the run it holds.

    Raises NotARun for any other folder.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise NotARun(
            f"{path}: cannot be made a run folder: {error.strerror}. Give a writable folder."
        ) from error
    run = Run(path)
    if not run.journal.events():
        strangers = sorted(entry.name for entry in path.iterdir() if not _of_a_new_run(entry))
        if strangers:
            raise NotARun(
                f"{run.path}: holds {', '.join(strangers[:5])} and no journal, so it is not a "
                "run folder. Give the folder of a run, or a new one."
            )
        vault.register(parameters)
        used, _ = run.keep(PARAMETERS, parameters.path.read_bytes())
        run.journal.append(
            "run-begun",
            run=path.name,
            id=secrets.token_hex(16),
            site=parameters.name,
            **({"store": parameters.store} if parameters.store else {}),
            kind=parameters.kind,
            file=used,
            **drift.begin(run, parameters),
        )
    return run


def _of_a_new_run(entry):
    """Whether a file may exist in a run's folder before its journal begins.

    These are executed copies, locks, and what a crash left.
    """
    return entry.suffix in (".ipynb", ".lock") or entry.name.removesuffix(".part") in (
        PARAMETERS,
        drift.FILE,
        signers.FILE,
        journal.NAME,
    )


def latest(parameters: site.Site, base: Path | None = None) -> "Run | None":
    """The run of a site's night that began last, of those in the folder; None without one."""
    base, begun = base or site.PROJECT / "runs", []
    for path in base.glob(f"*_{parameters.name}_*/{journal.NAME}"):
        run = Run(path.parent)
        events = run.journal.events()
        if events and events[0].get("site") == parameters.name and not runbook.apart(events):
            begun.append((events[0]["time"], run.name, run))
    return max(begun)[-1] if begun else None


class Run:
    """An existing run folder. Raises NotARun for a path that is not a folder."""

    def __init__(self, path):
        self.path = Path(path).resolve()
        if not NAME.fullmatch(self.path.name):
            raise NotARun(
                f"{path}: a run's name becomes part of paths and test messages. Use letters, "
                "digits, '.', '_' and '-' only."
            )
        if not self.path.is_dir():
            raise NotARun(f"{path}: no such run folder. Check the path.")
        if not os.access(self.path, os.R_OK | os.X_OK):
            raise NotARun(f"{path}: cannot be read: permission denied. Ask its owner.")
        self.name = self.path.name
        self.journal = journal.Journal(self.path)
        self._id = ""  # read once: every hash of a plan is bound to it

    @property
    def id(self) -> str:
        """What tells this run from any other of the same name; see drift.run_key."""
        if not self._id and (events := self.journal.events()):
            self._id = drift.run_key(events[0])
        return self._id

    def parameters(self, given=None) -> site.Site:
        """The parameters in a file, or the run's: the last approved ones, or those it began with.

        Raises NotARun if no run began in the folder.
        """
        if given is None and not (self.path / PARAMETERS).is_file():
            raise NotARun(
                f"{self.path}: holds no {PARAMETERS}, so no run began there. "
                "Give the folder of a run."
            )
        events = self.journal.events()
        drifts = [event for event in events if event["event"] == "drift"]
        changed = [event["parameters"] for event in drifts if "parameters" in event]
        own = drift.parameters_file(changed[-1]) if changed else PARAMETERS
        store = events[0].get("store", "") if events else ""
        return site.load(given or self.path / own, store)

    def keep(self, name: str, data: bytes, durable: bool = True):
        """Write a file of the record, atomically. Returns (name within the folder, SHA-256).

        durable: put it on disk at once; else the caller does, for thousands of files together.
        """
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_name(path.name + ".part")
        with open(part, "wb") as out:
            out.write(data)
            if durable:
                out.flush()
                os.fsync(out.fileno())
        os.replace(part, path)
        return name, hashlib.sha256(data).hexdigest()

    @contextlib.contextmanager
    def alone(self, what: str):
        """Be the only process that does `what` ("run", "apply" or "watch") in this run.

        Raises RunBusy, naming the other process. The lock ends with its process, so a crash
        leaves none behind.
        """
        with open(self.path / f"{what}.lock", "a+b", buffering=0) as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise RunBusy(
                    f"{self.path}: another process is at work on this run "
                    f"({_holder(lock.read())}). Wait until it ends, or end it, then try again."
                ) from None
            lock.truncate(0)
            # if the disk is full, the lock still works; it only does not say who holds it
            with contextlib.suppress(OSError):
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
        """Raises NotARun for another site's run, drift.Drifted if code or parameters changed.

        `record(event, **fields)` writes to the journal.
        """
        self.require_site(parameters)
        drift.check(self, parameters, record)

    def require_site(self, parameters: site.Site):
        """Raises NotARun if the parameters are those of another site, or of another kind."""
        events = self.journal.events()
        if not events or events[0]["event"] != "run-begun":
            raise NotARun(
                f"{self.path}: its journal does not begin with a run. "
                "Give the folder of a run, or a new one."
            )
        if events[0]["site"] != parameters.name:
            raise NotARun(
                f"{self.path} is a run of site {events[0]['site']}, the parameters are those of "
                f"{parameters.name}. Give the parameters and the folder of the same site."
            )
        if events[0]["kind"] != parameters.kind:
            raise NotARun(
                f"{self.path} began as a {events[0]['kind']} run, the parameters say "
                f"{parameters.kind}. A run keeps its kind: begin a new one."
            )


def _holder(content: bytes) -> str:
    """Who holds a lock, by the lock file's content."""
    try:
        return "process {pid} of {who}, since {since}".format(**json.loads(content))
    except (ValueError, KeyError, TypeError):
        return "its lock does not say which"
