"""For which hosts a queued message waits, by its line of mailq."""

import pytest
from cutover.facts import mail_queue

START = "6AO6nSYY002387 378 Tue Nov 24 06:49"


@pytest.mark.parametrize(
    "item, domains",
    [
        (
            f"{START} <a@elsewhere.test> (Deferred: refused by vm.lab.test.) n@vm.lab.test",
            {"vm.lab.test"},
        ),
        (
            f"{START} <a@vm.lab.test> n@old.lab.test <n@VM.lab.test.>",
            {"old.lab.test", "vm.lab.test"},
        ),
        (f"{START} MAILER-DAEMON (host (old@x) said no) n@old.lab.test", {"old.lab.test"}),
        (f"{START} a@vm.lab.test n@old.lab.test (Deferred)", {"old.lab.test"}),
        (f"{START} <a@elsewhere.test>", set()),
        (f'{START} <"("@evil.test> n@far.test (Deferred)', {"far.test"}),
        # a user, a program and a file of the host itself
        (f"{START} <a@elsewhere.test> n@old.lab.test anna", set()),
        (f'{START} <a@elsewhere.test> (Deferred) "|/usr/bin/vacation n@x.test" n@x.test', set()),
        (f"{START} <a@elsewhere.test> n@old.lab.test /var/log/mail-archive", set()),
        (f"{START} <a@x.test> <b@x.test> <{'n' * 64}@mailboxold.l", set()),  # cut by mailq
    ],
)
def test_for_whom_a_queued_message_waits(item, domains):
    assert mail_queue.recipient_domains(item) == domains


def test_no_address_or_reply_passes_for_the_total():
    text = (
        "\t\t/var/spool/mqueue (1 request)\n"
        '6AO6nSYY002387 378   30065 Nov 24 06:49 <"Total requests: 7"@evil.test>\n'
        "      8BITMIME   (Deferred: 451 Total requests: 9)\n"
        "\t\t\t\t\t     <n@vm.lab.test>\n"
        "\t\tTotal requests: 1\n"
    )
    queue = mail_queue.parse(text)
    assert queue.requests == 1 and list(queue.by_id()) == ["6AO6nSYY002387"]
    assert "<n@vm.lab.test>" in queue.items[0]
