"""The record, the lease and the gates on a run that papermill made on the lab."""

import json
import os
import random
import signal
import subprocess
import sys
import tarfile

import pytest
from click import testing
from cutover import site
from cutover.commands import main, unattended
from cutover.connect import hosts
from cutover.record import approval, audit, record_json, run_folder, signing
from cutover.remote import lease_file
from cutover.run import engine, lease, papermill
from lab import keys, topology
from night import program

pytestmark = pytest.mark.lab
TIMES = 150


@pytest.fixture(scope="module")
def parameters():
    return site.load("parameters/lab.yaml")


@pytest.fixture(scope="module")
def run(lab, parameters, tmp_path_factory):
    """A rehearsal of the first steps, as far as delivery to both servers, with its record."""
    made = run_folder.begin(parameters, tmp_path_factory.mktemp("record") / "night")
    unattended.execute(
        parameters, made, ["preflight", "dns-rename", "dual-delivery"], lambda text: None
    )
    return made


def test_it_holds_and_names_who_signed(run):
    result = audit.verify(run.path)
    assert result.findings == () and result.signer.startswith("rehearsal@lab (SHA256:")
    written = json.loads((run.path / record_json.NAME).read_bytes())
    assert written["known_hosts"] and written["lock"] and written["code"]["digest"]
    assert {"journal.jsonl", "parameters.yaml", "01_preflight.ipynb", "report.html"} <= set(
        written["files"]
    )


def test_it_holds_after_a_journey_in_an_archive(run, tmp_path):
    with tarfile.open(tmp_path / "night.tar.gz", "w:gz") as archive:
        archive.add(run.path, "night")
    with tarfile.open(tmp_path / "night.tar.gz") as archive:
        archive.extractall(tmp_path / "elsewhere", filter="data")
    done = testing.CliRunner().invoke(
        main.cutover, ["record", "verify", str(tmp_path / "elsewhere" / "night")]
    )
    assert done.exit_code == 0, done.output


def test_what_is_done_to_a_real_folder_is_found(run):
    """Bits flipped anywhere in any file; the other ways are in tests/run/test_audit.py."""
    chance = random.Random(8)
    files = sorted(path for path in run.path.rglob("*") if path.is_file() and path.stat().st_size)
    for _ in range(TIMES):
        place = chance.choice(files)
        data = place.read_bytes()
        at = chance.randrange(len(data))
        place.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        findings = audit.verify(run.path).findings
        place.write_bytes(data)
        assert findings, f"byte {at} of {place}"
    assert audit.verify(run.path).findings == ()


def test_no_secret_of_the_lab_is_in_it(run):
    tsig = keys.TSIG_KEY.read_text().split('secret "')[1].split('"')[0]
    wanted = [
        tsig,
        keys.OPERATOR_KEY.read_text().splitlines()[2],
        *((keys.SECRETS / user).read_text() for user in topology.USERS),
    ]
    for place in run.path.rglob("*"):
        if place.is_file():
            data = place.read_bytes()
            assert not [word for word in wanted if word.encode() in data], place


def test_a_second_operator_is_refused_and_told_who_works(run, parameters, tmp_path):
    with hosts.Hosts(parameters) as reached:
        mine = lease.Lease(reached, run, run.journal.append)
        mine.take()
        try:
            other = run_folder.begin(parameters, tmp_path / "other")
            with pytest.raises(
                lease.LeaseHeld,
                match=rf"another operator is at work: .*process {os.getpid()} .*run night",
            ):
                lease.Lease(reached, other, other.journal.append).take()
            stepper = engine.Engine(parameters, "preflight", "plan")  # who only plans needs none
            stepper.probe()
            stepper.plan()
            stepper.close()
        finally:
            mine.release()
        assert lease_file.ask(reached, "mailboxvm", mine.path, "read")["holder"] is None


HOLD = """
import sys, time
from cutover import site
from cutover.connect import hosts
from cutover.record import run_folder
from cutover.run import lease
parameters = site.load("parameters/lab.yaml")
run = run_folder.Run(sys.argv[1])
lease.Lease(hosts.Hosts(parameters), run, run.journal.append).take()
print("held", flush=True)
time.sleep(300)
"""


