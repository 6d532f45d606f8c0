"""The table of faults.

Each is done to real servers, real processes and a real network, at a moment that the run's journal
shows. `CATALOGUE` has them all. `Fault.when` is a key of MOMENTS, or "before": then the fault is
there when the command begins.
"""

import collections.abc
import contextlib
import dataclasses
import imaplib
import os
import shutil
import signal
import subprocess
import time

from cutover.connect import dns
from cutover.connect.hosts import Hosts
from cutover.model import runbook
from cutover.remote import lease_file
from cutover.run import lease
from lab import keys, store
from night import converters, descendants, eventually, kill

STEPS = [*runbook.NIGHT, "rollback"]

# what an event of the journal is at these moments of a step; the scene holds how many changes are
# planned
MOMENTS = {
    "start": lambda event, changes: event["event"] == "step-begun",
    "read": lambda event, changes: event["event"] == "probed" and event["when"] == "before",
    "approved": lambda event, changes: event["event"] == "approved",
    "middle": lambda event, changes: (
        event["event"] == "intent"
        and event["number"] == changes // 2
        or changes == 0
        and event["event"] == "planned"
    ),
    "last": lambda event, changes: event["event"] == "intent" and event["number"] == changes - 1,
    "end": lambda event, changes: event["event"] == "applied",
}
AT_WORK = "at work"  # the converter has told its first user


def nothing(scene):
    """No healing is needed: a process that was killed is gone, a host that was rebooted is back."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """One fault of one step.

    `inject(scene)` does it and returns what it did, in words; "" when there was nothing to do it
    to. `heal(scene)` takes it away once the command has ended. `says`: what the command must say
    when it stops (a regular expression), None where nobody is left to speak. `ends`: "stops", the
    command must not pass, and passes when it is given again; "rides", it must pass; "either", which
    depends on some milliseconds.
    """

    name: str
    step: str
    when: str
    inject: collections.abc.Callable
    heal: collections.abc.Callable = nothing
    says: str | None = ""
    ends: str = "stops"
    ground: str = ""
    by: str = "cutover"  # or "papermill": the notebook under plain papermill


# -- SIGKILL of what the night runs in


def kill_control(scene):
    kill({scene.runner.pid})
    return "SIGKILL of the process `cutover run`"


def kill_papermill(scene):
    kill({scene.runner.pid})
    return "SIGKILL of the process `papermill`"


def kill_kernel(scene):
    pids = eventually(scene.kernels, 5)
    kill(pids)
    return "SIGKILL of the notebook's kernel" if pids else ""


def kill_all(scene):
    kill(descendants(scene.runner.pid))
    return "SIGKILL of the command, the kernel and everything else on the control machine"


def kill_sessions(scene):
    pids = eventually(scene.sessions, 3)
    kill(pids)
    return f"SIGKILL of {len(pids)} sshd processes of the operator" if pids else ""


def kill_converter(scene):
    pids = eventually(converters, 10)
    kill(pids)
    return f"SIGKILL of {len(pids)} processes of the converter" if pids else ""


KERNEL_DIED = r"did not pass\. .*([Kk]ernel died|DeadKernel|killed kernel)"
LINK_LOST = r"the link was lost .* while running: .*UNKNOWN: check on the host|ssh to \w+ failed|sshd? .*closed"
NO_RESULT = r"ended without a result: it was killed, or the host went down.*Run this step again"

KILLS = {
    "control": (kill_control, {"says": None}),
    "papermill": (kill_papermill, {"says": None, "by": "papermill"}),
    "kernel": (kill_kernel, {"says": KERNEL_DIED}),
    "sshd": (kill_sessions, {"says": LINK_LOST, "ends": "either"}),
    "all": (kill_all, {"says": None}),
}


def kills():
    """SIGKILL of each target in each step's start, middle and end."""
    for target, (inject, more) in KILLS.items():
        for when in ("start", "middle", "end"):
            for step in STEPS:
                if not (
                    target == "papermill"
                    and step == "rollback"
                    or target == "all"
                    and when != "middle"
                ):
                    # by the time a kernel is found that verifies, it may have journaled its verdict
                    ends = {"ends": "either"} if (target, when) == ("kernel", "end") else {}
                    yield Fault(
                        f"kill-{target}-{step}-{when}", step, when, inject, **{**more, **ends}
                    )
    for step in ("presync", "convert"):
        for when, moment in (("start", "middle"), ("middle", AT_WORK)):
            yield Fault(
                f"kill-converter-{step}-{when}",
                step,
                moment,
                kill_converter,
                says=NO_RESULT,
                ends="either",
            )


