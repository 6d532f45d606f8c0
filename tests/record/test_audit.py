"""The record of a run: whatever is done to its folder afterwards is found, and so is what was wrong
before it was signed.
"""

import collections
import functools
import hashlib
import json
import os
import random
import shutil
import subprocess
import tarfile

import pytest
import stub
from click import testing
from cutover.commands import main
from cutover.record import audit, audit_events, record_json, run_folder, signers, signing, statement

TIMES = 1000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A whole run of a production site, approved by two people and signed.

    → `(its folder, the site)`
    """
    with pytest.MonkeyPatch.context() as patch:
        night = stub.Site(tmp_path_factory.mktemp("audit"), patch)
        night.run.journal.append("note", output="long\n" * 4000)
        path = night.whole()
    return path, night


@pytest.fixture
def copy(made, tmp_path):
    """A copy of it to spoil, without the modules' stubs: verifying needs none."""
    return shutil.copytree(made[0], tmp_path / "copy")


def kinds(path, allowed=None):
    return {finding.kind for finding in audit.verify(path, allowed).findings}


def findings_of(path):
    return "\n".join(str(finding) for finding in audit.verify(path).findings)


def test_an_untouched_record_holds(made):
    path, night = made
    result = audit.verify(path)
    assert result.findings == () and not result.trusted
    assert result.signer.startswith("operator@example (SHA256:")
    trusted = audit.verify(path, night.allowed.read_bytes())
    assert trusted.findings == () and trusted.trusted


def test_it_holds_after_being_archived_and_unpacked_elsewhere(made, tmp_path):
    with tarfile.open(tmp_path / "run.tar", "w") as archive:
        archive.add(made[0], "some-other-name")
    with tarfile.open(tmp_path / "run.tar") as archive:
        archive.extractall(tmp_path / "elsewhere", filter="data")
    assert audit.verify(tmp_path / "elsewhere" / "some-other-name").findings == ()


