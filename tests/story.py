"""Make the recorded facts of the worked example from rehearsals: `python tests/story.py RUN_DIR
[RUN_DIR …]`.

The notebooks' explain mode shows parameters/roma1/STEP.json. Its facts are those a rehearsal of the
lab read, with the lab's names and addresses replaced by the example's. The board's explain mode
shows the journal of the same night as it stood when verify had passed: the rehearsal's own events,
shortened to what the board shows, with the example's names, date and people. Run it after a change
of what a step's probe reads, on a run that was rolled back after backup, and one that went on to
decommission: no run can do both. Runs of maintenance may follow them, or be told alone. A step is
told by the last run that has its facts. Then execute the notebooks again with
tests/refresh_notebooks.py.
"""

import datetime
import hashlib
import json
import sys
from pathlib import Path

from cutover import site
from cutover.model import runbook
from cutover.record import journal, run_folder, step_facts
from cutover.run import outage

RUN = "2026-03-14_01_roma1_run"
LATER = "2026-04-20_01_roma1_maintenance"
BEGAN = datetime.datetime(2026, 3, 14, 21, 0, tzinfo=datetime.UTC)
DAYS = 31  # from the night to decommission
SAID = {
    "lab.test": "roma1.example",
    "10.77.0.": "192.0.2.",
    "10.77.1.": "198.51.100.",
    '"ttl": 5,': '"ttl": 60,',
}
WHO, SIGNERS = "operator@control", ("anna", "marco")
LEFT_OUT = ("change", "inverse", "text", "signers", "file", "boot")  # the board shows none of these


def main(*run_dirs):
    target = site.PROJECT / "parameters" / "roma1"
    target.mkdir(exist_ok=True)
    for run in map(run_folder.Run, run_dirs):
        events = run.journal.events()
        shift = (BEGAN - datetime.datetime.fromisoformat(events[0]["time"])).total_seconds()
        for name in runbook.EVERY:
            paths = {
                event["when"]: event["facts"]
                for event in events
                if event["event"] == "probed" and event["step"] == name
            }
            if {"before", "after"} <= paths.keys():
                recorded = {
                    when: json.loads(step_facts.content((run.path / paths[when]).read_bytes()))
                    for when in ("before", "after")
                }
                for facts in recorded.values():
                    AS_THERE.get(name, lambda *_: None)(facts, shift)
                (target / f"{name}.json").write_text(
                    renamed(
                        json.dumps(recorded, indent=1, sort_keys=True),
                        run,
                        LATER if name in runbook.MAINTENANCE else RUN,
                    )
                    + "\n"
                )
    run = run_folder.Run(run_dirs[0])
    if runbook.states(run.journal.events()).get("verify") is not None:
        night(run, run.journal.events(), target)


def later(facts, shift):
    """The facts of decommission, as if days had passed since the night."""
    facts["production"]["days"] += DAYS
    for key in ("since", "converted"):
        facts["production"][key] += shift
    if facts["logs"]:
        facts["logs"]["value"]["first"] += shift
    dated(facts["backup"], shift + DAYS * 86400, DAYS)


def dated(facts, shift, days=0):
    """The facts of backup with the example's date."""
    facts["at"] += shift
    for key in ("began", "ended"):
        if facts["last"]:
            facts["last"][key] += round(shift)
    if facts["timer"]["next"]:
        facts["timer"]["next"] = (BEGAN + datetime.timedelta(days=days + 1)).strftime(
            "%a %Y-%m-%d 03:30:00 UTC"
        )


def shell(facts, _):
    """The facts of preflight with a users' shell host on the new server's own kind of machine: the
    lab has none.
    """
    facts["machines"] = {"mailshell": facts["machine"]}


def disk(facts, _):
    """The facts of move-store with a disk such as the example would have, for the lab's overlay."""
    facts["new"]["filesystem"].update(
        type="xfs", source="/dev/mapper/newstore", options=["rw", "noatime"]
    )


def pages(facts, _):
    """The facts of user-pages, with the example's folder."""
    folder = site.load(site.PROJECT / "parameters" / "roma1.yaml").maintenance.pages.folder
    for page in facts["pages"].values():
        page[0] = f"{folder}/{Path(page[0]).name}"


AS_THERE = {
    "preflight": shell,
    "backup": dated,
    "decommission": later,
    "move-store": disk,
    "user-pages": pages,
}


def renamed(text, run, name=RUN):
    """With the example's names."""
    for old, new in {**SAID, run.name: name}.items():
        text = text.replace(old, new)
    return text


def night(run, events, target):
    """The journal, outage probes and conversion as they stood when verify had passed."""
    announced = site.load(site.PROJECT / "parameters" / "roma1.yaml").outage
    last = next(
        place
        for place, event in enumerate(events)
        if event["event"] == "verified" and event["step"] == "verify"
    )
    shift = BEGAN - datetime.datetime.fromisoformat(events[0]["time"])
    until = datetime.datetime.fromisoformat(events[last]["time"]).timestamp()
    previous, lines = journal.ZEROS, []
    for event in events[: last + 1]:
        kept = {key: value for key, value in event.items() if key not in LEFT_OUT}
        for check in kept.get("checks", []) if kept["event"] == "gated" else []:
            for kind, minutes in (
                ("reading", announced.reading_minutes),
                ("delivery", announced.delivery_minutes),
            ):
                if check["question"].startswith(f"Will {kind}"):
                    check["expected"] = f"at most {minutes:g} min"
        if kept["event"] == "planned":
            kept["changes"] = [
                {"title": change["title"], "target": change["target"]} for change in kept["changes"]
            ]
        if kept.get("kind") == "rehearsal" and kept["event"] == "approved":
            kept.update(kind="signed", by=", ".join(SIGNERS[: kept.get("needed", 1)]))
        elif kept["event"] in ("approved", "run-begun"):
            kept.update({"kind": "production"} if kept["event"] == "run-begun" else {"by": WHO})
        kept["time"] = (datetime.datetime.fromisoformat(kept["time"]) + shift).isoformat(
            timespec="milliseconds"
        )
        kept.update(prev=previous, who=WHO, **({"site": "roma1"} if "site" in kept else {}))
        line = renamed(json.dumps(kept, sort_keys=True), run)
        previous = hashlib.sha256(line.encode()).hexdigest()
        lines.append(line)
    (target / journal.NAME).write_text("".join(line + "\n" for line in lines))

    def kept_lines(path, keys=None):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            if entry["at"] <= until:
                for key in {"at", "time"} & set(entry):
                    entry[key] = round(entry[key] + shift.total_seconds(), 3)
                yield (
                    renamed(
                        json.dumps(
                            {key: entry[key] for key in keys or entry if key in entry},
                            sort_keys=True,
                        ),
                        run,
                    )
                    + "\n"
                )

    (target / outage.NAME).write_text(
        "".join(kept_lines(run.path / outage.NAME, ("at", "took", "kind", "good", "id")))
    )
    events_of = Path("transcripts") / "convert.events.jsonl"
    (target / "transcripts").mkdir(exist_ok=True)
    (target / events_of).write_text("".join(kept_lines(run.path / events_of)))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