# -- hosts and their network


def reboot(host):
    def inject(scene):
        scene.lab.reboot(host, hard=True)
        return f"{host} loses power and boots again"

    return inject


def cut(host, seconds):
    def inject(scene):
        scene.cut(host, seconds)
        return f"the link to {host} cut for {seconds} s"

    def heal(scene):
        time.sleep(max(0, seconds - (time.monotonic() - scene.injected)))

    return {"inject": inject, "heal": heal}


REBOOTS = [
    ("ns1", "dns-rename", "middle"),
    ("ns2", "switch-alias", "middle"),
    ("postino3", "dual-delivery", "middle"),
    ("postino4", "restore-sendmail", "middle"),
    ("mailboxold", "stop-imap", "middle"),
    ("mailboxvm", "stop-imap", "end"),
    ("mailboxold", "stop-sendmail", "middle"),
    ("mailboxvm", "presync", AT_WORK),
    ("mailboxvm", "convert", AT_WORK),
    ("mailboxold", "verify", "start"),
    ("mailboxvm", "verify", "start"),
    ("mailboxvm", "restore-imap", "end"),
    ("mailboxvm", "production-test", "middle"),
    ("sanbackup", "convert", "middle"),
    ("mailboxvm", "rollback", "middle"),
    ("mailboxold", "rollback", "end"),
    ("ns1", "rollback", "start"),
]
REBOOT_SAID = (
    f"{LINK_LOST}|{NO_RESULT}|no answer from|refused|Connection|did not pass|does not|timed out|no SMTP answer|"
    "cannot be used"
)
CUTS = [
    ("mailboxvm", "presync", AT_WORK),
    ("mailboxvm", "convert", AT_WORK),
    ("mailboxold", "verify", "start"),
    ("postino3", "dual-delivery", "middle"),
    ("ns1", "dns-rename", "middle"),
    ("ns2", "switch-alias", "middle"),
    ("mailboxold", "stop-imap", "middle"),
    ("mailboxvm", "rollback", "middle"),
]


def hosts():
    for host, step, when in REBOOTS:
        yield Fault(
            f"reboot-{host}-{step}-{when.replace(' ', '-')}",
            step,
            when,
            reboot(host),
            says=REBOOT_SAID,
            ends="either",
        )
    for host, step, when in CUTS:
        yield Fault(
            f"link-cut-{host}-{step}",
            step,
            when,
            **cut(host, 8),
            says=f"{LINK_LOST}|no answer from",
            ends="either",
        )


# -- what is broken on a host, and mended


def script(host, there, back, what):
    """A fault done and undone by a shell script of root's on a host."""

    def inject(scene):
        scene.sh(host, there)
        return what

    def heal(scene):
        scene.sh(host, back)

    return {"inject": inject, "heal": heal}


def away(host, path):
    return script(
        host, f"mv {path} {path}.away", f"mv {path}.away {path}", f"{path} of {host} moved away"
    )


def stopped(host, unit):
    return script(
        host, f"systemctl stop {unit}", f"systemctl start {unit}", f"{unit} of {host} stopped"
    )


def lagging(scene):
    scene.sh("ns2", "ip route add blackhole 10.77.0.11")
    return "ns2 cannot reach ns1, so no transfer comes"


def following_again(scene):
    scene.sh("ns2", "ip route del blackhole 10.77.0.11; systemctl restart named")
    primary, secondary = (
        dns.Server("ns1", "10.77.0.11", timeout=1),
        dns.Server("ns2", "10.77.0.12", timeout=1),
    )

    def equal():
        try:
            return primary.serial("lab.test") == secondary.serial("lab.test")
        except dns.DnsError:
            return False

    assert eventually(equal), "ns2 does not follow ns1 again"  # the zone's refresh is 30 s


def by_hand(scene, was, now):
    """Somebody else changes where the users' name leads."""
    scene.sh("ns1", "true")
    server = dns.Server("ns1", "10.77.0.11")
    server.update(
        dns.Update(
            "lab.test",
            [("exists", "mailbox.lab.test", "CNAME", [was])],
            [("mailbox.lab.test", "CNAME")],
            [("mailbox.lab.test", 5, "CNAME", now)],
        ),
        dns.Key.load(keys.TSIG_KEY),
    )


def alias_by_hand(scene):
    by_hand(scene, "mailboxold.lab.test.", "sanbackup.lab.test.")
    return "somebody points mailbox elsewhere after the plan was approved"


def alias_put_right(scene):
    by_hand(scene, "sanbackup.lab.test.", "mailboxold.lab.test.")


