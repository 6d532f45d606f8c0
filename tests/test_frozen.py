"""Names that scripts and archived runs rely on stay as they are: tests/frozen.json lists them.

Nothing here looks at wording. The lists are kept by hand, one entry per name, so that adding or
removing a name is always a visible decision. An entry such as `checks[].todo` names a key of each
object in a list, `outage.*.seconds` a key of each object in a dict with free keys, and `?` marks
a key that is sometimes missing.

A run made by an older version is verified in the lab tests, not here.
"""

import ast
import collections
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click import Context, Group, Option, testing

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]

# --- all that this file takes from the project: when a module moves, adjust this section only
# ruff: noqa: E402
import recorded
import stub
from cutover import model
from cutover.commands import unattended
from cutover.commands.main import cutover as command_line
from cutover.model import errors, runbook
from cutover.record import approval, approval_ahead, drift, record_json, run_folder
from cutover.rehearsal import ledger
from cutover.remote import lease_file
from cutover.run import lease, plans_ahead, prediction, workspace
from cutover.site import secrets
from cutover.steps import registry
from lab import container, control, state
from mbx2maildir.tests import build

SOURCES = [ROOT / "lib"]


def no_host(patch, run):
    """Every command that executes steps executes none, and then reports this run."""
    patch.setattr(unattended, "execute", lambda *_, **__: None)
    patch.setattr(control, "up", lambda *_, **__: None)
    patch.setattr(control, "down", lambda *_, **__: None)
    patch.setattr(run_folder, "create", lambda *_, **__: run)


def lab_with_one_host(patch):
    """The state of a lab in which mailboxvm is down."""
    patch.setattr(
        state,
        "read",
        lambda: {
            "lab": "0123",
            "phase": "up",
            "seed": None,
            "hosts": {"mailboxvm": {"pid": 0, "start": 0}},
        },
    )
    patch.setattr(container, "process", lambda *_: None)
    patch.setattr(container, "running", lambda *_: False)


def empty_servers(patch):
    """Servers that hold no message of the live traffic."""
    patch.setattr(ledger, "settle", lambda *_: None)
    patch.setattr(ledger, "keys_on", lambda *_: collections.Counter())


def step_raises(patch, name, function, error):
    """`function` of a step raises `error`."""
    patch.setitem(
        registry.STEPS, name, dataclasses.replace(registry.step(name), **{function: raising(error)})
    )


def rollback_without_a_lease(patch, stepper):
    """The rollback goes back without a lease when the host that keeps it is gone."""
    patch.setattr(lease_file, "ask", raising(errors.CutoverError("gone")))
    stepper.step = registry.step("rollback")
    stepper._take_lease()


def step_with_choices(night):
    """Begin a step of which the operator asks something."""
    chosen = {"what": "this"}
    stub.engine.Engine(night.site, "preflight", "execute", night.run, chosen=chosen).close()


def approved_ahead(night):
    """Plans approved before the outage: the first list is void, the next one serves."""
    for name in plans_ahead.STEPS[1:]:
        night.alter(name, ahead=None)
    for extra in ({"another": "world"}, {}):
        night.extra = extra
        listed = plans_ahead.make(night.site, night.run)
        for who in ("anna", "bert"):
            typed = approval_ahead.confirmation(night.site)
            key = night.path / who
            approval.give_ahead(night.run, night.site, listed, typed, key)
        night.extra = {}
        stepper = night.planned()
        if not extra:
            stepper.approve()
        stepper.close()


def ledger_of(run):
    """The ledger of two messages, one of them put off at first."""
    entries = [{"key": "a", "known": True}, {"key": "b", "known": True, "put_off": 1, "waited": 2}]
    (run.path / ledger.NAME).write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return ledger.count(None, run)


# --- the end of that section


def raising(error):
    def fail(*_, **__):
        raise error

    return fail


FROZEN = json.loads((ROOT / "tests" / "frozen.json").read_text())
EXAMPLE = ROOT / "parameters" / "roma1"


