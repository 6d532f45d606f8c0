"""The recorded worked example, and steps that judge its JSON."""

import copy
import json

from cutover import model, site
from cutover.steps import registry

ROMA1 = site.load("parameters/roma1.yaml")
# the note about a user whose mail the old server refused
LEFT = {
    "user": "carla",
    "tree": "t",
    "at": 1,
    "done": {},
    "left": [],
    "notes": [],
    "entry": {"maildir": "/var/imap/carla"},
    "later": {"flags": [], "removed": []},
    "behind": [
        {
            "folder": "Bozze",
            "to": "mail/Bozze",
            "uid": 12,
            "message_id": "<a@b>",
            "why": "imapd said no",
        }
    ],
}


def recorded(name, when):
    """The facts of a step as recorded `before` or `after` it, as JSON of their own."""
    return json.loads((ROMA1.path.parent / "roma1" / f"{name}.json").read_bytes())[when]


def altered(facts, change):
    """A copy of `facts` (JSON) that `change(facts)` has edited."""
    facts = copy.deepcopy(facts)
    change(facts)
    return facts


class step:
    """A step whose plan, verify, gate and stable take facts as JSON."""

    def __init__(self, name):
        self.step = registry.step(name)

    def _facts(self, data):
        return model.from_json(self.step.facts, data)

    def plan(self, data, parameters=ROMA1):
        return self.step.plan(self._facts(data), parameters)

    def verify(self, data, parameters=ROMA1):
        return self.step.verify(self._facts(data), parameters)

    def gate(self, data, parameters=ROMA1):
        return self.step.gate(self._facts(data), parameters)

    def stable(self, data):
        return self.step.stable(self._facts(data))

    def __getattr__(self, name):
        return getattr(self.step, name)