def spoil(path, chance):
    """Do one thing to the folder at random. → what was done, or None when it changed nothing."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    filled = [file for file in files if file.stat().st_size]
    place = chance.choice(filled)
    data = place.read_bytes()
    lines = (path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    act = chance.choice(
        [
            "flip",
            "flip",
            "truncate",
            "drop",
            "swap",
            "add",
            "grow",
            "overwrite",
            "link",
            "lock",
            "drop line",
            "swap lines",
            "double line",
            "cut journal",
            "tear journal",
            "edit line",
        ]
    )
    if act == "flip":
        at = chance.randrange(len(data))
        place.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
    elif act == "truncate":
        place.write_bytes(data[: chance.randrange(len(data))])
    elif act == "drop":
        place.unlink()
    elif act == "swap":
        other = chance.choice(filled)
        if other.read_bytes() == data:
            return None
        place.write_bytes(other.read_bytes())
        other.write_bytes(data)
    elif act == "add":
        chance.choice([path, path / "facts"]).joinpath(
            f"new{chance.randrange(99)}.json"
        ).write_bytes(chance.randbytes(9))
    elif act == "grow":
        place.write_bytes(data + chance.choice([b"\n", b" ", b"\0", chance.randbytes(5)]))
    elif act == "overwrite":
        new = chance.randbytes(len(data))
        if new == data:
            return None
        place.write_bytes(new)
    elif act == "link":
        place.unlink()
        place.symlink_to("/dev/null")
    elif act == "lock":
        (path / chance.choice(record_json.LOCKS)).write_bytes(b"x")
    else:
        number, other = chance.sample(range(len(lines)), 2)
        if act == "drop line":
            del lines[number]
        elif act == "swap lines":
            lines[number], lines[other] = lines[other], lines[number]
        elif act == "double line":
            lines.insert(other, lines[number])
        elif act == "cut journal":
            lines = lines[:number]
        elif act == "tear journal":
            lines = [*lines[:number], lines[number][: chance.randrange(1, len(lines[number]))]]
        else:
            event = json.loads(lines[number])
            event[chance.choice(sorted(event))] = "forged"
            lines[number] = json.dumps(event, sort_keys=True).encode() + b"\n"
        (path / "journal.jsonl").write_bytes(b"".join(lines))
    return act


def mend(path, held):
    """Make a folder what it was."""
    for file in path.rglob("*"):
        if file.is_symlink() or (file.is_file() and held.get(file) != file.read_bytes()):
            file.unlink()
    for file, data in held.items():
        if not file.exists():
            file.write_bytes(data)


def test_whatever_is_flipped_dropped_swapped_or_cut_off_at_random_is_found(
    made, tmp_path, monkeypatch
):
    # the same signature over the same bytes is asked for once, and the same parameters are read once
    monkeypatch.setattr(signing, "verify", functools.lru_cache(signing.verify))
    kind = functools.lru_cache(audit_events._declared_kind)
    monkeypatch.setattr(audit_events, "_declared_kind", kind)
    chance = random.Random(4)
    done, missed = collections.Counter(), []
    path = shutil.copytree(made[0], tmp_path / "spoiled")
    held = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    while sum(done.values()) < TIMES:
        act = spoil(path, chance)
        if act is not None:
            done[act] += 1
            if not audit.verify(path).findings:
                missed.append(act)
        mend(path, held)
    assert audit.verify(path).findings == ()
    assert sum(done.values()) == TIMES and not missed, (
        f"{len(missed)} of {TIMES} not found: {missed[:5]}"
    )
    assert len(done) == 15 and min(done.values()) > 20


@pytest.mark.parametrize(
    "act, kind, where",
    [
        (lambda path: (path / "record.json").unlink(), "missing", "record.json"),
        (lambda path: (path / "record.json.sig").unlink(), "missing", "record.json.sig"),
        (lambda path: (path / "facts" / "x.json").write_text("{}"), "added", "facts/x.json"),
        (lambda path: (path / "code.json").unlink(), "missing", "code.json"),
        (
            lambda path: (path / "code.json").write_bytes((path / "code.json").read_bytes()[:-9]),
            "truncated",
            "code.json",
        ),
        (lambda path: (path / "parameters.yaml").open("a").write("#"), "grown", "parameters.yaml"),
        (
            lambda path: (path / "journal.jsonl").open("a").write('{"eve'),
            "torn",
            "journal.jsonl, line",
        ),
        (
            lambda path: next((path / "approvals").glob("*.sig")).unlink(),
            "approval",
            "journal.jsonl, line",
        ),
        (lambda path: next((path / "plans").glob("stop*")).unlink(), "missing", "plans/stop-imap."),
        (lambda path: next((path / "blobs").glob("*")).write_text("x"), "truncated", "blobs/"),
    ],
)
def test_each_finding_is_named_by_its_kind_and_place(copy, act, kind, where):
    act(copy)
    findings = audit.verify(copy).findings
    assert any(finding.kind == kind and finding.where.startswith(where) for finding in findings), (
        findings
    )


def test_a_signature_by_somebody_else_is_found(copy, made, tmp_path):
    data = (copy / "record.json").read_bytes()
    (copy / "record.json.sig").write_bytes(
        signing.sign(data, made[1].path / "mallory", "record@mail-cutover")
    )
    assert "do not list" in findings_of(copy)
    (copy / "record.json.sig").write_bytes(
        signing.sign(data, made[1].people["anna"], "record@mail-cutover")
    )
    assert "is not valid for record@mail-cutover" in findings_of(copy)  # listed, for approvals only
    (copy / "record.json.sig").write_bytes(signing.sign(data, made[1].people["operator"], "file"))
    assert "signature" in kinds(copy)


def test_a_forger_with_a_list_of_their_own_is_found_by_the_list_one_trusts(copy, made):
    night = made[1]
    (copy / "allowed_signers").write_text(
        f"operator@example {signing.public_of(night.path / 'mallory')}\n"
    )
    forged = night.site.model_copy(
        update={"record": night.site.record.model_copy(update={"key": str(night.path / "mallory")})}
    )
    forged._path, forged._digest = night.site.path, night.site.digest
    record_json.write(run_folder.Run(copy), forged, "forged")
    assert "signature" in kinds(copy, night.allowed.read_bytes())


def events_of(name, step="stop-imap"):
    return lambda events: [
        event for event in events if event["event"] == name and event.get("step") == step
    ]


def without(name, step="stop-imap"):
    return lambda events: [
        event for event in events if not (event["event"] == name and event.get("step") == step)
    ]


def alter(name, step="stop-imap", **fields):
    def change(events):
        events_of(name, step)(events)[0].update(fields)

    return change


def set_back(key, value):
    def change(events):
        events[len(events) // 2][key] = value

    return change


def swapped(events):
    """stop-imap comes before the step it rests on."""
    moved = [event for event in events if event.get("step") == "stop-imap"]
    rest = [event for event in events if event.get("step") != "stop-imap"]
    for number, event in enumerate(
        [*rest[:1], *moved, *rest[1:]]
    ):  # the times in order again, so that this alone is wrong
        event["time"], event["monotonic"] = (
            f"2026-01-01T00:00:{number / 10:06.3f}+00:00",
            number / 10,
        )
    return [*rest[:1], *moved, *rest[1:]]


def one_signer(events):
    for event in events_of("approved")(events):
        event["signers"] = event["signers"][:1]


def another_change(events):
    events_of("intent")(events)[0]["change"]["name"] = "sshd"


def emptied(events):
    """The plan had changes; the journal says that there was nothing to do."""
    events_of("planned")(events)[0]["changes"] = []
    events_of("approved")(events)[0].update(kind="nothing to do", signers=[])
    return without("intent")(without("result")(events))


def told_otherwise(events):
    events_of("intent")(events)[0]["text"] = "look at the weather"


def another_signer(events):
    events_of("approved")(events)[0]["signers"][0]["principal"] = "director@example"


def long_after(events):
    """What was approved for an hour is applied a year later."""
    begun = events.index(events_of("intent")(events)[0])
    for event in events[begun:]:
        event["time"] = "2099" + event["time"][4:]


@pytest.mark.parametrize(
    "change, kind, words",
    [
        (emptied, "changed", "changes, the journal lists 0"),
        (told_otherwise, "changed", "tells another text of a change than its plan"),
        (another_signer, "approval", "names another signer"),
        (long_after, "approval", "had expired"),
        (lambda events: events[0].update(code="1" * 64), "drift", "made with other code"),
        (lambda events: events[0].update(id="1" * 32), "drift", "made with other run_id"),
        (lambda events: events[0].update(allowed="1" * 64), "changed", "not the file that"),
        (without("approved"), "approval", "was applied without approval"),
        (alter("approved", hash="0" * 64), "approval", "the approval of another plan"),
        (alter("approved", kind="nothing to do"), "approval", "its plan has changes"),
        (alter("approved", kind="rehearsal", signers=[]), "approval", "0 of 2 people"),
        (one_signer, "approval", "1 of 2 people"),
        (
            another_change,
            "approval",
            "is not change",
        ),  # hosts stop side by side: any of them may begin
        (without("planned"), "approval", "is not for the plan shown before"),
        (
            lambda events: without("intent")(without("result")(without("approved")(events))),
            "approval",
            "was applied without approval",
        ),
        (
            lambda events: without("intent")(without("result")(events)),
            "order",
            "no result for change 1, 2",
        ),
        (without("result"), "order", "no result for change"),
        (
            lambda events: events[0].update(kind="rehearsal"),
            "changed",
            "its kind is rehearsal, the parameters say production",
        ),
        (without("applied"), "order", "before its plan was made and applied"),
        (without("intent"), "order", "a change that was never begun"),
        (swapped, "order", "stop-imap may not run yet"),
        (
            without("verified", "dual-delivery"),
            "order",
            "dual-delivery was begun and has not passed verification",
        ),
        (alter("verified", passed=False), "claim", "but its checks say"),
        (alter("verified", checks=[]), "claim", "but its checks say"),
        (without("verified"), "claim", "verification did not pass"),
        (without("probed"), "claim", "its cell of 'probe' says completed"),
        (set_back("time", "2020-01-01T00:00:00.000+00:00"), "time", "before"),
        (set_back("time", "2090-01-01T00:00:00.000+00:00"), "time", "before 2090"),
        (set_back("time", "2026-11-24T12:00:00.000+02:00"), "time", "not in UTC"),
        (set_back("monotonic", 0.0), "time", "runs backwards"),
        (lambda events: events[1:], "order", "begins with a run"),
        (lambda events: events + [dict(events[0])], "order", "begins once"),
        (alter("probed", sha256="0" * 64), "changed", "not the file that"),
        (alter("planned", changes=None, file=None), "missing", "names it"),
    ],
)
def test_what_was_wrong_before_it_was_signed_is_found_too(copy, made, change, kind, words):
    """The forger holds the operator's key: file list, chain and signature are all as they should
    be.
    """
    stub.rewrite(copy, change, key="operator", site=made[1].site)
    findings = audit.verify(copy).findings
    assert not {"signature", "chain"} & {finding.kind for finding in findings}
    assert any(finding.kind == kind and words in finding.what for finding in findings), "\n".join(
        map(str, findings)
    )


def test_parameters_of_another_kind_with_which_no_plan_was_made_are_found(copy, made):
    """Record, journal and file agree that it was a rehearsal; the plans do not."""
    (copy / "approvals").rename(copy.parent / "approvals")
    place = copy / run_folder.PARAMETERS
    place.write_text(place.read_text().replace("kind: production ", "kind: rehearsal "))
    forged = made[1].site.model_copy(update={"kind": "rehearsal"})
    forged.read_from(place, hashlib.sha256(place.read_bytes()).hexdigest())

    def relabel(events):
        events[0].update(kind="rehearsal", parameters=forged.digest)
        for event in events_of("approved")(events):
            event.update(kind="rehearsal", signers=[])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signers, "key", lambda site: made[1].people["operator"])
        stub.rewrite(copy, relabel, key="operator", site=forged)
    assert "made with other parameters than the journal knows of" in findings_of(copy)


def test_what_cannot_be_read_is_named(copy):
    for name in ("record.json", "record.json.sig"):
        (copy / name).unlink()
        os.mkfifo(copy / name)
    assert "missing" in kinds(copy)
    (copy / "loop").mkdir()
    os.chmod(copy / "loop", 0)
    assert "missing" in kinds(copy)


def test_an_approval_of_another_plan_signed_by_the_right_people_is_found(copy, made):
    night = made[1]
    for place in (copy / "approvals").glob("*.json"):
        forged = {**json.loads(place.read_bytes()), "hash": "1" * 64}
        data = json.dumps(forged, sort_keys=True).encode()
        place.write_bytes(data)
        who = night.people[
            "anna"
            if "anna"
            in signing.verify(
                data,
                signing.sign(data, night.people["anna"], statement.NAMESPACE),
                night.allowed.read_bytes(),
                statement.NAMESPACE,
            ).principal
            else "bert"
        ]
        place.with_name(place.name + ".sig").write_bytes(
            signing.sign(data, who, statement.NAMESPACE)
        )
    record_json.write(run_folder.Run(copy), night.site, "forged")
    assert "about hash 1111" in findings_of(copy) and "0 of 2 people" in findings_of(copy)


def test_an_executed_copy_that_claims_more_than_the_journal_is_found(copy, made):
    """Papermill's false green: every cell completed, though the kernel died after the plan."""

    def died(events):
        at = next(
            number
            for number, event in enumerate(events)
            if event["event"] == "approved" and event["step"] == "stop-imap"
        )
        return [
            event
            for number, event in enumerate(events)
            if number < at or event.get("step") != "stop-imap"
        ]

    stub.rewrite(copy, died, key="operator", site=made[1].site)
    for call in ("approve", "apply", "verify"):
        assert (
            f"its cell of '{call}' says completed; according to the journal it never was"
            in findings_of(copy)
        )