def same(group, name, actual, ordered=False):
    """Compare one list of names with the frozen one; name what is gone and what is new."""
    expected, actual = FROZEN[group].get(name, []), list(actual)
    assert actual, f"{group}: {name}: nothing was read, so nothing was compared"
    gone = [item for item in expected if item not in actual]
    new = [item for item in actual if item not in expected]
    assert not gone and not new, (
        f"{group}: {name}: gone: {', '.join(map(str, gone)) or 'nothing'}; "
        f"new: {', '.join(map(str, new)) or 'nothing'}. Scripts and archived runs rely on these "
        "names. Restore what is gone. If a name is new on purpose, add it to tests/frozen.json."
    )
    assert not ordered or actual == expected, f"{group}: {name}: in another order: {actual}"


def keys(samples, opaque=(), free=()):
    """`["key", "key.key", "key[].key?", …]` of dicts of one kind.

    `opaque`: paths not looked into; `free`: paths of dicts whose keys are data, shown as `*`.
    """
    names = []

    def look(values, path):
        lists = [value for value in values if isinstance(value, (list, tuple))]
        dicts = [value for value in values if isinstance(value, dict)]
        if lists:
            look([item for value in lists for item in value], path + "[]")
        if dicts and path in free:
            look([item for value in dicts for item in value.values()], f"{path}.*")
        elif dicts and path not in opaque:
            for key in sorted({key for value in dicts for key in value}):
                inner = f"{path}.{key}" if path else key
                there = [value[key] for value in dicts if key in value]
                names.append(inner + ("?" if len(there) < len(dicts) else ""))
                look(there, inner)

    look(list(samples), "")
    return names


def invoke(*argv, code=0, **more):
    """Run a command of the public command line. → its standard output"""
    done = testing.CliRunner(env={"COLUMNS": "1000"}).invoke(
        command_line, [str(word) for word in argv], prog_name="cutover", **more
    )
    assert done.exit_code == code, f"cutover {argv}: {done.exit_code}: {done.output}"
    return done.stdout


def answer(*argv, **more):
    return json.loads(invoke(*argv, **more))


# --- runs that need no host


@pytest.fixture(scope="module", autouse=True)
def no_secrets_left():
    """What these runs register must not show in other tests."""
    with secrets.apart():
        yield


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The worked example's journal, in a run folder."""
    path = tmp_path_factory.mktemp("example") / "2026-03-14_01_roma1_run"
    shutil.copytree(EXAMPLE, path)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A production run, approved by two people and signed. → its stub site"""
    with pytest.MonkeyPatch.context() as patch:
        night = stub.Site(tmp_path_factory.mktemp("whole"), patch)
        night.whole()
        yield night


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    """A production run in which everything goes wrong once. → its stub site"""
    with pytest.MonkeyPatch.context() as patch:
        night = stub.Site(tmp_path_factory.mktemp("troubled"), patch)
        step_with_choices(night)
        night.before()
        approved_ahead(night)
        unapproved = night.planned()
        with pytest.raises(errors.CutoverError):
            unapproved.approve()
        unapproved.close()
        act = night._act
        for error in (errors.CutoverError("refused"), KeyboardInterrupt()):
            stepper = night.planned()
            night.give("anna", stepper)
            night.give("bert", stepper)
            stepper.approve()
            night._act = raising(error)
            with pytest.raises(type(error)):
                stepper.apply()
            night._act = act
            stepper.close()
        leases(night)
        with patch.context() as servers:
            empty_servers(servers)
            night.run.journal.append("ledger", **ledger_of(night.run))
        stub.rewrite(night.run.path, lambda events: events[0].update(code="0" * 64))
        invoke(
            "approve",
            "--run",
            night.run.path,
            "--drift",
            "--key",
            night.path / "anna",
            input="run\n",
        )
        yield night


def leases(night):
    """A lease left by a dead process, one that is broken, and a host that keeps none."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        left = lease.Lease(stub.Hosts(night.site), night.run, night.run.journal.append)
        left.pid = gone.pid
        left.take()
    again = lease.Lease(left.hosts, night.run, night.run.journal.append)
    again.take()
    night.holder = answer("lease", "show", "--site", night.file, "--json")
    invoke(
        "lease",
        "break",
        "--run",
        night.run.path,
        "--key",
        night.path / "anna",
        input=json.loads(Path(again.path).read_text())["owner"] + "\n",
    )
    left.release()
    again.release()
    night.free = answer("lease", "show", "--site", night.file, "--json")
    stepper = night.planned()
    with pytest.MonkeyPatch.context() as patch:
        rollback_without_a_lease(patch, stepper)
    stepper.close()


