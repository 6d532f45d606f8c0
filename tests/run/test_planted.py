"""A secret planted in every input and every output: none is found in a whole run's folder, notebook
metadata included.
"""

import base64
import json

import nbformat
import pytest
from cutover import model, site
from cutover.changes import service
from cutover.model import errors
from cutover.notebook import edge, progress
from cutover.record import executed_copy, record_json, vault
from cutover.run import engine

SECRETS = {"alice": "tr0ub4dor&3 <x>", "bruno": "correct horse battery"}
TSIG = "c2VjcmV0IGtleSBvZiB0aGUgem9uZQ=="


@pytest.fixture
def planted(night, tmp_path, monkeypatch):
    """The stubbed night, with every fact, title, output, error and check carrying every secret."""
    for name, value in SECRETS.items():
        (tmp_path / name).write_text(value + "\n")
    (tmp_path / "tsig").write_text(f'key "k" {{ algorithm hmac-sha256; secret "{TSIG}"; }};')
    text = night.file.read_text()
    for old, new in (
        (f'alice, password: "file:{tmp_path}/word"', f'alice, password: "file:{tmp_path}/alice"'),
        (f'bruno, password: "file:{tmp_path}/word"', f'bruno, password: "file:{tmp_path}/bruno"'),
        ("/root/cutover/tsig.key", str(tmp_path / "tsig")),
    ):
        assert old in text
        text = text.replace(old, new)
    night.file.write_text(text)
    night.site = site.load(night.file)
    night.run = engine_run(night, tmp_path)
    night.extra = {"said": everything(), everything(): "a key", "list": [everything()]}
    monkeypatch.setattr(
        service.ServiceAction,
        "title",
        lambda change: f"{change.action} {change.name} {everything()}",
    )
    monkeypatch.setattr(service.ServiceAction, "describe", lambda change: f"{everything()}\n" * 200)
    night.alter(
        "stop-imap",
        verify=lambda facts, site: [
            model.Check(
                everything(), everything(), everything(), True, everything(), True, id="planted"
            )
        ],
    )
    act = night._act

    def apply(change, ctx, report):
        report({"event": "log", "text": everything()})
        if change.name == "dovecot" and not night.extra.get("mended"):
            raise errors.CutoverError(f"no: {everything()}")
        return model.Result(act(change).text + everything() * 100)

    monkeypatch.setattr(service.ServiceAction, "apply", apply)
    return night


def engine_run(night, tmp_path):
    from cutover.record import run_folder

    return run_folder.begin(night.site, tmp_path / "planted")


def everything():
    """Every secret in several spellings."""
    plain = [*SECRETS.values(), TSIG]
    coded = [
        base64.b64encode(f"\0{name}\0{value}".encode()).decode() for name, value in SECRETS.items()
    ]
    return "; ".join([*plain, *coded, json.dumps(plain), repr(plain)])


def leaks(path):
    """`[(file, secret)]` of whatever is found in a folder, in file names too."""
    wanted = [
        *SECRETS.values(),
        TSIG,
        *(
            base64.b64encode(secret.encode()).decode().rstrip("=")[:-1]
            for secret in SECRETS.values()
        ),
        "tr0ub4dor",
        "horse battery",
    ]
    return [
        (str(file), word)
        for file in sorted(path.rglob("*"))
        for word in wanted
        if word in file.name or (file.is_file() and word.encode() in file.read_bytes())
    ]


def drive(night):
    shown = progress.Progress(night.run, "stop-imap")
    stepper = engine.Engine(night.site, "stop-imap", "execute", night.run, shown.event)
    stepper.probe()
    stepper.plan()
    for who in ("anna", "bert"):
        night.give(who, stepper)
    stepper.approve()
    return stepper


def test_a_whole_run_holds_none(planted):
    planted.before()
    with pytest.raises(errors.CutoverError):
        drive(planted).apply()
    planted.extra["mended"] = True
    stepper = drive(planted)
    planted.finish(stepper)
    copy = notebook(planted)
    executed_copy.correct(copy, planted.run.journal.events(), True)
    record_json.write(planted.run, planted.site, everything())
    assert leaks(planted.run.path) == []
    text = planted.run.journal.path.read_text()
    assert "secret alice" in text and "secret bruno" in text and "secret tsig" in text
    assert list((planted.run.path / "blobs").iterdir()) and list(
        (planted.run.path / "transcripts").iterdir()
    )


def notebook(night):
    """An executed copy with secrets in its source, outputs and metadata."""
    made = nbformat.v4.new_notebook(metadata={"papermill": {"parameters": {"x": everything()}}})
    made.cells = [
        nbformat.v4.new_markdown_cell(everything()),
        nbformat.v4.new_code_cell(
            everything(),
            execution_count=1,
            metadata={"tags": ["verify"], "papermill": {"exception": everything()}},
            outputs=[
                nbformat.v4.new_output(
                    "error", ename="E", evalue=everything(), traceback=[everything()]
                ),
                nbformat.v4.new_output(
                    "display_data", {"text/html": everything()}, metadata={"note": everything()}
                ),
            ],
        ),
    ]
    path = night.run.path / "05_stop_imap.ipynb"
    nbformat.write(made, path)
    return path


def test_nothing_that_leaves_a_kernel_holds_one(planted, monkeypatch):
    import IPython

    sent = []

    class Session:
        def serialize(self, message, ident=None):
            sent.append(message)

    class Shell:
        class kernel:
            session = Session()

    monkeypatch.setattr(IPython, "get_ipython", lambda: Shell)
    vault.register(planted.site)
    edge.install()
    edge.install()
    message = {
        "header": {"msg_id": "1"},
        "content": {"text": everything(), "data": {"text/html": [everything()]}},
        "metadata": {"note": everything()},
        "buffers": [],
    }
    Shell.kernel.session.serialize(message, ident=b"x")
    assert len(sent) == 1 and sent[0]["header"] == {"msg_id": "1"}
    for word in [*SECRETS.values(), TSIG]:
        assert word not in str(sent)
    assert word in message["content"]["text"]  # what the program holds stays as it is


def test_a_real_kernel_lets_none_out(tmp_path):
    """Printed, displayed, returned, warned, raised, and from a thread: by the messages that
    papermill would write down.
    """
    import nbclient

    (tmp_path / "alice").write_text(SECRETS["alice"])
    cells = [
        f"from cutover import site\nfrom cutover.notebook import edge\nedge.install()\n"
        f"word = site.secret('file:{tmp_path}/alice')",
        "print(word)\nimport sys, threading\nprint(word, file=sys.stderr)\n"
        "worker = threading.Thread(target=print, args=(word,))\nworker.start()\nworker.join()",
        "from IPython.display import HTML, display\n"
        "shown = display(HTML(word), metadata={'note': word}, display_id=True)\nshown.update(HTML(word * 2))",
        "[word, word.encode()]",
        "raise ValueError(word)",
    ]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(made, allow_errors=True, kernel_name="python3", timeout=60).execute()
    outputs = json.dumps([cell.outputs for cell in made.cells], ensure_ascii=False)
    assert "tr0ub4dor" not in outputs and outputs.count("‹secret alice›") >= 8
