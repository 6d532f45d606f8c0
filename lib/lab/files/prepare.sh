#!/bin/sh
# Runs inside a host's root before its first start. $1 is the host's role; password lines come on
# standard input.
set -eu
role=$1
units=ssh

password_lines=$(cat)

nis_master() {
    # the hashes for shadow, made in one call, one per line
    printf '%s\n' "$password_lines" | cut -d: -f2- | openssl passwd -5 -stdin > /var/yp/src/hashes
    cut -d: -f1 /var/yp/src/passwd | paste -d: - /var/yp/src/hashes |
        sed 's/$/:20000:0:99999:7:::/' > /var/yp/src/shadow
    chmod 600 /var/yp/src/shadow
    rm /var/yp/src/hashes
    # separate sources, without ns1's own accounts; a later `make -C /var/yp` updates the slave
    sed -i -e 's,^YPPWDDIR = .*,YPPWDDIR = /var/yp/src,' -e 's/^NOPUSH=true/NOPUSH=false/' \
        -e 's/^ALL = .*/ALL = ypservers passwd group/' /var/yp/Makefile
    domain=$(cat /etc/defaultdomain)
    mkdir -p "/var/yp/$domain"
    make -s -C "/var/yp/$domain" -f ../Makefile NOPUSH=true DOMAIN="$domain" \
        DBLOAD="/usr/lib/yp/makedbm -m $(head -n 1 /var/yp/ypservers)" all > /dev/null
    units="$units ypserv ypbind"
}

mail() {
    m4 "/etc/mail/sendmail.mc" > /etc/mail/sendmail.cf
    makemap hash /etc/mail/access.db < /etc/mail/access
    makemap hash /etc/mail/mailertable.db < /etc/mail/mailertable
    sed -i 's/^QUEUE_INTERVAL=.*/QUEUE_INTERVAL="10s";/' /etc/mail/sendmail.conf
    # Debian's start script runs this, and it would rebuild the maps its own way (userdb.db.db)
    rm /etc/mail/Makefile
    newaliases > /dev/null
    units="$units sendmail"
}

nis_client() {
    # with a group in files, the host's own accounts never wait for NIS; see lab/nis.py
    sed -i 's/^adm:.*/&operator,root/' /etc/group
    units="$units ypbind nis-bound"
}

case $role in
    primary)
        chown -R root:bind /etc/bind
        nis_master
        units="$units named" ;;
    secondary)
        chown -R root:bind /etc/bind
        units="$units named nis-copy ypserv ypbind" ;;
    mx)
        mail
        makemap -d btree /etc/mail/userdb.db < /etc/mail/userdb
        units="$units redis-server rspamd" ;;
    old)
        mail
        nis_client
        units="$units xinetd stunnel4"
        if test -e /etc/systemd/system/backup-posta.timer; then
            units="$units backup-posta.timer"
        fi ;;
    new)
        mail
        nis_client
        units="$units dovecot" ;;
    submission)
        mail
        units="$units saslauthd stunnel4" ;;
    webmail)
        mail
        # programs in the aliases run as mail
        chown -R mail:mail /var/spool/mlmmj
        chgrp www-data /etc/roundcube/config.inc.php
        a2enmod --quiet ssl
        units="$units apache2" ;;
    backup)
        chgrp bacula /etc/bacula/*.conf
        install -d -m 0750 -o bacula -g tape /srv/bacula
        units="$units bacula-fd bacula-sd bacula-director" ;;
esac

# `systemctl enable` would run update-rc.d for each unit that has an init script too: a second per host
native=
for unit in $units; do
    if test -e "/etc/init.d/$unit" -a ! -e "/lib/systemd/system/$unit.service"; then
        for runlevel in 2 3 4 5; do
            mv "/etc/rc$runlevel.d/K01$unit" "/etc/rc$runlevel.d/S01$unit"
        done
    else
        native="$native $unit"
    fi
done
# shellcheck disable=SC2086
SYSTEMCTL_SKIP_SYSV=1 systemctl --quiet enable $native
