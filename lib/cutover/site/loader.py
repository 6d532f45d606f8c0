"""A parameters file (YAML) → a validated Site. Errors name the line and the key."""

import hashlib
import os
from pathlib import Path

import pydantic
import yaml

from cutover.site import field_types, parameters, stores

MAX_BYTES = 1024 * 1024  # of a parameters file
MAX_NODES = 20_000  # values in it, each use of an alias counted
UNUSABLE = (ValueError, OverflowError, AttributeError, KeyError)  # PyYAML, of a value or tag
TOO_MANY = f"more than {MAX_NODES} values"
PROJECT = Path(__file__).resolve().parents[3]


class _Loader(yaml.SafeLoader):
    """SafeLoader that names the line of a value that cannot be made (a date, a huge number).

    It stops at more values than are allowed, before it takes seconds for them.
    """

    nodes = 0

    def compose_node(self, parent, index):
        self.nodes += 1
        if self.nodes > MAX_NODES:
            mark = self.peek_event().start_mark
            raise yaml.constructor.ConstructorError(None, None, TOO_MANY, mark)
        return super().compose_node(parent, index)

    def construct_object(self, node, deep=False):
        try:
            return super().construct_object(node, deep)
        except UNUSABLE as error:
            raise yaml.constructor.ConstructorError(
                None, None, f"not a usable value: {error}", node.start_mark
            ) from None


def find(path: str | Path) -> Path:
    """The parameters file: as given, or relative to the project (so that notebooks find it)."""
    given = Path(path).expanduser()
    for candidate in (given, PROJECT / given):
        try:
            if candidate.is_file():
                return candidate.resolve()
        except OSError as error:
            raise field_types.BadParameters(f"{candidate}: {error.strerror}") from error
    raise field_types.BadParameters(
        f"{path}: no such parameters file. Looked in {Path.cwd()} and {PROJECT}."
    )


def load(path: str | Path, store: str = "") -> parameters.Site:
    """Read and validate a parameters file. Raises BadParameters naming file, line and key.

    path: FILE, or FILE:STORE if the file has several stores. store: the store, if `path` has none.
    """
    file, named = _place(path)
    store = named or store
    sites = _sites(file)
    if "" in sites and not store:
        return sites[""]
    if not store or store not in sites:
        listed = ", ".join(f"{file}:{name}" for name in sites if name) or f"{file} alone"
        what = f"has no store {store}" if store else "has several stores"
        raise field_types.BadParameters(f"{file}: {what}. Name {listed}.")
    return sites[store].beside([site for name, site in sites.items() if name != store])


def is_known_by(digest: str, raw: bytes, store: str) -> bool:
    """Whether a run knew its parameters file by this digest. store: its store, if it has one.

    Earlier versions knew the runs of several stores by the digest of the file.
    """
    if hashlib.sha256(raw).hexdigest() == digest:
        return True
    try:
        whole = stores.split(_parsed(Path("parameters"), raw)[1]) if store else {}
    except (field_types.BadParameters, field_types.WrongAt, KeyError, TypeError):
        return False
    return store in whole and stores.digest(whole, store) == digest


def store_names(path: str | Path) -> list[str]:
    """The stores of a parameters file that has several; [] for one site, or FILE:STORE.

    Raises BadParameters.
    """
    file, named = _place(path)
    return [] if named else [name for name in _sites(file) if name]


def _place(path):
    """(file, store) of FILE or FILE:STORE."""
    front, colon, store = str(path).rpartition(":")
    if colon and "/" not in store and not os.path.exists(Path(path).expanduser()):
        return find(front), store
    return find(path), ""


