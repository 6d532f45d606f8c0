"""Whether the new server takes as many sessions at the same time as the old one has now."""

import ipaddress
from collections.abc import Iterator

from cutover import model
from cutover.facts import dovecot, dovecot_limits, sessions

MARGIN = 2  # the moment of preflight is hardly the busiest of the day


def checks(
    now: model.Reading[sessions.Sessions] | None,
    limits: model.Reading[dovecot_limits.Limits] | None,
    site,
) -> Iterator[model.Check]:
    """now, limits: None in facts recorded by an earlier version."""
    if now is None or limits is None:
        return
    for reading, host, what in (
        (now, site.roles.old, "open sessions"),
        (limits, site.roles.new, "limits of Dovecot"),
    ):
        if not reading.ok:
            yield model.Check(
                f"The {what} on {host} can be counted",
                "yes",
                reading.error,
                True,
                "Compare the sessions of a busy hour with Dovecot's limits by hand.",
                warning=True,
                id="sessions-countable",
                subject=host,
            )
    if now.ok and limits.ok:
        yield _per_address(now.value, limits.value, site)
        yield _processes(now.value, limits.value, site)
        yield _files(limits.value, site)
        yield _inotify(now.value, limits.value, site)


def _per_address(now, limits, site):
    pair, limit = now.pair, limits.per_address
    behind_wrapper = not pair.address or ipaddress.ip_address(pair.address).is_loopback
    seen = f"{pair.count} now: {pair.user} from {pair.address or 'an unknown address'}"
    too_many = limit is not None and pair.count > limit
    return model.Check(
        f"Dovecot on {site.roles.new} allows the sessions that one user has from one address",
        f"more than {seen}" if pair.count else "no session now",
        "no limit" if limit is None else f"{limit} (mail_max_userip_connections)",
        not too_many or behind_wrapper,
        f"Set mail_max_userip_connections to at least {MARGIN * pair.count}."
        + (" (The sessions come through a TLS wrapper, which hides their addresses.)")
        * (behind_wrapper and pair.count > 0),
        warning=limit is not None and MARGIN * pair.count > limit,
        id="sessions-per-address",
        subject=site.roles.new,
        data={"sessions": pair.count, "limit": limit, "users": len(now.users)},
    )


def _processes(now, limits, site):
    tightest = limits.tightest()
    name, limit = tightest or ("", None)
    busiest = max(now.addresses.items(), key=lambda item: item[1], default=None)
    return model.Check(
        f"Dovecot on {site.roles.new} serves as many sessions as {site.roles.old} has now",
        f"at least {now.total} sessions of {len(now.users)} users"
        + (f", up to {busiest[1]} from one address ({busiest[0]})" if busiest else ""),
        "no limit" if limit is None else f"{limit} (service {name})",
        limit is None or now.total <= limit,
        f"Raise process_limit of service {name}, or let a login process serve many clients "
        f"({dovecot.MANY_CLIENTS}).",
        warning=limit is not None and MARGIN * now.total > limit,
        id="sessions-processes",
        subject=site.roles.new,
        data={"sessions": now.total, "limit": limit, "service": name},
    )


def _files(limits, site):
    wanted = max(
        (
            service.clients
            for service in limits.services.values()
            if service.clients is not None and not service.once
        ),
        default=1,
    )
    return model.Check(
        f"Dovecot on {site.roles.new} may open enough files",
        f"at least {wanted}, its client_limit",
        "Dovecot does not run" if limits.files is None else str(limits.files),
        True,
        "Raise LimitNOFILE of Dovecot's unit.",
        warning=limits.files is None or limits.files < wanted,
        id="sessions-files",
        subject=site.roles.new,
        data={"limit": limits.files, "wanted": wanted},
    )


def _inotify(now, limits, site):
    user, most = max(now.users.items(), key=lambda item: item[1], default=("", 0))
    return model.Check(
        f"Each user of {site.roles.new} may watch as many folders as the user has sessions",
        f"at least {most} ({user})" if most else "no session now",
        f"{limits.inotify} (fs.inotify.max_user_instances)",
        True,
        "Raise it with sysctl. Without it, programs that wait for mail (IDLE) see it late.",
        warning=MARGIN * most > limits.inotify,
        id="sessions-inotify",
        subject=site.roles.new,
        data={"sessions": most, "limit": limits.inotify},
    )