@pytest.fixture(scope="module")
def drifted(tmp_path_factory):
    """A rehearsal that began with other code, notebooks, parameters and signers. → its stub site

    Its record cannot be signed once, and it has a prediction.
    """
    with pytest.MonkeyPatch.context() as patch:
        night = stub.Site(tmp_path_factory.mktemp("drifted"), patch, kind="rehearsal")
        for name in ("code", "notebooks", "parameters", "allowed"):
            stub.rewrite(
                night.run.path, lambda events, name=name: events[0].update({name: "0" * 64})
            )
            drift.check(night.run, night.site, night.run.journal.append)
        night.before()
        night.finish(night.planned())
        night.run.journal.append("predicted", step="presync", attempt=0, **predicted_fields(night))
        night.people["operator"].rename(night.path / "hidden")
        assert record_json.pause(night.run, night.site, "without a key") is None
        (night.path / "hidden").rename(night.people["operator"])
        yield night


def predicted_fields(night):
    seconds = {"sessions": 1.0, "opening": 1.0, "metadata": 2.0, "content": 4.0}
    recorded.events(
        night.run,
        "presync",
        [
            {"event": "start", "users": 1, "host": "h", "at": 1000},
            {"event": "user", "user": "u", "folders": 1, "bytes": 100, "at": 1000},
            {"event": "staged", "user": "u", "at": 1040},
            {"event": "end", "ok": True, "at": 1040},
        ],
    )
    recorded.step(
        night.run,
        "presync",
        facts={
            "sample": {
                "messages": 1,
                "users": ["u"],
                "groups": [{"users": 1, "folders": 1, "messages": 1, "bytes": 100, **seconds}],
            }
        },
    )
    return prediction.outage_of(night.run, night.site)


# --- journal


# what a journal line holds of changes is frozen by kind of change; a check's data by its id
OPAQUE = ("change", "inverse", "chosen", "checks[].data", "figures")


def events_by_kind(*journals):
    by_kind = collections.defaultdict(list)
    for events in journals:
        for event in events:
            by_kind[event["event"]].append(event)
    return by_kind


def example_events():
    return [json.loads(line) for line in (EXAMPLE / "journal.jsonl").read_text().splitlines()]


def by_hand(event):
    """Whether a test helper wrote the event itself, shorter than the engine does."""
    return event.get("step") == "presync" and event["event"] != "predicted"


@pytest.fixture(scope="module")
def journaled(whole, troubled, drifted):
    """Events by kind, written by the engine, the lease, the drift check and the record."""
    return events_by_kind(
        *(
            [event for event in night.run.journal.events() if not by_hand(event)]
            for night in (whole, troubled, drifted)
        )
    )


def own(fields, common="every event"):
    """Without the fields that every event has."""
    return [name for name in fields if name not in FROZEN["kinds"][common]]


def common(events):
    return sorted(set.intersection(*(set(event) for event in events.values() for event in event)))


def test_every_event_has_the_same_fields(journaled):
    same("kinds", "every event", common(journaled))
    same("kinds", "every event of the worked example", common(events_by_kind(example_events())))


@pytest.mark.parametrize("kind", FROZEN["journal"])
def test_the_journal_writes_the_same_fields(journaled, kind):
    same("journal", kind, own(keys(journaled[kind], OPAQUE)))


def test_the_journal_writes_the_same_kinds_of_event(journaled):
    same("kinds", "journal events", sorted(journaled))
    assert set(journaled) == set(FROZEN["journal"]), "tests/frozen.json: journal, kinds differ"


