"""`base`: list the source message of every message this run published."""

import json
import os

from mbx2maildir import errors, files, pool
from mbx2maildir.convert import base
from mbx2maildir.publish import containers, publish

LARGEST = 256 << 20


def read(plan):
    """What the published trees took over of some messages, asked of processes that are the users.

    plan: that of the conversion, each user's entry with "asked": {Maildir name of a folder:
    [UIDs]}. → {"users": [{"user", "tree": its id, None when it is not published, "folders": {name:
    {UID as text: [seconds of INTERNALDATE, bytes in the old file, bytes as Dovecot shows it, [flags
    and keywords]]}}}]}. Folders without a record and messages that were not taken over are left
    out.
    """
    settings = {key: value for key, value in plan.items() if key != "users"}
    return {"users": [of_user(settings, user) for user in plan["users"]]}


def of_user(plan, user):
    """→ as read(), for one user; with "error" (as errors.describe() gives it) when it fails."""
    try:
        values = publish.current(plan, user)
        if values is None:
            return {"user": user["user"], "tree": None, "folders": {}}
        folders = pool.ask(user, task_base, plan, user, values["tree"])
        return {"user": user["user"], "tree": values["tree"], "folders": folders}
    except Exception as error:
        values = errors.describe(error)
        return {"user": user["user"], "tree": None, "folders": {}, "error": values}


def task_base(plan, user, tree, report):
    places = containers.paths(plan, user)
    # killed between the swap and keep(), the index still lies where it was
    for directory in (places["base"], places["index"]):
        try:
            content = files.read_small(os.path.join(directory, base.TABLES), LARGEST)
            tables = json.loads(content.decode("ascii"))
        except (errors.StoreError, OSError, ValueError):
            continue
        if tables["tree"] == tree:
            return {
                name: base.messages(
                    os.fsdecode(directory), name, set(uids), tables["folders"][name]
                )
                for name, uids in user.get("asked", {}).items()
                if name in tables["folders"]
            }
    return {}
