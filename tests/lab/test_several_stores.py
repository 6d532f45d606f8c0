"""Two stores move in one night, each by a run of its own, on a lab of two old and two new servers.

Both convert by Dask: two schedulers on the control host, each with the new server of its store as
its worker. The tests follow one another: what preflight refuses, a night in which one store's run
is killed and resumed while the other goes on, and the rollback of one store while the other is in
production.
"""

import json
import os
import re
import shutil
import ssl
import subprocess
from pathlib import Path

import imapclient
import pytest
import yaml
from cutover import site
from cutover.connect import dns
from cutover.record import run_folder
from lab import keys, store, topology, two_stores
from night import COMMAND_SECONDS, argv, descendants, eventually, kill, processes, program

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
STORES = {"mailbox": "alice", "posta": "marta"}  # and one of its users
WORKERS = {"mailbox": "mailboxvm", "posta": "postavm"}
MX = ("postino3", "postino4")


@pytest.fixture(scope="module")
def lab(_lab_of_the_session):
    _lab_of_the_session.reset(stores=2)
    return _lab_of_the_session


@pytest.fixture(scope="module")
def file(lab):
    path = two_stores.write_parameters(site.PROJECT / "parameters/lab.yaml")
    values = yaml.safe_load(path.read_text())
    for name, worker in WORKERS.items():
        values["stores"][name]["convert"] = {"engine": "dask", "workers": [worker], "cores": 1}
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


@pytest.fixture(scope="module")
def runs():
    """`{store: its run}`, filled by the night."""
    made = {}
    yield made
    for run in made.values():
        shutil.rmtree(run.path)


def leads_to(alias):
    """Where ns1 says that an alias leads: ("A" or "CNAME", values)."""
    asked = dns.Server("ns1", topology.HOSTS["ns1"].address)
    name = f"{alias}.lab.test"
    rrset = asked.lookup(name, "CNAME") or asked.lookup(name, "A")
    return rrset.type, rrset.values


def inbox(alias, user):
    """The number of messages that a user sees in INBOX by the alias of the store."""
    kind, (target,) = leads_to(alias)
    address = topology.EVER[target.partition(".")[0]].address if kind == "CNAME" else target
    trusted = ssl.create_default_context(cafile=str(keys.CA))
    trusted.check_hostname = False  # the address was found by the name already
    with imapclient.IMAPClient(address, ssl_context=trusted) as client:
        client.login(user, (keys.SECRETS / user).read_text())
        return client.folder_status("INBOX", ["MESSAGES"])[b"MESSAGES"]


def routes(lab, name, user):
    """The value of a user's entry in an MX's userdb."""
    text = lab.run(name, ["cat", "/etc/mail/userdb"]).stdout
    return re.search(rf"^{user}:maildrop\s+(.*)$", text, re.MULTILINE)[1]


def workers(run, step):
    """The hosts on which a step of a run converted users, by Dask."""
    with open(run.path / f"transcripts/{step}.events.jsonl") as lines:
        events = [event for event in map(json.loads, lines) if event.get("event") == "user"]
    return {event.get("worker") for event in events}


def failed(file, store_name):
    """`{id: data}` of the checks that preflight fails now."""
    done = program("plan", "--site", f"{file}:{store_name}", "--to", "preflight", "--json")
    (answer,) = json.loads(done.stdout)
    assert done.returncode == any(not check["passed"] for check in answer["checks"])
    return {check["id"]: check["data"] for check in answer["checks"] if not check["passed"]}


def test_preflight_names_users_of_no_store_and_mail_that_would_stay_behind(lab, file):
    before = {name: lab.run(name, ["cat", "/etc/mail/userdb"]).stdout for name in MX}
    changed = (
        before["postino3"].replace(
            "marta:maildrop\tmarta@posta.lab.test", "marta:maildrop\tmarta@elsewhere.test"
        )
        + "both:maildrop\talice@mailbox.lab.test, olga@posta.lab.test\n"
    )
    script = "cat > /etc/mail/userdb && makemap -d btree /etc/mail/userdb.db < /etc/mail/userdb"
    stray = store.STORE / "home" / "olga"
    mail = store.home("olga") / "mail"
    shutil.copytree(store.home("olga"), stray, symlinks=True)
    assert mail.is_dir() and stray != store.home("olga")
    for path in (stray, *stray.rglob("*")):
        os.chown(path, topology.USERS["olga"], topology.USERS["olga"], follow_symlinks=False)
    try:
        for name in MX:
            lab.run(name, ["sh", "-ec", script], input=changed)
        for name in STORES:
            refused = failed(file, name)
            assert refused["user-in-one-store"] == {"users": {"marta": []}}
            assert refused["userdb-two-stores"] == {"entries": ["both"]}
            # marta is a stranger to both; olga's mail lies in the other store as well
            stays = {"mailbox": ["olga"], "posta": ["marta"]}[name]
            assert refused["mail-in-another-store"] == {"users": stays}
    finally:
        for name in MX:
            lab.run(name, ["sh", "-ec", script], input=before[name])
        shutil.rmtree(stray)
    assert all(not failed(file, name) for name in STORES)


