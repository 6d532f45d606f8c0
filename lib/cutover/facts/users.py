"""The mail users a host knows."""

import re

from cutover.facts import yp
from cutover.model import errors

USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}\$?")
HOME = re.compile(r"/[^\x00-\x1f\x7f:]*")


class NoAnswer(errors.TemplatedError):
    """NIS is silent on a host, so its list of users is not whole: never taken for a host without users."""

    template = (
        "{host}: no answer of a NIS server of the domain {domain} ({said}), so its users are not known. Is ypserv "
        "running on {servers}, and ypbind on {host}? `ypwhich` there shows the server it has"
    )


class NotListed(errors.TemplatedError):
    """A host hides users whom NIS has."""

    template = (
        "{host}: getent does not list these users of NIS as mail users: {users}. Is an account of the same name in its "
        "/etc/passwd, or has nsswitch.conf no nis? Whom it may not know goes into users.exclude"
    )


def parse_passwd(text: str, uid_min: int, uid_max: int, exclude=()) -> list:
    """Lines of passwd(5) → `[{"user", "uid", "gid", "home"}]` sorted by user. Of two lines of a name the first counts, as it
    does where a user is looked up."""
    found, seen = [], set()
    for line in text.splitlines():
        fields = line.split(":")
        if len(fields) < 7 or not fields[2].isdigit() or fields[0] in seen:
            continue
        seen.add(fields[0])
        if uid_min <= int(fields[2]) <= uid_max and fields[0] not in exclude:
            if (
                not USER.fullmatch(fields[0])
                or not HOME.fullmatch(fields[5])
                or "/../" in fields[5] + "/"
            ):
                # names and homes become paths and arguments on the hosts
                raise errors.Unreadable(
                    f"the user {fields[0]!r} with the home {fields[5]!r}: a user's name may hold letters, digits, "
                    "'.', '_', '-', '@' and '+', and a home is an absolute path. Rename it, or list it in "
                    "users.exclude"
                )
            found.append(
                {"user": fields[0], "uid": int(fields[2]), "gid": int(fields[3]), "home": fields[5]}
            )
    return sorted(found, key=lambda user: user["user"])


def read(hosts, name: str) -> list:
    """The mail users a host knows, by getent, so that NIS or LDAP serve as well as /etc/passwd.

    getent leaves out without a word whoever comes from a directory that is silent. So it raises Unreadable when nobody is left,
    and where NIS is declared NoAnswer or NotListed unless all its users are there.
    """
    site = hosts.site
    found = mail_users(site, hosts.run(name, ["getent", "passwd"]).text)
    if site.nis is not None:
        answer = yp.ask(hosts, name, ["ypcat", "-d", site.nis.domain, "passwd.byname"])
        if answer.rc:
            raise NoAnswer(
                host=name,
                domain=site.nis.domain,
                servers=", ".join(site.nis.servers),
                said=yp.reason(answer),
            )
        listed = {user["user"] for user in found}
        lacking = [
            user["user"] for user in mail_users(site, answer.text) if user["user"] not in listed
        ]
        if lacking:
            raise NotListed(host=name, users=", ".join(lacking))
    if not found:
        raise errors.Unreadable(
            f"{name} knows no user with a uid from {site.users.uid_min} to {site.users.uid_max}: is what it has its "
            "users from (NIS, LDAP) silent, or does `users` say another range?"
        )
    return found


def find(hosts, name: str, login: str) -> dict | None:
    """A host's mail user by name, see read(); None when it has no such user."""
    return next((each for each in read(hosts, name) if each["user"] == login), None)


def mail_users(site, text: str) -> list:
    return parse_passwd(text, site.users.uid_min, site.users.uid_max, site.users.exclude)
