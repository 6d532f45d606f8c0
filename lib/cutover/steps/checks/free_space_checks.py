"""Whether the new server has room for what will be written."""

from cutover import model


def enough(
    check_id: str, unit: str, free: int | None, needed: int, site, purpose: str = ""
) -> model.Check:
    """The check of one unit, "bytes" or "inodes". free: None where there is no limit."""
    host = site.roles.new
    return model.Check(
        f"{host} has enough free {unit}{purpose}",
        f"at least {needed}",
        "no limit" if free is None else str(free),
        free is None or free >= needed,
        f"Free or add {unit} on the file system of {site.new_store.work}.",
        id=check_id,
        subject=host,
        data={"needed": needed, "free": free},
    )
