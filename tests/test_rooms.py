"""The rooms of lib/: what may import what, and how large a room's furniture may be."""

import ast
import functools
import re
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parents[1] / "lib"
# From the ground up: a file imports only from its own room and from rooms listed before it.
ROOMS = [
    "mbx2maildir",
    "lab",
    *(
        f"cutover.{room}"
        for room in (
            "model",
            "site",
            "connect",
            "facts",
            "remote",
            "comparison",
            "changes",
            "carryback",
            "steps.checks",
            "steps.night",
            "steps.maintenance",
            "steps",
            "record",
            "run",
            "report",
            "rehearsal",
            "bench",
            "notebook",
            "commands",
        )
    ),
]


def module_name(path):
    parts = path.relative_to(LIB).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


PATHS = {
    module_name(path): path
    for path in sorted(LIB.rglob("*.py"))
    if not {"build", "tests"} & set(path.parts)
}


@functools.cache
def trees():
    """{module: its syntax tree}. Not parsed on import: every lane of the tests imports this file."""
    return {name: ast.parse(path.read_text()) for name, path in PATHS.items()}


@functools.cache
def of_tests():
    """{path: syntax tree} of the tests."""
    return {
        str(path.relative_to(LIB.parent)): ast.parse(path.read_text())
        for folder in (LIB.parent / "tests", LIB / "mbx2maildir/tests")
        for path in sorted(folder.rglob("*.py"))
    }


def imports(name):
    """The modules of lib/ that a module imports, wherever in it."""
    targets = set()
    for node in ast.walk(trees()[name]):
        if isinstance(node, ast.Import):
            targets |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                targets.add(full if full in PATHS else node.module)
    return {target for target in targets if target in PATHS} - {name}


def room(name):
    """The room a module belongs to: the longest name that leads to it."""
    fitting = [room for room in ROOMS if name == room or name.startswith(room + ".")]
    return max(fitting, key=len, default=None)


# modules that read lines of JSON, of numbers, or of a secret
OWN_LINES = {
    "cutover.bench.timing",
    "cutover.record.journal",
    "cutover.record.record_json",
    "cutover.record.transcript",
    "cutover.site.secrets",
}


def test_every_module_but_the_package_itself_is_in_a_room():
    outside = [name for name in PATHS if room(name) is None]
    assert outside == ["cutover", "cutover.__main__"]


@pytest.mark.parametrize("name", [name for name in PATHS if room(name)])
def test_a_module_imports_from_its_room_and_those_below(name):
    height = ROOMS.index(room(name))
    climbs = [target for target in imports(name) if ROOMS.index(room(target) or ROOMS[0]) > height]
    assert not climbs, f"{name} in room {room(name)} imports {', '.join(climbs)} from rooms above"


def test_no_modules_import_each_other_in_a_circle():
    reached = {name: imports(name) for name in PATHS}
    for middle in PATHS:  # the transitive closure
        for name in PATHS:
            if middle in reached[name]:
                reached[name] = reached[name] | reached[middle]
    circle = sorted(name for name in PATHS if name in reached[name])
    assert not circle, f"these import each other: {', '.join(circle)}"


def test_the_converter_and_the_lab_stand_alone():
    for name, tree in trees().items():
        if name.split(".")[0] == "cutover":
            continue
        others = {"cutover", "lab", "mbx2maildir"} - {name.split(".")[0]}
        for node in ast.walk(tree):
            modules = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not others & {module.split(".")[0] for module in modules}, name