def test_what_a_killed_operator_held_is_broken_by_name_or_taken_back_by_the_same_run(
    run, parameters, tmp_path
):
    other = run_folder.begin(parameters, tmp_path / "other")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(other.path)], stdout=subprocess.PIPE, cwd=site.PROJECT
    ) as killed:
        assert killed.stdout.readline() == b"held\n"
        killed.send_signal(signal.SIGKILL)
    with hosts.Hosts(parameters) as reached:
        with pytest.raises(lease.LeaseHeld, match="run other"):
            lease.Lease(reached, run, run.journal.append).take()
        again = lease.Lease(reached, other, other.journal.append)
        again.take()
        assert "lease-taken-back" in [event["event"] for event in other.journal.events()]
        owner = lease_file.ask(reached, "mailboxvm", again.path, "read")["holder"]["owner"]
        done = testing.CliRunner().invoke(
            main.cutover, ["lease", "break", "--run", str(run.path)], input=owner + "\n"
        )
        assert done.exit_code == 0, (done.output, done.exception)
        shown = testing.CliRunner().invoke(
            main.cutover, ["lease", "show", "--site", "parameters/lab.yaml"]
        )
        assert "nobody holds" in shown.output
        again.release()
    assert [event["event"] for event in run.journal.events()][-2:] == [
        "lease-breaking",
        "lease-broken",
    ]
    assert audit.verify(run.path).findings == ()


def test_it_holds_after_going_back(run, parameters):
    papermill.execute(parameters, run, "rollback")
    assert audit.verify(run.path).findings == ()
    compared = testing.CliRunner().invoke(
        main.cutover, ["record", "compare", str(run.path), str(run.path), "--json"]
    )
    assert json.loads(compared.output)["differences"] == []


def test_a_production_site_waits_for_its_signers(fresh_lab, tmp_path):
    """The lab's hosts under the rules of a production site.

    Unattended execution stops until people have signed.
    """
    spaces = dict.fromkeys(("anna", "bert"), "approval@mail-cutover")
    spaces["operator"] = "record@mail-cutover"
    allowed = tmp_path / "allowed"
    for name, namespace in spaces.items():
        signing.make_key(tmp_path / name, name)
        with allowed.open("a") as out:
            out.write(f'{name}@lab namespaces="{namespace}" {signing.public_of(tmp_path / name)}\n')
    text = (
        (site.PROJECT / "parameters" / "lab.yaml")
        .read_text()
        .replace("kind: rehearsal", "kind: production")
    )
    text += f"\napproval: {{allowed_signers: {allowed}}}\nrecord: {{key: {tmp_path}/operator}}\n"
    (tmp_path / "site.yaml").write_text(text)
    night = tmp_path / "night"
    again = ["run", "--site", tmp_path / "site.yaml", "--run", night, "--to", "dns-rename"]
    stopped = program(*again)
    assert stopped.returncode == 1
    assert "0 of 1 signatures" in stopped.stderr and "cutover approve --run" in stopped.stderr
    planned = [
        event for event in run_folder.Run(night).journal.events() if event["event"] == "planned"
    ][-1]
    assert not any(event["event"] == "intent" for event in run_folder.Run(night).journal.events())
    sign = ["approve", "--run", night, "--key"]
    signed = program(
        *sign,
        tmp_path / "anna",
        *("--step", "dns-rename", "--plan", planned["hash"]),
        stdin=None,
        input="dns-rename\n",
    )
    assert "approved by anna@lab" in signed.stdout, signed.stderr
    passed = program(*again)
    assert passed.returncode == 0, passed.stderr
    _approved_ahead(night, tmp_path, sign)
    verified = program("record", "verify", night, "--allowed-signers", allowed)
    assert verified.returncode == 0 and "operator@lab" in verified.stdout, verified.stdout


def _approved_ahead(night, tmp_path, sign):
    """The plans of the outage are approved before it begins: then nobody is asked."""
    run, parameters = run_folder.Run(night), site.load(tmp_path / "site.yaml")
    events = run.journal.events
    stepper = engine.Engine(parameters, "dual-delivery", "execute", run)
    stepper.probe()
    stepper.plan()
    wanted = stepper.hash(), "dual-delivery", tmp_path / "anna"
    approval.give(run, parameters, stepper.step, *wanted)
    stepper.approve()
    stepper.apply()
    stepper.require(stepper.verify())
    stepper.close()
    ahead, typed = [*sign, tmp_path / "anna", "--ahead"], "mailbox.lab.test ahead\n"
    signed = program(*ahead, stdin=None, input=typed)
    assert "approved ahead: 6 plans" in signed.stdout, signed.stderr
    listed = [event for event in events() if event["event"] == "planned-ahead"][-1]
    second = [*sign, tmp_path / "bert", "--ahead", "--plan", listed["hash"]]
    assert program(*second, stdin=None, input=typed).returncode == 0
    steps = ["--from", "stop-imap", "--to", "stop-sendmail"]
    passed = program("run", "--site", tmp_path / "site.yaml", "--run", night, *steps)
    assert passed.returncode == 0, passed.stderr
    approved = [event for event in events() if event["event"] == "approved"][-2:]
    assert [event["step"] for event in approved] == ["stop-imap", "stop-sendmail"]
    assert all(signer["ahead"] for event in approved for signer in event["signers"])
    assert all(event["by"].startswith("anna@lab (ahead, at ") for event in approved)
