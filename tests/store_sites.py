"""The lab's parameters with two stores, for tests without hosts."""

import yaml
from cutover import site

OWN = {
    "mailbox": {},
    "posta": {
        "alias": "posta",
        "roles": {"old": "postaold", "new": "postavm"},
        "backup": {"target": "/backup/posta/postavm", "retire": [], "bacula": None},
        "production_test": {"users": [{"user": "marta", "password": "file:/secrets/marta"}]},
        "outage": {"probe": {"user": "sonda2", "password": "file:/secrets/sonda2"}},
        "submission": None,
        "webmail": None,
        "lists": [],
    },
}


def write(path, own=OWN, **common):
    """Write a parameters file with these stores; returns its path."""
    values = yaml.safe_load((site.PROJECT / "parameters" / "lab.yaml").read_text())
    values["hosts"] |= {
        "postaold": {"address": "10.77.0.21"},
        "postavm": {"address": "10.77.0.22"},
    }
    values |= {**common, "stores": own}
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def load(path, **users):
    """`{store: its site}`; users: what each store's section of that name has."""
    own = {name: {**OWN[name], "users": users.get(name, {})} for name in OWN}
    file = write(path, own)
    return {name: site.load(file, name) for name in OWN}