REFUSING = (
    "sed -i 's/grant/deny/' /etc/bind/named.conf && systemctl restart named",
    "sed -i 's/deny/grant/' /etc/bind/named.conf && systemctl restart named",
)
NAMES = [
    Fault(
        "named-down-dns-rename",
        "dns-rename",
        "before",
        **stopped("ns1", "named"),
        says="ns1: no answer from 10.77.0.11",
    ),
    Fault(
        "named-down-at-the-update",
        "dns-rename",
        "approved",
        **stopped("ns1", "named"),
        says="ns1: no answer from 10.77.0.11",
    ),
    Fault(
        "named-refuses-the-update",
        "dns-rename",
        "before",
        **script("ns1", *REFUSING, "ns1 refuses every update"),
        says="ns1: refused .*update|REFUSED",
    ),
    Fault(
        "secondary-lags-dns-rename",
        "dns-rename",
        "read",
        lagging,
        following_again,
        says=r"ns1 made the update .*ns2 still serves the older zone",
    ),
    Fault(
        "secondary-lags-switch-alias",
        "switch-alias",
        "read",
        lagging,
        following_again,
        says=r"ns1 made the update .*ns2 still serves the older zone",
    ),
    Fault(
        "secondary-lags-rollback",
        "rollback",
        "read",
        lagging,
        following_again,
        says=r"ns1 made the update .*ns2 still serves the older zone",
    ),
    Fault(
        "secondary-down-switch-alias",
        "switch-alias",
        "before",
        **stopped("ns2", "named"),
        says="ns2: no answer from 10.77.0.12",
    ),
    Fault(
        "named-down-rollback",
        "rollback",
        "before",
        **stopped("ns1", "named"),
        says="ns1: no answer from 10.77.0.11",
    ),
    Fault(
        "alias-changed-by-hand",
        "switch-alias",
        "approved",
        alias_by_hand,
        alias_put_right,
        says=r"sanbackup\.lab\.test on ns1, expected an alias of mailboxold|approval is void",
    ),
]


# -- mail


def _discard(scene, host, recipient):
    """Empty a host's queue. A message that is being tried just now is written again."""
    empty = f"rm -f /var/spool/mqueue/?f*; sleep 1; mailq | grep -c {recipient}"
    assert eventually(lambda: scene.on(host, "sh", "-c", empty, check=False).strip() == "0")


AT_OLD, AT_NEW = "alice@mailboxold.lab.test", "alice@mailboxvm.lab.test"


def put_off_mail(host, recipient=AT_OLD):
    """A message for a server that takes none of its sender just now."""
    server = recipient.partition("@")[2].partition(".")[0]
    access = "makemap hash /etc/mail/access.db < /etc/mail/access"
    entry = "From:anna@elsewhere.test\\tERROR:4.7.1:451 later\\n"

    def inject(scene):
        scene.sh(server, f"printf '{entry}' >> /etc/mail/access; {access}")
        argv = ("sendmail", "-Am", "-odq", "-f", "anna@elsewhere.test", recipient)
        scene.on(host, *argv, input="Subject: stuck\n\nHere.\n")
        return f"a message in the queue of {host} that {server} puts off"

    def heal(scene):
        _discard(scene, host, recipient)
        scene.sh(server, f"sed -i '/^From:anna/d' /etc/mail/access; {access}")

    return {"inject": inject, "heal": heal}


def hanging_delivery(scene):
    scene.sh(
        "mailboxold",
        "mkfifo /run/hang; sleep 600 > /run/hang & "
        "exec setsid procmail -d alice < /run/hang > /dev/null 2>&1 &",
    )
    return "a delivery to alice hangs on mailboxold: its procmail waits for its message"


def hang_up(scene):
    scene.sh("mailboxold", "fuser -sk /run/hang || pkill -x procmail; rm -f /run/hang", check=False)


def userdb_by_hand(scene):
    scene.sh("postino4", r"printf 'zita:maildrop\tzita@mailbox.lab.test\n' >> /etc/mail/userdb")
    return "somebody adds an entry to userdb of postino4 after the plan was approved"


def userdb_put_right(scene):
    scene.sh("postino4", "sed -i '/^zita:/d' /etc/mail/userdb")


def refused_back(scene):
    """A message that the rollback has to carry back, into a file that can only be read."""
    saved = "Subject: saved\nMessage-ID: <saved@cutover.invalid>\n\nSaved on the new server.\n"
    scene.on("mailboxvm", "doveadm", "save", "-u", "bruno", "-m", "sent-mail", input=saved)
    scene.sh(
        "mailboxold",
        "chown root /home/bruno/mail/sent-mail && chmod 0444 /home/bruno/mail/sent-mail",
    )
    return "bruno saved a message on mailboxvm, and his sent-mail of mailboxold can only be read"


