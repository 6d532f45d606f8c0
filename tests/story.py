"""Make the recorded facts of the worked example from a rehearsal: `python tests/story.py RUN_DIR`.

The notebooks' explain mode shows parameters/roma1/STEP.json. Its facts are those a rehearsal of the lab read, with the lab's
names and addresses replaced by the example's. Run it after a change of what a step's probe reads, on a run that was rolled
back after production-test; then execute the notebooks again (`jupyter nbconvert --execute --inplace`, see the developer's page).
"""

import json
import sys
from pathlib import Path

from cutover import runbook, site
from cutover.run import folder

RUN = "2026-03-14_01_roma1_run"
SAID = {"lab.test": "roma1.example", "10.77.0.": "192.0.2.", '"ttl": 5,': '"ttl": 60,'}


def main(run_dir):
    run = folder.Run(run_dir)
    events = run.journal.events()
    target = site.PROJECT / "parameters" / "roma1"
    target.mkdir(exist_ok=True)
    for name in [*runbook.ORDER, "rollback"]:
        facts = {"before": None, "after": None}
        for event in events:
            if event["event"] == "probed" and event["step"] == name and event["when"] in facts:
                facts[event["when"]] = event["facts"]
        text = json.dumps({when: json.loads((run.path / path).read_bytes()) for when, path in facts.items()},
                          indent=1, sort_keys=True)
        for old, new in {**SAID, run.name: RUN}.items():
            text = text.replace(old, new)
        (target / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
