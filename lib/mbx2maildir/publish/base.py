"""`base`: list the source message of every message this run published."""

import json
import os

from mbx2maildir.convert import base
from mbx2maildir.publish import publish


def read(plan):
    """What the published trees took over of some messages.

    plan: that of the conversion, each user's entry with "asked": {Maildir name of a folder:
    [UIDs]}. → {"users": [{"user", "tree": its id, None when it is not published, "folders": {name:
    {UID as text: [seconds of INTERNALDATE, bytes in the old file, bytes as Dovecot shows it, [flags
    and keywords]]}}}]}. A folder of which no record is left is missing; so is a message that was
    not taken over.
    """
    return {"users": [of_user(plan, user) for user in plan["users"]]}


def of_user(plan, user):
    places = publish.paths(plan, user)
    marked = publish.is_published(plan, user, places) or {}
    found = {}
    # killed between the swap and keep(), the index still lies where it was
    for directory in (places["base"], places["index"]):
        try:
            with open(os.path.join(directory, base.TABLES)) as source:
                tables = json.load(source)
        except (OSError, ValueError):
            continue
        if tables["tree"] == marked.get("tree"):
            found = {
                name: base.messages(
                    os.fsdecode(directory), name, set(uids), tables["folders"][name]
                )
                for name, uids in user.get("asked", {}).items()
                if name in tables["folders"]
            }
            break
    return {"user": user["user"], "tree": marked.get("tree"), "folders": found}
