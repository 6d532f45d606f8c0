"""The outcome of each fault: a JSON file per fault in runs/faults/, and docs/faults.md.

    PYTHONPATH=tests/lab python tests/lab/faults/outcomes.py [DIR…]

writes docs/faults.md from runs/faults/, or from several folders;

    PYTHONPATH=tests/lab python tests/lab/faults/outcomes.py --add DIR…

adds these results to the page. They go to "Everything else" and replace what was there of the same
faults; a SIGKILL of a step, the converter's kills and the rollbacks need a page of all results.
"""

import collections
import datetime
import json
import re
import sys
from pathlib import Path

from catalogue import CATALOGUE
from cutover import site
from cutover.model import runbook
from cutover.site import secrets

PLACE = site.PROJECT / "runs/faults"
PAGE = site.PROJECT / "docs/faults.md"
CUT = 260  # characters of a message
MOMENTS = ("start", "middle", "end")
HOW = {
    "stopped": "stopped; passed when repeated",
    "rode": "passed despite the fault",
    "none": "nothing to disturb",
}


def keep(name, **what):
    PLACE.mkdir(parents=True, exist_ok=True)
    what = {"name": name, "date": datetime.date.today().isoformat(), **secrets.redact_value(what)}
    (PLACE / f"{name}.json").write_text(json.dumps(what, indent=1, sort_keys=True) + "\n")


def read(places):
    results = {}
    for place in places:
        for path in sorted(Path(place).glob("*.json")):
            result = json.loads(path.read_text())
            results[result["name"]] = result
    return results


def page(results):
    """docs/faults.md as text."""
    faults = {name: result for name, result in results.items() if result.get("kind") == "fault"}
    kills = {
        name: result
        for name, result in faults.items()
        if name.startswith("kill-") and not name.startswith("kill-converter")
    }
    nights = _whole_nights(results)
    intro = _intro(
        len(faults),
        sorted({result["date"] for result in results.values()}),
        [name for name, result in faults.items() if not result["passed"]],
        len(nights),
        sum(nights),
    )
    lines = ["# Faults and their outcomes", "", intro, ""]
    lines += [
        "## SIGKILL at the start, middle and end of each step",
        "",
        _legend(),
        "",
        *_matrix(kills),
        "",
    ]
    lines += [
        "## Everything else",
        "",
        "| fault | step, when | message | outcome | s |",
        "|---|---|---|---|---|",
    ]
    lines += _in_order(_row(name, result) for name, result in faults.items() if name not in kills)
    for kind, title, function in (
        ("converter", "SIGKILL of the converter at random points", _converter),
        ("rollback", "Rollback from each step, with traffic", _rollbacks),
    ):
        some = [result for result in results.values() if result.get("kind") == kind]
        if some:
            lines += ["", f"## {title}", "", *function(some)]
    left = [fault.name for fault in CATALOGUE if fault.name not in faults]
    if left:
        lines += ["", "## Not run yet", "", *_left(left)]
    return "\n".join(lines) + "\n"


def add(text, results):
    """The page `text` with these results besides."""
    faults = {name: result for name, result in results.items() if result.get("kind") == "fault"}
    if "## Not run yet" in text or any(re.match("kill-(?!converter-)", name) for name in faults):
        raise SystemExit(
            "what was not run, and a SIGKILL of a step, have no rows to add to: make the page of all results"
        )
    before, head, rest = text.partition("\n\n## SIGKILL at the start")
    rows = [line for line in rest.splitlines() if FAULT.match(line)]
    new = _in_order(
        [
            *(_row(name, result) for name, result in faults.items()),
            *(row for row in rows if FAULT.match(row)[1] not in faults),
        ]
    )
    ran, dates, wrong, ended, accepted = re.search(
        r"(\d+) were run \((.*?)\).*?(?:Wrong outcome: (.*?)\.)? `CUTOVER"
        r".* (\d+) nights ran to their end: .* each of the (\d+)\s",
        before,
        re.S,
    ).groups()
    failed = {name for name in (wrong or "").split(", ") if name} - set(faults)
    nights = _whole_nights(results)
    intro = _intro(
        int(ran) + len(new) - len(rows),
        sorted({*dates.split(", "), *(result["date"] for result in results.values())}),
        sorted(failed | {name for name, result in faults.items() if not result["passed"]}),
        int(ended) + len(nights),
        int(accepted) + sum(nights),
    )
    return f"# Faults and their outcomes\n\n{intro}{head}" + rest.replace(
        "\n".join(rows), "\n".join(new)
    )


FAULT = re.compile(
    r"\| ([a-z][\w-]+): .* \| ([\w-]+), [^|]+ \| .* \| [^|]+ \| \d+ \|$"
)  # a row; the fault's name, its step


