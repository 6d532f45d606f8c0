"""All that can be known before the night, read-only. Each check is a question with what to do about its answer."""

from cutover import model
from cutover.carryback import left_behind, notes
from cutover.connect import dns, tls
from cutover.facts import alias_service as live
from cutover.facts import clock, free_space, machine, mail_queue, userdb, users, zone
from cutover.facts import nis as directory
from cutover.model import attempt, equal
from cutover.remote import converter
from cutover.steps.checks import antispam, clocks, nis, systems
from cutover.steps.checks import zone as zone_checks

OTHERS_SHOWN = 8


def probe(ctx):
    """Each part is `{"value": …}` or `{"error": text}`, so that one host's fault hides no other."""
    hosts, site = ctx.hosts, ctx.site
    new, old = site.roles.new, site.roles.old
    names = [*site.cutover_hosts, *([site.roles.backup] if site.roles.backup else [])]
    reach = hosts.each(names, lambda name: attempt(_sudo, hosts, name))
    up = {name for name, result in reach.items() if "value" in result}
    found = {
        "reach": reach,
        "servers": attempt(zone.read, hosts),
        "update": attempt(_update_permitted, hosts, site),
    }

    def on(name, function, *arguments):
        if name not in up:
            return {"error": f"{name} cannot be reached"}
        return attempt(function, hosts, *arguments)

    found["clock"] = hosts.each(sorted(up), lambda name: attempt(clock.offset, hosts, name))
    found["users"] = {name: on(name, users.read, name) for name in site.mail_hosts}
    found["nis"] = attempt(directory.read, hosts, up)
    found["names"] = {name: on(name, _local_names, name) for name in site.mail_hosts}
    found["certificate"] = attempt(
        tls.certificate,
        site.address(new),
        site.production_test.imap_port,
        site.fqdn(site.alias),
        site.production_test.ca,
    )
    found["passwords"] = {
        each.user: attempt(live.has_password, hosts, each.user) for each in site.accounts
    }
    found["dovecot"] = on(new, _dovecot, new)
    found["python"] = on(new, _python, new)
    found["imapd"] = on(old, _imapd, old)
    found["space"] = on(new, free_space.read, new, site.new_store.work)
    found["machine"] = on(new, machine.read, new, site.new_store.work)
    found["machines"] = hosts.each(
        {each.host: each.path for each in site.store_hosts},
        lambda name: attempt(
            machine.read,
            hosts,
            name,
            next(each.path for each in site.store_hosts if each.host == name),
        ),
    )
    found["survey"] = on(new, _survey, site, ctx.run_name, found["users"][new])
    found["mx"] = {
        name: {
            "userdb": on(name, _userdb, name, site.userdb.source),
            "queue": on(name, mail_queue.waiting, name),
        }
        for name in site.roles.mx
    }
    found["left_behind"] = on(old, left_behind.read)
    found["systems"] = systems.probe(hosts, site)
    found["antispam"] = antispam.probe(hosts, site, on)
    return found


def plan(found, site):
    return model.Plan(reason="preflight only reads")


# --- what is read


def _sudo(hosts, name):
    return hosts.run(name, ["id", "-un"], sudo=True, timeout=20).text.strip()


def _update_permitted(hosts, site):
    alias, old = site.fqdn(site.alias), site.fqdn(site.roles.old)
    # an update-policy judges record by record: ask about those that the cutover writes
    records = [(alias, "A"), (alias, "CNAME"), (old, "A")]
    dns.update_permitted(hosts.dns(site.roles.nameservers[0]), site.zone, hosts.dns_key(), records)
    return True


def _local_names(hosts, name):
    """Sendmail's class w: the names under which it takes mail as its own."""
    text = hosts.run(name, ["sendmail", "-bt"], sudo=True, input=b"$=w\n/quit\n", check=False).text
    return sorted(
        {
            line.removeprefix("> ").strip().lower()
            for line in text.splitlines()
            if line.strip() and " " not in line.removeprefix("> ").strip()
        }
    )


