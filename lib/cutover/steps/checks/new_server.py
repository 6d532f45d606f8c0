"""Whether the programs of both mail servers are ready: certificate, Dovecot, Python, imapd."""

from collections.abc import Iterator

from cutover import model
from cutover.connect import tls
from cutover.facts import dovecot
from cutover.facts.selinux import Label

OLDEST_PYTHON = (3, 8)
USED_BY_DOVECOT = "mail_spool_t"
# the reference policy labels /var/imap cyrus_var_lib_t; other directories of /var are var_t
NOT_BY_DOVECOT = ("cyrus_var_lib_t", "var_t", "var_lib_t", "default_t", "unlabeled_t", "mnt_t", "")


def certificate(reading: model.Reading[tls.Certificate], site) -> model.Check:
    """The new server's certificate is valid for the alias."""
    where = f"{site.roles.new}:{site.production_test.imap_port}"
    return model.Check(
        f"The certificate of {where} is valid for {site.fqdn(site.alias)}",
        "valid",
        f"valid for {', '.join(reading.value.names)}" if reading.ok else reading.error,
        reading.ok,
        "Have it reissued with the alias among its names.",
        id="certificate-valid",
        subject=site.roles.new,
    )


def maildir(reading: model.Reading[dovecot.Store], site) -> model.Check:
    """Dovecot looks for mail where the conversion puts it."""
    store = reading.value if reading.ok else dovecot.Store("")
    return model.Check(
        f"Dovecot on {site.roles.new} keeps Maildir++ where the parameters say",
        store.spelling.location(site.new_store.maildir),
        store.location if reading.ok else reading.error,
        reading.ok and store.keeps(site.new_store.maildir),
        "Set new_store.maildir to Dovecot's path. LAYOUT=fs is not Maildir++.",
        id="maildir-location",
        subject=site.roles.new,
    )


def inbox(reading: model.Reading[dovecot.Store], site) -> model.Check:
    """Dovecot looks for INBOX where the conversion puts it: 2.4 has a path of its own for it."""
    store = reading.value if reading.ok else dovecot.Store("")
    expected = store.spelling.location(site.new_store.maildir).removeprefix("maildir:")
    return model.Check(
        f"Dovecot on {site.roles.new} keeps INBOX there too",
        expected,
        (store.inbox or expected) if reading.ok else reading.error,
        reading.ok and store.inbox_at(site.new_store.maildir),
        store.spelling.inbox_advice(site.new_store.maildir) + " Users would see an empty INBOX.",
        id="inbox-location",
        subject=site.roles.new,
    )


def uidl(reading: model.Reading[dovecot.Store], served: model.Reading[bool], site) -> model.Check:
    """POP3 programs that leave mail on the server recognise it on the new one."""
    store = reading.value if reading.ok else dovecot.Store("")
    expected = store.spelling.uw_uidl
    same = store.pop3_uidl.replace(" ", "") == expected.replace(" ", "")
    ok = reading.ok and served.ok
    used = served.ok and bool(served.value)
    return model.Check(
        f"Dovecot on {site.roles.new} gives messages the same POP3 identifiers (UIDL)",
        expected,
        (store.pop3_uidl if used else "POP3 is not served")
        if ok
        else reading.error or served.error,
        ok and (same or not used),
        store.spelling.uidl_advice,
        warning=ok and not used,
        id="pop3-uidl-format",
        subject=site.roles.new,
        data={"served": used},
    )


def python(reading: model.Reading[str], site) -> model.Check:
    """The new host's Python is new enough for the converter."""
    version = tuple(int(part) for part in reading.value.split(".")) if reading.ok else ()
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return model.Check(
        f"{site.roles.new} can run the converter",
        f"Python {oldest} or later",
        f"Python {reading.value}" if reading.ok else reading.error,
        version >= OLDEST_PYTHON,
        f"Install Python {oldest} or later there, or set new_store.python.",
        id="converter-python",
        subject=site.roles.new,
    )


def imapd(reading: model.Reading[str], site) -> model.Check:
    """c-client's imapd, which verify reads with, is on the old host."""
    return model.holds(
        f"c-client's imapd is on {site.roles.old}, for verification",
        reading.ok and reading.value == site.old_store.imapd,
        site.old_store.imapd,
        reading.value if reading.ok else reading.error,
        "Set old_store.imapd to its path.",
        id="imapd-present",
        subject=site.roles.old,
    )


def selinux(reading: model.Reading[Label] | None, site) -> Iterator[model.Check]:
    """The policy lets Dovecot use the store; nothing where SELinux does not enforce."""
    if reading is None or (reading.ok and not reading.value.enforcing):
        return
    label = reading.value
    passed = reading.ok and label.type not in NOT_BY_DOVECOT
    yield model.Check(
        f"SELinux on {site.roles.new} lets Dovecot use the new store",
        f"{USED_BY_DOVECOT} or another type that Dovecot may write",
        f"{label.directory} is {label.context}" if reading.ok else reading.error,
        passed,
        f"`semanage fcontext -a -t {USED_BY_DOVECOT} 'STORE(/.*)?'` and `restorecon -R STORE`, for "
        "the directory of the store. Mail hosts with SELinux were not tried: try one user first.",
        warning=passed,
        id="selinux-context",
        subject=site.roles.new,
        data={"type": label.type if reading.ok else None},
    )
