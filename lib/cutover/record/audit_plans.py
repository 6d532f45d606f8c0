"""The plans of a run, audited: each is bound to its run, and the journal tells of it as it is."""

import hashlib
import json

from cutover import model
from cutover.model import errors
from cutover.record import approval_ahead, archive, code, drift, journal
from cutover.record.archive import Archive

SHOWN = ("title", "target", "text")  # what the journal tells of a change, planned or begun


def findings(audited: Archive):
    """Yields what is wrong with the plans of a run (Finding)."""
    words = {}  # attempt → what its plan's changes say of themselves
    for number, event in enumerate(audited.events):
        if event["event"] == "planned":
            try:
                plan = json.loads(audited.contents[event["file"]][1])
            except (KeyError, ValueError):
                continue  # reported as a finding about the file
            yield from _bound(event, plan, audited.events[:number])
            words[event["attempt"]] = _words(plan)
            yield from _changes(event, plan, words[event["attempt"]])
        elif event["event"] == approval_ahead.PLANNED:
            yield from _ahead(audited, event, audited.events[:number])
        elif event["event"] == "intent":
            changes = words.get(event["attempt"]) or {}
            yield from _differs(event, event, changes.get(event["number"]))


def _ahead(audited, event, before):
    """Each plan of a list made ahead is bound to its run, and the list to its plans."""
    if event["hash"] != approval_ahead.digest(event["plans"]):
        yield archive.at(event, "changed", "the list of plans is not the one that was named")
    for listed in event["plans"]:
        try:
            plan = json.loads(audited.contents[listed["file"]][1])
        except (KeyError, ValueError):
            continue  # reported as a finding about the file
        yield from _bound({**event, "step": listed["step"]}, plan, before)


def _bound(event, plan, before):
    """The plan was made in this run, with the code and the parameters that the run knew then."""
    begun, known = before[0], drift.known(before)
    expected = {
        "step": event["step"],
        "run": begun["run"],
        "site": begun["site"],
        "parameters": known["parameters"],
        "code": code.digest({"code": known["code"], "notebooks": known["notebooks"]}),
    }
    if begun.get("id"):  # runs of earlier versions have none
        expected["run_id"] = begun["id"]
    for key, value in expected.items():
        if plan.get(key) != value:
            what = f"{event['step']}: its plan was made with other {key} than the journal knows of"
            yield archive.at(event, "drift", what)


def _changes(event, plan, words):
    """The journal lists the plan's changes, all of them and no other."""
    if len(plan["changes"]) != len(event["changes"]):
        what = (
            f"{event['step']}: its plan has {len(plan['changes'])} changes, the journal lists "
            f"{len(event['changes'])}"
        )
        yield archive.at(event, "changed", what)
    for number, listed in enumerate(event["changes"]):
        yield from _differs(event, listed, words.get(number))


def _words(plan) -> dict:
    """{number: what a change of the plan says of itself}; only the same code knows the words."""
    if plan.get("code") != code.digest():
        return {}
    try:
        changes = [model.change_from_json(change) for change in plan["changes"]]
    except errors.CutoverError:
        return {}
    return {
        number: {"title": change.title(), "target": change.target, "text": change.describe()}
        for number, change in enumerate(changes)
    }


def _differs(event, listed, words):
    for key in SHOWN if words else ():
        text, cut = words[key], journal.BEYOND.search(listed[key])
        if cut:
            same = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() == cut[1]
        else:
            same = listed[key] == text
        if not same:
            what = f"{event['step']}: the journal tells another {key} of a change than its plan"
            yield archive.at(event, "changed", what)
