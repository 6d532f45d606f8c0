"""Whether the hosts of a rehearsal site are those of the running lab: it approves itself."""

from cutover.model import errors


class NotTheLab(errors.CutoverError):
    """A parameters file says `kind: rehearsal`, but its hosts are not those of the running lab."""


def require(site) -> None:
    """Raise NotTheLab unless the running lab made every host of the site, at its address."""
    from lab import state

    marker = state.read()
    if marker is None:
        raise NotTheLab(
            f"{site.path} is a rehearsal site, and no lab is running. "
            "Start it with `cutover lab up`, or use a parameters file of kind production."
        )
    made = {name: host["address"] for name, host in marker["hosts"].items()}
    for name in site.hosts:
        if made.get(name) != site.address(name):
            raise NotTheLab(
                f"{site.path}: kind is rehearsal, but {name} at {site.address(name)} was not made "
                "by the lab. A rehearsal approves itself, so it may only touch the lab's hosts."
            )
