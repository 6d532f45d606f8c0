"""A production site with no host behind it: real engine, approvals, lease, journal and record.

The world is a dictionary.

The steps before stop-imap find nothing to do; stop-imap is the real one, on services that only the
dictionary knows.
"""

import dataclasses
import json
import subprocess

import nbformat
from cutover import model, site
from cutover.changes import service
from cutover.connect import hosts, ssh
from cutover.facts import mail_services, services
from cutover.model import runbook
from cutover.record import approval, executed_copy, lab_marks, record_json, run_folder, signing
from cutover.run import engine
from cutover.steps import registry
from cutover.steps.checks import go_no_go
from cutover.steps.night import stop_imap

BEFORE = ["preflight", "dns-rename", "dual-delivery"]
STEP = "stop-imap"


@dataclasses.dataclass(frozen=True)
class Quiet:
    """Facts of a step that finds nothing to do; preflight's did not read the old mail."""

    run: str
    quiet: int = 1
    survey: model.Reading[None] = model.Reading(error="not read")


class Hosts:
    """Takes the place of cutover.connect.hosts.Hosts: a command runs on this machine."""

    def __init__(self, parameters):
        self.site = parameters

    def run(self, name, argv, *, input=b"", check=True, sudo=False, timeout=60):
        done = subprocess.run(argv, input=input, capture_output=True, timeout=timeout)
        return ssh.Result(name, tuple(argv), done.returncode, done.stdout, done.stderr, 0.0)

    def each(self, names, function):
        return {name: function(name) for name in names}

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@dataclasses.dataclass(frozen=True)
class Facts(stop_imap.Facts):
    """Those of stop-imap, and more."""

    extra: dict = dataclasses.field(default_factory=dict)
    noise: dict = model.moving(default_factory=dict)


