"""The whole cutover on the lab.

The tests share the lab, in their order: a rehearsal and its rollback, then a second run that is
killed, rolled back and completed. A run is never green without reason.
"""

import imaplib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys

import nbformat
import pytest
from cutover import site
from cutover.connect import imap
from cutover.connect.hosts import Hosts
from cutover.facts import dovecot_programs, mailboxes, pop3
from cutover.model import errors, runbook
from cutover.record import executed_copy, run_folder
from cutover.report import overview
from cutover.run import engine, outage, papermill
from cutover.steps import registry
from lab import keys, manifest, people, store, topology
from night import (
    COMMAND_SECONDS,
    Night,
    argv,
    converters,
    descendants,
    dig,
    eventually,
    kill,
    program,
    service_of,
)

pytestmark = pytest.mark.lab
MOST_CRASHES = 3  # in one step


BEFORE = ("A", (topology.HOSTS["mailboxold"].address,))
AFTER = ("CNAME", ("mailboxvm.lab.test.",))
# sanbackup takes no mail: it waits in queues for days, as what users forward to a dead host does
OUTBOUND = "anna@sanbackup.lab.test"
QUEUES = ("postino3", "postino4", "mailboxold", "mailboxvm")


def reads_on_mailboxold(user, name, count):
    """Log in by the users' name, as its address is now, and count a folder."""
    (server,) = dig("ns1")[1]
    secure = ssl.create_default_context(cafile=str(keys.CA)).wrap_socket(
        socket.create_connection((server, 993), 20), server_hostname="mailbox.lab.test"
    )

    class Client(imaplib.IMAP4):
        def _create_socket(self, timeout):
            return secure

    with Client("unused") as client:
        assert b"Panda" in client.welcome or b"IMAP4rev1" in client.welcome
        client.login(user, (keys.SECRETS / user).read_text())
        return client.select(name, readonly=True) == ("OK", [str(count).encode()])


def files_of(user):
    """Message files in all folders of a user's Maildir on mailboxvm."""
    return sum(
        len(files)
        for place, _, files in os.walk(store.imap(user))
        if os.path.basename(place) in ("cur", "new")
    )


def told_of_verify(run):
    """`{user: (passed, messages on the new server)}` of the last verify of a run."""
    last = runbook.latest(run.journal.events(), "verified", step="verify")
    return {
        check["subject"]: (check["passed"], check["data"]["new"])
        for check in last["checks"]
        if check["id"] == "user-mail-equal"
    }


def messages_of(counted):
    """`{user.

    Messages}` by a manifest, and those of mail files among the folders that are not MBX, which it
    leaves out.
    """
    counts = {}
    for user, figures in counted["users"].items():
        files = [
            store.home(user) / name
            for name, kind in figures["passed_over"].items()
            if kind == "mbox"
        ]
        counts[user] = figures["messages"] + sum(
            len(re.findall(rb"(?:\A|\n\n)From ", file.read_bytes())) for file in files
        )
    return counts


@pytest.fixture(scope="module")
def before(lab):
    """The service before anything was done."""
    return service_of(lab)


@pytest.fixture(scope="module")
def rehearsed(before):
    """`cutover rehearse`, done once: (its JSON, its run)."""
    templates = {
        path.name: path.read_bytes() for path in (site.PROJECT / "notebooks").glob("*.ipynb")
    }
    done = program("rehearse", "--keep-lab", "--json")
    assert done.returncode == 0, done.stderr
    assert {
        path.name: path.read_bytes() for path in (site.PROJECT / "notebooks").glob("*.ipynb")
    } == templates
    summary = json.loads(done.stdout)
    yield summary, run_folder.Run(summary["run"])
    shutil.rmtree(summary["run"])


@pytest.fixture(scope="module")
def night(lab, before, rehearsed, tmp_path_factory):
    """A second run, on the lab as the first one's rollback left it.

    One converter, so that it can be met at work. In each queue is mail for elsewhere that stays.
    """
    for host in QUEUES:
        lab.run(host, ["sendmail", "-Am", "-odq", OUTBOUND], input="Subject: away\n\nHere.\n")
    made = Night(tmp_path_factory.mktemp("cutover"))
    made.values["new_store"]["jobs"] = 1
    made.values["verify"]["ahead"] = True
    made.write()
    return made


# -- the rehearsal, and all of it taken back


