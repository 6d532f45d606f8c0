"""Roundcube as its user meets it, over HTTPS: a page with a form, a password, a list of messages, a message."""

import http.client
import http.cookiejar
import json
import re
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request

from cutover.connect import imap
from cutover.facts import alias_service as live
from cutover.model import errors

TOKEN = re.compile(r'name="_token" value="([^"]+)"')
ENVIRONMENT = re.compile(r"rcmail\.set_env\((\{.*?\})\);")
ROW = re.compile(r"this\.add_message_row\(\"?(\d+)\"?,")
MOST = 4_000_000  # bytes of a page
LOOKS = 5  # into a journal


class WebmailError(errors.TemplatedError):
    """The webmail does not do what its users need; the data of each kind are attributes."""

    template = "{url}: {reason}"


class NoWebmail(WebmailError):
    """Nothing answers at the address, or nothing that is Roundcube."""


class LoginRefused(WebmailError):
    """Roundcube did not let the user in: the password, or the IMAP server behind it."""

    template = "{url}: {user} was not let in ({reason}): is the IMAP server there, that Roundcube's imap_host names?"


class _Connection(http.client.HTTPSConnection):
    """A connection to one address, whatever the name says; the certificate is checked for the name."""

    def __init__(self, *arguments, address, **options):
        super().__init__(*arguments, **options)
        self._create_connection = lambda named, *rest, **more: socket.create_connection(
            (address, named[1]), *rest, **more
        )


class _Handler(urllib.request.HTTPSHandler):
    def __init__(self, address, context):
        super().__init__(context=context)
        self.address, self.context = address, context

    def https_open(self, request):
        return self.do_open(_Connection, request, context=self.context, address=self.address)


class Browser:
    """A session with one Roundcube. Parameters: its `url`, the `address` at which it is, `ca`: a file, or the system's."""

    def __init__(self, url: str, address: str, ca=None, timeout: float = 30):
        self.url, self.timeout, self.request_token, self.mailboxes = url, timeout, "", []
        try:
            context = ssl.create_default_context(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            raise NoWebmail(url=url, reason=f"the CA file {ca} cannot be used: {error}") from error
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
            _Handler(address, context),
        )

    def _page(self, query, data=None, remote=False):
        """(status, text) of a page. With `remote` as Roundcube's own scripts ask."""
        asked = urllib.request.Request(
            f"{self.url}?{urllib.parse.urlencode(query)}",
            data=urllib.parse.urlencode(data).encode() if data else None,
        )
        if remote:
            asked.add_header("X-Roundcube-Request", self.request_token)
            asked.add_header("X-Requested-With", "XMLHttpRequest")
        try:
            with self._opener.open(asked, timeout=self.timeout) as answer:
                return answer.status, answer.read(MOST).decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(MOST).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise NoWebmail(
                url=self.url, reason=getattr(error, "reason", None) or error or type(error).__name__
            ) from error

    def front(self) -> str:
        """Roundcube's login page; its form's token. Raises NoWebmail."""
        status, text = self._page({"_task": "login"})
        found = TOKEN.search(text)
        if status != 200 or not found:
            raise NoWebmail(url=self.url, reason=f"status {status}, and no login form of Roundcube")
        return found[1]

    def login(self, user: str, password: str):
        """Raises LoginRefused, NoWebmail."""
        token = self.front()
        status, text = self._page(
            {"_task": "login"},
            {
                "_token": token,
                "_task": "login",
                "_action": "login",
                "_timezone": "UTC",
                "_url": "",
                "_user": user,
                "_pass": password,
            },
        )
        environment = {}
        for part in ENVIRONMENT.findall(text):
            environment.update(json.loads(part))
        if environment.get("task") != "mail":
            raise LoginRefused(url=self.url, user=user, reason=f"status {status}")
        self.request_token = environment["request_token"]
        self.mailboxes = sorted(
            imap.decode_name(name.encode()) for name in environment.get("mailboxes", {})
        )

    def _remote(self, action, **query):
        status, text = self._page(
            {"_task": "mail", "_action": action, "_remote": "1", **query}, remote=True
        )
        try:
            answer = json.loads(text)
        except ValueError:
            answer = {}
        if status != 200 or answer.get("action") != action:
            raise WebmailError(
                url=self.url, reason=f"{action}: status {status}, and no answer of Roundcube"
            )
        return answer

    def listed(self, folder: str) -> dict:
        """`{"count": messages in the folder, "uids": those of the first page}`, the newest first."""
        answer = self._remote("list", _mbox=folder, _sort="_", _page="1")
        return {
            "count": answer["env"].get("messagecount", 0),
            "uids": [int(uid) for uid in ROW.findall(answer.get("exec", ""))],
        }

    def find(self, folder: str, subject: str) -> list:
        """UIDs of the messages with a text in their subject, as the IMAP server finds them."""
        answer = self._remote(
            "search", _mbox=folder, _q=subject, _headers="subject", _scope="base", _filter="ALL"
        )
        return [int(uid) for uid in ROW.findall(answer.get("exec", ""))]

    def read(self, folder: str, uid: int) -> str:
        """The page that shows a message. Raises WebmailError."""
        status, text = self._page(
            {"_task": "mail", "_action": "show", "_mbox": folder, "_uid": uid}
        )
        if status != 200 or 'id="messagebody"' not in text:
            raise WebmailError(
                url=self.url, reason=f"status {status}, and no message {uid} of {folder}"
            )
        return text

    def logout(self):
        self._page({"_task": "logout", "_token": self.request_token})


def look(hosts, user: str, token: str = "") -> dict:
    """Log in as a test user, and read a message: the one with `token` in its subject, or the newest one of INBOX.

    → `{"messages": number in INBOX, "folders": names it shows, "token": is there such a message?, "read": was it shown, and with
    `token` does its page hold that?}`; "read" None when there was no message to read. Nothing else of the page is kept.
    """
    hosts.prove()
    section = hosts.site.webmail
    browser = Browser(section.url, hosts.site.address(section.host), section.ca)
    browser.login(user, live.password(hosts, user))
    try:
        listed = browser.listed("INBOX")
        uids = browser.find("INBOX", token) if token else listed["uids"]
        page = browser.read("INBOX", uids[0]) if uids else None
        return {
            "messages": listed["count"],
            "folders": browser.mailboxes,
            "token": bool(token and uids),
            "read": None if page is None else token in page,
        }
    finally:
        browser.logout()


def comers(hosts, user: str, since: int, wanted: str) -> list:
    """The addresses from which a user has logged in to the new server's Dovecot since a time, by its journal; sorted. What
    Dovecot logs may come late: while others are there and `wanted` is not, it is read again, at most LOOKS times."""
    argv = ["journalctl", "-q", "--no-pager", "-o", "cat", f"--since=@{since}", "-t", "dovecot"]
    for look in range(LOOKS):
        text = hosts.run(hosts.site.roles.new, argv, sudo=True, check=False).text
        found = set(
            re.findall(
                rf"imap-login: Login: user=<{re.escape(user)}>.*? rip=([0-9A-Fa-f.:]+)", text
            )
        )
        if not found or wanted in found or look == LOOKS - 1:
            return sorted(found)
        time.sleep(0.5)
