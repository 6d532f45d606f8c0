#!/bin/sh
# Runs inside a host's root, before its first start. $1 is the host's role; password lines come on standard input.
set -eu
role=$1
wanted=ssh

chpasswd_lines=$(cat)
if [ -n "$chpasswd_lines" ]; then
    printf '%s\n' "$chpasswd_lines" | chpasswd --crypt-method SHA256 --sha-rounds 1000
fi

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

case $role in
    primary | secondary)
        chown -R root:bind /etc/bind
        wanted="$wanted named" ;;
    mx)
        mail
        makemap -d btree /etc/mail/userdb.db < /etc/mail/userdb ;;
    old)
        mail
        wanted="$wanted xinetd stunnel4 backup-posta.timer" ;;
    new)
        mail
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
esac

for unit in $wanted; do
    systemctl enable "$unit" > /dev/null 2>&1
done