def test_the_rehearsal_passes_by_its_journal(rehearsed):
    summary, run = rehearsed
    states = runbook.states(run.journal.events())
    assert states == dict.fromkeys(runbook.NIGHT, "passed")
    assert [step["step"] for step in summary["steps"]] == runbook.NIGHT
    for step in summary["steps"]:
        passed, asked = re.fullmatch(r"(\d+) of (\d+)", step["checks"]).groups()
        assert step["state"] == "passed" and passed == asked and int(asked) > 0


def test_both_outages_are_measured(rehearsed):
    summary, _ = rehearsed
    for kind in ("reading", "delivery"):
        window = summary["outage"][kind]
        assert window["ended"] > window["began"] and window["seconds"] > 0
        assert (
            0
            < window["predicted"]["low"]
            < window["predicted"]["likely"]
            < window["predicted"]["high"]
        )
    assert summary["outage"]["reading"]["seconds"] > summary["outage"]["delivery"]["seconds"]


def test_every_probe_message_was_seen_and_the_delivery_outage_is_that_of_mail(rehearsed):
    _, run = rehearsed
    probes = [json.loads(line) for line in (run.path / outage.NAME).read_text().splitlines()]
    sent = [probe["id"] for probe in probes if probe["kind"] == outage.MAIL and probe["good"]]
    assert (
        sorted(sent) == sorted(probe["id"] for probe in probes if probe["kind"] == outage.ARRIVED)
        and len(sent) > 5
    )
    window = next(
        window
        for window in outage.windows(run.path / outage.NAME)
        if window.kind == outage.DELIVERY
    )
    assert window.by_mail and window.probes > 0


def test_each_name_server_led_to_the_old_host_and_leads_to_the_new(rehearsed, before):
    assert before["alias"] == {"ns1": BEFORE, "ns2": BEFORE}
    assert {name: dig(name) for name in ("ns1", "ns2")} == {"ns1": AFTER, "ns2": AFTER}


def test_the_messages_verified_are_those_of_the_seed(rehearsed):
    seeded = messages_of(manifest.read())
    assert told_of_verify(rehearsed[1]) == {user: (True, count) for user, count in seeded.items()}
    assert f"found {sum(seeded.values())} messages" in rehearsed[0]["verified"] and rehearsed[0][
        "verified"
    ].endswith("equal")


def test_the_executed_notebooks_stand_beside_the_journal_and_say_what_happened(rehearsed):
    _, run = rehearsed
    for name in runbook.NIGHT:
        copy = nbformat.read(run.path / runbook.notebook_name(name), as_version=4)
        assert copy.metadata.cutover.verdict == "passed"
        cells = [cell for cell in copy.cells if cell.cell_type == "code"]
        assert {cell.metadata.papermill.status for cell in cells} == {"completed"}
        assert all(
            cell.outputs for cell in cells if set(executed_copy.EVENTS) & set(cell.metadata.tags)
        )
        # widgets need a kernel to be read
        assert "application/vnd.jupyter.widget-view+json" not in nbformat.writes(copy)


def test_the_rehearsal_can_be_rolled_back_to_the_byte(lab, rehearsed, before):
    done = program("rollback", "--run", rehearsed[1].path)
    assert done.returncode == 0, done.stderr
    assert service_of(lab) == before
    assert reads_on_mailboxold("paolo", "mail/lavori", 2000)


# -- a second run: killed, resumed, rolled back


def template(place, before_apply):
    """The notebook of stop-imap with a cell more before its plan is applied."""
    notebook = nbformat.read(
        site.PROJECT / "notebooks" / runbook.notebook_name("stop-imap"), as_version=4
    )
    at = next(
        number
        for number, cell in enumerate(notebook.cells)
        if "apply" in cell.metadata.get("tags", [])
    )
    notebook.cells.insert(at, nbformat.v4.new_code_cell(before_apply))
    path = place / "spoilt.ipynb"
    nbformat.write(notebook, path)
    return path