def _sites(file):
    """`{store: its site}` of a file, or `{"": the site}` of one without `stores`."""
    try:
        with open(file, "rb") as opened:
            raw = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise field_types.BadParameters(f"{file}: cannot be read: {error.strerror}") from error
    tree, data = _parsed(file, raw)
    if not isinstance(data, dict):
        raise field_types.BadParameters(f"{file}: empty, or not a mapping of keys to values")
    if stores.KEY not in data:
        digest = hashlib.sha256(raw).hexdigest()
        return {"": _validated(file, tree, data).read_from(file, digest)}
    try:
        whole = stores.split(data)
        valid = {name: _validated(file, tree, whole[name], name) for name in whole}
        sites = {
            name: part.read_from(file, stores.digest(whole, name), name)
            for name, part in valid.items()
        }
        stores.require_apart(sites)
    except field_types.WrongAt as error:
        raise field_types.BadParameters(_placed(file, tree, error.path, str(error))) from error
    return sites


def _validated(file, tree, data, store=""):
    try:
        return parameters.Site.model_validate(data)
    except pydantic.ValidationError as error:
        raise field_types.BadParameters(
            "\n".join(_explain(file, tree, problem, store) for problem in error.errors())
        ) from error


def _parsed(file, raw):
    """The file as YAML nodes and as plain values. Raises BadParameters."""
    if len(raw) > MAX_BYTES:
        raise field_types.BadParameters(f"{file}: larger than {MAX_BYTES} bytes")
    try:
        loader = _Loader(raw)
        tree = loader.get_single_node()
        if problem := _problem_key(tree):
            text, line = problem
            raise field_types.BadParameters(f"{file}, line {line}: {text}")
        if (count := _size(tree, {})) > MAX_NODES:
            raise field_types.BadParameters(
                f"{file}: {count} values, counting each use of an alias; {MAX_NODES} are allowed"
            )
        return tree, None if tree is None else loader.construct_document(tree)
    except yaml.constructor.ConstructorError as error:
        line = error.problem_mark.line + 1
        raise field_types.BadParameters(f"{file}, line {line}: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise field_types.BadParameters(f"{file}: not YAML: {error}") from error
    except RecursionError:
        raise field_types.BadParameters(f"{file}: nested too deeply") from None


def _size(node, known) -> int:
    """How many values a node stands for once its aliases are expanded."""
    if id(node) not in known:
        children = getattr(node, "value", ())
        if isinstance(node, yaml.MappingNode):
            children = [part for pair in children for part in pair]
        elif not isinstance(node, yaml.SequenceNode):
            children = ()
        known[id(node)] = 1 + sum(_size(child, known) for child in children)
    return known[id(node)]


def _problem_key(node, above=(), checked=None):
    """(problem, line) of the first key that is valid YAML but not valid here, or None."""
    if node in above:
        return "the block contains itself", node.start_mark.line + 1
    checked = set() if checked is None else checked
    if id(node) in checked:
        return None
    checked.add(id(node))
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
        (problem for child in below if (problem := _problem_key(child, (*above, node), checked))),
        None,
    )


def _explain(file, node, problem, store=""):
    """One of pydantic's errors as text, with the line of the deepest key that exists.

    store: the store whose keys, where it has them, stand for those of the rest of the file.
    """
    error = problem.get("ctx", {}).get("error")
    path = tuple(getattr(error, "path", problem["loc"]))
    own = (stores.KEY, store, *path)
    if store and _depth(node, own) > _depth(node, path) + 1:
        path = own
    what = {
        "extra_forbidden": "unknown key. docs/site.md and the other parameters files list the keys",
        "missing": "missing",
    }.get(problem["type"], str(error or problem["msg"]))
    return _placed(file, node, path, what)


def _placed(file, node, path, what):
    """A problem at a key, with the line of the deepest part of its path that exists."""
    line = node.start_mark.line + 1
    for mark in _along(node, path):
        line = mark.line + 1
    where = ".".join(str(part) for part in path) or "the file"
    return f"{file}, line {line}: {where}: {what}"


def _depth(node, path):
    return sum(1 for _ in _along(node, path))


def _along(node, path):
    """Where each part of a path begins, as far as the parts exist."""
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(part)), None)
            if pair is None:
                return
            yield pair[0].start_mark
            node = pair[1]
        elif (
            isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value)
        ):
            node = node.value[part]
            yield node.start_mark
