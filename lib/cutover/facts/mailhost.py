"""Facts that several steps read: a command and a parser each. They change nothing."""

import re
import time

from cutover.facts import services, userdb
from cutover.model import errors

USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}\$?")
MAIL_PORTS = (25, 110, 143, 993, 995)  # SMTP, POP3, IMAP, and the last two by TLS
NIS_PATIENCE = 30  # seconds for the answer to one yp command
HOME = re.compile(r"/[^\x00-\x1f\x7f:]*")


class Unreadable(errors.CutoverError):
    """A command that only reads gave an answer that cannot be understood."""


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


# --- services and processes


def service(hosts, name: str, wanted: dict) -> dict:
    """`{"running": bool, "starts_at_boot": bool, "detail": str}` of one service (`{"manager", "name"}`)."""
    result = hosts.run(name, services.status_argv(wanted), sudo=True, check=False)
    state = services.parse_status(wanted, result)
    return {
        "running": state.running,
        "starts_at_boot": state.starts_at_boot,
        "detail": state.detail,
    }


def log_end(hosts, name: str, unit: str) -> str:
    """The last lines of a unit's own log, where systemd keeps one; empty where there is none."""
    argv = ["journalctl", "--no-pager", "-q", "-o", "cat", "-n", "6", "-u", unit]
    return hosts.run(name, argv, sudo=True, check=False).text.strip()


def processes(hosts, name: str, commands) -> list:
    """Processes whose command name is one of `commands`: `[{"pid", "user", "command"}]`."""
    text = hosts.run(name, ["ps", "-eo", "pid=,user:32=,comm="]).text
    found = []
    for line in text.splitlines():
        pid, user, command = line.split(None, 2)
        if command.strip() in commands:
            found.append({"pid": int(pid), "user": user, "command": command.strip()})
    return found


# --- mail queue and userdb


def parse_queue(text: str) -> dict:
    """The output of `mailq -v`: `{"requests": n, "items": [one line a queued message: id, size, priority, time, <sender>,
    recipients, (reasons)]}`.

    It may list several queues, each with its total. A queue id ends in a digit; a mark after it (`*` being worked on, `-` too
    young, `X` the load is too high) is none of it. sendmail cuts addresses at 78 characters (without -v at 38): the end of a
    sender is then `…>`.
    """
    totals = [int(count) for count in re.findall(r"Total requests: (\d+)", text)]
    if not totals and "is empty" not in text:
        raise Unreadable(f"mailq answered {text[:200]!r}")
    items, current = [], None
    for line in text.splitlines():
        start = re.match(r"^([0-9A-Za-z]{9,}[0-9])[*X-]?\s+(.*)", line)
        if "Total requests: " in line:
            current = None
        elif start:
            said = start[2].strip()
            current = [start[1], said + ("…>" if "<" in said and ">" not in said else "")], []
            items.append(current)
        elif (
            current is not None
            and line.startswith((" ", "\t"))
            and not line.strip().startswith("(---:")
        ):  # who is responsible
            current[line.strip().startswith("(")].append(line.strip())
    return {"requests": sum(totals), "items": [" ".join(said + reasons) for said, reasons in items]}


def queue(hosts, name: str) -> dict:
    """Sendmail's queue on a host, see parse_queue."""
    return parse_queue(hosts.run(name, ["mailq", "-v"], sudo=True, check=False).text)


def waiting(hosts, name: str, patience: float = 15.0) -> dict:
    """What stands in a host's queue now and still does after `patience` seconds, in parse_queue's shape.

    A busy MX always has some message in its queue for a moment; what stays is what matters. An empty queue answers at once. A
    message without a reason beside it is being delivered: it is given four times the patience.
    """
    left = queue(hosts, name)["items"]
    began = time.monotonic()
    while left:
        reasons = any("(" in item for item in left)
        if time.monotonic() - began > (patience if reasons else 4 * patience):
            break
        time.sleep(0.5)
        now = {item.partition(" ")[0]: item for item in queue(hosts, name)["items"]}
        left = [now[item.partition(" ")[0]] for item in left if item.partition(" ")[0] in now]
    return {"requests": len(left), "items": left}


def spooled(hosts, name: str, directory: str) -> dict:
    """`{file name: bytes}` of what lies in a spool directory of a host; empty where there is no such directory."""
    argv = ["find", directory, "-maxdepth", "1", "-type", "f", "-size", "+0", "-printf", "%f %s\\n"]
    lines = hosts.run(name, argv, sudo=True, check=False).text.splitlines()
    return {file: int(size) for file, _, size in (line.rpartition(" ") for line in lines)}


def parse_map_dump(out: bytes) -> list:
    """The output of `makemap -u`: `[[key, value], …]`, sorted; text with surrogates for raw 8-bit bytes."""
    pairs = []
    for line in out.splitlines():
        key, _, value = line.decode("utf-8", "surrogateescape").partition("\t")
        if key:
            pairs.append([key, value.strip()])
    return sorted(pairs)


def source_as_map(data: bytes) -> list:
    """What `makemap btree` makes of a userdb source, in parse_map_dump's shape: keys folded to lower case."""
    pairs = []
    for entry in userdb.parse(data):
        pairs.append([f"{entry.key}:{entry.field}".lower(), entry.value.strip()])
    return sorted(pairs)


def userdb_map(hosts, name: str, path: str) -> list:
    """What the map on a host holds, see parse_map_dump; empty when there is no map."""
    result = hosts.run(name, ["makemap", "-u", "btree", path], sudo=True, check=False)
    return [] if result.rc else parse_map_dump(result.out)


