"""Roundcube as its user sees it over HTTPS: a login form, a list of messages, a message."""

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
from dataclasses import dataclass, field, replace

from cutover.connect import imap
from cutover.facts import alias_service, clock, dovecot
from cutover.model import errors, moving

TOKEN = re.compile(r'name="_token" value="([^"]+)"')
ENVIRONMENT = re.compile(r"rcmail\.set_env\((?=\{)")
ROW = re.compile(r"this\.add_message_row\(\"?(\d+)\"?,")
MOST = 4_000_000  # bytes of a page
LOOKS = 5  # into the journal


class WebmailError(errors.TemplatedError):
    """The webmail does not do what its users need."""

    template = "{url}: {reason}"


class NoWebmail(WebmailError):
    """Nothing answers at the address, or it is not Roundcube."""


class LoginRefused(WebmailError):
    """Roundcube refused the user: the password, or the IMAP server behind it."""

    template = (
        "{url} refused the login of {user}: {reason}. Check the password and the IMAP server that "
        "Roundcube's imap_host names."
    )


@dataclass(frozen=True)
class Page:
    """The first page of a folder. count: messages in the folder; uids: newest first."""

    count: int
    uids: list[int]


@dataclass(frozen=True)
class View:
    """What a user sees in the webmail.

    messages: number in INBOX. folders: names it shows. token: the message that was looked for
    exists. read: the message was shown, with the token if one was looked for; None when there was
    no message. comers: addresses from which the user logged in to the new server meanwhile.
    """

    messages: int = moving()
    folders: list[str] = moving()
    token: bool
    read: bool | None = moving()
    comers: list[str] = field(default_factory=list)


class _Connection(http.client.HTTPSConnection):
    """A connection to one address whatever the name resolves to; TLS checks the name."""

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
    """A session with one Roundcube.

    url: as users type it. address: where it is. ca: a file, None for the system's.
    """

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
        """(status, text) of a page. remote: ask as Roundcube's own scripts do."""
        request = urllib.request.Request(
            f"{self.url}?{urllib.parse.urlencode(query)}",
            data=urllib.parse.urlencode(data).encode() if data else None,
        )
        if remote:
            request.add_header("X-Roundcube-Request", self.request_token)
            request.add_header("X-Requested-With", "XMLHttpRequest")
        try:
            with self._opener.open(request, timeout=self.timeout) as reply:
                return reply.status, reply.read(MOST).decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(MOST).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise NoWebmail(
                url=self.url, reason=getattr(error, "reason", None) or error or type(error).__name__
            ) from error

    def front(self) -> str:
        """The token of the form on Roundcube's login page. Raises NoWebmail."""
        status, text = self._page({"_task": "login"})
        match = TOKEN.search(text)
        if status != 200 or not match:
            raise NoWebmail(url=self.url, reason=f"status {status}, and no login form of Roundcube")
        return match[1]

    def login(self, user: str, password: str) -> None:
        """Log in. Raises LoginRefused, NoWebmail."""
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
        environment = parse_environment(text)
        if environment.get("task") != "mail":
            raise LoginRefused(url=self.url, user=user, reason=f"status {status}")
        self.request_token = environment.get("request_token", "")
        self.mailboxes = sorted(
            imap.decode_name(name.encode()) for name in environment.get("mailboxes", {})
        )

    def _remote(self, action, **query):
        status, text = self._page(
            {"_task": "mail", "_action": action, "_remote": "1", **query}, remote=True
        )
        try:
            reply = json.loads(text)
        except ValueError:
            reply = {}
        if status != 200 or reply.get("action") != action:
            raise WebmailError(
                url=self.url, reason=f"{action}: status {status}, and no reply of Roundcube"
            )
        return reply

    def first_page(self, folder: str) -> "Page":
        reply = self._remote("list", _mbox=folder, _sort="_", _page="1")
        uids = [int(uid) for uid in ROW.findall(reply.get("exec", ""))]
        return Page(reply["env"].get("messagecount", 0), uids)

    def find(self, folder: str, subject: str) -> list[int]:
        """UIDs of the messages with a text in their subject."""
        reply = self._remote(
            "search", _mbox=folder, _q=subject, _headers="subject", _scope="base", _filter="ALL"
        )
        return [int(uid) for uid in ROW.findall(reply.get("exec", ""))]

    def read(self, folder: str, uid: int) -> str:
        """The text of the page that shows a message. Raises WebmailError."""
        status, text = self._page(
            {"_task": "mail", "_action": "show", "_mbox": folder, "_uid": uid}
        )
        if status != 200 or 'id="messagebody"' not in text:
            raise WebmailError(
                url=self.url, reason=f"status {status}, and message {uid} of {folder} is not shown"
            )
        return text

    def logout(self) -> None:
        self._page({"_task": "logout", "_token": self.request_token})


def look(hosts, user: str, token: str = "") -> View:
    """Log in as a test user and read a message.

    It reads the message with `token` in its subject, or without a token INBOX's newest one. Nothing
    else of the page is kept. Raises WebmailError.
    """
    hosts.prove()
    site = hosts.site
    since = clock.now(hosts, site.roles.new)
    browser = Browser(site.webmail.url, site.address(site.webmail.host), site.webmail.ca)
    browser.login(user, alias_service.password(hosts, user))
    try:
        first = browser.first_page("INBOX")
        uids = browser.find("INBOX", token) if token else first.uids
        page = browser.read("INBOX", uids[0]) if uids else None
        view = View(
            first.count,
            browser.mailboxes,
            bool(token and uids),
            None if page is None else token in page,
        )
    finally:
        browser.logout()
    addresses = login_addresses(hosts, user, since, site.address(site.webmail.host))
    return replace(view, comers=addresses)


def login_addresses(hosts, user: str, since: int, expected: str) -> list[str]:
    """The addresses from which a user logged in to the new server since a time, sorted.

    By the journal of Dovecot, which may lag: while it has others and not `expected`, it is read
    again, at most LOOKS times.
    """
    argv = ["journalctl", "-q", "--no-pager", "-o", "cat", f"--since=@{since}", "-t", "dovecot"]
    for look_number in range(LOOKS):
        text = hosts.run(hosts.site.roles.new, argv, sudo=True, check=False).text
        addresses = parse_logins(text, user)
        if not addresses or expected in addresses or look_number == LOOKS - 1:
            return addresses
        time.sleep(0.5)


def parse_environment(text: str) -> dict:
    """What a page of Roundcube tells its scripts. It names folders, which may hold `});`."""
    environment = {}
    for call in ENVIRONMENT.finditer(text):
        try:
            values, _ = json.JSONDecoder().raw_decode(text, call.end())
        except ValueError:
            continue  # no JSON, or the page was cut at MOST bytes
        environment.update(values)
    return environment


def parse_logins(text: str, user: str) -> list[str]:
    """The addresses a user logged in from by IMAP, in lines of Dovecot's log; sorted."""
    return sorted(set(re.findall(dovecot.LOGIN.format(user=re.escape(user)), text)))