def taken_back(scene):
    scene.sh(
        "mailboxold",
        "chown bruno /home/bruno/mail/sent-mail && chmod 0600 /home/bruno/mail/sent-mail",
    )


MAIL_DISK = (
    "cp -a /etc/mail /run/mail && mount -t tmpfs -o size=%s mail /etc/mail && cp -a /run/mail/. /etc/mail && "
    "{ head -c 100M /dev/zero > /etc/mail/filler || true; }"
)
MAIL_DISK_BACK = "rm /etc/mail/filler && cp -a /etc/mail/userdb* /run/mail/ && umount /etc/mail && cp -a /run/mail/. /etc/mail/"
SENDMAIL_BROKEN = (
    "cp -p /etc/mail/sendmail.cf /run/ && echo 'Xbroken, P=/none' >> /etc/mail/sendmail.cf",
    "cp -p /run/sendmail.cf /etc/mail/",
)
MAKEMAP_DIES = (
    r"""mv /usr/sbin/makemap /usr/sbin/makemap.away
printf '#!/bin/sh\n[ $1 = -u ] && exec /usr/sbin/makemap.away "$@"\necho no room >&2; exit 75\n' > /usr/sbin/makemap
chmod 755 /usr/sbin/makemap""",
    "mv /usr/sbin/makemap.away /usr/sbin/makemap",
)
MAIL = [
    Fault(
        "makemap-missing",
        "dual-delivery",
        "read",
        **away("postino4", "/usr/sbin/makemap"),
        says="postino4: .*makemap.*not found|approval is void",
    ),
    Fault(
        "makemap-dies",
        "dual-delivery",
        "read",
        **script("postino4", *MAKEMAP_DIES, "makemap on postino4 fails to write"),
        says="postino4: status 75 from: makemap",
    ),
    Fault(
        "userdb-changed-by-hand",
        "dual-delivery",
        "approved",
        userdb_by_hand,
        userdb_put_right,
        says="approval is void",
    ),
    Fault(
        "disk-full-mx",
        "dual-delivery",
        "read",
        **script(
            "postino4",
            MAIL_DISK % "5m",
            MAIL_DISK_BACK,
            "the disk with /etc/mail of postino4 is full",
        ),
        says="postino4: .*[Nn]o space left",
    ),
    Fault(
        "queue-stuck-dual-delivery",
        "dual-delivery",
        "read",
        **put_off_mail("postino3"),
        says=f"after 20 s 1 of \\d+ queued messages are not delivered: postino3: .*{AT_OLD}",
    ),
    Fault(
        "queue-stuck-stop-sendmail",
        "stop-sendmail",
        "read",
        **put_off_mail("mailboxold", AT_NEW),
        says=f"after 20 s 1 of \\d+ queued messages are not delivered: mailboxold: .*{AT_NEW}",
    ),
    Fault(
        # while other mail goes out the queue falls; whether it does when verify looks is chance
        "queue-stuck-restore-sendmail",
        "restore-sendmail",
        "read",
        **put_off_mail("postino4"),
        ends="either",
        says=f"postino4.* {AT_OLD} ",
    ),
    Fault(
        "queue-stuck-rollback",
        "rollback",
        "read",
        **put_off_mail("postino3"),
        says=f"after 20 s 1 of \\d+ queued messages are not delivered: postino3: .*{AT_OLD}",
    ),
    Fault(
        "delivery-hangs",
        "stop-sendmail",
        "read",
        hanging_delivery,
        hang_up,
        says=r"mailboxold: after 20 s these still deliver: procmail \d+",
    ),
    Fault(
        "sendmail-does-not-start",
        "restore-sendmail",
        "before",
        **script("mailboxvm", *SENDMAIL_BROKEN, "sendmail.cf of mailboxvm is broken"),
        says="mailboxvm: (sendmail does not start|after `systemctl)",
    ),
    Fault(
        "sendmail-does-not-start-rollback",
        "rollback",
        "before",
        **script(
            "mailboxold",
            SENDMAIL_BROKEN[0] + "; systemctl stop sendmail; systemctl mask sendmail",
            SENDMAIL_BROKEN[1],
            "sendmail of mailboxold is off, and its sendmail.cf broken",
        ),
        says="mailboxold: (sendmail does not start|after `systemctl)|All mail services of mailboxold run",
    ),
    Fault(
        "folder-unwritable-rollback",
        "rollback",
        "before",
        refused_back,
        taken_back,
        says=r"carrying back failed for 1 of 24 users.*bruno: .*UID \d+ "
        r"<saved@cutover.invalid>: .*APPEND to mail/sent-mail was refused: Can't access destination",
    ),
    Fault(
        "mx-down",
        "production-test",
        "before",
        **stopped("postino4", "sendmail"),
        says=r"\(10.77.0.14:25\): no SMTP answer",
    ),
]


