"""A lab of two stores: an old and a new server more, and the mail of half of the users on them.

The accounts are the same on all four servers, as at a site with one NIS; a user has a home only on
the servers of the user's store. The zone, the certificates and the MX hosts' userdb know the second
store as posta.
"""

import yaml

from lab import keys, paths, store, topology

PARAMETERS = paths.STATE / "stores.yaml"
READERS = ("marta", "olga")  # of the second store: production-test logs in as them


def split():
    """Move what the second store's users have in the first store into the second."""
    second = store.DIRECTORIES[topology.POSTA]
    store.make_old(second)
    for user in topology.SECOND_STORE:
        for name in ("home", "spool"):
            if (store.STORE / name / user).exists():
                (store.STORE / name / user).rename(second / name / user)


def parameters(values):
    """Change the values of the lab's parameters file to those of a lab of two stores."""
    for name, host in topology.SECOND_PAIR.items():
        values["hosts"][name] = {"address": host.address}
    old, new = topology.SECOND_PAIR
    (probe,) = topology.SECOND_PROBE
    seen_at = {"/home": f"/srv/{old}/home", "/var/mail": f"/srv/{old}/spool"}
    values["stores"] = {
        topology.STORE: {},  # as the rest of the file says
        topology.POSTA: {
            "alias": topology.POSTA,
            "roles": {"old": old, "new": new},
            "old_store": {"seen_at": seen_at},
            "outage": {"probe": _login(probe)},
            "production_test": {"users": [_login(user) for user in READERS]},
            "backup": {"target": f"/backup/posta/{new}/current", "retire": [], "bacula": None},
            "submission": None,
            "webmail": None,
            "lists": [],
        },
    }


def _login(user):
    return {"user": user, "password": f"file:{keys.SECRETS / user}"}


def write_parameters(lab_file):
    """Write the parameters file of a lab of two stores, made of the lab's. Returns its path."""
    values = yaml.safe_load(lab_file.read_text())
    parameters(values)
    PARAMETERS.write_text(yaml.safe_dump(values, sort_keys=False))
    return PARAMETERS