def test_the_source_writes_no_other_event_and_no_other_field():
    """Read from the calls that write events: `append("kind", field=…)` and the like."""
    wanted, calls = FROZEN["journal"], collections.defaultdict(set)
    for path in (path for top in SOURCES for path in top.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.keywords or not node.args:
                continue
            function = getattr(node.func, "attr", getattr(node.func, "id", "")).lstrip("_")
            kind = getattr(node.args[0], "value", None)
            if function in ("append", "record") and isinstance(kind, str):
                calls[kind].update(keyword.arg for keyword in node.keywords if keyword.arg)
    same("kinds", "journal events", sorted(calls))
    for kind, fields in calls.items():
        new = fields - {name.rstrip("?") for name in wanted[kind]}
        assert not new, f"journal: {kind}: new: {', '.join(sorted(new))}"


@pytest.mark.parametrize("kind", FROZEN["example"])
def test_the_worked_example_holds_the_same_fields(kind):
    """A journal recorded by an earlier version; tests/story.py leaves some fields out."""
    same(
        "example",
        kind,
        own(
            keys(events_by_kind(example_events())[kind], OPAQUE),
            "every event of the worked example",
        ),
    )


def test_the_worked_example_holds_the_same_kinds_of_event():
    same("kinds", "worked example", sorted(events_by_kind(example_events())))
    assert set(FROZEN["example"]) == set(FROZEN["kinds"]["worked example"])


@pytest.mark.parametrize("name", FROZEN["words"])
def test_the_journal_uses_the_same_words(journaled, name):
    """Values that decisions are made by."""
    kind, field = name.split(".")
    same("words", name, sorted({event[field] for event in journaled[kind]}))


# --- changes


def registered():
    return {kind for kind in model.KINDS if kind}


def test_kinds_of_change_are_the_same():
    same("kinds", "changes", sorted(registered()))
    assert registered() == set(FROZEN["changes"])


@pytest.mark.parametrize("kind", FROZEN["changes"])
def test_a_change_has_the_same_fields(kind):
    """What an old journal holds is read, and what is written has the same keys."""
    try:
        change = model.change_from_json({"kind": kind, **dict.fromkeys(FROZEN["changes"][kind])})
    except TypeError as error:
        pytest.fail(f"changes: {kind}: a journal's fields are no longer accepted: {error}")
    written = change.to_json()
    assert written.pop("kind") == kind
    same("changes", kind, written)


# --- command line


def commands(command, name="cutover"):
    """`{full name: command}`, groups included."""
    by_name = {name: command}
    if isinstance(command, Group):
        context = Context(command)
        for child in command.list_commands(context):
            by_name.update(commands(command.get_command(context, child), f"{name} {child}"))
    return by_name


def described(parameter):
    """One option or argument, as a script has to give it."""
    if not isinstance(parameter, Option):
        return (
            parameter.make_metavar(Context(command_line))
            if parameter.metavar is None
            else parameter.metavar
        )
    kind = "flag" if parameter.is_flag else "value"
    if getattr(parameter.type, "choices", None):
        kind = "|".join(parameter.type.choices)
    names = "/".join([*parameter.opts, *parameter.secondary_opts])
    required, repeatable = " required" * parameter.required, " repeatable" * parameter.multiple
    return f"{names} {kind}{required}{repeatable}"


def test_command_names_are_the_same():
    same("kinds", "commands", sorted(commands(command_line)))
    assert set(commands(command_line)) == set(FROZEN["commands"])


@pytest.mark.parametrize("name", FROZEN["commands"])
def test_a_command_has_the_same_options(name):
    command = commands(command_line)[name]
    same(
        "commands",
        name,
        [*map(described, command.params), *command.get_help_option_names(Context(command))],
    )


def test_the_package_runs_as_a_program_with_these_commands():
    done = subprocess.run(
        [sys.executable, "-m", "cutover", "--help"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "1000"},
    )
    assert done.returncode == 0, done.stderr
    shown = re.findall(r"^  ([a-z]+)  ", done.stdout.partition("Commands:")[2], re.MULTILINE)
    same("kinds", "commands of the program", shown)


def test_store_has_the_same_commands():
    shown = re.findall(r"^    ([a-z][a-z-]*)(?:\s|$)", invoke("store", "--help"), re.MULTILINE)
    same("kinds", "store commands", sorted(shown))
    assert set(shown) == set(FROZEN["store"])


@pytest.mark.parametrize("name", FROZEN["store"])
def test_a_store_command_has_the_same_options(name):
    """By its usage line: what is not in brackets is required."""
    usage = invoke("store", name, "--help").partition("\n\n")[0]
    usage = " ".join(usage.split()).partition(f" {name} ")[2]
    optional = re.findall(r"\[(--?[a-z][a-z-]*)( [A-Z][^\]]*)?\]", usage)
    rest = re.sub(r"\[[^\]]*\]", "", usage)
    required = re.findall(r"(--[a-z][a-z-]*)( [A-Z]\S*)?", rest)
    arguments = re.sub(r"--[a-z][a-z-]*( [A-Z]\S*)?", "", rest).split()
    same(
        "store",
        name,
        [
            *(option + (" value" if value else " flag") for option, value in optional),
            *(
                option + (" value" if value else " flag") + " required"
                for option, value in required
            ),
            *arguments,
        ],
    )


# --- what --json answers


@pytest.mark.parametrize(
    "command", ["status", "run", "rehearse", "maintain", "rollback", "restore"]
)
def test_the_state_of_a_run_has_the_same_keys(example, command, monkeypatch):
    monkeypatch.chdir(ROOT)
    no_host(monkeypatch, run_folder.Run(example))
    site = ["--site", ROOT / "parameters" / "roma1.yaml"]
    more = {
        "status": ["--run", example],
        "run": [*site, "--run", example],
        "rehearse": [],
        "maintain": ["vacation", *site, "--run", example],
        "rollback": ["--run", example, *site],
        "restore": [*site, "--user", "alice", "--run", example],
    }[command]
    same("json", "run", keys([answer(command, *more, "--json")]))


def test_the_state_of_a_site_has_the_same_keys(example, tmp_path, monkeypatch):
    site = ROOT / "parameters" / "roma1.yaml"
    monkeypatch.setattr("cutover.site.PROJECT", tmp_path)
    (tmp_path / "runs").symlink_to(example.parent)
    same("json", "status --site", keys(answer("status", "--site", site, "--json")))


def test_a_plan_has_the_same_keys(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        night = stub.Site(tmp_path, patch)
        step_raises(patch, "dns-rename", "probe", errors.CutoverError("no answer"))
        step_raises(patch, "dual-delivery", "plan", model.CannotPlan("not yet"))
        plan = ["plan", "--site", night.file, "--json"]
        answered = [
            *answer(*plan, "--to", "dual-delivery", code=1),
            *answer(*plan, "--from", "stop-imap", "--to", "stop-imap"),
        ]
    same("json", "plan", keys(answered))


def test_a_verified_record_has_the_same_keys(whole, tmp_path):
    good = answer("record", "verify", whole.run.path, "--json")
    assert good.get("passed", True)
    spoilt = shutil.copytree(whole.run.path, tmp_path / "spoilt")
    (spoilt / "code.json").write_text("{}")
    bad = answer("record", "verify", spoilt, "--json", code=1)
    assert not bad.get("passed", False)
    same("json", "record verify", keys([good, bad]))


def test_a_comparison_has_the_same_keys(whole, tmp_path):
    other = shutil.copytree(whole.run.path, tmp_path / "other")
    stub.rewrite(other, lambda events: events[0].update(code="1" * 64))
    same(
        "json",
        "record compare",
        keys([answer("record", "compare", whole.run.path, other, "--json")]),
    )


def test_a_lease_has_the_same_keys(troubled):
    assert troubled.holder["holder"] and troubled.free["holder"] is None
    same("json", "lease show", keys([troubled.holder, troubled.free]))


def test_the_state_of_the_lab_has_the_same_keys(monkeypatch):
    lab_with_one_host(monkeypatch)
    answered = answer("lab", "status", "--json", code=1)
    assert answered["hosts"]
    free = ("hosts", "hosts.*.ports")
    same("json", "lab status", keys([answered], free=free))


@pytest.fixture
def mail(tmp_path):
    """One user with a sound folder and a damaged one. → (home, Maildir, plan file)"""
    site = build.Site(tmp_path)
    home = site.user("alice", build.simple(3), {"work": build.simple(2)[:-4]})
    (tmp_path / "plan.json").write_text(json.dumps(site.plan()))
    return home, site.maildir("alice"), tmp_path / "plan.json"


def test_what_store_commands_answer_has_the_same_keys(mail, monkeypatch):
    home, maildir, plan = mail
    old = ["--inbox", home / "INBOX", "--folders", home / "mail", "--maildir", maildir]
    answers = {
        "store inspect": answer(
            "store", "inspect", home / "mail" / "work", "--messages", "--json", code=1
        ),
        "store survey": answer("store", "survey", "--plan", plan, "--json"),
        "store state": answer("store", "state", "--plan", plan, "--json"),
        "store convert": answer("store", "convert", *old, "--jobs", 1, "--json"),
    }
    for path in (maildir / "cur").iterdir():
        path.write_bytes(b"other")
    answers["store compare"] = answer("store", "compare", *old, "--json", code=1)
    for name, values in answers.items():
        same("json", name, keys([values]))


# --- a run's folder


def test_the_record_has_the_same_keys(whole, tmp_path):
    ended = run_folder.Run(shutil.copytree(whole.run.path, tmp_path / "ended"))
    ended.journal.append("intent", step="decommission", number=0)
    samples = [
        json.loads((whole.run.path / "record.json").read_bytes()),
        record_json.write(ended, whole.site, "past the point of no return"),
    ]
    assert samples[0]["no_return"] is None and samples[1]["no_return"]
    same("files", "record.json", keys(samples, free=("files",)))


@pytest.mark.parametrize("approves", ["plan", "drift", "lease-break"])
def test_a_signed_approval_has_the_same_keys(troubled, approves):
    approvals = [
        json.loads(path.read_bytes()) for path in troubled.run.path.glob("approvals/*.json")
    ]
    same(
        "files",
        "approval",
        keys(statement for statement in approvals if statement["approves"] == approves),
    )


def pattern(name):
    """A file's name without hashes, the number of an attempt, or which step it is of."""
    name = re.sub(r"\b[0-9a-f]{64}\b", "HASH64", name)
    name = re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{16}\b|\b[a-f]{16}\b", "HASH16", name)
    name = re.sub(r"\.[0-9a-f]{8}\b", ".HASH8", name)
    name = re.sub(r"\.\d+\.", ".N.", name)
    name = re.sub(r"\d\d_[a-z_]+(?=\.(by-hand\.)?(ipynb|html))", "NN_STEP", name)
    return re.sub(
        r"(?<=/)(" + "|".join(sorted(runbook.EVERY, key=len, reverse=True)) + r")(?=\.)",
        "STEP",
        name,
    )


def test_a_run_folder_holds_the_same_files(whole, troubled, drifted, tmp_path):
    """And the folder of a run has the same form of name."""
    names = set()
    for number, night in enumerate((whole, troubled, drifted)):
        copy = run_folder.Run(shutil.copytree(night.run.path, tmp_path / f"copy{number}"))
        copy.journal.append("note", output="long\n" * 4000)
        if night is whole:
            workspace.prepare(night.site, copy)
            invoke("status", "--run", copy.path, "--report")
            invoke("record", "sign", copy.path, "--site", night.file)
            recorded.events(copy, "convert", [{"event": "end"}])
        names |= {
            str(path.relative_to(copy.path)) for path in copy.path.rglob("*") if path.is_file()
        }
    same("files", "run folder", sorted({pattern(name) for name in names}))
    made = run_folder.create(whole.site, "rehearse", tmp_path / "runs")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d_01_roma1_rehearse", made.name), made.name


# --- notebooks and steps


def notebook(name):
    return json.loads((ROOT / "notebooks" / name).read_bytes())["cells"]


def tagged(cells):
    return {cell["metadata"]["tags"][0]: cell for cell in cells if cell["metadata"].get("tags")}


def test_notebook_names_are_the_same():
    names = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    same("kinds", "notebooks", names)
    assert set(names) == set(FROZEN["cells"]) == set(FROZEN["parameters"])


@pytest.mark.parametrize("name", FROZEN["cells"])
def test_a_notebook_has_the_same_tags(name):
    """In order: each code cell's tags, without those of the tests."""
    tags = [
        tag
        for cell in notebook(name)
        for tag in cell["metadata"].get("tags", [])
        if not tag.startswith("nbval-")
    ]
    same("cells", name, tags, ordered=True)


@pytest.mark.parametrize("name", FROZEN["parameters"])
def test_a_notebook_takes_the_same_parameters(name):
    source = "".join(tagged(notebook(name))["parameters"]["source"])
    lines = [node for node in ast.parse(source).body if isinstance(node, ast.AnnAssign)]
    same(
        "parameters", name, [f"{line.target.id}: {ast.unparse(line.annotation)}" for line in lines]
    )


def test_step_ids_and_their_notebooks_are_the_same():
    same(
        "kinds",
        "steps",
        [f"{name} {runbook.notebook_name(name)}" for name in runbook.EVERY],
        ordered=True,
    )
    for name in runbook.EVERY:
        opened = "".join(tagged(notebook(runbook.notebook_name(name)))["open"]["source"])
        assert f'"{name}"' in opened, f"{runbook.notebook_name(name)} does not open {name}"