# -- reading


def live_session(scene):
    """A client that is logged in, and whose imapd does not react."""
    scene.held = imaplib.IMAP4("10.77.0.15")
    scene.held.login("alice", (keys.SECRETS / "alice").read_text())
    pids = eventually(lambda: scene.mail_processes("mailboxold", b"imapd"))
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    return "a client is logged in, and its imapd is stopped by SIGSTOP"


def started_by_hand(host, unit):
    def inject(scene):
        scene.sh(host, f"systemctl unmask {unit}; systemctl start {unit}")
        return f"somebody starts {unit} of {host}"

    return inject


def listener(scene):
    """Something else has taken the port."""
    scene.sh(
        "mailboxvm",
        "setsid python3 -c 'import socket, time; s = socket.socket(); s.setsockopt(1, 2, 1); "
        's.bind(("0.0.0.0", 993)); s.listen(); open("/run/listener", "w").write(str(__import__("os").getpid())); '
        "time.sleep(600)' > /dev/null 2>&1 &",
    )
    eventually(lambda: (scene.root("mailboxvm") / "run/listener").exists())
    return "another program listens on port 993 of mailboxvm"


def listener_gone(scene):
    scene.sh("mailboxvm", "kill $(cat /run/listener); rm /run/listener; systemctl stop dovecot")


READING = [
    Fault("session-does-not-end", "stop-imap", "before", live_session, ends="rides"),
    Fault(
        "service-started-by-hand",
        "stop-imap",
        "end",
        started_by_hand("mailboxold", "xinetd"),
        ends="either",
        says="IMAP services of mailboxold are stopped",
    ),
    Fault(
        "sudo-revoked",
        "stop-imap",
        "approved",
        **away("mailboxold", "/etc/sudoers.d/operator"),
        says=r"mailboxold: sudo -n refused .*operator needs a NOPASSWD rule",
    ),
    Fault(
        "dovecot-does-not-start",
        "restore-imap",
        "before",
        **script(
            "mailboxvm",
            "echo 'no_such_setting = yes' > /etc/dovecot/conf.d/99-broken.conf",
            "rm /etc/dovecot/conf.d/99-broken.conf",
            "Dovecot's configuration is broken",
        ),
        says="mailboxvm: dovecot does not start.*no_such_setting",
    ),
    Fault(
        "port-taken",
        "restore-imap",
        "before",
        listener,
        listener_gone,
        says="mailboxvm: (dovecot does not start|after `systemctl).*Address already in use",
    ),
    Fault(
        "certificate-missing",
        "restore-imap",
        "before",
        **away("mailboxvm", "/etc/ssl/lab/cert.pem"),
        says="mailboxvm: (dovecot does not start|after `systemctl).*cert.pem",
    ),
    # what waited is delivered before the same command is given again: else it may come between its
    # plan and its sending
    Fault(
        "procmail-missing",
        "production-test",
        "before",
        **script(
            "mailboxvm",
            "mv /usr/bin/procmail /usr/bin/procmail.away",
            "mv /usr/bin/procmail.away /usr/bin/procmail && sendmail -q",
            "/usr/bin/procmail of mailboxvm moved away",
        ),
        says=r"after \d+ s it is in no folder of alice\. Run `mailq`",
    ),
    Fault(
        "old-imapd-missing",
        "verify",
        "before",
        **away("mailboxold", "/usr/sbin/imapd"),
        says="Can alice's mail be read",
    ),
]


# -- the conversion


def full(what, room):
    """The new store's file system has only that much room beyond what is used."""
    column, unit = ("iused", "") if what == "nr_inodes" else ("used", "k")

    def inject(scene):
        used = int(scene.sh("mailboxvm", f"df -k --output={column} /var/imap | tail -n 1"))
        scene.sh("mailboxvm", f"mount -o remount,{what}={used + room}{unit} /var/imap")
        return f"the new store's file system has room for no more than {what}={room}{unit} beyond what is used"

    def heal(scene):
        scene.sh("mailboxvm", "mount -o remount,size=400m,nr_inodes=200000 /var/imap")

    return {"inject": inject, "heal": heal, "ground": "small-disk"}


