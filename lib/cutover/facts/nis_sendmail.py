"""What a host's sendmail does with mail while NIS does not answer, as far as sendmail.cf shows.

Sendmail Installation and Operation Guide, 5.
"""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class Sendmail:
    """recipients: a program is asked before a recipient is accepted; queue: an address waits when
    such a program fails, before its user is looked up; mailer: path of the local mailer, or "".
    """

    recipients: bool
    queue: bool
    mailer: str


def parse(text: str) -> Sendmail | None:
    """What sendmail.cf says; None if it is empty."""
    if not text:
        return None
    maps = re.findall(r"^K(\S+)[ \t]+(?:program|socket)\b(.*)", text, re.MULTILINE)
    rulesets = dict(re.findall(r"^S(\w+).*\n((?:[^S].*\n|\n)*)", text, re.MULTILINE))

    def asked(ruleset):
        body = rulesets.get(ruleset, "")
        return [options for name, options in maps if f"$({name} " in body]

    mailer = re.search(r"^Mlocal,.*?\bP=([^,\s]+)", text, re.MULTILINE)
    # a map with -T returns a value of its own when it fails; a map without makes the address wait
    return Sendmail(
        recipients=bool(asked("Local_check_rcpt")),
        queue=any("-T" not in options for options in asked("Local_localaddr")),
        mailer=mailer[1] if mailer else "",
    )
