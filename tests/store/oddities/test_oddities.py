"""Random stores of odd mail files: c-client's view of them, converted, and Dovecot's view.

CI makes a few stores; CUTOVER_ODDITIES=20000 makes it a long run, from seed CUTOVER_ODDITIES_FROM.
Whatever Dovecot does not show as c-client does must be named by the survey, which is what preflight
judges.
"""

import imaplib
import os
import random

import pytest
from mbx2maildir import batch, events, plan_file, survey
from mbx2maildir.publish import status

from store import oracle
from store.oddities import blocks, stores

COUNT = int(os.environ.get("CUTOVER_ODDITIES", 24))
FIRST = int(os.environ.get("CUTOVER_ODDITIES_FROM", 0))
READ = 5 * COUNT  # files for the readers alone
TOGETHER = 12  # users of one plan
pytestmark = pytest.mark.lab


def test_each_format_is_read_as_c_client_reads_it(mail_host):
    """Random files, read by our readers alone."""
    user = mail_host.user(f"readers{len(mail_host.users)}")
    kinds = list(blocks.FILES)
    faults, opened = [], 0
    with stores.cleaned(mail_host, [user]), user.cclient() as connection:
        for seed in range(FIRST, FIRST + READ):
            kind = kinds[seed % len(kinds)]
            path = user.home / f"mail/{kind}{seed}"
            path.write_bytes(blocks.FILES[kind](random.Random(seed)))
            os.utime(path, (10**9, 10**9))  # the date of MMDF messages without one
            os.chown(path, user.uid, user.uid)
            name = b"mail/" + path.name.encode()
            old = stores.look_once(connection, name)
            if kind == "tenex":  # its driver shows one folder's text in another of a session
                old = stores.look(user, [name])[name]
            new = stores.read(path)
            if None not in (old, new) and old != "text":
                opened += 1
                faults += [f"{path.name}: {text}" for text in stores.differences(old, new)]
            elif new is not None or old not in (None, "text"):
                faults.append(f"{path.name}: only one side reads it")
    assert not faults and opened > READ / 2, "\n".join(faults)


@pytest.mark.parametrize("first", range(FIRST, FIRST + COUNT, TOGETHER))
def test_random_stores(mail_host, first):
    users = [stores.Store(mail_host, seed) for seed in range(first, first + TOGETHER)]
    with stores.cleaned(mail_host, [store.user for store in users]):
        mail_host.complaints()
        faults = run(mail_host, users)
        complaints = mail_host.complaints()
    assert not faults, "\n".join(faults)
    assert complaints == ""


def run(host, users):
    for store in users:
        if store.directories:
            with store.user.cclient() as connection:
                store.make_directories(connection)
    plan = plan_file.check(
        {
            "run": "r1",
            "work": str(host.root / "var/imap/.work"),
            "jobs": 2,
            "host": "mailboxvm",
            "users": [store.user.entry(zone=0) for store in users],
        }
    )
    surveyed = {entry["user"]: entry for entry in survey.survey(plan)["users"]}
    views = {store.user.name: old_views(store.user) for store in users}
    collected = events.Collected()
    batch.convert(plan, collected)
    failed = {event["user"]: event["what"] for event in collected.all if event["event"] == "error"}
    state = {entry["user"]: entry for entry in status.state(plan)["users"]}
    faults = []
    for store in users:
        name = store.user.name
        if name in failed:
            if not surveyed[name]["errors"]:
                faults.append(f"{name}: convert fails first, {failed[name]}")
            continue
        faults += [
            f"{name}: {text}"
            for text in judge(store.user, views[name], surveyed[name], state[name]["folders"])
        ]
    return faults


def old_views(user):
    with user.cclient() as connection:
        names = oracle.folder_list(connection, "mail/*")
    names = [name for name in names if not name.endswith(b"/") and b"/loop/" not in name]
    return stores.look(user, [*names, b"INBOX", b"/var/mail/%b" % user.name.encode()])


def named(survey):
    """Files that the survey names as not converted, damaged or changed."""
    return {item["file"] for key in ("passed", "errors", "damage") for item in survey[key]}


def judge(user, before, survey, folders):
    new_names = {
        b"mail/" + os.fsencode(folder["old"]): folder["name"] for folder in folders if folder["old"]
    }
    damaged = {item["file"] for item in survey["damage"]}
    inbox_views = before.pop(b"INBOX"), before.pop(b"/var/mail/%b" % user.name.encode())
    with user.dovecot() as new:
        for name, old in before.items():
            path = str(user.home / os.fsdecode(name))
            if name not in new_names:
                shown = old is not None and old != "text"
                if shown and not any(path.startswith(file) for file in named(survey)):
                    yield f"{name} is left out, silently"
                continue
            if old is None or old == "text":
                if path not in named(survey):
                    yield f"{name}: c-client does not open it, and the survey does not say so"
                continue
            shown = oracle.view(new, os.fsencode(new_names[name].replace(".", "/")))
            if path not in damaged:
                for text in stores.differences(old, shown):
                    yield f"{name}: {text}"
        inbox = oracle.view(new, b"INBOX")
    sources = [item for item in survey["folders"] if item["folder"] in ("INBOX", "spool")]
    if not {item["file"] for item in sources} & damaged:
        yield from judge_inbox(user, inbox, survey, sources, inbox_views)


def judge_inbox(user, inbox, survey, sources, before):
    """INBOX, with the spool's mail as a read-write session of c-client moves it there."""
    old = snarfed(user) if len(sources) == 2 else before[0]
    if any(item["why"].startswith("not INBOX") for item in survey["passed"]) and len(sources) == 2:
        return  # with the spool emptied, c-client may take another file for INBOX
    if old in (None, "text") or not old["messages"] and sources:
        return  # an INBOX that c-client shows to nobody, but that the conversion takes
    if sources and sources[0]["format"] == "mx":
        # c-client leaves the spool of such a user alone; its mail goes into INBOX here
        del inbox["messages"][len(old["messages"]) :]
        inbox["uidnext"] = old["uidnext"]
    # c-client adds blank lines where it writes a mailbox anew
    views = [view for view in before if view not in (None, "text")]
    as_read = {message[4] for view in views for message in view["messages"]}
    for text in stores.differences(old, inbox, as_read):
        yield f"INBOX ({', '.join(item['file'] for item in sources)}): {text}"


def snarfed(user):
    try:
        with user.cclient() as connection:
            opened = connection.select("INBOX")[0] == "OK"
            return oracle.view(connection, b"INBOX") if opened else None
    except (imaplib.IMAP4.abort, KeyError):
        return None  # there are mailboxes at which it ends
