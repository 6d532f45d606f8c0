"""Convert while users still work, as often as wanted: the outage then pays only for what changed since."""

import datetime

from cutover import changes, steps
from cutover.changes import conversion
from cutover.steps import convert

ID = "presync"
TITLE = "Convert ahead, while users work"
REQUIRES = ["dual-delivery"]
REVERSIBLE = True
CONFIRM = False


def probe(hosts, site):
    """`{"users": getent's, "state": what `store state` says}`"""
    return convert.probe(hosts, site)


def plan(found, site):
    state = found["state"]["users"]
    todo = [user for user in found["users"] if not state[user["user"]]["published"]]
    if not todo:
        return changes.Plan(reason=f"all {len(state)} users are already published by this run")
    store = conversion.store_plan(site, found["run"], todo, site.new_store.jobs)
    return changes.Plan((conversion.Presync(site.roles.new, found["run"], store["work"], store["jobs"], store["users"],
                                            conversion.salvaged(site, store["users"])),))


stable = convert.stable


def verify(found, site):
    state = found["state"]["users"]
    missing = [user for user, each in sorted(state.items()) if not each["published"] and not each["staged"]["folders"]]
    folders = sum(each["staged"]["folders"] for each in state.values())
    times = [each["staged"]["at"] for each in state.values() if each["staged"]["at"]]
    last = datetime.datetime.fromtimestamp(max(times), datetime.UTC).strftime("%H:%M:%S UTC") if times else "never"
    return [steps.Check("Is every user's mail staged?", f"{len(state)} users", f"{len(state) - len(missing)} users, {folders} "
                        f"folders, last pass {last}" + (f"; missing {', '.join(missing[:10])}" if missing else ""),
                        len(missing) < len(state) or not state, "run this step again: it goes on with those that are missing; "
                        "what is still missing in the outage is converted then", warning=bool(missing))]
