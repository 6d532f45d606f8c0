"""What the lab's MX hosts take for spam, and what they put off.

Their rspamd has two rules, each for one line of the body, so everything else passes at once.
files/rspamd.conf has the scores.
"""

from lab import resources

# lines of a message's body; the first is production_test.spam_line of parameters/lab.yaml
SPAM = "Rehearsal of the antispam: a message with this line is marked."
GREY = "Rehearsal of the greylist: a message with this line is put off once."
DELAY = 4  # seconds for which a stranger's message is put off; sites take minutes


def configuration(hosts) -> str:
    """rspamd.conf of an MX. These hosts (name → Host) are known senders, all else are strangers."""
    return resources.read(
        "files/rspamd.conf",
        spam=SPAM,
        grey=GREY,
        delay=DELAY,
        own=", ".join(f'"{host.address}"' for host in hosts.values()),
    )
