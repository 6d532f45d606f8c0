"""The watch over the first morning: what users meet on the new server once reading is open again.

It reads Dovecot's log, has Dovecot count requests for folders that do not exist, and looks at the
new server's load and at the MX queues. It changes no file and ends by itself. The latest state is
in the run's folder, so that a board shows what a command watches, and the other way round.
"""

import collections
import contextlib
import json
import threading
import time
from collections.abc import Callable

from cutover import model
from cutover.facts import dovecot_activity, load, mail_queue, users
from cutover.facts.first_morning import Minute, Missing, Morning, Refused
from cutover.model import errors
from cutover.record import history, record_json, run_folder

NAME = "first-morning.json"
EVERY = 10.0  # seconds between two looks
PATIENCE = 120.0  # seconds a message may wait in a queue
STEP = "restore-imap"
NAMED = 200  # missing folders, and names of refused logins, that are kept


class NotOpen(errors.CutoverError):
    """Reading is not open on the new server."""


def opened(run) -> float:
    """When the run resumed reading, in seconds since the epoch. Raises NotOpen."""
    attempt = history.attempts(run.journal.events()).get(STEP)
    if attempt is None or attempt.state != "passed":
        raise NotOpen(
            f"{run.path}: {STEP} has not passed in this run, so users cannot log in yet. Start the "
            "watch when it has."
        )
    return attempt.began


