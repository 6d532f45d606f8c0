"""The command line, the zipapp, and what they promise: exit codes, JSON, Python 3.8."""

import ast
import json
import pathlib
import shutil
import subprocess
import sys

import pytest

import mbx2maildir
from mbx2maildir import command_line
from mbx2maildir.tests import build

PACKAGE = pathlib.Path(mbx2maildir.__file__).parent


def run(capsys, *arguments):
    code = command_line.main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return code, output.out, output.err


@pytest.fixture
def plan_path(site):
    site.user("alice", build.simple(3), {"work": build.simple(2)[:-4]})
    path = site.root / "plan.json"
    path.write_text(json.dumps(site.plan()))
    return path


def test_every_command_has_help(capsys):
    commands = [
        "inspect",
        "convert",
        "convert-users",
        "presync",
        "unpublish",
        "state",
        "survey",
        "compare",
    ]
    assert run(capsys, "--help")[0] == 0
    for name in commands:
        code, out, _err = run(capsys, name, "--help")
        assert code == 0 and "Exit status" in out
    assert run(capsys)[0] == 2
    assert run(capsys, "no-such-command")[0] == 2


def test_a_plan_from_survey_to_unpublish(capsys, plan_path, site):
    code, out, _err = run(capsys, "survey", "--plan", plan_path, "--json")
    totals = json.loads(out)["totals"]
    assert sum(totals["sizes"]) == totals["messages"] > 0
    report = json.loads(out)
    totals = report["totals"]
    assert code == 0
    assert (totals["messages"], totals["damage"], totals["errors"]) == (4, 1, 0)
    assert report["users"][0]["damage"][0]["offset"] == 2048 + (len(build.simple(1)) - 2048)
    code, out, _err = run(capsys, "convert-users", "--plan", plan_path)
    events = [json.loads(line) for line in out.splitlines()]
    assert (
        code == 0
        and [events[0]["event"], events[-1]["event"]] == ["start", "end"]
        and events[-1]["ok"]
    )
    code, out, _err = run(capsys, "state", "--plan", plan_path, "--json")
    (alice,) = json.loads(out)["users"]
    assert (code, alice["published"], alice["messages"], alice["live"]) == (0, True, 4, "ours")
    code, out, _err = run(
        capsys, "unpublish", "--plan", plan_path, "--events", site.root / "events"
    )
    assert code == 0 and out == ""
    assert [
        json.loads(line)["event"] for line in (site.root / "events").read_text().splitlines()
    ] == ["unpublished", "end"]
    for name in ("survey", "state"):
        assert run(capsys, name, "--plan", plan_path)[0] == 0


def test_failure_of_a_user_gives_exit_code_1(capsys, plan_path, site):
    (site.root / "home/alice/INBOX").unlink()
    (site.root / "home/alice/INBOX").mkdir()
    code, out, _err = run(capsys, "convert-users", "--plan", plan_path)
    (error,) = [event for event in map(json.loads, out.splitlines()) if event["event"] == "error"]
    assert (
        code == 1
        and error["file"].endswith("INBOX")
        and error["what"] == "a directory, not a regular file"
    )
    assert run(capsys, "survey", "--plan", plan_path)[0] == 1


def test_one_user_by_paths(capsys, plan_path, site):
    home = site.root / "home/alice"
    old = [
        "--inbox",
        home / "INBOX",
        "--folders",
        home / "mail",
        "--maildir",
        site.maildir("alice"),
    ]
    code, out, _err = run(capsys, "convert", *old, "--jobs", 2, "--json")
    assert code == 0 and json.loads(out)["totals"]["messages"] == 4
    assert run(capsys, "convert", *old)[0] == 0
    code, out, _err = run(capsys, "compare", *old, "--json")
    assert code == 0 and json.loads(out)["messages"] == 4
    for path in (site.maildir("alice") / "cur").iterdir():
        path.write_bytes(b"other")
    code, out, _err = run(capsys, "compare", *old, "--json")
    assert (
        code == 1
        and [item["what"] for item in json.loads(out)["differences"]] == ["date", "content"] * 3
    )
    assert (
        run(capsys, "convert", "--folders", site.root / "nowhere", "--maildir", site.maildir("x"))[
            0
        ]
        == 1
    )