def spoil_mailbox(scene):
    path = store.home("bruno") / "mail/sent-mail"
    scene.kept = path.read_bytes()
    path.write_bytes(scene.kept[:-100])
    return "bruno's sent-mail loses its last 100 bytes"


def mend_mailbox(scene):
    (store.home("bruno") / "mail/sent-mail").write_bytes(scene.kept)


def unreadable_mailbox(scene):
    (store.home("carla") / "mail/sent-mail").chmod(0)
    return "carla's sent-mail is not readable"


def readable_again(scene):
    (store.home("carla") / "mail/sent-mail").chmod(0o600)


def lose_message(scene):
    # the list as well: Dovecot takes a file that is gone out of it, and gives one that comes back
    # another UID
    scene.sh(
        "mailboxvm",
        'file=$(ls /var/imap/teresa/cur/* | head -1); echo "$file" > /run/lost; '
        'cp -p /var/imap/teresa/dovecot-uidlist /var/imap/held.uidlist; mv "$file" /var/imap/held',
    )
    return "a converted message of teresa vanishes"


def message_back(scene):
    scene.sh(
        "mailboxvm",
        'rm -f /var/imap/teresa/dovecot.index*; mv /var/imap/held "$(cat /run/lost)"; '
        "mv /var/imap/held.uidlist /var/imap/teresa/dovecot-uidlist",
    )


def alter_message(scene):
    scene.sh(
        "mailboxvm",
        'file=$(ls /var/imap/teresa/cur/* | head -1); echo "$file" > /run/altered; '
        'cp -p "$file" /run/whole; tr e a < /run/whole > "$file"; touch -r /run/whole "$file"',
    )
    return "the text of a converted message of teresa changes"


def message_whole(scene):
    scene.sh("mailboxvm", 'cp -p /run/whole "$(cat /run/altered)"')


def lose_subscription(scene):
    scene.sh(
        "mailboxvm",
        "cd /var/imap/teresa && cp -p subscriptions /run/subscribed && sed -i /sent-mail/d subscriptions",
    )
    return "a subscription of teresa vanishes"


def subscription_back(scene):
    scene.sh("mailboxvm", "cp -p /run/subscribed /var/imap/teresa/subscriptions")


def lease_held(scene):
    """Somebody takes the lease, and breaks it first where the night's command holds it."""
    holder = {
        "owner": "anna",
        "host": "elsewhere",
        "boot": "x",
        "pid": 1,
        "started": 1,
        "since": "2026-01-01T00:00:00+00:00",
        "run": "another",
        "token": "anothertoken",
    }
    with Hosts(scene.night.site) as reached:
        place = lease.place(scene.night.site)
        before = lease_file.ask(reached, "mailboxvm", place, "read")["holder"]
        if before:
            assert lease_file.ask(reached, "mailboxvm", place, "break", token=before["token"])[
                "done"
            ]
        assert lease_file.ask(
            reached, "mailboxvm", place, "take", token="anothertoken", holder=holder
        )["done"]
    return "another operator " + ("breaks the lease and takes it" if before else "holds the lease")


def lease_free(scene):
    with Hosts(scene.night.site) as reached:
        lease_file.ask(
            reached, "mailboxvm", lease.place(scene.night.site), "release", token="anothertoken"
        )


def user_deleted(host, user="zoe"):
    def inject(scene):
        # the users come from NIS, which both hosts share: this one leaves one of them out
        scene.sh(
            host,
            "cp -p /etc/passwd /run/passwd.kept; cp -p /etc/nsswitch.conf /run/nsswitch.conf.kept; "
            "sed -i -e 's/^passwd:.*/passwd: compat/' -e '$ a passwd_compat: nis' /etc/nsswitch.conf; "
            f"printf -- '-{user}\\n+::::::\\n' >> /etc/passwd",
        )
        return f"the user {user} is deleted on {host}"

    def heal(scene):
        scene.sh(
            host, "for file in passwd nsswitch.conf; do cp -p /run/$file.kept /etc/$file; done"
        )

    return {"inject": inject, "heal": heal}


def nis_silent(scene):
    for host in ("ns1", "ns2"):
        scene.sh(host, "systemctl stop ypserv")
    return "no NIS server answers"


def nis_answers(scene):
    for host in ("ns1", "ns2"):
        scene.sh(host, "systemctl start ypserv")
    for host in ("mailboxold", "mailboxvm"):
        assert eventually(
            lambda host=host: (
                scene.lab.run(host, ["ypwhich", "-m", "passwd.byname"], check=False).returncode == 0
            )
        )


