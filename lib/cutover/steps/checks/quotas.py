"""Whether users' mail fits their quotas on the new server, and whether it has those of the old."""

from collections.abc import Iterator

from cutover import model
from cutover.facts import old_mail, quotas
from cutover.steps.checks import listing

BLOCK = 4096  # bytes: a file system rounds each file up


def checks(
    reading: model.Reading[quotas.Quotas] | None,
    survey: model.Reading[old_mail.Survey],
    site,
) -> Iterator[model.Check]:
    """reading: None in facts recorded by an earlier version."""
    if reading is None:
        return
    if not reading.ok:
        yield model.Check(
            "The users' quotas can be compared",
            "yes",
            reading.error,
            True,
            "Compare them by hand: repquota on both hosts, doveadm quota get on the new one.",
            warning=True,
            id="quotas-readable",
        )
        return
    limits = reading.value
    for name, user in sorted(survey.value.users.items()) if survey.ok else ():
        yield from _fits(name, user, limits, site)
    yield _same(limits, site)


def _fits(name, user, limits, site):
    """One check for a user whose mail does not fit, or hardly."""
    rounded = user.bytes + BLOCK * user.inodes
    wrong, near = [], []
    for quota, unit, size, files in (
        (limits.new.get(name), "file system", rounded, user.inodes),
        (limits.dovecot.get(name), "Dovecot", user.bytes, user.messages),
    ):
        if quota is None:
            continue
        for what, needed, used, limit in (
            ("bytes", size, quota.used, quota.limit),
            ("files", files, quota.files, quota.files_limit),
            ("bytes for long", size, quota.used, quota.soft),
        ):
            text = f"{unit}: {limit} {what}, {used} in use"
            if limit is not None and needed > limit and what != "bytes for long":
                wrong.append(text)
            # what is in use may be mail that presync staged
            elif limit is not None and needed + used > limit:
                near.append(text)
    if wrong or near:
        yield model.Check(
            f"{name}'s mail fits the quota on {site.roles.new}",
            f"{user.messages} messages, {user.bytes} bytes (up to {rounded} on the disk)",
            "; ".join([*wrong, *near]),
            not wrong,
            "Raise the quota, or have the user delete mail. The conversion writes as the user: "
            "where the file system refuses, the user's conversion fails. Where Dovecot is over its "
            "own quota, users cannot save mail.",
            warning=not wrong,
            id="quota-fits",
            subject=name,
            data={"bytes": user.bytes, "files": user.inodes, "exceeded": len(wrong)},
        )


def _same(limits, site):
    def tightest(name):
        both = [side[name].limit for side in (limits.new, limits.dovecot) if name in side]
        return min((limit for limit in both if limit is not None), default=None)

    old = {name: quota.limit or quota.soft for name, quota in limits.old.items()}
    new = {name: tightest(name) for name in {*limits.old, *limits.new, *limits.dovecot}}
    texts = [
        f"{name}: {old.get(name) or 'none'} → {limit or 'none'}"
        for name, limit in sorted(new.items())
        if limit != old.get(name)
    ]
    return model.Check(
        f"The quotas on {site.roles.new} are those of {site.roles.old}",
        f"{len(limits.old)} users with a quota",
        f"{len(limits.new)} of the file system, {len(limits.dovecot)} of Dovecot"
        + (f"; different bytes: {listing.listed(texts)}" if texts else ""),
        True,
        "Decide which quotas users have on the new server. (Those of a file server that the old "
        "server mounts by NFS are not seen.)",
        warning=bool(texts),
        id="quotas-same",
        data={"old": len(limits.old), "new": len(limits.new), "dovecot": len(limits.dovecot)},
    )
