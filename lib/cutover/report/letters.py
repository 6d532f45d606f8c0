"""What users need to know: a page for each, and an announcement for all.

They are only written here; the step user-pages sends them.

Everything comes from the run's folder: what preflight found in the homes, what the conversion had
to change, the outages announced and measured. Each page is written as text and as HTML.
"""

import dataclasses
import html
import os
from collections.abc import Iterable

from cutover import site
from cutover.facts import mailboxes, user_pages
from cutover.record import history, step_facts
from cutover.report import tables
from cutover.run import outage, prediction
from cutover.site import secrets

POLICY = "default-src 'none'"
POINTERS = {
    "delivers": "delivers mail into a file",
    "pipes": "hands mail to a program",
    "includes": "reads another file, which may deliver mail",
    "names": "names a place of the old mail",
    "cron": "runs at set times",
}


@dataclasses.dataclass
class Part:
    """A paragraph with a list below it."""

    title: str
    text: str
    lines: list[str] = dataclasses.field(default_factory=list)


def write(run, events) -> list[str]:
    """Write the pages below the run's folder; nothing before preflight. Returns their names."""
    surveyed = step_facts.read(run, events, "preflight")
    if surveyed is None or not surveyed.survey.ok:
        return []
    try:
        parameters = run.parameters()
    except site.BadParameters:
        return []  # of another version
    converted = step_facts.read(run, events, "convert")
    states = converted.state.users if converted else {}
    title = f"{parameters.fqdn(parameters.alias)} moves to a new server"
    letter = announcement(run, events, parameters)
    names = [*_keep(run, user_pages.ANNOUNCEMENT, title, letter)]
    cron = surveyed.cron.value or ()
    accounts = surveyed.users[parameters.roles.new].value or ()
    homes = {account.user: account.home for account in accounts}
    for name, user in sorted(surveyed.survey.value.users.items()):
        lines = [line for line in cron if line.user == name]
        title = f"{name}: your mail on the new server"
        home = homes.get(name, "")
        if parameters.old_store.covers(home):
            home = parameters.old_store.on_new(home)
        letter = parts(parameters, home, user, states.get(name), lines)
        names += _keep(run, user_pages.name_for(name), title, letter)
    os.sync()  # a sync of each of thousands of files takes minutes
    return names


def _keep(run, name, title, written):
    for ending, render in (("txt", as_text), ("html", as_html)):
        path = f"{user_pages.FOLDER}/{name}.{ending}"
        text = secrets.redact(render(title, written))
        run.keep(path, text.encode("utf-8", "backslashreplace"), durable=False)
        yield path


def announcement(run, events, parameters) -> list[Part]:
    """What concerns everybody, with the times."""
    alias, announced = parameters.fqdn(parameters.alias), parameters.outage
    measured = {kind: window for kind, _, window in prediction.windows(run, events) if window}
    times = []
    for kind, before, after, minutes in (
        (outage.READING, "No mail can be read", "No mail could be read", announced.reading_minutes),
        (outage.DELIVERY, "New mail waits", "New mail waited", announced.delivery_minutes),
    ):
        window = measured.get(kind)
        if window and window.ended:
            began, ended = (history.clock(at, date=True) for at in (window.began, window.ended))
            times.append(f"{after} from {began} to {ended} UTC.")
        else:
            times.append(f"{before} for at most {minutes:g} minutes.")
    if announced.begins and not measured:
        times.insert(0, f"The work begins on {announced.begins}.")
    return [
        Part("When", "New mail is held and delivered afterwards. None is returned.", times),
        Part(
            "What stays",
            f"The server's name, {alias}, and your messages with their flags and dates.",
        ),
        Part(
            "What to do",
            "Nothing, unless the page about your own mail says otherwise. After the move, do not "
            "use programs that read mail from files in your home: they show the old mail, which "
            "no longer changes.",
        ),
    ]


def parts(parameters, home, user, state, cron) -> list[Part]:
    """What concerns one user.

    home: as the new host sees it. user: of the survey. state: of the conversion, or None before it.
    """
    renamed = _renamed(parameters, state.renamed if state else user.renamed)
    lost = [
        f"{folder.folder}: {', '.join(folder.lost_keywords)}"
        for folder in (state.folders if state else ())
        if folder.lost_keywords
    ]
    chapters = [
        Part(
            "Folders with another name",
            "The new server cannot have these names. Look for the folders under the new ones.",
            renamed,
        ),
        Part(
            "Keywords that could not be kept",
            "The new server allows 26 keywords per folder. The messages are there, without these "
            "keywords.",
            lost,
        ),
        Part(
            "Mail that stayed behind",
            "This mail lies outside your folders and was not moved. It is unchanged on the old "
            "server. Ask the postmaster to move what you need.",
            [
                f"{_below(home, item.file)} ({item.format}, {item.bytes} bytes)"
                for item in user.outside
                if item.format
            ],
        ),
        Part(
            "Subscriptions that lead nowhere",
            "You are subscribed to these folders, but the new server does not have them.",
            user.elsewhere,
        ),
        Part(
            "Folders that others could read",
            "On the new server nobody but you can read them.",
            _shared(home, user),
        ),
        Part(
            "Your files that lead to the old mail",
            "These lines write mail where nobody reads it any more, or read mail that no longer "
            "changes. Change or remove them, or ask the postmaster.",
            [
                *(
                    f"{_below(home, item.file)}, line {item.line}, {POINTERS[item.kind]}: "
                    f"{item.text}"
                    for item in user.pointers
                ),
                *(f"crontab, line {line.line}, {POINTERS['cron']}: {line.text}" for line in cron),
            ],
        ),
    ]
    chapters = [part for part in chapters if part.lines]
    return chapters or [Part("Nothing changes for you", "All your folders keep their names.")]


def _shared(home, user):
    by_acl = [f"{_below(home, item.file)} ({', '.join(item.readers)})" for item in user.acls]
    return [_below(home, path) for path in user.shared] + by_acl


def _renamed(parameters, renamed):
    prefix = parameters.old_store.imap_prefix
    return [
        f"{prefix}{item['from']} is now {mailboxes.levels(parameters, item['to'])}"
        for item in renamed
    ]


def _below(home: str, path: str) -> str:
    """A path of the new host as its user knows it; home: of the user, as the new host sees it."""
    return "~/" + path.removeprefix(home + "/") if path.startswith(home + "/") else path


def as_text(title: str, written: Iterable[Part]) -> str:
    """A page for a mail program."""
    blocks = [tables.printable(title)]
    for part in written:
        lines = [part.title, part.text, *(f"  - {line}" for line in part.lines)]
        blocks.append("\n".join(tables.printable(line) for line in lines))
    return "\n\n".join(blocks) + "\n"


def as_html(title: str, written: Iterable[Part]) -> str:
    """A page for a browser; it fetches nothing and runs nothing."""

    def shown(text):
        return html.escape(tables.printable(text))

    out = [
        "<!doctype html>",
        "<html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<title>{shown(title)}</title></head><body><h1>{shown(title)}</h1>",
    ]
    for part in written:
        out.append(f"<h2>{shown(part.title)}</h2><p>{shown(part.text)}</p>")
        if part.lines:
            out.append("<ul>" + "".join(f"<li>{shown(line)}</li>" for line in part.lines) + "</ul>")
    return "\n".join([*out, "</body></html>", ""])