def _dovecot(hosts, name):
    """`{"mail_location": "maildir:PATH"}`; Dovecot 2.4 says it in two settings."""
    one = hosts.run(name, ["doveconf", "-h", "mail_location"], sudo=True, check=False)
    if one.rc == 0:
        return {"mail_location": one.text.strip()}
    driver, path = (
        hosts.run(name, ["doveconf", "-h", key], sudo=True).text.strip()
        for key in ("mail_driver", "mail_path")
    )
    return {"mail_location": f"{driver}:{path}"}


def _python(hosts, name):
    return hosts.run(
        name,
        [hosts.site.new_store.python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
    ).text.strip()


def _imapd(hosts, name):
    hosts.run(name, ["test", "-x", hosts.site.old_store.imapd])
    return hosts.site.old_store.imapd


def _survey(hosts, site, run_name, users):
    if "error" in users:
        raise model.CannotPlan(f"the users of {site.roles.new} are not known: {users['error']}")
    plan_json = converter.plan(site, run_name, users["value"], site.new_store.jobs)
    return converter.read(hosts, site.roles.new, plan_json, "survey", timeout=3600)


def _userdb(hosts, name, path):
    return userdb.read_source(hosts, name, path).decode("utf-8", "surrogateescape")


# --- what is judged


def verify(found, site):
    return [
        *_reach(found),
        *_zone(found, site),
        *_people(found, site),
        *nis.checks(found, site),
        *_mail_names(found, site),
        *_new_server(found, site),
        *_test_users(found),
        *_old_mail(found, site),
        *_left_behind(found, site),
        *_machines(found, site),
        *_mx(found, site),
        *antispam.checks(found, site),
        clocks.agree(
            model.from_json(dict[str, model.Reading[float]], found["clock"]), site.limits.clock
        ),
        *(systems.checks(found["systems"], site) if "systems" in found else ()),
    ]


def _failed(question, expected, result, todo):
    return model.Check(question, expected, result["error"], False, todo)


def _reach(found):
    for name, result in found["reach"].items():
        question = f"Does {name} let the operator in, and become root by `sudo -n`?"
        if "error" in result:
            yield _failed(
                question,
                "root",
                result,
                "mend it before anything else; the rest about this host is unknown",
            )
        else:
            yield equal(
                question, "root", result["value"], "give the operator `NOPASSWD: ALL` in sudoers"
            )


def _zone(found, site):
    if "error" in found["servers"]:
        yield _failed(
            "Do all name servers answer for the zone?",
            "yes",
            found["servers"],
            "nothing can be switched without",
        )
    else:
        servers = found["servers"]["value"]
        yield zone_checks.same_serial(model.from_json(dict[str, zone.Server], servers))
        alias = site.fqdn(site.alias)
        records = servers[site.roles.nameservers[0]]["records"][alias]
        ttl = max((rrset["ttl"] for rrset in records.values()), default=0)
        yield model.Check(
            f"Is the TTL of {alias} short enough to wait for?",
            f"at most {site.limits.alias_ttl} s",
            f"{ttl} s" if records else "no such name",
            bool(records) and ttl <= site.limits.alias_ttl,
            "lower it now, and begin when the old TTL has passed",
        )
        known = [kind for kind in ("A", "AAAA", "CNAME") if kind in records]
        yield model.Check(
            f"Does {alias} lead to the old server?",
            site.address(site.roles.old),
            ", ".join(value for kind in known for value in records[kind]["values"]) or "nothing",
            _leads(records, site),
            "the parameters and the zone speak of different hosts: which is right?",
        )
    question = "May the operator's TSIG key update the zone?"
    if "error" in found["update"]:
        yield _failed(
            question,
            "yes",
            found["update"],
            "compare the key with named.conf (allow-update or update-policy)",
        )
    else:
        yield model.Check(question, "yes", "yes", True)


def _leads(records, site):
    if "CNAME" in records:
        return records["CNAME"]["values"][0].rstrip(".") in (
            site.fqdn(site.roles.old),
            site.fqdn(site.roles.new),
        )
    return site.address(site.roles.old) in [
        value for kind in ("A", "AAAA") for value in records.get(kind, {}).get("values", [])
    ]


def _people(found, site):
    old, new = (found["users"][name] for name in site.mail_hosts)
    question = "Do both mail hosts know the same users, with the same uid, gid and home?"
    for result in (old, new):
        if "error" in result:
            yield _failed(question, "the same", result, "")
            return
    wrong = strangers({site.roles.old: old["value"], site.roles.new: new["value"]}, site)
    yield model.Check(
        question,
        f"{len(old['value'])} users, the same",
        f"{len(new['value'])} users"
        + (", the same" if not wrong else "; " + "; ".join(wrong[:OTHERS_SHOWN])),
        not wrong and bool(old["value"]),
        "make them equal (passwd, NIS or LDAP) before mail is converted to the wrong owner",
    )


def strangers(users, site) -> list:
    """What two lists of users (`{host: users.read}`) do not share, in words, one entry a user."""
    sides = [
        {user["user"]: (user["uid"], user["gid"], user["home"]) for user in users[name]}
        for name in site.mail_hosts
    ]
    wrong = []
    for user in sorted(set(sides[0]) | set(sides[1])):
        one, other = sides[0].get(user), sides[1].get(user)
        if one is None or other is None:
            wrong.append(f"{user} only on {site.roles.old if other is None else site.roles.new}")
        elif one != other:
            wrong.append(
                f"{user}: uid, gid and home {one} on {site.roles.old}, {other} on {site.roles.new}"
            )
    return wrong


def _mail_names(found, site):
    for name in site.mail_hosts:
        question = f"Does sendmail on {name} accept mail for every name it will be called by?"
        wanted = [site.fqdn(name), site.fqdn(site.alias)]
        result = found["names"][name]
        if "error" in result:
            yield _failed(question, ", ".join(wanted), result, "")
            continue
        missing = [each for each in wanted if each not in result["value"]]
        yield model.Check(
            question,
            ", ".join(wanted),
            "all" if not missing else f"not {', '.join(missing)}",
            not missing,
            f"add them to local-host-names on {name} and restart sendmail",
        )


def _new_server(found, site):
    new = site.roles.new
    question = f"Does the certificate on {new}:{site.production_test.imap_port} fit {site.fqdn(site.alias)}?"
    if "error" in found["certificate"]:
        yield _failed(
            question,
            "valid",
            found["certificate"],
            "have it reissued with the alias among its names",
        )
    else:
        yield model.Check(
            question,
            "valid",
            f"valid for {', '.join(found['certificate']['value']['names'])}",
            True,
        )
    question = f"Does Dovecot on {new} keep Maildir++ where the parameters say?"
    wanted = "maildir:" + site.new_store.maildir.replace("{user}", "%u").replace("{home}", "~")
    if "error" in found["dovecot"]:
        yield _failed(question, wanted, found["dovecot"], "")
    else:
        actual = found["dovecot"]["value"]["mail_location"]
        same = actual.replace("%n", "%u").replace("%{user}", "%u").rstrip("/") == wanted.rstrip("/")
        yield model.Check(
            question,
            wanted,
            actual,
            same,
            "set new_store.maildir to Dovecot's path; LAYOUT=fs is not Maildir++",
        )
    question = f"Can the converter run on {new}?"
    if "error" in found["python"]:
        yield _failed(
            question,
            "Python 3.8 or later",
            found["python"],
            "install python3 there, or set new_store.python",
        )
    else:
        version = found["python"]["value"]
        yield model.Check(
            question,
            "Python 3.8 or later",
            f"Python {version}",
            tuple(int(part) for part in version.split(".")) >= (3, 8),
            "set new_store.python to a newer one",
        )
    question = f"Is c-client's imapd on {site.roles.old}, to verify with?"
    if "error" in found["imapd"]:
        yield _failed(question, site.old_store.imapd, found["imapd"], "set old_store.imapd")
    else:
        yield equal(question, site.old_store.imapd, found["imapd"]["value"])


def _test_users(found):
    for user, result in found.get("passwords", {}).items():
        question = f"Can the password of the test user {user} be read here?"
        if "error" in result:
            yield _failed(
                question,
                "yes",
                result,
                "without it the night cannot end with a production test: mend it, or name "
                "another user in production_test.users or outage.probe",
            )
        else:
            yield equal(question, "yes", "yes")


def _old_mail(found, site):
    question = f"Is all old mail visible and readable on {site.roles.new}?"
    if "error" in found["survey"]:
        yield _failed(
            question,
            "every folder",
            found["survey"],
            "is the old store mounted? see old_store.seen_at",
        )
        return
    survey = found["survey"]["value"]
    total = survey["totals"]
    bad = [
        f"{problem['file']}: {problem['what']}"
        for each in survey["users"].values()
        for problem in each["errors"]
    ]
    yield model.Check(
        question,
        "every folder",
        f"{total['folders']} folders, {total['messages']} messages, "
        f"{total['bytes']} bytes"
        + (f"; {len(bad)} unreadable: " + "; ".join(bad[:OTHERS_SHOWN]) if bad else ""),
        total["folders"] > 0 and not bad,
        "mend each file named (permissions, disk), then probe again",
    )
    damage = [item for each in survey["users"].values() for item in each["damage"]]
    yield model.Check(
        "Is every old folder whole?",
        "no damage",
        f"{len(damage)} damaged ranges: "
        + "; ".join(
            f"{item['file']} at byte {item['offset']}: {item['what']}"
            for item in damage[:OTHERS_SHOWN]
        )
        if damage
        else "no damage",
        all(item["file"] in site.old_store.to_salvage() for item in damage),
        "c-client refuses such a file whole. Restore it from a backup, or name it in old_store.salvage: then the "
        "conversion skips the range and sets it aside",
        warning=bool(damage),
    )
    passed = [
        f"{each['file']} ({each['why']})"
        for user in survey["users"].values()
        for each in user["passed"]
    ]
    if passed:
        yield model.Check(
            "Which files among the folders are no folders?",
            "none, or known ones",
            f"{len(passed)} passed over: " + "; ".join(passed[:OTHERS_SHOWN]),
            True,
            "see that no mail is among them",
            warning=True,
        )
    question = "Is there room for the new store?"
    if "error" in found["space"]:
        yield _failed(question, "enough", found["space"], "")
        return
    factor, space = site.limits.space_factor, found["space"]["value"]
    for what, have, need in (
        ("bytes", space["bytes"], total["bytes"]),
        ("inodes", space["inodes"], total["inodes"]),
    ):
        wanted = int(need * factor)
        yield model.Check(
            f"Are there enough free {what} on {site.roles.new}?",
            f"at least {wanted}",
            "no limit" if have is None else str(have),
            have is None or have >= wanted,
            f"free or add {what} on the file system of {site.new_store.work}",
        )


def _left_behind(found, site):
    """What an earlier rollback went on without; the conversion takes it over like all mail on the new server."""
    told = found.get("left_behind", {"value": {}})
    question = f"Is no mail of an earlier rollback on {site.roles.new} only?"
    if "error" in told:
        yield _failed(
            question,
            "0 messages",
            told,
            "mend it: what is there must be known before it is converted",
        )
        return
    for user, note in told["value"].items():
        if note["behind"]:
            yield model.Check(
                question,
                "0 messages",
                f"{user}: {notes.pending_text(model.from_json(notes.Note, note))}",
                True,
                "nothing: convert takes it over into the folder it is in",
                warning=True,
            )


def _machines(found, site):
    """What the hosts of the new store are built on. Advice, with its reason: nothing here keeps the night from beginning."""
    yield from _machine(found, site, site.roles.new, found["machine"], f"of {site.new_store.work}")
    if "machines" in found and not site.store_hosts:
        yield model.Check(
            "Which other hosts have the new store?", "those of store_hosts", "not declared", True
        )
    for each in site.store_hosts:
        # facts of an earlier version know no other host than the new one
        if each.host in found.get("machines", {}):
            yield from _machine(
                found,
                site,
                each.host,
                found["machines"][each.host],
                f"of {each.path} on {each.host}",
            )


def _machine(found, site, name, read, place):
    question = f"What is {name} built on?"
    if "error" in read:
        yield model.Check(
            question, "known", read["error"], True, "look at it by hand", warning=True
        )
        return
    built = read["value"]
    paths, failed = built["multipath"], built.get("multipath_error", "")
    told = (
        "not known"
        if failed
        else "not present"
        if not paths
        else "; ".join(
            f"{device} {each['active']} active, {each['failed']} failed"
            for device, each in sorted(paths.items())
        )
    )
    yield model.Check(
        question, "facts", f"virtualisation: {built['virtual']}; multipath: {told}", True
    )
    if failed:
        yield model.Check(
            f"Can the multipath devices of {name} be read?",
            "yes",
            failed,
            True,
            "run `multipath -ll` there as "
            "root: until it answers, a path that failed is not seen; where no disk has two paths, remove the tools",
            warning=True,
        )
    if paths:
        single = [
            device for device, each in sorted(paths.items()) if each["active"] < 2 or each["failed"]
        ]
        yield model.Check(
            f"Has every multipath device of {name} two working paths?",
            "all",
            "all" if not single else f"not {', '.join(single)}",
            True,
            "mend the path before the night: the next fault would take the store away",
            warning=bool(single),
        )
    if "clocksource" in built:
        yield from _virtual(name, built)
    disk = built["filesystem"]
    advice = _advice(disk, built["dovecot"])
    yield model.Check(
        f"Is the file system {place} fit for Maildir?",
        "nothing to advise",
        f"{disk['type']} of {disk['source']} on {disk['target']} ({', '.join(disk['options'])})",
        True,
        "; ".join(advice),
        warning=bool(advice),
    )
    survey = found["survey"].get("value")
    if built["density"] is None or not survey or not survey["totals"]["messages"]:
        return
    mean = survey["totals"]["bytes"] // survey["totals"]["messages"]
    where = "" if name == site.roles.new else f" on {name}"
    yield model.Check(
        f"Do inodes last as long as bytes do{where}?",
        f"an inode for at most {mean} bytes, the mean message here",
        f"one for {built['density']} bytes",
        True,
        "each message is a file: make the file system with more inodes "
        f"(mke2fs -i {max(1024, mean // 2)}), or with one that makes them as needed (XFS)",
        warning=built["density"] > mean,
    )


_CLOCKS = {
    "kvm": ("kvm-clock", "tsc"),
    "xen": ("xen", "tsc"),
    "microsoft": ("hyperv_clocksource_tsc_page", "tsc"),
    "vmware": ("tsc",),
    "oracle": ("kvm-clock", "tsc"),
    "qemu": ("tsc",),
}
_CONTAINERS = (
    "systemd-nspawn",
    "lxc",
    "lxc-libvirt",
    "openvz",
    "docker",
    "podman",
    "container-other",
)


def _virtual(name, built):
    """What a virtual machine does not see of its own disk and clock, and what a container does not."""
    virtual, clock = built["virtual"], built["clocksource"]
    question = f"Are clock and disk of {name} as safe as they look from within?"
    seen = "; ".join(
        [
            f"clock source {clock or 'not present'}",
            *(f"{disk}: {cache}" for disk, cache in sorted(built["write_cache"].items())),
        ]
    )
    if virtual in _CONTAINERS:
        yield model.Check(
            question,
            "nothing to advise",
            seen,
            True,
            "look at the machine that runs this container as well: "
            "kernel, clock, multipath and disk are its own, and here they do not show",
            warning=True,
        )
    elif virtual in _CLOCKS:
        wanted, advice = _CLOCKS[virtual], []
        if clock not in wanted:
            advice.append(
                f"boot with clocksource={wanted[0]}: another one drifts or is slow under {virtual}, and dates, TSIG "
                "and Dovecot's files depend on the time"
            )
        advice.append(
            "see at the hypervisor that the disk's cache passes flushes on (KVM: not `unsafe`; Xen: flush-cache)"
            ": else barriers and fsync end in its memory, and what was published may be gone after a power failure"
        )
        yield model.Check(
            question, "nothing to advise", seen, True, "; ".join(advice), warning=True
        )


_NFS = {"mail_nfs_storage": "yes", "mail_nfs_index": "yes"}
_SHARED = {
    "nfs": _NFS,
    "nfs4": _NFS,
    "ocfs2": {"lock_method": "flock"},
}  # besides what each shared file system needs


def _advice(disk, dovecot):
    """What to change on a file system, and why, one text each."""
    options = {part.partition("=")[0]: part.partition("=")[2] for part in disk["options"]}
    found = []
    if "noatime" not in options and "relatime" not in options:
        found.append(
            "mount with noatime: else each message that is read is an inode that is written"
        )
    if "nobarrier" in options or options.get("barrier") == "0":
        found.append(
            "mount with barriers: without, what was published may be gone after a power failure"
        )
    if options.get("data") == "writeback":
        found.append(
            "mount with data=ordered: with writeback a message may hold garbage after a power failure"
        )
    if disk["type"] in machine.SHARED:
        wanted = {"mmap_disable": "yes", "mail_fsync": "always", **_SHARED.get(disk["type"], {})}
        wrong = [
            f"{key}={value}" for key, value in wanted.items() if dovecot.get(key, value) != value
        ]
        if wrong:
            why = (
                "caches, and with the o2cb stack fcntl's locks,"
                if "lock_method" in wanted
                else "caches"
            )
            found.append(
                f"set {', '.join(wrong)} in Dovecot: {disk['type']} is shared, and its {why} are each host's own"
            )
    elif disk["type"] not in ("ext4", "ext3", "xfs", "btrfs", "zfs"):
        found.append(
            f"a mail store on {disk['type']} is unusual: does it survive a power failure, and how is it grown?"
        )
    return found


def _mx(found, site):
    sources = {}
    for name, mx in found["mx"].items():
        if "error" in mx["userdb"]:
            yield _failed(
                f"Can {site.userdb.source} on {name} be read?",
                "yes",
                mx["userdb"],
                "without the source no routing can be changed; see userdb.source",
            )
        else:
            sources[name] = mx["userdb"]["value"]
        if "error" in mx["queue"]:
            yield _failed(f"Does no mail stay in the queue of {name}?", "0 stay", mx["queue"], "")
        else:
            queue = mx["queue"]["value"]
            yield model.Check(
                f"Does no mail stay in the queue of {name}?",
                "0 stay",
                f"{queue['requests']} stay" + (f": {queue['items'][0]}" if queue["items"] else ""),
                queue["requests"] == 0,
                "`sendmail -q -v` there; what cannot go out: look at its reason",
            )
    if len(sources) == len(found["mx"]):
        yield model.Check(
            "Is the userdb the same on every MX?",
            "identical",
            "identical" if len(set(sources.values())) == 1 else "differs",
            len(set(sources.values())) == 1,
            "copy one to the other and run makemap",
        )
        first = next(iter(sources.values())).encode("utf-8", "surrogateescape")
        both = (site.fqdn(site.roles.old), site.fqdn(site.roles.new))
        after, routed = userdb.route_to_both(first, old=site.fqdn(site.alias), targets=both)
        wrong = [f"line {number} {what}" for number, what in userdb.problems(after)]
        wrong += [
            f"{key} stands on lines {', '.join(map(str, lines))}"
            for key, lines in userdb.duplicates(after)
        ]
        yield model.Check(
            "Will makemap take the userdb once each user is routed to both hosts?",
            "every line",
            "every line" if not wrong else "; ".join(wrong[:OTHERS_SHOWN]),
            not wrong,
            f"mend these lines of {site.userdb.source} on every MX",
        )
        done = userdb.route_back(first, old=site.fqdn(site.alias), targets=both)[1]
        users = len(found["users"][site.roles.old].get("value", []))
        yield model.Check(
            f"How many entries route mail to {site.fqdn(site.alias)}?",
            f"about {users}, one a user",
            f"{len(routed)}" + (f", and {len(done)} already to both" if done else ""),
            bool(routed or done),
            "is userdb.source the file that sendmail's map is made from?",
            warning=len(routed) + len(done) != users,
        )


STEP = model.Step(
    id="preflight",
    title="Can the night begin?",
    requires=(),
    probe=probe,
    plan=plan,
    verify=verify,
    only_reads=True,
)
