"""Every check has an id, and the ids stay as they are: archived runs and scripts rely on them.

The ids are read from the source, so that a check which no test runs is found as well.
"""

import ast
import fnmatch
import json
from pathlib import Path

from cutover import site

LIB = site.PROJECT / "lib" / "cutover"
FROZEN = json.loads((site.PROJECT / "tests" / "frozen.json").read_text())["checks"]
MAKERS = ("Check", "equal", "holds")  # of cutover.model
PARAMETER = "check_id"  # of a function that makes a check, and of a loop that makes several
BUILDS_FROM_JSON = {LIB / "model" / "check.py", LIB / "record" / "history.py"}


def trees():
    return {
        path: ast.parse(path.read_text())
        for path in sorted(LIB.rglob("*.py"))
        if path not in BUILDS_FROM_JSON
    }


def called(call):
    """The last part of the name of what is called."""
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def makes_check(call):
    owner = getattr(getattr(call.func, "value", None), "id", "model")
    return called(call) in MAKERS and owner == "model"


def text(node):
    """A literal text; of an f-string its fixed parts, with `*` for the others. None otherwise."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text(part) or "*" for part in node.values)
    return None


def takers(calls_of):
    """`{function: place of its parameter check_id}`"""
    return {
        node.name: [argument.arg for argument in node.args.args].index(PARAMETER)
        for tree in calls_of.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and PARAMETER in [argument.arg for argument in node.args.args]
    }


def ids_of(node, places):
    """Yields the texts that a node gives to checks as their ids."""
    if isinstance(node, ast.Call):
        wanted = ("id", PARAMETER) if makes_check(node) else (PARAMETER,)
        yield from (text(keyword.value) for keyword in node.keywords if keyword.arg in wanted)
        place = places.get(called(node))
        if place is not None and place < len(node.args):
            yield text(node.args[place])
    elif isinstance(node, ast.Dict):
        entries = {
            text(key): value for key, value in zip(node.keys, node.values, strict=True) if key
        }
        if {"id", "subject"} == set(entries):
            yield text(entries["id"])
    elif isinstance(node, ast.For) and isinstance(node.target, ast.Tuple):
        names = [getattr(name, "id", "") for name in node.target.elts]
        if PARAMETER in names and isinstance(node.iter, ast.Tuple | ast.List):
            yield from (text(row.elts[names.index(PARAMETER)]) for row in node.iter.elts)


def test_every_check_is_given_an_id():
    without = [
        f"{path.relative_to(LIB)}:{call.lineno}"
        for path, tree in trees().items()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and makes_check(call)
        and not any(
            keyword.arg in ("id", None) and text(keyword.value) != "" for keyword in call.keywords
        )
    ]
    assert not without, f"no id: {', '.join(without)}"


def test_the_ids_are_the_frozen_ones():
    sources = trees()
    places = takers(sources)
    ids = {
        check_id
        for tree in sources.values()
        for node in ast.walk(tree)
        for check_id in ids_of(node, places)
        if check_id
    }
    gone, new = sorted(set(FROZEN) - ids), sorted(ids - set(FROZEN))
    assert not gone and not new, (
        f"gone: {', '.join(gone) or 'none'}; new: {', '.join(new) or 'none'}. Restore what is "
        "gone. If an id is new on purpose, add it to tests/frozen.json."
    )
    assert sorted(FROZEN) == FROZEN and all(name == name.lower() for name in FROZEN)


def test_the_example_has_no_check_without_a_frozen_id():
    journal = Path(site.PROJECT, "parameters", "roma1", "journal.jsonl")
    for line in journal.read_text().splitlines():
        for check in json.loads(line).get("checks", []):
            check_id = check.get("id", "")
            assert not check_id or any(fnmatch.fnmatch(check_id, known) for known in FROZEN), check
