"""Users at work during a rehearsal: they read, flag, move, send and remove mail.

A user works on the server to which the alias leads, as long as it lets the user in, and tries
again until the end.
"""

import contextlib
import random
import threading
import time

from imapclient import exceptions
from lab import keys

from cutover.connect import imap
from cutover.facts import alias_service
from cutover.model import errors
from cutover.rehearsal.ledger import HEADER

# none whose INBOX production-test looks into: they move what is there
USERS = ("carla", "davide", "fabio", "marta")
EVERY = 0.5  # seconds between two acts of a user
# folders; MADE exists on the new server alone
MOVED_TO, SENT, MADE = "spostati", "sent-mail", "nuovi/lavori"
ACTS = {
    "old": ("read", "flag", "unflag", "move", "send"),
    "new": ("read", "flag", "unflag", "move", "send", "remove", "file"),
}


class Reader:
    """One user. `run` works until `stop` is set; `acts` counts what the user has done."""

    def __init__(self, hosts, user, ledger, mark, stop: threading.Event):
        self.hosts, self.user, self.ledger, self.mark, self.stop = hosts, user, ledger, mark, stop
        self.random = random.Random(user)
        self.acts = 0
        self.sent = []  # keys of the copies in SENT

    def run(self):
        refused = errors.CutoverError, OSError, exceptions.IMAPClientError
        while not self.stop.is_set():
            with contextlib.suppress(*refused):
                self._work()
            self.stop.wait(1.0)

    def _work(self):
        site, user = self.hosts.site, self.user
        alias = site.fqdn(site.alias)
        address = alias_service.resolve(self.hosts, alias)
        side = "new" if address == site.address(site.roles.new) else "old"
        password = (keys.SECRETS / user).read_text().strip()
        session = imap.login(address, 993, alias, keys.CA, user, password, 10)
        prefix = site.old_store.imap_prefix if side == "old" else ""
        try:
            for name in (MOVED_TO, SENT, *([MADE] if side == "new" else [])):
                if not session.client.folder_exists(prefix + name):
                    session.create(prefix + name)
                    session.subscribe(prefix + name)
            while not self.stop.is_set():
                self._act(session, side, prefix)
                self.acts += 1
                self.stop.wait(EVERY)
        finally:
            with contextlib.suppress(OSError, errors.CutoverError):
                session.logout()

    def _act(self, session, side, prefix):
        client, act = session.client, self.random.choice(ACTS[side])
        if act == "send":
            return self._keep_sent(session, side, prefix + SENT)
        if act == "remove":
            return self._remove_sent(session, prefix + SENT)
        client.select_folder("INBOX")
        uids = client.search("ALL")
        if not uids:
            return None
        uid = self.random.choice(uids[-50:])
        if act == "read":
            client.fetch([uid], ["BODY[]"])
        elif act in ("move", "file"):
            self._move(session, uid, side, prefix + (MOVED_TO if act == "move" else MADE))
        else:
            change = client.add_flags if act == "flag" else client.remove_flags
            flags = [b"\\Flagged", b"\\Answered", b"$Traffic"]
            change([uid], flags[: self.random.randrange(1, 4)])
        return None

    def _move(self, session, uid, side, target):
        client = session.client
        if side == "new":
            client.move([uid], target)
            return
        # if it is cut between the two, as by stop-imap, the user is left with both
        header = f"BODY[HEADER.FIELDS ({HEADER.upper()})]".encode()
        reply = client.fetch([uid], [header.replace(b"BODY", b"BODY.PEEK")])[uid]
        key = reply[header].partition(b":")[2].strip().decode()
        client.copy([uid], target)
        try:
            client.delete_messages([uid])
            client.expunge()
        except BaseException:
            self.ledger.note({"key": key, "twice": True, "known": False})
            raise

    def _keep_sent(self, session, side, folder):
        user = self.user
        key = f"{self.mark}-sent-{user}-{len(self.sent)}-{time.time_ns()}"
        text = (
            f"From: <{user}@{self.hosts.site.zone}>\r\nTo: <anna@elsewhere.test>\r\n"
            f"Subject: sent\r\n{HEADER}: {key}\r\n\r\nSent by {user}.\r\n"
        )
        entry = {"key": key, "user": user, "sent": side}
        try:
            session.append(folder, text.encode(), ["\\Seen"])
        except BaseException:
            self.ledger.note({**entry, "known": False})
            raise
        self.ledger.note({**entry, "known": True})
        self.sent.append(key)

    def _remove_sent(self, session, folder):
        if not self.sent:
            return
        key = self.sent.pop(0)
        known = False
        try:
            session.delete(folder, session.find(folder, HEADER, key))
            known = True
        finally:
            self.ledger.note({"key": key, "user": self.user, "removed": True, "known": known})