def test_inspect_says_of_any_mailbox_what_convert_takes_from_it(capsys, site):
    path = site.root / "box"
    path.write_bytes(
        b"From a@b Tue Nov 10 10:00:00 2026\nX-IMAPbase: 7 9\nX-UID: 4\nStatus: RO\n\nbody\n\n"
    )
    code, out, _err = run(capsys, "inspect", path, "--json")
    values = json.loads(out)
    assert code == 0 and values["format"] == "mbox" and values["messages"] == values["seen"] == 1
    assert (values["uidvalidity"], values["uidnext"]) == (7, 10)
    assert "mbox" in run(capsys, "inspect", path)[1]


def test_what_a_user_named_does_nothing_to_the_terminal(capsys, site):
    folders = site.root / "home/eve/mail"
    folders.mkdir(parents=True)
    path = folders / "a\x1b[2J\x9b\u202eb"
    path.write_bytes(build.header(keywords=[b"\x1b]0;x\x07"]) + build.message(b"x\n", uid=1))
    new = ["--folders", folders, "--maildir", folders.parent / "new"]
    outputs = [run(capsys, *words) for words in (("inspect", path), ("convert", *new))]
    path.write_bytes(b"no mail")
    outputs.append(run(capsys, "inspect", path))
    assert [code for code, _, _ in outputs] == [0, 0, 1]
    for text in ("".join(output[1:]) for output in outputs):
        assert "\\x1b[2J\\x9b\\u202e" in text and text.replace("\n", "").isprintable()


def test_inspect(capsys, plan_path, site):
    path = site.root / "home/alice/mail/work"
    code, out, _err = run(capsys, "inspect", path, "--json", "--messages")
    output = json.loads(out)
    assert code == 1 and output["messages"] == 1 and output["damage"][0]["kind"] == "ShortTail"
    assert output["list"][0]["uid"] == 1
    assert "DAMAGE at byte" in run(capsys, "inspect", path)[1]
    assert run(capsys, "inspect", site.root / "home/alice/INBOX")[0] == 0
    code, _out, err = run(capsys, "inspect", plan_path)
    assert code == 1 and "not an MBX file" in err and str(plan_path) in err


def test_bad_plan_file(capsys, tmp_path):
    code, _out, err = run(capsys, "survey", "--plan", tmp_path / "none")
    assert code == 1 and "cannot read the plan" in err
    (tmp_path / "plan").write_text("{")
    assert "not valid JSON" in run(capsys, "convert-users", "--plan", tmp_path / "plan")[2]


@pytest.mark.parametrize("name", ["convert-users", "presync", "unpublish"])
def test_the_short_way_of_reading_arguments_reads_them_as_argparse_does(name):
    from mbx2maildir import command_line

    argv = [name, "--plan", "p", "--events", "e"]
    assert (
        vars(command_line.as_shipped(argv)).items()
        <= vars(command_line.build_parser().parse_args(argv)).items()
    )
    for other in (
        [],
        argv[:3],
        ["state", *argv[1:]],
        [*argv, "--jobs"],
        [name, "--events", "e", "--plan", "p"],
    ):
        assert command_line.as_shipped(other) is None


def test_second_conversion_of_a_run_is_refused(capsys, plan_path, site):
    from mbx2maildir import plan_file
    from mbx2maildir.publish import containers, publish

    values = plan_file.load(plan_path)
    containers.make_areas(values)
    with publish.lock(values):
        code, _out, err = run(capsys, "convert-users", "--plan", plan_path)
    assert code == 1 and "another conversion" in err