SPOILT = {
    "killed": (
        "import os, signal\nfrom cutover.changes import service\n"
        "service.ServiceAction.apply = lambda *_: os.kill(os.getpid(), signal.SIGKILL)",
        None,
    ),
    "exit": ("import sys\nsys.exit(0)", None),
    "late": (
        "import time\nfrom cutover.changes import service\nservice.ServiceAction.apply = lambda *_: time.sleep(600)",
        12,
    ),
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_notebook_that_did_not_come_to_its_end_is_never_green(night, tmp_path, how):
    night.up_to("dual-delivery")
    code, timeout = SPOILT[how]
    count = len(list(night.run_dir.glob("spoilt*.ipynb")))
    with pytest.raises(papermill.StepFailed, match="stop-imap did not pass"):
        papermill.execute(
            night.site, night.run, "stop-imap", timeout=timeout, template=template(tmp_path, code)
        )
    copies = sorted(night.run_dir.glob("spoilt*.ipynb"), key=lambda path: path.stat().st_mtime_ns)
    assert len(copies) == count + 1
    copy = nbformat.read(copies[-1], as_version=4)
    assert copy.metadata.cutover.verdict == "not passed"
    assert "This step did not pass" in copy.cells[0].source and "verify" not in copy.cells[0].source
    status = {
        tag: cell.metadata.papermill.status
        for cell in copy.cells
        if cell.cell_type == "code"
        for tag in cell.metadata.get("tags", [])
    }
    assert (
        status["plan"] == "completed"
        and status["apply"] != "completed"
        and status["verify"] == "pending"
    )
    assert night.states()["stop-imap"] in ("begun", "failed")
    with pytest.raises(runbook.NotYet):
        night.step("stop-sendmail")
    if how == "killed":
        assert night.events("intent", "stop-imap") and not night.events("result", "stop-imap")


def test_killed_in_the_middle_of_the_conversion_the_same_command_goes_on(lab, night):
    night.up_to("dual-delivery")
    full = messages_of(manifest.take())
    command = argv(
        "run",
        "--site",
        night.file,
        "--run",
        night.run_dir,
        "--from",
        "stop-imap",
        "--to",
        "switch-alias",
    )
    with open(night.file.with_suffix(".log"), "wb") as log:
        runner = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    events = night.run_dir / "transcripts/convert.events.jsonl"

    def at_work():
        return (
            runner.poll() is not None or events.exists() and b'"published"' in events.read_bytes()
        )

    def gone():
        # again: the converter replaces a process that was killed before it was itself
        kill(descendants(runner.pid) | converters())
        return not converters()

    eventually(at_work, COMMAND_SECONDS)
    assert eventually(gone, 30)
    assert runner.wait(30) == -signal.SIGKILL, night.file.with_suffix(".log").read_text()
    assert night.states()["convert"] == "begun"

    left = {user["user"] for user in night.wanted("convert")[0].users}
    assert 0 < len(left) < len(full)
    # each user has the whole tree, or the one from before: nothing in between
    assert {user: files_of(user) for user in full} == {
        user: 0 if user in left else count for user, count in full.items()
    }

    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_SECONDS
    )
    assert done.returncode == 0, done.stderr
    assert told_of_verify(night.run) == {user: (True, count) for user, count in full.items()}
    assert dig("ns1") == dig("ns2") == AFTER
    # what had passed before the kill was seen to be so, not done again
    for name in ("stop-imap", "stop-sendmail"):
        assert night.events("planned", name)[-1]["changes"] == []


def test_a_rollback_after_the_switch_brings_everything_back(lab, night, before):
    night.up_to("switch-alias")
    done = program("rollback", "--run", night.run_dir)
    assert done.returncode == 0, done.stderr
    assert service_of(lab) == before
    assert reads_on_mailboxold("paolo", "mail/lavori", 2000)
    assert {user: files_of(user) for user in topology.USERS} == dict.fromkeys(topology.USERS, 0)
    states = night.states()
    assert states.pop("rollback") == "passed" and set(states.values()) == {"undone"}
    # by the rollback's own probes: the run ended while nobody could read
    windows = {window.kind: window for window in outage.windows(night.run_dir / outage.NAME)}
    assert windows[outage.READING].ended


# -- and forward again


def forward(night, name):
    """A step that dies after each change; then nothing is left to do."""
    for needed in registry.step(name).requires:
        night.up_to(needed)
    for _ in range(MOST_CRASHES):
        if not night.crashing(name) or name == "presync":
            break
    night.step(name)
    # a pass ahead, and a mail program's look before it, is made each time it is asked for
    assert [change.kind for change in night.wanted(name)] == (
        ["mail-program", "presync"] if name == "presync" else []
    )


TO_READING = runbook.NIGHT[: runbook.NIGHT.index("restore-imap") + 1]


@pytest.mark.parametrize("name", TO_READING)
def test_forward_again_dying_after_each_change_and_then_nothing_is_left_to_do(night, name):
    forward(night, name)