def _row(name, result):
    return (
        f"| {name}: {_cell(result['did'])} | {result['step']}, {result['when']} | {_cell(result['said'])} | "
        f"{HOW[result['outcome']] if result['passed'] else '**wrong outcome**'} | {result['seconds']:.0f} |"
    )


def _in_order(rows):
    return sorted(rows, key=lambda row: (_place(FAULT.match(row)[2]), FAULT.match(row)[1]))


def _whole_nights(results):
    """How many messages were accepted in each night that came to its end."""
    return [
        result["accepted"]
        for result in results.values()
        if result.get("kind") == "night" and result["way"] == "forward" and result["passed"]
    ]


def _intro(ran, dates, failed, nights, accepted):
    wrong = f" Wrong outcome: {', '.join(failed)}." if failed else ""
    return f"""Of {len(CATALOGUE)} faults in `tests/lab/faults/catalogue.py`, {ran} were run ({", ".join(dates)}), and
{ran - len(failed)} ended as expected.{wrong} `CUTOVER_FAULTS=all ./cutover test tests/lab/faults` runs all of them.

Each fault was caused on the lab's real servers and processes, at a moment taken from the run's journal. Then the same command
was repeated. Routing, services, names and every converted message (folder, UID, flags, date, bytes) were compared with those of
an undisturbed night at the same step. {nights} nights ran to their end: mail verified equal on both sides, each of the {accepted}
messages sent meanwhile was there exactly once, and `cutover record verify` passed.

Messages are cut at {CUT} characters. Where the wording of a message has changed since, the table shows the new wording."""


def _legend():
    return (
        "`r`: the command stopped or died, and passed when repeated; `p`: it passed despite the fault; `·`: there was "
        "nothing to kill at that moment; **F**: wrong outcome. Three letters: start, middle, end."
    )


def _matrix(kills):
    targets = [
        target
        for target in ("control", "papermill", "kernel", "sshd", "all")
        if any(name.startswith(f"kill-{target}-") for name in kills)
    ]
    shown = collections.defaultdict(dict)
    for result in kills.values():
        target = result["name"].split("-")[1]
        letter = (
            {"stopped": "r", "rode": "p", "none": "·"}[result["outcome"]]
            if result["passed"]
            else "**F**"
        )
        shown[result["step"], target][result["when"]] = letter
    titles = {
        "control": "`cutover run`",
        "papermill": "`papermill`",
        "kernel": "kernel",
        "sshd": "sshd sessions",
        "all": "everything on the control machine",
    }
    yield "| step | " + " | ".join(titles[target] for target in targets) + " |"
    yield "|---" * (len(targets) + 1) + "|"
    for step in [*runbook.NIGHT, "rollback"]:
        cells = [
            "".join(shown[step, target].get(moment, " ") for moment in MOMENTS).strip()
            for target in targets
        ]
        yield f"| {step} | " + " | ".join(cells) + " |"


def _converter(some):
    yield "| seed | killed after | published when it died | half published | end state after repeating the command |"
    yield "|---|---|---|---|---|"
    for result in sorted(some, key=lambda result: result["number"]):
        yield (
            f"| {result['seed']}/{result['number']} | {result['after']:.2f} s | {result['published']} of {result['users']} | "
            f"{result['half']} | {'the same' if result['same'] else '**differs**'} |"
        )


def _rollbacks(some):
    yield "| rolled back from | messages accepted | lost | duplicated | actions of users | rollback's checks | s |"
    yield "|---|---|---|---|---|---|---|"
    for result in sorted(some, key=lambda result: _place(result["step"])):
        yield (
            f"| {result['step']} | {result['accepted']} | {result['lost']} | {result['double']} | {result['acts']} | {result['checks']} | "
            f"{result['seconds']:.0f} |"
        )


def _left(names):
    of = collections.Counter(name.split("-")[1] for name in names if name.startswith("kill-"))
    if of:
        yield "SIGKILL: " + ", ".join(f"{count} of {target}" for target, count in of.items()) + "."
        yield ""
    yield ", ".join(f"`{name}`" for name in names if not name.startswith("kill-")) + "."


def _place(step):
    return [*runbook.NIGHT, "rollback"].index(step)


def _cell(text):
    """One line of a table; where this machine keeps the executed notebook is left out."""
    words = re.sub(
        r"/tmp/pytest-of-\w+/pytest-\d+/[^/\s]+(/night)?",
        "…",
        str(text or "—").partition("The executed notebook:")[0],
    )
    return " ".join(words.split()).replace("|", "\\|")[:CUT]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--add"]:
        PAGE.write_text(add(PAGE.read_text(), read(sys.argv[2:])))
    else:
        PAGE.write_text(page(read(sys.argv[1:] or [PLACE])))
    print(PAGE)
