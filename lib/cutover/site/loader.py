"""A parameters file (YAML) → a validated Site. Errors name the line and the key."""

import hashlib
from pathlib import Path

import pydantic
import yaml

from cutover.site import field_types, parameters

PROJECT = Path(__file__).resolve().parents[3]


def find(path: str | Path) -> Path:
    """The parameters file: as given, or relative to the project (so that notebooks find it)."""
    given = Path(path).expanduser()
    for candidate in (given, PROJECT / given):
        if candidate.is_file():
            return candidate.resolve()
    raise field_types.BadParameters(
        f"{path}: no such parameters file. Looked in {Path.cwd()} and {PROJECT}."
    )


def load(path: str | Path) -> parameters.Site:
    """Read and validate a parameters file. Raises BadParameters naming file, line and key."""
    file = find(path)
    raw = file.read_bytes()
    try:
        tree = yaml.compose(raw, Loader=yaml.SafeLoader)
        if problem := _problem_key(tree):
            text, line = problem
            raise field_types.BadParameters(f"{file}, line {line}: {text}")
        data = yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise field_types.BadParameters(f"{file}: not YAML: {error}") from error
    if not isinstance(data, dict):
        raise field_types.BadParameters(f"{file}: empty, or not a mapping of keys to values")
    try:
        site = parameters.Site.model_validate(data)
    except pydantic.ValidationError as error:
        raise field_types.BadParameters(
            "\n".join(_explain(file, tree, problem) for problem in error.errors())
        ) from error
    return site.read_from(file, hashlib.sha256(raw).hexdigest())


def _problem_key(node, above=()):
    """(problem, line) of the first key that is valid YAML but not valid here, or None."""
    if node in above:
        return "the block contains itself", node.start_mark.line + 1
    keys, below = set(), []
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                return "a key must be a word", key.start_mark.line + 1
            if key.value in keys:
                return f"the key {key.value!r} occurs twice in one block", key.start_mark.line + 1
            keys.add(key.value)
            below.append(value)
    elif isinstance(node, yaml.SequenceNode):
        below = node.value
    return next(
        (problem for child in below if (problem := _problem_key(child, (*above, node)))), None
    )


def _explain(file, node, problem):
    """One of pydantic's errors as text, with the line of the deepest key that exists."""
    line = node.start_mark.line + 1
    error = problem.get("ctx", {}).get("error")
    path = getattr(error, "path", problem["loc"])
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif (
            isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value)
        ):
            node = node.value[part]
            line = node.start_mark.line + 1
    where = ".".join(str(part) for part in path) or "the file"
    what = {
        "extra_forbidden": "unknown key. docs/site.md and the other parameters files list the keys",
        "missing": "missing",
    }.get(problem["type"], str(error or problem["msg"]))
    return f"{file}, line {line}: {where}: {what}"