def test_folders_that_a_mail_program_lost_are_named_until_they_are_back(lab, night):
    """mbsync fetched everything before the night; then its names lead nowhere on the new server."""
    for name in ("presync", "restore-imap"):
        night.up_to(name)
    (aside,) = night.run_dir.parent.glob("*.aside")
    secret = (keys.SECRETS / "alice").read_bytes().strip()
    kept = [path for place in (aside, night.run_dir) for path in place.rglob("*")]
    assert not [path for path in kept if path.is_file() and secret in path.read_bytes()]
    assert aside.stat().st_mode & 0o777 == 0o700
    there = {name for name, count, _ in people.folders("alice") if count}
    before = json.loads((aside / "before.json").read_bytes())
    fetched = {mailboxes.name(name) for name in before["folders"]}
    assert there and {f"mail/{name}" for name in fetched - {"INBOX"}} == there - {"INBOX"}
    names = night.site.new_store.names_file
    away = f"mv {names} /root/names && doveadm reload && sleep 1"
    back = f"mv /root/names {names} && doveadm reload && sleep 1"
    lab.run("mailboxvm", ["sh", "-c", away])
    try:
        with pytest.raises(engine.VerifyFailed):
            night.step("production-test")
    finally:
        lab.run("mailboxvm", ["sh", "-c", back])
    check = night.checks("production-test")["mail-program-folders", ""]
    assert not check["passed"] and check["data"]["status"]
    assert set(check["data"]["lost"]) == set(before["folders"]) - {"INBOX"}
    night.step("production-test")
    checks = night.checks("production-test")
    for name in ("folders", "messages", "flags"):
        check = checks[f"mail-program-{name}", ""]
        assert check["passed"] and not check["warning"]
    assert {path.name for path in aside.iterdir()} == {"outcome.json"}


@pytest.mark.parametrize("name", runbook.NIGHT[len(TO_READING) :])
def test_forward_again_from_there(night, name):
    forward(night, name)


def test_plain_papermill_executes_a_notebook(night, tmp_path):
    night.up_to("production-test")
    out = tmp_path / "out.ipynb"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "papermill",
            f"notebooks/{runbook.notebook_name('production-test')}",
            out,
            "-p",
            "site",
            night.file,
            "-p",
            "run_dir",
            night.run_dir,
            "-p",
            "mode",
            "execute",
        ],
        cwd=site.PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    assert "Nothing to do: every test message of this run has already arrived" in out.read_text()
    assert night.states()["production-test"] == "passed"


def test_all_that_verify_carried_over_was_read_again(night):
    carried = night.checks("verify")["contents-carried", ""]["data"]
    second = night.checks("production-test")["carried-read-again", ""]["data"]
    assert second["folders"] == carried["folders"] > 0
    assert second["messages"] + second["gone"] == carried["messages"]
    assert not second["differences"] and not second["unread"]


def test_dovecot_serves_the_same_when_its_configuration_is_read_once(lab, night):
    user, new = "alice", night.site.roles.new

    def shown():
        with mailboxes.new_session(hosts, user) as session:
            statuses = imap.status_together(
                session, sorted(name for name, _, _ in session.folders("*")), ["MESSAGES"]
            )
        return statuses, pop3.new_uidls(hosts, user, new)

    with Hosts(night.site) as hosts:
        expected = shown()
        with dovecot_programs.read_once(hosts, [new]):
            command = dovecot_programs.argv(hosts, new, "imap")
            directory = command[3].rpartition("/")[0]
            assert command[:2] == ["sh", "-c"]
            assert lab.run(new, ["stat", "-c", "%U %a", *command[3:4]]).stdout == "root 644\n"
            assert shown() == expected
            lab.run(new, ["truncate", "-s", "0", command[3]])
            with pytest.raises(errors.CutoverError):
                shown()
        assert shown() == expected and expected[1]
    assert lab.run(new, ["test", "-e", directory], check=False).returncode == 1


def test_the_second_run_is_told_whole(night):
    assert {row["step"]: row["state"] for row in overview.as_json(night.run)["steps"]} == {
        **dict.fromkeys(runbook.NIGHT, "passed"),
        "rollback": "passed",
    }


def test_a_rollback_dying_after_its_changes_is_taken_up_again(lab, night, before):
    night.up_to("production-test")
    for _ in range(2):
        assert night.crashing("rollback")
    night.step("rollback")
    assert service_of(lab) == before
    assert night.wanted("rollback") == ()
    assert not [*night.run_dir.parent.glob("*.aside")]


def test_mail_for_elsewhere_that_cannot_be_delivered_held_nothing_up_and_is_still_there(lab, night):
    queues = {host: lab.run(host, ["mailq", "-v"]).stdout for host in QUEUES}
    assert {host: text.count(OUTBOUND) for host, text in queues.items()} == dict.fromkeys(queues, 1)