def test_a_run_that_goes_on_after_its_record_is_told_apart_from_a_forged_one(copy, made):
    run = run_folder.Run(copy)
    run.journal.append("step-begun", step="preflight", title="again")
    assert kinds(copy) == {"grown", "unsigned"}


def test_the_command_names_its_findings_and_exits_1(copy, made):
    runner = testing.CliRunner()
    good = runner.invoke(
        main.cutover, ["record", "verify", str(copy), "--allowed-signers", str(made[1].allowed)]
    )
    assert good.exit_code == 0 and "0 findings" in good.output and "own list" not in good.output
    (copy / "code.json").write_text("{}")
    bad = runner.invoke(main.cutover, ["record", "verify", str(copy), "--json"])
    assert bad.exit_code == 1
    answer = json.loads(bad.output)
    assert not answer["passed"] and answer["findings"][0]["where"] == "code.json"
    assert runner.invoke(main.cutover, ["record", "verify", str(copy / "facts")]).exit_code == 1
    assert isinstance(
        runner.invoke(main.cutover, ["record", "verify", str(copy / "nowhere")]).exception,
        audit.NoRecord,
    )


def test_ssh_keygen_alone_says_the_same(made):
    """Nobody has to trust this program: the signature is an ordinary one."""
    path, night = made
    done = subprocess.run(
        [
            "ssh-keygen",
            "-Y",
            "verify",
            "-f",
            str(night.allowed),
            "-I",
            "operator@example",
            "-n",
            "record@mail-cutover",
            "-s",
            str(path / "record.json.sig"),
        ],
        input=(path / "record.json").read_bytes(),
        capture_output=True,
    )
    assert done.returncode == 0 and b"Good" in done.stdout


def test_a_record_is_signed_anew_by_hand(copy, made):
    """After a file was added on purpose.

    The name in the record stays the run's own, whatever its folder is called now.
    """
    (copy / "remarks.txt").write_text("It rained.")
    assert kinds(copy) == {"added"}
    done = testing.CliRunner().invoke(
        main.cutover, ["record", "sign", str(copy), "--site", str(made[1].file)]
    )
    assert done.exit_code == 0 and "record: signed with SHA256:" in done.output, done.exception
    assert audit.verify(copy).findings == ()


def test_a_record_over_a_line_that_a_crash_cut_counts_what_came_before(made, copy):
    _, night = made
    run = run_folder.Run(copy)
    before = len(run.journal.events())
    with run.journal.path.open("ab") as torn:
        torn.write(b'{"event": "probed", "seq":')
    written = record_json.write(run, night.site, "after a crash")
    assert written["journal"]["events"] == before
    assert not kinds(copy) & {"changed", "truncated"}