@pytest.mark.skipif(sys.version_info < (3, 10), reason="no sys.stdlib_module_names")
def test_imports_nothing_but_the_standard_library_and_itself():
    allowed = {*vars(sys)["stdlib_module_names"], "mbx2maildir"}
    for path in set(PACKAGE.rglob("*.py")) - set((PACKAGE / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert {alias.name.split(".")[0] for alias in node.names} <= allowed, path
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert node.module.split(".")[0] in allowed, path


def alice_by_paths(site):
    home = site.root / "home/alice"
    return ["--inbox", home / "INBOX", "--folders", home / "mail"], site.maildir("alice")


def test_a_missing_target_or_file_says_what_to_do(capsys, plan_path, site):
    old, maildir = alice_by_paths(site)
    code, out, err = run(capsys, "compare", *old, "--maildir", maildir)
    assert (code, out) == (1, "") and str(maildir) in err and "run `convert` first" in err
    code, out, err = run(capsys, "inspect", site.root / "none")
    assert (code, out) == (1, "") and "none: no such file. Check the path." in err
    code, out, err = run(capsys, "convert", *old, "--maildir", plan_path)
    assert (code, out) == (1, "") and "not a directory. Check --maildir." in err
    for command in ("convert", "compare"):
        maildir.mkdir(parents=True, exist_ok=True)
        wrong = ["--folders", site.root / "none", "--maildir", maildir]
        code, out, err = run(capsys, command, *wrong)
        assert (code, out) == (1, "") and "none: no such directory. Check --folders." in err


def test_an_inbox_that_is_not_there_is_said(capsys, plan_path, site):
    old, maildir = alice_by_paths(site)
    old[1] = site.root / "none"
    code, _out, err = run(capsys, "convert", *old, "--maildir", maildir)
    assert code == 0 and "no INBOX at {}".format(site.root / "none") in err


@pytest.mark.parametrize("work", ["plan.json/work", "plan.json"])
def test_a_work_directory_that_cannot_be_written_to_says_what_to_do(capsys, plan_path, site, work):
    old, maildir = alice_by_paths(site)
    work = ["--work", site.root / work]
    code, out, err = run(capsys, "convert", *old, "--maildir", maildir, *work)
    assert (code, out) == (1, "")
    assert "cannot write to the work directory" in err and "--work" in err


def test_a_run_whose_maildir_was_removed_by_hand(capsys, plan_path, site):
    """What it replaced comes back and is merged; another Maildir in its place is not touched."""
    old, maildir = alice_by_paths(site)
    new = ["--maildir", maildir]
    (maildir / "cur").mkdir(parents=True)
    assert run(capsys, "convert", *old, *new)[0] == 0
    shutil.rmtree(maildir)
    (maildir / "cur").mkdir(parents=True)
    code, out, err = run(capsys, "convert", *old, *new)
    assert (code, out) == (1, "")
    assert "another Maildir" in err and "use another run name" in err
    assert str(maildir.parent / ".cutover/convert/aside/alice") in err
    code, out, _err = run(capsys, "convert", *old, *new, "--json")
    assert code == 1 and json.loads(out)["errors"][0]["kind"] == "PublishError"
    assert run(capsys, "convert", *old, *new, "--run", "again")[0] == 0
    shutil.rmtree(maildir)
    assert run(capsys, "convert", *old, *new, "--run", "again")[0] == 0
    assert run(capsys, "compare", *old, *new)[0] == 0


def test_it_says_its_version(capsys):
    code, out, _err = run(capsys, "--version")
    assert (code, out) == (0, "mbx2maildir {}\n".format(mbx2maildir.__version__))
    done = subprocess.run(
        [sys.executable, "-m", "mbx2maildir", "--version"],
        stdout=subprocess.PIPE,
        cwd=str(PACKAGE.parent),
    )
    assert done.stdout.decode() == out


def test_a_user_left_out_on_the_command_line(capsys, site):
    for name in ("alice", "bob"):
        site.user(name, build.simple(1))
    path = site.root / "plan.json"
    path.write_text(json.dumps(site.plan()))
    assert run(capsys, "convert-users", "--plan", path, "--without", "bob")[0] == 0
    _code, out, _err = run(capsys, "state", "--plan", path)
    assert [line.split()[1] for line in out.splitlines()[:2]] == ["published", "left-out"]
    code, _out, err = run(capsys, "convert-users", "--plan", path, "--without", "carla")
    assert code == 1 and "carla" in err
