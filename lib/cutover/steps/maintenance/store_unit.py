"""The unit that mounts the new storage over the store, before anything that serves mail."""

from cutover.facts import storage


def store_of(site) -> str:
    """The directory that holds every user's maildir; "" when maildirs are in homes."""
    head, placeholder, rest = site.new_store.maildir.partition("/{user}")
    return head if placeholder and not rest.strip("/") and "{" not in head else ""


def unit_text(site, to: str = "") -> str:
    """The unit for a directory, by default the new storage. Mail services cannot start without it.

    A mount unit could not do it: the store's path may be a mount point already, and systemd keeps
    one mount per path.
    """
    store, to = store_of(site), to or site.maintenance.move_store.to
    services = site.services_of(site.roles.new)
    names = [
        service.name if "." in service.name else f"{service.name}.service"
        for service in (*services.imap, *services.sendmail)
        if service.manager == "systemd"
    ]
    before = f"Before={' '.join(names)}" if names else "Before=multi-user.target"
    wanted_by = f"RequiredBy={' '.join(names)}" if names else "WantedBy=multi-user.target"
    mount = f"test {store} -ef {to} || mount --bind {to} {store}"
    umount = f"test ! {store} -ef {to} || umount {store} || umount -l {store}"
    return f"""\
# Written by mail-cutover: the mail store lies on other storage than before; the old one is beneath.
[Unit]
Description=The new mail store in {store}
RequiresMountsFor={to} {store}
{before}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'test -e {to}/{storage.MARK} && {{ {mount}; }}'
ExecStop=/bin/sh -c '{umount}'

[Install]
{wanted_by}
"""
