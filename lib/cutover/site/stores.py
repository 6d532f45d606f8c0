"""Several stores in one parameters file: each becomes a site of its own.

`stores` maps the name of each store, an old server and a new one with an alias of their own, to
what differs from the rest of the file. A store's site is the file with these keys merged over it;
it knows the other stores, which share the MX hosts and their userdb.
"""

import hashlib
import itertools
import json
import posixpath
from collections.abc import Mapping
from typing import Any

import pydantic

from cutover.site import field_types, parameters

KEY = "stores"
SHARED = {  # what has to be the same for all stores, and why
    ("users", "uid_min"): "or a user might belong to a store that leaves it out",
    ("users", "uid_max"): "or a user might belong to a store that leaves it out",
    ("users", "exclude"): "or a user might belong to a store that leaves it out",
}
_NAME = pydantic.TypeAdapter(field_types.Name)


def split(data: Mapping[str, Any]) -> dict[str, dict]:
    """`{store: the whole parameters of its site}` of a file's values. Raises WrongAt."""
    listed = data[KEY]
    if not isinstance(listed, dict) or not listed:
        raise field_types.WrongAt(
            (KEY,), "a mapping of each store's name to what differs for it is expected"
        )
    common = {key: value for key, value in data.items() if key != KEY}
    whole = {}
    for name, own in listed.items():
        try:
            _NAME.validate_python(name)
        except pydantic.ValidationError as error:
            raise field_types.WrongAt(
                (KEY, name), f"not a store's name: {error.errors()[0]['msg']}"
            ) from None
        if not isinstance(own, dict | None):
            raise field_types.WrongAt((KEY, name), "a mapping of keys to values is expected")
        for key in (KEY, "name", "zone", "kind"):
            if key in (own or {}):
                raise field_types.WrongAt(
                    (KEY, name, key), "is the same for all stores: give it once, outside"
                )
        whole[name] = _merged(common, own or {})
        if isinstance(common.get("name"), str):
            whole[name]["name"] = f"{common['name']}-{name}"
    return whole


def _merged(base, own):
    """`own` over `base`, block by block; null removes a key."""
    result = dict(base)
    for key, value in own.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merged(result[key], value)
        else:
            result[key] = value
    return result


def digest(whole: Mapping[str, dict], name: str) -> str:
    """SHA-256 of what a run of one store depends on, of all stores' parameters (split()).

    Its own, and what tells the other stores apart: their names, servers and users.
    """
    others = {
        other: [values.get(key) for key in ("alias", "roles", "users")]
        for other, values in whole.items()
        if other != name
    }
    text = json.dumps([whole[name], others], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def require_apart(sites: Mapping[str, parameters.Site]) -> None:
    """Raises WrongAt where two stores share what each must have for itself, or the reverse."""
    seen = {}
    first = next(iter(sites.values()))
    for name, site in sites.items():
        for kind, path, value in _own(site):
            other = seen.setdefault((kind, value), name)
            if other != name:
                raise field_types.WrongAt(
                    (KEY, name, *path), f"{value} is also that of the store {other}"
                )
        for path, why in SHARED.items():
            if _at(site, path) != _at(first, path):
                raise field_types.WrongAt(
                    (KEY, name, *path), f"is the same for all stores ({why}): give it once, outside"
                )
    _require_no_copy_in_another(sites)


def _own(site):
    """(kind, path, value) of what no other store may have."""
    yield "name", ("alias",), site.alias
    yield "name", ("roles", "old"), site.roles.old
    yield "name", ("roles", "new"), site.roles.new
    for user in site.users.only:
        yield "user", ("users", "only"), user
    for account in site.production_test.users:
        yield "test", ("production_test", "users"), account.user
    if site.outage.probe:
        yield "test", ("outage", "probe"), site.outage.probe.user
    for rule in site.maintenance.forwards:
        yield "forward", ("maintenance", "forwards"), rule.user.lower()
    for service in site.backup.retire if site.backup else ():
        yield "retire", ("backup", "retire"), f"{service.name} on {service.host}"
    for worker in site.convert.workers:
        for port in range(site.convert.ports[0], site.convert.ports[1] + 1):
            yield "port", ("convert", "ports"), f"port {port} of {worker}"


def _at(site, path):
    section, key = path
    return getattr(getattr(site, section), key)


def _require_no_copy_in_another(sites):
    """The copy of a store removes what is not in that store, and so a copy below it."""
    places = {
        name: (site.roles.backup, f"{posixpath.normpath(site.backup.target)}/")
        for name, site in sites.items()
        if site.backup
    }
    for (other, first), (name, second) in itertools.combinations(places.items(), 2):
        if first[0] == second[0] and (
            first[1].startswith(second[1]) or second[1].startswith(first[1])
        ):
            raise field_types.WrongAt(
                (KEY, name, "backup", "target"),
                f"{second[1].rstrip('/')} is, contains or is in the copy of the store {other}: "
                "each needs a directory of its own",
            )
