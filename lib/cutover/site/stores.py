"""Several stores in one parameters file: each becomes a site of its own.

`stores` maps the name of each store, an old server and a new one with an alias of their own, to
what differs from the rest of the file. A store's site is the file with these keys merged over it;
it knows the other stores, which share the MX hosts and their userdb.
"""

from collections.abc import Mapping
from typing import Any

import pydantic

from cutover.site import field_types, parameters

KEY = "stores"
_NAME = pydantic.TypeAdapter(field_types.Name)


class Wrong(ValueError):
    """A store cannot be used. `path`: the key to correct, as keys and indices."""

    def __init__(self, path: tuple, text: str):
        self.path = path
        super().__init__(text)


def split(data: Mapping[str, Any]) -> dict[str, dict]:
    """`{store: the whole parameters of its site}` of a file's values. Raises Wrong."""
    listed = data[KEY]
    if not isinstance(listed, dict) or not listed:
        raise Wrong((KEY,), "a mapping of each store's name to what differs for it is expected")
    common = {key: value for key, value in data.items() if key != KEY}
    whole = {}
    for name, own in listed.items():
        try:
            _NAME.validate_python(name)
        except pydantic.ValidationError as error:
            raise Wrong((KEY, name), f"not a store's name: {error.errors()[0]['msg']}") from None
        if not isinstance(own, dict | None):
            raise Wrong((KEY, name), "a mapping of keys to values is expected")
        for key in (KEY, "name", "zone", "kind"):
            if key in (own or {}):
                raise Wrong((KEY, name, key), "is the same for all stores: give it once, outside")
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


def require_apart(sites: Mapping[str, parameters.Site]) -> None:
    """Raises Wrong where two stores share what each must have for itself."""
    seen = {}
    for name, site in sites.items():
        own = [
            (("alias",), site.alias),
            (("roles", "old"), site.roles.old),
            (("roles", "new"), site.roles.new),
            *((("users", "only"), user) for user in site.users.only),
        ]
        if site.backup:
            own.append((("backup",), (site.roles.backup, site.backup.target)))
        for path, value in own:
            other = seen.setdefault((path[0], value), name)
            if other != name:
                raise Wrong((KEY, name, *path), f"{value} is also that of the store {other}")
