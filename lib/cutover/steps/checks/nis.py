"""What preflight asks of NIS, where the users come from it: a mail host that gets no answer knows no user, and its sendmail sends
their mail back. Judged from the facts of hosts/nis.py."""

from cutover import model

SHOWN = 8
COPIES = {"extrausers", "db"}  # nsswitch.conf's sources of users of a host's own, besides files
PUSH = "on the master: `make -C /var/yp`, which pushes the maps, or `yppush MAP`; else on the slave: `ypxfr -f MAP`"


def checks(found, site):
    """The checks; `found`: preflight's facts. None for facts that were recorded before NIS was looked at."""
    if "nis" not in found:
        return
    read = found["nis"]
    if site.nis is None or read.get("value", read) is None:
        yield model.Check(
            "Do the users come from NIS?",
            "known",
            "not declared",
            True,
            "if they do, declare `nis` in the parameters: then no step takes a silent NIS for one without users",
        )
        return
    if "error" in read:
        yield model.Check(
            "Do the users come from NIS?", f"the domain {site.nis.domain}", read["error"], False
        )
        return
    read = read["value"]
    for name, about in read["clients"].items():
        yield from _client(name, about, site)
    yield from _servers(read["servers"])
    asked = [name for name, result in read["servers"].items() if "maps" in result]
    yield model.Check(
        "Are the maps the same on every NIS server?",
        "the same",
        _listed(read["differ"])
        or (
            "the same"
            if len(asked) == len(site.nis.servers)
            else f"only {', '.join(asked) or 'none'} asked"
        ),
        not read["differ"] and len(asked) == len(site.nis.servers),
        f"a host may be bound to either: {PUSH}",
    )
    yield from _users(found["users"], read, site)


def _listed(texts):
    more = f"; and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return "; ".join(texts[:SHOWN]) + more


def _client(name, about, site):
    question = f"Does {name} get its users from NIS?"
    expected = f"bound to the domain {site.nis.domain}"
    words = [
        f"the domain {about['domain'] or '(none)'}",
        f"bound to {_called(about['server'], site)}"
        if about["server"]
        else f"no answer of a NIS server: {about['said']}",
    ]
    outside = [
        f"{key}: {about['switch'].get(key) or 'nothing'}"
        for key in ("passwd", "group", "shadow")
        if not {"nis", "compat"}.intersection(about["switch"].get(key, "").split())
    ]
    words += [f"nsswitch.conf has {'; '.join(outside)}"] if outside else []
    yield model.Check(
        question,
        expected,
        ", ".join(words),
        about["domain"] == site.nis.domain and bool(about["server"]) and not outside,
        "look at ypbind there, ypserv on its servers, /etc/defaultdomain, nsswitch.conf. Unbound, sendmail there "
        "knows no user, and sends their mail back unless it was taught to wait (docs/site.md)",
    )
    silent = [f"{server}: {said}" for server, said in about["polls"].items() if said]
    few = len(about["configured"]) < 2 and "broadcast" not in about["configured"]
    yield model.Check(
        f"Has {name} a second NIS server, should the first fall silent?",
        "at least 2 in yp.conf, each answering",
        (", ".join(_called(server, site) for server in about["configured"]) or "none in yp.conf")
        + (f"; no answer: {'; '.join(silent)}" if silent else ""),
        True,
        "name two servers in /etc/yp.conf that answer this host (ypserv's securenets): with one, its restart makes "
        "every user unknown for a moment",
        warning=few or bool(silent),
    )
    if about.get("mail"):  # not in facts that were recorded before it was looked at
        yield _mail(name, about["mail"], COPIES & set(about["switch"].get("passwd", "").split()))


def _mail(name, about, copies):
    back = (
        []
        if copies
        else [
            what
            for what, goes in (
                ("what is sent to it is refused for good", not about["recipients"]),
                ("what is in its queue", not about["queue"]),
                (
                    f"what {about['mailer']} is just delivering",
                    about["mailer"].endswith("/procmail"),
                ),
            )
            if goes
        ]
    )
    return model.Check(
        f"Does mail wait on {name} while NIS is silent?",
        "it waits",
        f"goes back to its sender: {'; '.join(back)}"
        if back
        else f"users are known from {', '.join(copies)}"
        if copies
        else "it waits",
        True,
        "as far as sendmail.cf tells: teach it to wait, as docs/site.md says (Users from NIS)",
        warning=bool(back),
    )


def _called(server, site):
    """A server by its name in the parameters, where it is one of them."""
    return next(
        (
            f"{name}"
            for name in site.nis.servers
            if server in (site.address(name), site.fqdn(name), name)
        ),
        server,
    )


def _servers(servers):
    for name, result in servers.items():
        question = f"Does the NIS server {name} have every map?"
        if "error" in result:
            yield model.Check(
                question,
                "every map",
                result["error"],
                False,
                f"start ypserv on {name}, and let the mail hosts in (/var/yp/securenets)",
            )
            continue
        about = result["maps"]
        lacking = [
            each for each, value in about.items() if value is None and each != "shadow.byname"
        ]  # it may be within passwd
        yield model.Check(
            question,
            "every map",
            (f"no {', '.join(lacking)}; " if lacking else "")
            + "; ".join(
                f"{each} {value['entries']}, order {value['order']}"
                for each, value in about.items()
                if value
            ),
            not lacking,
            f"on {name}: `ypinit -s MASTER` for a slave, `make -C /var/yp` for the master",
        )


def _users(users, read, site):
    if read["users"] is None:
        return
    wanted = {user["user"]: user for user in read["users"]}
    for name in site.mail_hosts:
        hidden = read["hidden"].get(name, [])
        yield model.Check(
            f"Does no account in {name}'s own files stand before a user of NIS?",
            "none",
            _listed(hidden) or "none",
            not hidden,
            "remove it there, or give it another name and uid: its mail would lie under another owner",
        )
        question = f"Is every mail user of {name} the one that NIS has?"
        if "error" in users[name]:
            yield model.Check(question, f"{len(wanted)} users", users[name]["error"], False)
            continue
        wrong, own = [], []
        for user in users[name]["value"]:
            known = wanted.get(user["user"])
            if known is None:
                own.append(user["user"])
            elif known != user:
                wrong.append(f"{_told(user)} there, {_told(known)} in NIS")
        yield model.Check(
            question,
            f"{len(wanted)} users, the same",
            f"{len(users[name]['value'])} users"
            + (f"; {_listed(wrong)}" if wrong else ", the same" if not own else "")
            + (f"; only in files: {_listed(own)}" if own else ""),
            not wrong,
            "one of the two is wrong: mend it before mail is converted to the wrong owner",
            warning=bool(own),
        )


def _told(user):
    return f"{user['user']} (uid {user['uid']}, gid {user['gid']}, home {user['home']})"
