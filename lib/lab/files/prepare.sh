#!/bin/sh
# Runs inside a host's root, before its first start. $1 is the host's role; password lines come on standard input.
set -eu
role=$1
wanted=ssh

password_lines=$(cat)

nis_master() {
    # shadow's hashes, made in one call, a line each
    printf '%s\n' "$password_lines" | cut -d: -f2- | openssl passwd -5 -stdin > /var/yp/src/hashes
    cut -d: -f1 /var/yp/src/passwd | paste -d: - /var/yp/src/hashes | sed 's/$/:20000:0:99999:7:::/' > /var/yp/src/shadow
    chmod 600 /var/yp/src/shadow
    rm /var/yp/src/hashes
    # sources of its own, apart from ns1's accounts; a later `make -C /var/yp` tells the slave
    sed -i -e 's,^YPPWDDIR = .*,YPPWDDIR = /var/yp/src,' -e 's/^NOPUSH=true/NOPUSH=false/' \
        -e 's/^ALL = .*/ALL = ypservers passwd group/' /var/yp/Makefile
    domain=$(cat /etc/defaultdomain)
    mkdir -p "/var/yp/$domain"
    make -s -C "/var/yp/$domain" -f ../Makefile NOPUSH=true DOMAIN="$domain" \
        DBLOAD="/usr/lib/yp/makedbm -m $(head -n 1 /var/yp/ypservers)" all > /dev/null
    wanted="$wanted ypserv ypbind"
}

mail() {
    m4 "/etc/mail/sendmail.mc" > /etc/mail/sendmail.cf
    makemap hash /etc/mail/access.db < /etc/mail/access
    makemap hash /etc/mail/mailertable.db < /etc/mail/mailertable
    sed -i 's/^QUEUE_INTERVAL=.*/QUEUE_INTERVAL="10s";/' /etc/mail/sendmail.conf
    # Debian's start script runs this, and it would rebuild the maps in a way of its own (a userdb.db.db among them)
    rm /etc/mail/Makefile
    newaliases > /dev/null
    wanted="$wanted sendmail"
}

nis_client() {
    # with a group in files, an account of the host's own never waits for NIS; see lab/nis.py
    sed -i 's/^adm:.*/&operator,root/' /etc/group
    wanted="$wanted ypbind nis-bound"
}

case $role in
    primary)
        chown -R root:bind /etc/bind
        nis_master
        wanted="$wanted named" ;;
    secondary)
        chown -R root:bind /etc/bind
        wanted="$wanted named nis-copy ypserv ypbind" ;;
    mx)
        mail
        makemap -d btree /etc/mail/userdb.db < /etc/mail/userdb
        wanted="$wanted redis-server rspamd" ;;
    old)
        mail
        nis_client
        wanted="$wanted xinetd stunnel4 backup-posta.timer" ;;
    new)
        mail
        nis_client
        wanted="$wanted dovecot" ;;
    submission)
        mail
        wanted="$wanted saslauthd stunnel4" ;;
    webmail)
        mail
        # a program of the aliases runs as mail
        chown -R mail:mail /var/spool/mlmmj
        chgrp www-data /etc/roundcube/config.inc.php
        a2enmod --quiet ssl
        wanted="$wanted apache2" ;;
    backup)
        chgrp bacula /etc/bacula/*.conf
        install -d -m 0750 -o bacula -g tape /srv/bacula
        wanted="$wanted bacula-fd bacula-sd bacula-director" ;;
esac

for unit in $wanted; do
    systemctl enable "$unit" > /dev/null 2>&1
done
