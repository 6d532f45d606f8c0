"""What can go wrong with a name server: one class per cause, its data as attributes."""

from cutover.model.errors import TemplatedError


class DnsError(TemplatedError):
    """A name server, or what was asked of it, is not as needed.

    The data of each kind are attributes.
    """

    template = "{server}: DNS failed"


class NoAnswer(DnsError):
    """No usable answer came.

    For an update that was `sent` the outcome is unknown: ask for the records.
    """

    template = "{server}: no answer from {address} port {port} about {what}: {reason}{outcome}"

    @property
    def outcome_unknown(self):
        return self.sent


class BadAnswer(DnsError):
    """The server answered a question with a failure code."""

    template = "{server}: answered {rcode} when asked for {what}. {advice}"


class NotAuthoritative(DnsError):
    """The server does not serve the zone."""

    template = (
        "{server}: is not authoritative for {what}{detail}. Check the zone's name and that this "
        "server loads it"
    )


class ZoneMissing(DnsError):
    """There is no such zone on the server."""

    template = "{server}: has no zone {zone} (no {type} record)"


class BadUpdate(DnsError):
    """An update cannot be written as a DNS message: a name outside the zone, a value that is none
    of its type.
    """

    template = "update of {zone}: {reason} in: {item}"


class BadKey(DnsError):
    """The server does not accept the signature; `tsig` says why: BADKEY, BADSIG or BADTIME."""

    template = "{server}: refused the signature by key {key} ({tsig}): {advice}"


class UpdateRefused(DnsError):
    """The server knows the key but will not do the update; nothing was changed."""

    template = "{server}: refused the update of {zone} with {rcode}: {advice}"


class PrerequisiteFailed(DnsError):
    """The zone is not in the state the update requires.

    Nothing was changed. `which` is the rcode's name.
    """

    template = (
        "{server}: {zone} was not changed, {meaning} ({which}). Required was: {prerequisites}"
    )


class KeyFileBad(DnsError):
    """The file is no readable BIND key clause."""

    template = "TSIG key file {path}: {reason}"