def userdb_source(hosts, name: str, path: str) -> bytes:
    return hosts.ssh(name).get(path, sudo=True)


# --- users


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
                raise Unreadable(
                    f"the user {fields[0]!r} with the home {fields[5]!r}: a user's name may hold letters, digits, "
                    "'.', '_', '-', '@' and '+', and a home is an absolute path. Rename it, or list it in "
                    "users.exclude"
                )
            found.append(
                {"user": fields[0], "uid": int(fields[2]), "gid": int(fields[3]), "home": fields[5]}
            )
    return sorted(found, key=lambda user: user["user"])


def users(hosts, name: str) -> list:
    """The mail users a host knows, by getent, so that NIS or LDAP serve as well as /etc/passwd.

    getent leaves out without a word whoever comes from a directory that is silent. So it raises Unreadable when nobody is left,
    and where NIS is declared NoAnswer or NotListed unless all its users are there.
    """
    site = hosts.site
    found = mail_users(site, hosts.run(name, ["getent", "passwd"]).text)
    if site.nis is not None:
        answer = ask_nis(hosts, name, ["ypcat", "-d", site.nis.domain, "passwd.byname"])
        if answer.rc:
            raise NoAnswer(
                host=name,
                domain=site.nis.domain,
                servers=", ".join(site.nis.servers),
                said=said(answer),
            )
        listed = {user["user"] for user in found}
        lacking = [
            user["user"] for user in mail_users(site, answer.text) if user["user"] not in listed
        ]
        if lacking:
            raise NotListed(host=name, users=", ".join(lacking))
    if not found:
        raise Unreadable(
            f"{name} knows no user with a uid from {site.users.uid_min} to {site.users.uid_max}: is what it has its "
            "users from (NIS, LDAP) silent, or does `users` say another range?"
        )
    return found


def user(hosts, name: str, login: str) -> dict | None:
    """A host's mail user by name, see users(); None when it has no such user."""
    return next((each for each in users(hosts, name) if each["user"] == login), None)


def mail_users(site, text: str) -> list:
    return parse_passwd(text, site.users.uid_min, site.users.uid_max, site.users.exclude)


def ask_nis(hosts, name: str, argv):
    """The ssh.Result of one of the yp commands on a host. Root's port is below 1024: others are not given shadow.byname."""
    return hosts.run(
        name,
        ["timeout", str(NIS_PATIENCE), *argv],
        sudo=True,
        check=False,
        timeout=NIS_PATIENCE + 60,
    )


def said(result) -> str:
    """Why a yp command failed, in its own words."""
    if result.rc == 124:
        return f"nothing within {NIS_PATIENCE} s"
    lines = [
        line.strip() for line in result.err.decode("utf-8", "replace").splitlines() if line.strip()
    ]
    return lines[-1].rpartition("Reason: ")[2].strip() if lines else f"exit {result.rc}"


# --- zone


def alias(hosts) -> dict:
    """What each authoritative server says of the names the cutover touches.

    `{server: {"serial": n, "records": {fqdn: {type: {"ttl": s, "values": [...]}}}}}`
    """
    site = hosts.site
    names = [site.fqdn(name) for name in (site.alias, site.roles.old, site.roles.new)]

    def of(server_name):
        server = hosts.dns(server_name)
        records = {
            name: {
                kind: {"ttl": rrset.ttl, "values": list(rrset.values)}
                for kind, rrset in server.all_types(name).items()
            }
            for name in names
        }
        return {"serial": server.serial(site.zone), "records": records}

    return hosts.each(site.roles.nameservers, of)


# --- clocks, ports


def clock(hosts, name: str) -> int:
    """Seconds since the epoch, by a host's own clock."""
    return int(hosts.run(name, ["date", "+%s"]).text)


def clock_offset(hosts, name: str) -> float:
    """Seconds by which a host's clock is ahead of this machine's, to about half the round trip."""
    before = time.time()
    text = hosts.run(name, ["date", "+%s.%N"]).text
    after = time.time()
    return round(float(text) - (before + after) / 2, 3)


def ports(hosts, name: str, wanted) -> dict:
    """`{str(port): accepted?}` tried from this machine."""
    return {str(port): hosts.port_open(name, port) for port in wanted}


# --- routes


def parse_routes(text: str) -> dict:
    """The output of `sendmail -bv USER …`: `{user as asked: [final recipients]}`.

    Sendmail prints a line a final recipient, `ADDRESS... deliverable: mailer M, host H, user U`; the address is the one
    given, or the one that userdb made of it. Recipients are grouped by their local part.
    """
    found = {}
    for line in text.splitlines():
        match = re.match(r"^(\S+?)\.\.\. (deliverable: .*)$", line.strip())
        if match:
            final = re.search(r"user (\S+)$", match[2])
            address = (final[1] if final and "@" in final[1] else match[1]).strip("<>").lower()
            found.setdefault(address.partition("@")[0], []).append(address)
    return found


def routes(hosts, name: str, users) -> dict:
    """Where an MX would deliver each user's mail, by `sendmail -bv`, see parse_routes."""
    found = {user: [] for user in users}
    for start in range(0, len(users), 200):
        result = hosts.run(
            name,
            ["sendmail", "-bv", *users[start : start + 200]],
            sudo=True,
            check=False,
            timeout=300,
        )
        found.update(parse_routes(result.text))
    return found


def userdb_backup(hosts, name: str, path: str):
    """The backup's bytes, or None before there is one."""
    if hosts.run(name, ["test", "-e", path], sudo=True, check=False).rc:
        return None
    return hosts.ssh(name).get(path, sudo=True)
