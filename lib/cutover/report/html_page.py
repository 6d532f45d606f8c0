"""report.html: the result of a run, for people. One file, no script, nothing fetched.

Everything comes from the run's folder, and the verdict from the journal alone. The executed
notebooks are exported next to it, as `html/<name>.html`, under the same rules.
"""

import functools
import hashlib
import html
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from cutover import site
from cutover.model import errors, runbook
from cutover.record import history, journal, run_folder, step_facts, transcript
from cutover.report import letters, plots, report_lists, step_tables, tables, timeline
from cutover.run import outage, prediction, workspace
from cutover.site import secrets
from cutover.steps import registry

NAME = "report.html"
EXPORTS = "html"
FOLD = 6  # lines shown of one change's text; on the screen more unfold,
LINES = 400  # up to so many; the journal has all
VERIFIED = "verified-users.txt"
# nothing in these pages may run or fetch anything, whatever a folder's name or a reply contains
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
PACKAGES = (
    "papermill",
    "nbclient",
    "jupyterlab",
    "paramiko",
    "dnspython",
    "IMAPClient",
    "pydantic",
)


class CannotReport(errors.CutoverError):
    """A run's report cannot be written. The message says why."""


def write(run: run_folder.Run) -> Path:
    """Write the report, the notebooks' HTML and the users' pages. Returns the report's path."""
    events = run.journal.events()
    if not events:
        raise CannotReport(
            f"{run.path}: the journal is empty, so there is nothing to report. Give a run's folder."
        )
    exported = export(run)
    letters.write(run, events)
    if listed := report_lists.as_text(report_lists.users(run, events)):
        run.keep(VERIFIED, secrets.redact(listed).encode("utf-8", "backslashreplace"))
    text = secrets.redact(render(run, events, exported))
    try:
        run.keep(NAME, text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise CannotReport(f"{run.path / NAME}: {error.strerror}") from error
    return run.path / NAME


def render(run, events, exported=()) -> str:
    """The page as text. `exported`: the notebooks' pages, relative to the run's folder."""
    import jinja2

    # autoescape: what comes from the journal is text; tables and plots escape in _repr_html_
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        shown=lambda text: tables.printable(str(text)),
        clock=history.clock,
        duration=history.duration,
        folded=_folded,
        condensed=step_tables.condensed,
        step_pages=lambda name: [page for page in exported if _of(page, name)],
    )
    return environment.get_template("report.html.j2").render(**context(run, events, exported))


def context(run, events, exported) -> dict:
    """What the template shows."""
    attempts = history.attempts(events)
    windows = outage.windows(run.path / outage.NAME)
    last = max(history.at(event) for event in events)
    word, sentence = history.verdict(events, attempts)
    sums = report_lists.users(run, events)
    predicted = prediction.predicted(events)
    return {
        "policy": POLICY,
        "run": run.name,
        "site": events[0].get("site"),
        "kind": events[0].get("kind"),
        "word": word,
        "verdict": sentence,
        "began": history.at(events[0]),
        "ended": last,
        "attempts": attempts,
        "windows": _windows(run, events),
        "prediction": predicted
        and _Markup(step_tables.prediction(predicted, prediction.costs(run, events))),
        "plots": _drawn(run, events, timeline.draw(attempts, windows, last, predicted), sums),
        "failures": report_lists.remarks(attempts, "FAIL"),
        "errors": [(attempt.step, attempt.error) for attempt in attempts.values() if attempt.error],
        "warnings": report_lists.remarks(attempts, "warn"),
        "counts": report_lists.marks(attempts),
        "sums": sums,
        "shown_sums": sums[: report_lists.MANY],
        "verified_users": VERIFIED,
        "gates": attempts["preflight"].checks if "preflight" in attempts else [],
        "go": _go(events),
        "verified": attempts["verify"].checks if "verify" in attempts else [],
        "approval": history.approval,
        "number": runbook.number,
        "order": runbook.EVERY,
        "people": sorted({event["who"] for event in events if event.get("who")}),
        "drift": [event for event in events if event["event"] == "drift"],
        "environment": environment(events[0]),
        "head": (
            len(events),
            hashlib.sha256(
                run.journal.path.read_bytes().rstrip(b"\n").rsplit(b"\n", 1)[-1]
            ).hexdigest(),
        ),
        "files": report_lists.gathered(files(run)),
        "exported": list(exported),
        "no_return": registry.no_return(events),
    }


def _drawn(run, events, drawn_timeline, sums):
    """The plots, as markup; None for one that would be empty."""
    # first: what preflight kept needs much memory, and so do the transcripts
    sizes = plots.sizes(step_facts.sizes(run, events))
    convert, presync = transcript.read(run, "convert"), transcript.read(run, "presync")
    passes = presync.passes + convert.passes
    # if presync did the work, convert has little to show
    hardest = max(passes, key=_written, default=None)
    drawn = [
        drawn_timeline,
        plots.by_user(sums),
        plots.rate(hardest),
        plots.slowest(hardest),
        sizes,
        plots.deltas(passes),
        *map(plots.latency, presync.passes),
    ]
    return [plot and _Markup(plot) for plot in drawn]


def _written(conversion):
    """Messages written by one pass of the converter."""
    return sum(user.written for user in conversion.users.values())


