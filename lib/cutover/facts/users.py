"""The mail users a host knows, by getent(1), and the store that each belongs to."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cutover import model
from cutover.facts import userdb, userdb_view, yp
from cutover.model import errors

USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}\$?")
HOME = re.compile(r"/[^\x00-\x1f\x7f:]*")


class NoAnswer(errors.TemplatedError):
    """No NIS server answers a host, so its list of users is incomplete."""

    template = (
        "getting the users of {host} failed: no NIS server of the domain {domain} answers "
        "({reason}). Check ypserv on {servers} and ypbind on {host}; `ypwhich` there shows the "
        "server it uses."
    )


class NotListed(errors.TemplatedError):
    """A host does not list some of NIS's users."""

    template = (
        "getent on {host} does not list these mail users of NIS: {users}. Look for accounts of the "
        "same name in its /etc/passwd and for a missing nis in nsswitch.conf. Add users this host "
        "must not know to users.exclude."
    )


@dataclass(frozen=True)
class Account:
    """One mail user, as in passwd(5)."""

    user: str
    uid: int
    gid: int
    home: str

    def fill(self, template: str) -> str:
        """A template of the parameters with the user's name and home."""
        return template.format(user=self.user, home=self.home)


def parse_passwd(
    text: str, uid_min: int, uid_max: int, exclude: Collection[str] = ()
) -> list[Account]:
    """The mail users in lines of passwd(5), sorted by name. Raises Unreadable.

    Of two lines with the same name the first counts, as in a lookup.
    """
    accounts = {}
    seen = set()
    for line in model.lines(text):
        fields = line.split(":")
        if len(fields) < 7 or not fields[2].isdigit() or fields[0] in seen:
            continue
        name, home = fields[0], fields[5]
        seen.add(name)
        if uid_min <= int(fields[2]) <= uid_max and name not in exclude:
            # names and homes become paths and arguments on the hosts
            if not USER.fullmatch(name) or not HOME.fullmatch(home) or "/../" in home + "/":
                raise errors.Unreadable(
                    f"user {name!r} with home {home!r} cannot be handled: a user name may contain "
                    "letters, digits and . _ - @ +, and a home must be an absolute path. Rename "
                    "the user or add it to users.exclude."
                )
            accounts[name] = Account(name, int(fields[2]), int(fields[3]), home)
    return [accounts[name] for name in sorted(accounts)]


def read(hosts, name: str) -> list[Account]:
    """The mail users a host knows, from any source getent uses (/etc/passwd, NIS, LDAP).

    getent silently omits users of a directory that does not answer. So this raises Unreadable when
    no user is left, and on a site with NIS NoAnswer or NotListed unless all its users are there.
    Of several stores only the users of this one; Unreadable when it has none.
    """
    accounts = of_store(hosts, everybody(hosts, name))
    if not accounts:
        raise errors.Unreadable(
            f"no mail user of {name} belongs to the store {hosts.site.store}. Check its alias, "
            "users.only and users.homes, and the userdb."
        )
    return accounts


def everybody(hosts, name: str) -> list[Account]:
    """The mail users a host knows, whichever store they belong to. Raises as read()."""
    site = hosts.site
    accounts = mail_users(site, hosts.run(name, ["getent", "passwd"]).text)
    if site.nis is not None:
        reply = yp.ask(hosts, name, ["ypcat", "-d", site.nis.domain, "passwd.byname"])
        if reply.rc:
            raise NoAnswer(
                host=name,
                domain=site.nis.domain,
                servers=", ".join(site.nis.servers),
                reason=yp.reason(reply),
            )
        listed = {account.user for account in accounts}
        in_nis = [account.user for account in mail_users(site, reply.text)]
        missing = [user for user in in_nis if user not in listed]
        if missing:
            raise NotListed(host=name, users=", ".join(missing))
    if not accounts:
        raise errors.Unreadable(
            f"{name} has no user with a uid from {site.users.uid_min} to {site.users.uid_max}. "
            "Check that its source of users (NIS, LDAP) answers and that `users` gives the right "
            "range."
        )
    return accounts


def find(hosts, name: str, login: str) -> Account | None:
    """A host's mail user by name, or None. Raises as read()."""
    return next((account for account in read(hosts, name) if account.user == login), None)


def of_store(hosts, accounts: Sequence[Account]) -> list[Account]:
    """Those who belong to the site's store; all where the site has only one."""
    site = hosts.site
    if not site.others:
        return list(accounts)
    belong = stores_of(site, accounts, recipients(hosts))
    return [account for account in accounts if site.store in belong[account.user]]


def recipients(hosts) -> dict[str, list[str]]:
    """`{user: [addresses]}` that the userdb of the first MX gives."""
    site = hosts.site
    return userdb.recipients(userdb_view.read_source(hosts, site.roles.mx[0], site.userdb.source))


def stores_of(
    site, accounts: Sequence[Account], recipients: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """`{user: the stores it belongs to}`, which should be one.

    `users.only` of a store decides first, then the home (`users.homes`), then the userdb: a user
    belongs to the store whose mailbox of the same name gets its mail.
    """
    sites = {part.store: part for part in (site, *site.others)}
    stores = sorted(sites)
    named = {user: store for store in stores for user in sites[store].users.only}
    places = {
        store: tuple(place.rstrip("/") + "/" for place in sites[store].users.homes)
        for store in stores
    }
    belong = {}
    for account in accounts:
        user, home = account.user, account.home.rstrip("/") + "/"
        at_home = [store for store in stores if home.startswith(places[store])]
        belong[user] = (
            [named[user]] if user in named else at_home or routed_to(site, user, recipients)
        )
    return belong


def routed_to(site, user: str, recipients: Mapping[str, Sequence[str]]) -> list[str]:
    """The stores whose mailbox of the same name gets a user's mail."""
    own = user.lower() + "@"
    addresses = recipients.get(user.lower(), ())
    mailboxes = {part.removeprefix(own) for part in addresses if part.startswith(own)}
    parts = (site, *site.others)
    return sorted(part.store for part in parts if mailboxes & part.mailbox_domains)


def mail_users(site, text: str) -> list[Account]:
    """The site's mail users in lines of passwd(5), of every store."""
    return parse_passwd(text, site.users.uid_min, site.users.uid_max, site.users.exclude)