def parameters_changed(scene):
    scene.night.values["limits"] = {**scene.night.values["limits"], "clock": 3.0}
    scene.night.write()
    return "the parameters change between two steps"


def parameters_spoilt(scene):
    text = scene.night.file.read_text()
    scene.night.file.write_text(text.replace("alias: mailbox\n", "alais: mailbox\n"))
    return "the parameters get a typing error"


def parameters_mended(scene):
    scene.night.write()


OLD_GONE = ("mount -t tmpfs none /srv/mailboxold/home", "umount /srv/mailboxold/home")
CONVERSION = [
    Fault("disk-full-presync", "presync", "read", **full("size", 24000), says="[Nn]o space left"),
    Fault(
        "inodes-out-presync",
        "presync",
        "read",
        **full("nr_inodes", 2500),
        says="[Nn]o space left|inode",
    ),
    Fault("disk-full-convert", "convert", "read", **full("size", 40), says="[Nn]o space left"),
    Fault(
        "inodes-out-convert",
        "convert",
        "read",
        **full("nr_inodes", 40),
        says="[Nn]o space left|inode",
    ),
    Fault(
        "disk-full-delivery",
        "restore-sendmail",
        "before",
        **full("size", 0),
        says="Fix the cause|stay",
        ends="either",
    ),
    Fault(
        "mailbox-cut-short",
        "convert",
        "before",
        spoil_mailbox,
        mend_mailbox,
        says="bruno: .*sent-mail at byte .*old_store.salvage",
    ),
    Fault(
        "mailbox-unreadable",
        "convert",
        "before",
        unreadable_mailbox,
        readable_again,
        says=r"carla: .*its user \(uid 2003\) may not read it",
    ),
    Fault(
        "old-mail-unmounted",
        "convert",
        "before",
        **script("mailboxvm", *OLD_GONE, "the old mail is not mounted on mailboxvm"),
        says="mount|old mail|not there",
    ),
    Fault(
        "old-mail-unmounted-presync",
        "presync",
        "before",
        **script("mailboxvm", *OLD_GONE, "the old mail is not mounted on mailboxvm"),
        says="mount|old mail|not there",
    ),
    Fault(
        "old-mail-unmounted-in-mid-convert",
        "convert",
        "middle",
        **script(
            "mailboxvm", *OLD_GONE, "the old mail is unmounted on mailboxvm while it is converted"
        ),
        says="mount|old mail|not there|gone",
        ends="either",
    ),
    Fault(
        "python-missing",
        "convert",
        "before",
        **away("mailboxvm", "/usr/bin/python3"),
        says="mailboxvm: .*python3.*not found",
    ),
    *(
        Fault(
            f"nis-silent-{step}-{when}",
            step,
            when,
            nis_silent,
            nis_answers,
            says="no NIS server of the domain lab.test answers",
            ends=ends,
        )
        for step, when, ends in (
            ("dual-delivery", "before", "stops"),
            ("convert", "before", "stops"),
            ("convert", "middle", "either"),
            ("verify", "before", "stops"),
            ("verify", "read", "either"),
            ("production-test", "before", "stops"),
        )
    ),
    Fault(
        "user-deleted-new",
        "convert",
        "before",
        **user_deleted("mailboxvm"),
        says="getent on mailboxvm does not list.*zoe",
    ),
    Fault(
        "user-deleted-old",
        "convert",
        "before",
        **user_deleted("mailboxold"),
        says="getent on mailboxold does not list.*zoe",
    ),
    Fault(
        "user-deleted-after-approval",
        "convert",
        "approved",
        **user_deleted("mailboxvm"),
        says="zoe|approval is void",
    ),
    Fault(
        "user-deleted-before-verify", "verify", "before", **user_deleted("mailboxold"), says="zoe"
    ),
    Fault(
        "delivery-resumed-by-hand",
        "convert",
        "middle",
        started_by_hand("mailboxold", "sendmail"),
        lambda scene: scene.sh("mailboxold", "systemctl stop sendmail; systemctl mask sendmail"),
        ends="either",
    ),
    Fault(
        "lease-held",
        "convert",
        "before",
        lease_held,
        lease_free,
        says=r"mailboxvm: another operator is at work: anna \(process 1 on elsewhere\)",
    ),
    Fault(
        "lease-taken-in-mid-night",
        "stop-sendmail",
        "middle",
        lease_held,
        lease_free,
        says="another operator is at work: anna|the lease was lost",
        ends="either",
    ),
    Fault(
        "message-lost",
        "verify",
        "before",
        lose_message,
        message_back,
        says=r"Is teresa's mail the same on both sides",
    ),
    Fault(
        "message-altered",
        "verify",
        "before",
        alter_message,
        message_whole,
        says=r"Is teresa's mail the same on both sides",
    ),
    Fault(
        "subscription-lost",
        "verify",
        "before",
        lose_subscription,
        subscription_back,
        says=r"Is teresa's mail the same on both sides.*sent-mail: the subscription to it is missing",
    ),
    Fault("parameters-changed", "verify", "before", parameters_changed, ends="rides"),
    Fault(
        "parameters-spoilt",
        "restore-sendmail",
        "before",
        parameters_spoilt,
        parameters_mended,
        says="alais: unknown key",
    ),
]


