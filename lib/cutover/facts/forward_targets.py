"""Whether an address still takes mail, as far as an MX can tell without sending any."""

import re

from cutover.model import errors

_ANSWER = re.compile(
    r"\.\.\. deliverable: mailer (?P<mailer>[^,\s]+)(?:, host (?P<host>[^,]+))?, user "
)
_OVER_SMTP = ("smtp", "esmtp", "smtp8", "dsmtp")


def judged(hosts, mx: str, address: str) -> dict:
    """`{"valid": bool, "said": text}`: sendmail resolves the address (`-bv`), and for mail that goes out over SMTP, it finds a
    host that takes it (`/mx` of its test mode). Whether the mailbox exists there, only a mail would tell."""
    if address.startswith("-"):
        return {"valid": False, "said": "it would be an option"}
    out = hosts.run(mx, ["sendmail", "-bv", address], sudo=True, check=False).text
    answers = list(_ANSWER.finditer(out))
    if not answers:
        return {"valid": False, "said": (out.strip().splitlines() or ["no answer"])[-1][:200]}
    for answer in answers:
        host = (answer["host"] or "").rstrip(".")
        if answer["mailer"] in _OVER_SMTP:
            found = hosts.run(
                mx, ["sendmail", "-bt"], sudo=True, input=f"/mx {host}\n".encode(), check=False
            ).text
            count = re.search(r"returns (\d+) value", found)
            if count is None:
                raise errors.Unreadable(
                    f"{mx}: sendmail -bt did not understand /mx {host}: {found.strip()[-200:]}"
                )
            if not int(count[1]):
                return {"valid": False, "said": f"no host takes mail for {host}"}
    return {
        "valid": True,
        "said": ", ".join(
            dict.fromkeys(f"{each['mailer']} {each['host'] or ''}".strip() for each in answers)
        ),
    }
