"""The plan file of convert-users, unpublish, state and survey.

zone of a user: seconds east of Greenwich of the old host, for dates without a zone.
claims: true where several hosts convert on one store; see publish/claims.py.
dots of a user: "escape" where Dovecot escapes dots in folder names; else they become "_".
"""

import json
import os

from mbx2maildir import errors

USER_KEYS = {"user": str, "inbox": list, "folders": str, "maildir": str}
OPTIONAL_KEYS = {
    "uid": int,
    "gid": int,
    "spool": str,
    "subscriptions": str,
    "home": str,
    "old_home": str,
    "roots": list,
    "zone": int,
    "dots": str,
    "asked": dict,
    "keep": dict,
}


def load(path):
    """Read and check a plan → dict. path: of its file; "-" is standard input. Errors: BadPlan, with
    the user's number and key."""
    try:
        with open(os.dup(0) if path == "-" else path, "rb") as source:
            values = json.loads(source.read().decode("utf-8"))
    except OSError as error:
        raise errors.BadPlan("cannot read the plan: {}".format(error.strerror), path) from error
    except ValueError as error:
        raise errors.BadPlan("not valid JSON: {}".format(error), path) from error
    return check(values, path)


def check(values, path="plan"):
    """Check a plan given as a dict and fill in what may be left out (jobs, host)."""
    if not isinstance(values, dict) or not isinstance(values.get("users"), list):
        raise errors.BadPlan('"users" must be a list', path)
    for key in ("run", "work"):
        if not isinstance(values.get(key), str) or not values[key]:
            raise errors.BadPlan('"{}" must be a non-empty string'.format(key), path)
    if not is_name(values["run"]) or values["run"] in (
        "staging",
        "staged",
        "index",
        "trash",
        "lock",
        "claims",
    ):
        raise errors.BadPlan(
            '"run" must be a file name that the work directory does not use itself', path
        )
    seen = {}
    for number, user in enumerate(values["users"]):
        place = "users[{}]".format(number)
        if not isinstance(user, dict):
            raise errors.BadPlan("{} must be an object".format(place), path)
        for key, kind in USER_KEYS.items():
            if (
                not isinstance(user.get(key), kind)
                or kind is str
                and key in ("user", "maildir")
                and not user[key]
            ):
                raise errors.BadPlan("{}.{} must be a {}".format(place, key, kind.__name__), path)
        for key, kind in OPTIONAL_KEYS.items():
            if user.get(key) is not None and not isinstance(user[key], kind):
                raise errors.BadPlan("{}.{} must be a {}".format(place, key, kind.__name__), path)
        unknown = set(user) - set(USER_KEYS) - set(OPTIONAL_KEYS)
        if unknown:
            raise errors.BadPlan(
                "{} has unknown keys: {}".format(place, ", ".join(sorted(unknown))), path
            )
        if not is_name(user["user"]):
            raise errors.BadPlan("{}.user must be a file name".format(place), path)
        for key in ("user", "maildir"):
            if seen.setdefault((key, user[key]), number) != number:
                raise errors.BadPlan("{}.{} appears twice: {}".format(place, key, user[key]), path)
    without = values.setdefault("without", [])
    unknown = [name for name in without if ("user", name) not in seen]
    if unknown:
        raise errors.BadPlan(
            "without: no such users in the plan: {}".format(", ".join(map(str, unknown))), path
        )
    if not isinstance(values.setdefault("claims", False), bool):
        raise errors.BadPlan('"claims" must be true or false', path)
    values.setdefault("jobs", os.cpu_count() or 1)
    values.setdefault("host", os.uname().nodename)
    return values


def is_name(text):
    return (
        bool(text)
        and "/" not in text
        and not text.startswith(".")
        and "\0" not in text
        and "\n" not in text
    )


def check_places(values):
    """Work and Maildirs must lie on one file system, or no tree could be swapped in. Errors:
    BadPlan."""
    device = os.stat(values["work"]).st_dev
    for user in values["users"]:
        parent = os.path.abspath(user["maildir"])
        while not os.path.isdir(parent):
            parent = os.path.dirname(parent)
        if os.stat(parent).st_dev != device:
            raise errors.BadPlan(
                "{} is not on the file system of work, {}".format(user["maildir"], values["work"]),
                user["user"],
                todo="Give a work directory on the file system of the Maildirs.",
            )