def latest(run) -> Morning | None:
    """The state of the watch that runs, or of the last one; None if there was none."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        return model.from_json(Morning, json.loads((run.path / NAME).read_bytes()))
    return None


def watch(
    hosts,
    run,
    minutes: float,
    shown: Callable[[Morning], None] = lambda morning: None,
    stop: threading.Event | None = None,
    every: float = EVERY,
) -> Morning:
    """Watch for some minutes, or until `stop` is set. Returns what it saw.

    shown: called with the state after each look. Raises NotOpen, and RunBusy while another
    process watches this run.
    """
    began, stop = opened(run), stop or threading.Event()
    with run.alone("first-morning"):
        watching = Watching(hosts, began, minutes)
        over, until = False, time.monotonic() + minutes * 60
        try:
            # the last look is at the end
            while not over:
                over = stop.is_set() or time.monotonic() >= until
                looked = time.monotonic()
                watching.look()
                if not over:
                    _keep(run, watching.morning(), shown)
                    stop.wait(max(0.0, min(looked + every, until) - time.monotonic()))
        except KeyboardInterrupt:
            pass
        finally:
            watching.close()
        morning = watching.morning(over=True)
        _keep(run, morning, shown)
    record_json.pause(run, hosts.site, "the first morning was watched")
    return morning


def _keep(run, morning, shown):
    # on a full disk only the file is out of date
    with contextlib.suppress(OSError):
        run.keep(NAME, json.dumps(model.to_json(morning), indent=1).encode() + b"\n")
    shown(morning)


class Watching:
    """Adds up what each look finds."""

    def __init__(self, hosts, opened: float, minutes: float):
        self.hosts, self.new = hosts, hosts.site.roles.new
        self.opened, self.asked = opened, minutes
        self.began = self.until = time.time()
        self.accounts = {account.user: account for account in users.read(hosts, self.new)}
        self.cursor = ""
        self.logins, self.last = collections.Counter(), {}
        self.refused = collections.Counter()
        self.refused_last = {}
        self.limits = collections.Counter()
        self.missing, self.counted = collections.Counter(), {}
        self.folders = {}
        self.queues, self.load = {}, None
        self.minutes = collections.defaultdict(dict)
        self.unread = {}

    def look(self):
        """One look at everything. What cannot be read is noted, and hides nothing else."""
        self.unread = {}
        for what, function in (
            ("Dovecot's log", self._log),
            ("missing folders", self._folders),
            ("load", self._load),
            *((f"queue of {name}", self._queue(name)) for name in self.hosts.site.roles.mx),
        ):
            reading = model.read(function)
            if not reading.ok:
                self.unread[what] = reading.error
        self.until = time.time()

    def close(self):
        """Have Dovecot stop counting. What prevents it is noted as what cannot be read."""
        reading = model.read(dovecot_activity.stop_counting, self.hosts, self.new)
        if not reading.ok:
            self.unread["counter of missing folders"] = reading.error

    def _add(self, at, **figures):
        minute = self.minutes[int(at) // 60 * 60]
        for name, number in figures.items():
            minute[name] = minute.get(name, 0) + number

    def _log(self):
        seen = dovecot_activity.read(self.hosts, self.new, self.opened, self.cursor)
        self.cursor = seen.cursor
        for login in seen.logins:
            self.logins[login.user] += 1
            self.last[login.user] = login.at
            self._add(login.at, logins=1)
        for refusal in seen.refusals:
            key = refusal.reason, refusal.name or refusal.address
            if key in self.refused or len(self.refused) < NAMED:
                self.refused[key] += 1
                self.refused_last[key] = refusal.at
            self._add(refusal.at, refused=1)
        self.limits.update(seen.limits)

    def _folders(self):
        now = dovecot_activity.missing(self.hosts, self.new, self.accounts)
        for (user, asked), number in now.items():
            if self._leads_on(user, pattern_start(asked)):
                continue
            # Dovecot began to count anew: it was restarted
            before = self.counted.get((user, asked), 0)
            more = number - before if number >= before else number
            if more and ((user, asked) in self.missing or len(self.missing) < NAMED):
                self.missing[user, asked] += more
                self._add(time.time(), missing=more)
        self.counted = now
        for user in {user for user, _ in self.missing} - self.folders.keys():
            self.folders[user] = dovecot_activity.folders(self.hosts, self.new, user)

    def _leads_on(self, user, start):
        """Whether a pattern has a prefix that is new here, or one that leads to folders."""
        site, home = self.hosts.site, self.accounts[user].home
        answered = tuple(
            prefix.format(user=user, home=home) for prefix in site.new_store.compatibility or ()
        )
        old = start is not None and (
            start == site.old_store.imap_prefix or start.startswith(("~", "#", "/"))
        )
        return start is not None and (not old or start.startswith(answered))

    def _load(self):
        self.load = load.read(self.hosts, self.new)
        self.minutes[int(time.time()) // 60 * 60]["load"] = self.load[0]

    def _queue(self, name):
        def look():
            now, seen = time.time(), mail_queue.read(self.hosts, name).by_id()
            before = self.queues.get(name, {})
            self.queues[name] = {key: before.get(key, now) for key in seen}
            queued = sum(len(messages) for messages in self.queues.values())
            self.minutes[int(now) // 60 * 60]["queued"] = queued

        return look

    def morning(self, over: bool = False) -> Morning:
        """The state so far."""
        return Morning(
            opened=self.opened,
            began=self.began,
            until=self.until,
            minutes_asked=self.asked,
            over=over,
            minutes=[Minute(at, **figures) for at, figures in sorted(self.minutes.items())],
            users=dict(sorted(self.logins.items())),
            refused=[self._refused(*key) for key, _ in self.refused.most_common()],
            missing=[
                Missing(user, asked, meant(asked, self.folders.get(user, [])), number)
                for (user, asked), number in sorted(self.missing.items())
            ],
            limits=dict(self.limits.most_common(NAMED)),
            load=self.load and self.load[0],
            processors=self.load and self.load[1],
            waiting={
                name: sum(self.until - since >= PATIENCE for since in messages.values())
                for name, messages in sorted(self.queues.items())
            },
            unread=self.unread,
        )

    def _refused(self, reason, name):
        account = name.partition("@")[0].lower()
        account = account if account in self.accounts else ""
        later = self.last.get(account, 0.0) > self.refused_last[reason, name]
        return Refused(reason, name, account, self.refused[reason, name], later)


def pattern_start(asked: str) -> str | None:
    """What a pattern such as `mail/*` begins with, up to the last "/"; None for a folder's name."""
    wildcards = [asked.find(char) for char in "*%" if char in asked]
    return asked[: asked.rfind("/", 0, min(wildcards)) + 1] if wildcards else None


def meant(asked: str, folders) -> str | None:
    """The folder that a name means under another prefix (`mail/work` means `work`), or with a dot
    or a blank that became `_`. A pattern means all folders, if it shows none."""
    start = pattern_start(asked)
    if start is not None:
        shown = any((name + "/").startswith(start) for name in folders)
        return None if shown or set(folders) <= {"INBOX"} else asked.removeprefix(start)
    plain = str.maketrans(". ", "__")
    wanted, cut, _ = ("/" + asked.translate(plain).strip("/")).partition(dovecot_activity.CUT)
    # each level may be the folder's first
    ends = [wanted[place:] for place, char in enumerate(wanted) if char == "/"]
    fitting = [
        name
        for name in folders
        for there in ["/" + name.translate(plain)]
        if there in ends or cut and any(len(end) > 3 and there.startswith(end) for end in ends)
    ]
    return max(fitting, key=len, default=None)


def in_background(hosts, run, minutes: float) -> threading.Thread:
    """Watch in a thread, which ends with this process. While another process watches, none begins.

    hosts: closed at the end.
    """

    def work():
        with contextlib.suppress(run_folder.RunBusy), hosts:
            watch(hosts, run, minutes)

    thread = threading.Thread(target=work, daemon=True, name="cutover first morning")
    thread.start()
    return thread