def test_steps_open_no_connection_and_run_no_command():
    networked = {"socket", "paramiko", "smtplib", "imaplib", "imapclient", "subprocess", "dns"}
    for name, tree in trees().items():
        if not name.startswith("cutover.steps"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not networked & {alias.name for alias in node.names}, name
            if isinstance(node, ast.ImportFrom):
                assert node.module.split(".")[0] not in networked, name
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                owner = ast.unparse(node.func.value)
                assert not (owner in ("hosts", "ctx.hosts") and node.func.attr in ("run", "ssh")), (
                    f"{name}:{node.lineno}: a step reads hosts through facts/ only"
                )


# They write, or describe, the whole configuration of a Dovecot of their own on the lab's base.
OWN_DOVECOT = {"cutover.bench.mailhost", "cutover.bench.convert_tables"}


def test_one_module_knows_settings_that_dovecot_renamed():
    """Others name only those that 2.3 and 2.4 spell alike, such as a namespace's prefix."""
    setting = re.compile(
        r"\b(mail_(location|driver|path|inbox_path|plugins?|plugin_dir|home|fsync|nfs_\w+)|"
        r"mailbox_list_\w+|pop3_uidl_format|sieve_user_email|submission_host|mmap_disable|"
        r"dotlock_use_excl|lock_method|passdb|userdb (passwd|driver)|namespace/|"
        r"no-userdb-lookup|auth_mechanisms|listescape\w*|(restart_request|service)_count)\b"
    )
    named = [
        f"{name}:{number} {line.strip()}"
        for name, path in PATHS.items()
        if name.startswith("cutover.") and name not in {"cutover.facts.dovecot", *OWN_DOVECOT}
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if setting.search(line)
    ]
    assert not named


# Loops that run once per message: a call per message would cost more than it explains.
HOT = {("mbx2maildir.formats.mbx", "messages"), ("mbx2maildir.convert.delta", "update")}
# Shipped to the backup host as one file, which its plan shows whole.
ONE_FILE = {"cutover.remote.backup_copier"}
# A person narrows a table by what they read in it.
SEARCHES = {"cutover.notebook.check_table"}


def test_files_and_functions_stay_readable():
    large = [
        f"{path.relative_to(LIB)}: {lines} lines"
        for name, path in PATHS.items()
        if name not in ONE_FILE and (lines := len(path.read_text().splitlines())) > 350
    ]
    long = [
        f"{name}:{node.lineno} {node.name}: {lines} lines"
        for name, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (name, node.name) not in HOT
        and (lines := node.end_lineno - node.lineno + 1) > 60
    ]
    assert not large and not long


def test_no_module_is_imported_under_another_name():
    modules = {*PATHS, *(Path(name).stem for name in of_tests())}
    aliases = [
        f"{name}:{node.lineno} {alias.name} as {alias.asname}"
        for name, tree in [*trees().items(), *of_tests().items()]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom | ast.Import)
        for alias in node.names
        if alias.asname
        and ".".join(filter(None, (getattr(node, "module", ""), alias.name))) in modules
    ]
    assert not aliases


def variables(tree):
    """`(line, name)` of variables, parameters and functions; not of a class's fields and methods,
    which recorded facts and callers elsewhere know."""
    members = {
        member.target if isinstance(member, ast.AnnAssign) else member
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for member in node.body
    }
    for node in ast.walk(tree):
        if node in members:
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name


def test_a_name_says_what_it_holds():
    vague = {"each", "found", "one", "said", "told"}
    names = [
        f"{name}:{line} {variable}"
        for name, tree in [*trees().items(), *of_tests().items()]
        for line, variable in variables(tree)
        if variable in vague
    ]
    assert not names


def test_no_pattern_reads_our_own_text():
    """Decisions are made by ids and figures: a check's or result's wording is free to change."""
    prose = re.compile(
        r"(re\.\w+\([^)]*|\bin |startswith\(|endswith\(|== ?f?\"[^\"]* )[^\n]*"
        r"(\.question|\.actual|\[\"question\"\]|\[\"actual\"\]|\[\"output\"\]|\.reason\b.*search)"
    )
    readers = [
        f"{name}:{number} {line.strip()}"
        for name, path in PATHS.items()
        if name not in SEARCHES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if prose.search(line)
    ]
    assert not readers


def test_lines_end_where_their_writers_end_them():
    """str.splitlines also splits inside of names, at a CR, a form feed or U+0085: model.lines."""
    callers = [
        f"{name}:{node.lineno}"
        for name, tree in trees().items()
        if name not in OWN_LINES and name.partition(".")[0] != "lab"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "splitlines"
    ]
    assert not callers