def test_a_store_that_is_killed_stops_no_other_and_goes_on(lab, file, runs, tmp_path):
    seen = {name: inbox(name, user) for name, user in STORES.items()}
    command = argv("run", "--site", file, "--to", "production-test")
    with open(tmp_path / "log", "wb") as log:
        runner = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def listed():
        output = (tmp_path / "log").read_text()
        return dict(re.findall(r"^(mailbox|posta): run: (\S+)$", output, re.MULTILINE))

    try:
        eventually(lambda: len(listed()) == 2 or runner.poll() is not None)
        runs.update({name: run_folder.Run(path) for name, path in listed().items()})
        posta = runs["posta"].path

        def at_work():
            begun = any(event.get("step") == "convert" for event in runs["posta"].journal.events())
            return begun or runner.poll() is not None

        eventually(at_work, COMMAND_SECONDS)
        mine = processes(lambda pid, line: str(posta).encode() in line and b"run\0" in line)
        kill({pid for top in mine for pid in descendants(top)})
        assert runner.wait(COMMAND_SECONDS) == 1
    finally:
        kill(descendants(runner.pid))
    output = (tmp_path / "log").read_text()
    assert f"posta did not pass. To resume it: `./cutover run --site {file}:posta --run" in output
    assert "mailbox did not pass" not in output
    assert leads_to("mailbox") == ("CNAME", ("mailboxvm.lab.test.",))
    assert leads_to("posta") == ("CNAME", ("postaold.lab.test.",))
    assert inbox("mailbox", "alice") >= seen["mailbox"]

    shown = json.loads(program("status", "--site", file, "--json").stdout)
    assert [row["run"] for row in shown] == [str(runs[name].path) for name in STORES]
    assert [row["next"] for row in shown] == ["backup", "convert"]
    assert [row["mail"]["users"] for row in shown] == [12, 12]
    assert all(row["outage"]["reading"]["predicted"] for row in shown)

    values = yaml.safe_load(file.read_text())
    values["stores"]["posta"]["limits"] = {"queue_drain": 601}
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    last = ("--to", "backup", "--run", posta)
    resumed = program("run", "--site", f"{file}:posta", *last)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert leads_to("posta") == ("CNAME", ("postavm.lab.test.",))
    finished = program("run", "--site", f"{file}:mailbox", "--run", runs["mailbox"].path)
    assert finished.returncode == 0, finished.stderr[-3000:]
    for name, user in STORES.items():
        events = runs[name].journal.events()
        drifted = [event for event in events if event["event"] == "drift"]
        assert any("parameters" in event for event in drifted) == (name == "posta")
        assert inbox(name, user) >= seen[name] > 0
        for step in ("presync", "convert"):
            assert workers(runs[name], step) == {WORKERS[name]}
        verified = program("record", "verify", runs[name].path)
        assert verified.returncode == 0, verified.stdout
    for mx in MX:
        assert routes(lab, mx, "alice") == "alice@mailboxold.lab.test, alice@mailboxvm.lab.test"
        assert routes(lab, mx, "marta") == "marta@postaold.lab.test, marta@postavm.lab.test"


def test_the_backup_host_copies_both_stores_side_by_side(lab, runs):
    assert len(runs) == 2
    timers = lab.run("sanbackup", ["systemctl", "list-timers", "--no-legend", "mailbackup*"]).stdout
    assert {"mailbackup-mailbox.timer", "mailbackup-posta.timer"} <= set(timers.split())
    for name, user in STORES.items():
        place = {"mailbox": "mailboxvm", "posta": "postavm"}[name]
        copied = Path(f"/backup/posta/{place}/current/{user}/cur")
        assert lab.run("sanbackup", ["ls", str(copied)]).stdout.split()


def test_one_store_is_rolled_back_and_the_other_stays(lab, runs):
    done = program("rollback", "--run", runs["posta"].path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert leads_to("posta") == ("A", (topology.EVER["postaold"].address,))
    assert leads_to("mailbox") == ("CNAME", ("mailboxvm.lab.test.",))
    for mx in MX:
        assert routes(lab, mx, "marta") == "marta@posta.lab.test"
        assert routes(lab, mx, "alice") == "alice@mailboxold.lab.test, alice@mailboxvm.lab.test"
    assert inbox("posta", "marta") and inbox("mailbox", "alice")
    assert program("record", "verify", runs["posta"].path).returncode == 0
    timers = lab.run("sanbackup", ["systemctl", "list-timers", "--no-legend", "mailbackup*"]).stdout
    assert "mailbackup-mailbox.timer" in timers and "mailbackup-posta.timer" not in timers