class _Markup:
    """A table or a plot, as markup for jinja2."""

    def __init__(self, shown):
        self.shown = shown

    def __html__(self):
        return self.shown._repr_html_()


def _windows(run, events):
    """`[(what, outage.Window or None, what was predicted, as text or empty)]`"""
    names = {outage.READING: "Reading refused", outage.DELIVERY: "Delivery held"}
    return [
        (
            names[kind],
            window,
            f"predicted {expected}" + (f": {verdict}" if verdict else "") if expected else "",
        )
        for kind, expected, window in prediction.windows(run, events)
        for verdict in [prediction.judged(expected, window)]
    ]


def _go(events):
    """(time, checks) of the last go or no-go before the outage; None if there was none."""
    last = runbook.latest(events, "gated", step="stop-imap")
    return last and (history.at(last), history.checks(last))


def _folded(text):
    """(first lines, number of other lines, other lines) of a change's text.

    A very long text is cut; the journal has all of it.
    """
    lines = tables.printable(text).split("\n")
    if len(lines) <= FOLD + 2:
        return "\n".join(lines), 0, ""
    cut = [f"… {len(lines) - LINES} more, whole in journal.jsonl"] if len(lines) > LINES else []
    return "\n".join(lines[:FOLD]), len(lines) - FOLD, "\n".join([*lines[FOLD:LINES], *cut])


def _of(page, step):
    """Whether a page is a step's: by its name, because numbers change when a step is added."""
    return Path(page).name.split(".")[0].partition("_")[2] == step.replace("-", "_")


def environment(begun) -> list:
    """`[(title, value)]`: with what the report was written, and what the run began with."""
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    return [
        ("control host", platform.node()),
        ("system", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        ("Python", sys.version.split()[0]),
        ("packages", ", ".join(versions)),
        ("code (SHA-256)", begun.get("code", "")),
        ("revision", _revision()),
        ("parameters (SHA-256)", begun.get("parameters", "")),
    ]


def _revision():
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=site.PROJECT,
            capture_output=True,
            text=True,
            timeout=10,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def files(run) -> list:
    """`[(name, bytes, SHA-256)]` of the files in the run's folder that will not change.

    Not the journal, which continues, nor this page and the record, which is written after it.
    """
    rows = []
    for path in sorted(run.path.rglob("*")):
        name = str(path.relative_to(run.path))
        hidden = any(part.startswith(".") for part in Path(name).parts)
        if (
            path.is_symlink()
            or not path.is_file()
            or hidden
            or path.suffix in (".lock", ".part")
            or name in (NAME, journal.NAME, "record.json", "record.json.sig", "record.sig")
        ):
            continue
        with path.open("rb") as file:
            rows.append(
                (name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
            )
    return rows


def export(run) -> list:
    """Write the executed notebooks as pages without kernel, script or network.

    Returns their names in the run's folder.
    """
    import nbformat

    names = []
    for path in [
        *sorted(run.path.glob("*.ipynb")),
        *sorted(run.path.glob(f"{workspace.NAME}/*.ipynb")),
    ]:
        try:
            notebook = nbformat.read(path, as_version=4)
        except (ValueError, OSError, nbformat.reader.NotJSONError):
            continue  # being written, or cut off: the journal says what the step did
        by_hand = path.parent.name == workspace.NAME
        if by_hand and not any(cell.get("execution_count") for cell in notebook.cells):
            continue  # an unused working copy
        name = f"{EXPORTS}/{path.stem}{'.by-hand' if by_hand else ''}.html"
        run.keep(
            name, secrets.redact(page(notebook, path.stem)).encode("utf-8", "backslashreplace")
        )
        names.append(name)
    return names


@functools.cache
def _exporter():
    """For all pages: it compiles its templates once."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="basic")
    exporter.exclude_anchor_links = True
    return exporter


def page(notebook, title: str) -> str:
    """One notebook as a page."""
    from pygments.formatters import HtmlFormatter

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            for kind in ("application/javascript", "application/vnd.jupyter.widget-view+json"):
                # a widget shows nothing without its kernel; the output has a static form too
                if len(data) > 1:
                    data.pop(kind, None)
    body, _ = _exporter().from_notebook_node(notebook)
    css = (Path(__file__).parent / "page.css").read_text() + HtmlFormatter().get_style_defs(
        ".highlight"
    )
    # links between the notebooks lead to their pages
    body = body.replace('.ipynb"', '.html"')
    head = (
        "<meta charset='utf-8'>"
        f"<meta http-equiv='Content-Security-Policy' content=\"{POLICY}\">"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{html.escape(title)}</title><style>{css}</style>"
    )
    link = f"<p><a href='../{NAME}'>Report of the run</a></p>"
    return (
        f"<!doctype html>\n<html lang='en'><head>{head}</head>\n"
        f"<body>{link}\n{body}\n</body></html>\n"
    )


def write_if_possible(run, say) -> None:
    """Write the report at the end of a run; a failure must not hide the run's result."""
    try:
        say(f"report: {write(run)}")
    except Exception as error:
        say(
            f"no report: {type(error).__name__}: {error}. Fix this, then: "
            f"./cutover status --report --run {run.path}"
        )
