#!/bin/sh
# Runs inside a throw-away copy of the base: UW imapd, ipop3d, mailutil and dmail from the c-client tree that comes with alpine's source.
# SSLTYPE=none: its TLS code does not build against OpenSSL 3, so stunnel stands in front for IMAPS.
# CREATEPROTO: a folder that a client creates is MBX, as at the site.
set -eu
export DEBIAN_FRONTEND=noninteractive
sed 's/^deb /deb-src /' /etc/apt/sources.list > /etc/apt/sources.list.d/lab-src.list
apt-get update -qq
apt-get install -y -qq --no-install-recommends gcc libc6-dev libcrypt-dev make xz-utils
mkdir -p /build
cd /build
apt-get source -qq --tar-only --download-only alpine
tar -xf alpine_*.orig.tar.*
cd alpine-*/imap
yes 2>/dev/null | make slx SSLTYPE=none CREATEPROTO=mbxproto EXTRACFLAGS="-w -g0 -std=gnu89" > /build/log 2>&1 || {
    tail -n 30 /build/log
    exit 1
}
strip imapd/imapd ipopd/ipop3d mailutil/mailutil dmail/dmail
