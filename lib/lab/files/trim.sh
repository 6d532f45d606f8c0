#!/bin/sh
# Runs inside the base root, once: units that are useless in a container, and everything a host enables for itself.
set -eu

systemctl set-default multi-user.target

for unit in \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer logrotate.timer phpsessionclean.timer roundcube-cleandb.timer roundcube-gc.timer \
    man-db.timer systemd-tmpfiles-clean.timer \
    getty.target console-getty.service getty-static.service systemd-logind.service \
    systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service \
    systemd-resolved.service systemd-timesyncd.service systemd-pstore.service systemd-hwdb-update.service \
    systemd-journal-catalog-update.service systemd-journal-flush.service systemd-update-utmp.service \
    systemd-update-utmp-runlevel.service systemd-random-seed.service systemd-sysusers.service systemd-firstboot.service \
    systemd-binfmt.service systemd-modules-load.service systemd-udevd.service systemd-udev-trigger.service \
    ldconfig.service dev-hugepages.mount dev-mqueue.mount sys-fs-fuse-connections.mount sys-kernel-config.mount \
    sys-kernel-debug.mount sys-kernel-tracing.mount proc-sys-fs-binfmt_misc.automount
do
    ln -sf /dev/null "/etc/systemd/system/$unit"
done

# each of these would run at every boot and every daemon-reload, and has nothing to do here
mkdir /etc/systemd/system-generators
for generator in /lib/systemd/system-generators/*; do
    case $generator in
        *-sysv-generator | *-fstab-generator) ;;
        *) ln -s /dev/null "/etc/systemd/system-generators/${generator##*/}" ;;
    esac
done
# three programs per login, for a greeting that no command shows
rm -r /etc/update-motd.d

# a host enables what it runs; cron-like leftovers of packages would only wake an idle lab
for unit in named dovecot sendmail xinetd stunnel4 rsync ssh cron fetchmail \
    rpcbind.socket rpcbind.service ypserv ypbind ypxfrd yppasswdd saslauthd rspamd redis-server apache2 \
    bacula-director bacula-sd bacula-fd glusterd glustereventsd glusterfssharedstorage
do
    systemctl disable "$unit" >/dev/null 2>&1 || true
done
rm -f /etc/cron.d/* /etc/cron.*/sendmail /etc/xinetd.d/*

# keys, passwords and ids belong to a lab, never to the base
rm -f /etc/bacula/*.conf /etc/bacula/common_default_passwords
rm -f /etc/ssh/ssh_host_* /etc/dovecot/private/* /etc/bind/rndc.key /etc/hostname /var/lib/dbus/machine-id
: > /etc/machine-id
install -d -m 0755 /etc/systemd/journald.conf.d /srv/mailboxold/home /srv/mailboxold/spool /var/imap
printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\nForwardToConsole=no\nRateLimitBurst=0\n' \
    > /etc/systemd/journald.conf.d/lab.conf