class Site:
    """A site in a folder of its own, with keys of several people."""

    def __init__(self, tmp_path, monkeypatch, kind="production"):
        self.path, self.monkeypatch = tmp_path, monkeypatch
        self.running = {"stunnel4", "xinetd", "dovecot"}
        self.extra = {}  # facts that the probe adds
        self.noise = {}  # and facts that no plan rests on
        (tmp_path / "store").mkdir()
        self.people = {}
        listed = []
        for name in ("anna", "bert", "operator"):
            self.people[name] = tmp_path / name
            signing.make_key(self.people[name], name)
            spaces = "record@mail-cutover" if name == "operator" else "approval@mail-cutover"
            listed.append(
                f'{name}@example namespaces="{spaces}" {signing.public_of(self.people[name])}\n'
            )
        signing.make_key(tmp_path / "mallory", "mallory")
        self.allowed = tmp_path / "allowed"
        self.allowed.write_text("".join(listed))
        (tmp_path / "word").write_text("correct-horse-42\n")
        text = (site.PROJECT / "parameters" / "roma1.yaml").read_text()
        for old, new in {
            "/root/cutover/allowed_signers": self.allowed,
            "/root/cutover/record": self.people["operator"],
            "/var/imap/.cutover": tmp_path / "store",
            "file:/root/cutover/secrets/alice": f"file:{tmp_path}/word",
            "env:CUTOVER_BRUNO": f"file:{tmp_path}/word",
            "kind: production ": f"kind: {kind} ",
        }.items():
            assert old in text
            text = text.replace(old, str(new))
        self.file = tmp_path / "site.yaml"
        self.file.write_text(text)
        self.site = site.load(self.file)
        monkeypatch.setattr(hosts, "Hosts", Hosts)
        monkeypatch.setattr(lab_marks, "prove", lambda *_: None)
        monkeypatch.setattr(
            service.ServiceAction, "apply", lambda change, ctx, report: self._act(change)
        )
        monkeypatch.setattr(
            service.EndSessions, "apply", lambda *_: model.Result("0 sessions ended")
        )
        monkeypatch.setattr(mail_services, "read_imap", self._read)
        monkeypatch.setattr(go_no_go, "read", lambda ctx: None)
        self.alter(STEP, probe=self._probe, facts=Facts)
        for name in BEFORE:
            self.alter(
                name,
                probe=lambda ctx: Quiet(ctx.run_name),
                facts=Quiet,
                plan=lambda facts, site: model.Plan(reason="nothing to do"),
                verify=lambda facts, site: [model.equal("Is it quiet?", "yes", "yes", id="quiet")],
            )
        self.run = run_folder.begin(self.site, tmp_path / "run")

    def alter(self, name, **parts):
        """Give a step other parts, for this test."""
        self.monkeypatch.setitem(
            registry.STEPS, name, dataclasses.replace(registry.step(name), **parts)
        )

    def _act(self, change):
        (self.running.discard if change.action == "stop" else self.running.add)(change.name)
        return model.Result(f"{change.name}: {change.action} done")

    def _read(self, hosts, name):
        listed = [
            services.Service(
                service.manager, service.name, *[service.name in self.running] * 2, "as seen"
            )
            for service in self.site.services_of(name).imap
        ]
        return mail_services.ImapHost(listed, [], {"993": False})

    def _probe(self, ctx):
        facts = stop_imap.probe(ctx)
        return Facts(facts.run, facts.hosts, facts.go, self.extra, self.noise)

    def engine(self, step=STEP):
        return engine.Engine(self.site, step, "execute", self.run)

    def planned(self, step=STEP):
        """An engine that has probed and planned."""
        stepper = self.engine(step)
        stepper.probe()
        stepper.plan()
        return stepper

    def give(self, who, stepper):
        return approval.give(
            self.run,
            self.site,
            stepper.step,
            stepper.hash(),
            stepper.step.confirmation(self.site, {}),
            self.people.get(who, self.path / who),
        )

    def finish(self, stepper):
        stepper.approve()
        stepper.apply()
        checks = stepper.verify()
        stepper.require(checks)
        stepper.close()
        return checks

    def before(self):
        """Pass the steps before stop-imap."""
        for name in BEFORE:
            self.finish(self.planned(name))

    def whole(self):
        """A run up to stop-imap, approved by two people, with the copies that papermill would have
        left. → its folder.
        """
        for name in [*BEFORE, STEP]:
            stepper = self.planned(name)
            if name == STEP and self.site.kind == "production":
                self.give("anna", stepper)
                self.give("bert", stepper)
            self.finish(stepper)
            self.copy(name, stepper.attempt)
        record_json.write(self.run, self.site, "end")
        return self.run.path

    def copy(self, name, attempt):
        """What papermill leaves of a step: its template with every call completed."""
        notebook = nbformat.read(
            site.PROJECT / "notebooks" / runbook.notebook_name(name), as_version=4
        )
        for number, cell in enumerate(code for code in notebook.cells if code.cell_type == "code"):
            cell.execution_count, cell.outputs = number + 1, []
            cell.metadata.papermill = {"status": "completed", "exception": False}
        path = self.run.path / runbook.notebook_name(name)
        nbformat.write(notebook, path)
        events = [event for event in self.run.journal.events() if event.get("attempt") == attempt]
        executed_copy.correct(path, events, True)
        self.run.journal.append(
            "executed", of=name, copy=path.name, passed=True, attempts=[attempt]
        )


def rewrite(path, change, key=None, site=None):
    """Forge a journal: `change(events)` edits the list in place.

    It is chained anew and, with a `key`, signed anew.
    """
    import hashlib

    place = path / "journal.jsonl"
    events = [json.loads(line) for line in place.read_bytes().splitlines()]
    events = change(events) or events
    previous, lines, moved = "0" * 64, [], {}
    for number, event in enumerate(events):
        moved[event["seq"]] = number
        event["seq"], event["prev"] = number, previous
        for name in ("attempt", "intent"):
            if isinstance(event.get(name), int):
                event[name] = moved.get(event[name], event[name])
        line = json.dumps(event, sort_keys=True).encode()
        previous = hashlib.sha256(line).hexdigest()
        lines.append(line + b"\n")
    place.write_bytes(b"".join(lines))
    if key is not None:
        record_json.write(run_folder.Run(path), site, "forged")