# -- this side


def password_gone(scene):
    (keys.SECRETS / "alice").rename(keys.SECRETS / "alice.away")
    return "the file with the test user's password is missing"


def password_back(scene):
    (keys.SECRETS / "alice.away").rename(keys.SECRETS / "alice")


def key_gone(path):
    def inject(scene):
        path.rename(path.with_suffix(".away"))
        return f"{path.name} is missing on the control machine"

    def heal(scene):
        path.with_suffix(".away").rename(path)

    return {"inject": inject, "heal": heal}


def torn_line(scene):
    with (scene.night.run_dir / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"attempt": 1, "event": "inte')
    return "the journal ends in half a line, as after a power cut"


def run_disk_full(scene):
    with (scene.night.run_dir / "filler").open("wb", 0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
    return "the disk with the run's folder is full"


def run_disk_free(scene):
    (scene.night.run_dir / "filler").unlink()


def evidence_gone(scene):
    facts = [
        event
        for event in scene.night.run.journal.events()
        if event["event"] == "probed" and event["step"] == "verify"
    ]
    scene.kept = scene.night.run_dir / facts[-1]["facts"]
    scene.kept.rename(scene.kept.with_suffix(".away"))
    return "the facts on which the last verify rests are missing from the run's folder"


def evidence_back(scene):
    scene.kept.with_suffix(".away").rename(scene.kept)


CLOCK_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>
static const long ahead = 3600;
int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int rc = real(id, at);
    if (!rc && id == CLOCK_REALTIME) at->tv_sec += ahead;
    return rc;
}
int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec; at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


def wrong_clock(scene):
    """All new processes of mailboxvm see a clock that is an hour ahead.

    No time namespace shifts CLOCK_REALTIME.
    """
    place = scene.night.file.parent
    (place / "clock.c").write_text(CLOCK_SHIM)
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-o", place / "clock.so", place / "clock.c", "-ldl"],
        check=True,
    )
    shutil.copy(place / "clock.so", scene.root("mailboxvm") / "usr/lib/clock.so")
    scene.sh(
        "mailboxvm", "chmod 755 /usr/lib/clock.so; echo /usr/lib/clock.so > /etc/ld.so.preload"
    )
    return "the clock of mailboxvm is an hour ahead, for every process begun since"


def right_clock(scene):
    scene.sh("mailboxvm", "rm /etc/ld.so.preload")


THIS_SIDE = [
    Fault("wrong-clock", "preflight", "before", wrong_clock, right_clock, says="clock"),
    Fault(
        "host-down",
        "preflight",
        "before",
        lambda scene: scene.lab.stop("postino4") or "postino4 is switched off",
        lambda scene: scene.lab.up(),
        says="ssh to postino4 failed: 10.77.0.14 port 22: ",
    ),
    Fault(
        "known-hosts-missing",
        "preflight",
        "before",
        **key_gone(keys.KNOWN_HOSTS),
        says="the host keys in .* cannot be read",
    ),
    Fault(
        "tsig-key-missing",
        "dns-rename",
        "approved",
        **key_gone(keys.TSIG_KEY),
        says="TSIG key file .*: No such file",
    ),
    Fault(
        "password-missing",
        "production-test",
        "before",
        password_gone,
        password_back,
        says="alice: No such file or directory",
    ),
    Fault("journal-torn", "stop-sendmail", "before", torn_line, ends="rides"),
    Fault(
        "disk-full-this-side",
        "convert",
        "before",
        run_disk_full,
        run_disk_free,
        says="[Nn]o space left",
        ground="small-run",
    ),
    Fault(
        "evidence-gone",
        "switch-alias",
        "before",
        evidence_gone,
        evidence_back,
        says="the facts of the last verify cannot be used",
    ),
]

CATALOGUE = [*kills(), *hosts(), *NAMES, *MAIL, *READING, *CONVERSION, *THIS_SIDE]
assert len({fault.name for fault in CATALOGUE}) == len(CATALOGUE)
