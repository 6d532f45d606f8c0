"""What is read of NIS, without a host."""

import types

import pytest
from cutover import site
from cutover.facts import nis, nis_sendmail, users
from cutover.model import errors

LAB = site.load("parameters/lab.yaml")
NONE = LAB.model_copy(update={"nis": None})
ALICE = "alice:x:2001:2001::/home/alice:/bin/bash\n"


class Answering:
    """A host that has one answer to each program."""

    def __init__(self, wanted, **answers):
        self.site, self.answers = wanted, answers

    def run(self, name, argv, **options):
        rc, out, err = self.answers[next(word for word in argv if word in self.answers)]
        return types.SimpleNamespace(rc=rc, out=out.encode(), text=out, err=err.encode())


def test_a_silent_nis_is_no_empty_list_of_users():
    local = "root:x:0:0:root:/root:/bin/sh\n"
    silent = Answering(
        LAB,
        getent=(0, local, ""),
        ypcat=(1, "", "No such map passwd.byname. Reason: Domain not bound\n"),
    )
    with pytest.raises(
        users.NoAnswer,
        match=r"users of mailboxvm failed: .* domain lab.test answers \(Domain not bound\)",
    ):
        users.read(silent, "mailboxvm")
    # half a list is none either
    half = Answering(
        LAB, getent=(0, local + ALICE, ""), ypcat=(0, ALICE + ALICE.replace("alice", "bruno"), "")
    )
    with pytest.raises(users.NotListed, match="bruno"):
        users.read(half, "mailboxvm")
    # and where no NIS is declared nobody is still not a list
    with pytest.raises(errors.Unreadable, match="no user with a uid from 2000 to"):
        users.read(Answering(NONE, getent=(0, local, "")), "mailboxvm")
    all_there = Answering(LAB, getent=(0, local + ALICE, ""), ypcat=(0, ALICE, ""))
    assert [account.user for account in users.read(all_there, "mailboxvm")] == ["alice"]


def test_yp_conf_and_nsswitch():
    text = (
        "# ypserver no\nypserver 10.77.0.11\ndomain lab.test server ns2\n"
        "domain lab.test broadcast\ndomain other server ns3\n"
    )
    assert nis.parse_conf(text, "lab.test") == ["10.77.0.11", "ns2", "broadcast"]
    text = "passwd:\t files  nis # old\nhosts: dns\nshadow: files\n"
    assert nis.parse_switch(text) == {"passwd": "files nis", "shadow": "files"}


def test_a_polled_map():
    text = "Domain lab.test is supported.\nMap passwd.byname has order number 17. [Sat]\n"
    text += "The master server is ns1.lab.test.\n"
    assert nis.parse_poll(text, 3) == nis.Map(order=17, master="ns1.lab.test", entries=3)
    assert nis.parse_poll("", 0) == nis.Map(order=0, master="", entries=0)


def test_maps_are_compared_and_passwords_never_reported():
    empty = dict.fromkeys(nis.MAPS)
    first = empty | {
        "passwd.byname": {"a": "a:x:1:1::/a:/b", "b": "b:x:2:2::/b:/b"},
        "shadow.byname": {"a": "a:$5$secret1:20000::::::"},
    }
    other = empty | {
        "passwd.byname": {"a": "a:x:1:9::/a:/b"},
        "shadow.byname": {"a": "a:$5$secret2:20000::::::"},
        "group.bygid": {},
    }
    assert nis.differences({"ns1": first, "ns2": first}) == []
    assert nis.differences({"ns1": first, "ns2": other}) == [
        "passwd.byname: a is a:*:1:1::/a:/b on ns1, a:*:1:9::/a:/b on ns2",
        "passwd.byname: b only on ns1",
        "group.bygid only on ns2",
        "shadow.byname: a has another password on ns2 than on ns1",
    ]


def test_accounts_that_hide_a_user_of_nis():
    entries = [
        "alice:x:2001:2001::/home/alice:/bin/bash",
        "bruno:x:2002:2002::/home/bruno:/bin/bash",
    ]
    assert nis.hidden("root:x:0:0::/root:/bin/sh\n+::::::\n-alice\n", entries) == []
    assert nis.hidden("alice:x:77:77::/srv:/bin/sh\nproxy2:x:2002:1::/:/bin/sh\n", entries) == [
        "alice: uid 77, home /srv here; uid 2001, home /home/alice in NIS",
        "proxy2 has uid 2002 here, which is bruno's in NIS",
    ]


PLAIN = """\
Kaccess hash -T<TMPF> -o /etc/mail/access
SLocal_localaddr
Slocaladdr=5
R$+\t\t\t$: $1 $| $>"Local_localaddr" $1
SLocal_check_rcpt
R$*\t$: $1 $| $(access x $)
Mlocal,\t\tP=/usr/bin/procmail, F=lsDFMAw5:/|@qSPfhn9, S=EnvFromL/HdrFromL,
\t\tA=procmail -a $h -d $u
Mprog,\t\tP=/bin/sh, F=lsDFMoqeu9
"""
TAUGHT = (
    PLAIN.replace("/usr/bin/", "/opt/")
    + """\
Knis program -T<TMPF> /usr/local/sbin/nis-answers
Kniswait program /usr/local/sbin/nis-answers

SLocal_check_rcpt
# a comment
R$*\t$: $1 $| $(nis users $)
SLocal_localaddr
R$*\t$: $1 $| $(niswait users $)
"""
)


@pytest.mark.parametrize(
    "text, sendmail",
    [
        ("", None),
        (PLAIN, nis_sendmail.Sendmail(False, False, "/usr/bin/procmail")),
        (TAUGHT, nis_sendmail.Sendmail(True, True, "/opt/procmail")),
        # the value of -T means nothing to a rule that ignores it
        (
            TAUGHT.replace("$(niswait", "$(nis"),
            nis_sendmail.Sendmail(True, False, "/opt/procmail"),
        ),
    ],
)
def test_what_sendmail_does_while_nis_is_silent(text, sendmail):
    assert nis_sendmail.parse(text) == sendmail
