"""Who is sent a page: nobody twice, and whoever was refused is named."""

import types

import pytest
from cutover import model
from cutover.connect import smtp
from cutover.facts import logs, user_pages
from cutover.steps import registry
from example import ROMA1

USERS = ("alice", "bruno", "carla")
STEP = registry.step("user-pages")
NOBODY = "550 5.1.1 User unknown"


@pytest.fixture
def ctx(tmp_path, monkeypatch):
    """A site with a page for each of USERS. log: the MX's; sent: messages it took."""
    for user in USERS:
        page = tmp_path / f"{user_pages.name_for(user)}.txt"
        page.write_text(f"{user}: la tua posta, è qui\n\nè di {user}\n")
    pages = ROMA1.maintenance.pages.model_copy(update={"folder": str(tmp_path)})
    maintenance = ROMA1.maintenance.model_copy(update={"pages": pages})
    site = ROMA1.model_copy(update={"maintenance": maintenance})
    hosts = types.SimpleNamespace(site=site, prove=lambda: None)
    log, sent = logs.Reader(), []
    monkeypatch.setattr(logs, "read", lambda hosts, name, since: log)

    def send(address, port, sender, recipients, message, **options):
        if recipients[0].startswith("bruno@"):
            raise smtp.RecipientsRefused(server="mx", refused={}, list=NOBODY)
        sent.append(message)
        return "Q1"

    monkeypatch.setattr(smtp, "send", send)
    made = model.Context(hosts, "r1", history=[])
    return types.SimpleNamespace(context=made, site=site, log=log, sent=sent)


def journal(ctx, change, outcome=None, figures=None):
    """Journal a change, and its result if it has one."""
    seq = len(ctx.context.history)
    intent = {"event": "intent", "seq": seq, "change": change.to_json()}
    ctx.context.history.append(intent | {"time": "2026-03-14T21:00:00.000+00:00"})
    if outcome:
        result = {"event": "result", "intent": seq, "outcome": outcome, "figures": figures or {}}
        ctx.context.history.append(result)


def planned(ctx):
    facts = STEP.probe(ctx.context)
    return STEP.plan(facts, ctx.site).changes, STEP.verify(facts, ctx.site)[0]


def test_a_refused_recipient_is_named_and_the_rest_is_sent_once(ctx):
    changes, _ = planned(ctx)
    assert [change.user for change in changes] == list(USERS)
    for change in changes:
        result = change.apply(ctx.context, lambda event: None)
        journal(ctx, change, "done", result.figures)
    assert len(ctx.sent) == 2
    changes, check = planned(ctx)
    assert [change.user for change in changes] == ["bruno"]
    assert not check.passed and check.data == {"unsent": ["bruno"]} and NOBODY in check.actual
    journal(ctx, changes[0], "done", {"queue_id": "Q2"})
    changes, check = planned(ctx)
    assert changes == () and check.passed


@pytest.mark.parametrize("outcome", [None, "unknown"])
def test_when_the_journal_does_not_know_the_log_of_the_mx_does(ctx, outcome):
    (alice, bruno, _), _ = planned(ctx)
    for change in (alice, bruno):
        journal(ctx, change, outcome)
    line = f"1.5 mx sm-mta[7]: 62A: from=<p@x>, size=1, msgid={alice.message_id}, relay=[192.0.2.1]"
    ctx.log.line(line.encode())
    assert [change.user for change in planned(ctx)[0]] == ["bruno", "carla"]
    assert alice.settled(ctx.context).done and not bruno.settled(ctx.context).done


def test_a_connection_that_failed_is_tried_again(ctx):
    (alice, *_), _ = planned(ctx)
    journal(ctx, alice, "failed")
    assert planned(ctx)[0][0] == alice


def test_a_page_that_changed_since_the_plan_is_not_sent(ctx, tmp_path):
    (alice, *_), _ = planned(ctx)
    (tmp_path / "user-alice.txt").write_text("another\n")
    with pytest.raises(model.ChangeFailed, match="changed after the plan"):
        alice.apply(ctx.context, lambda event: None)
    assert not ctx.sent


def test_the_first_line_is_the_subject(ctx):
    (alice, *_), _ = planned(ctx)
    alice.apply(ctx.context, lambda event: None)
    head, _, body = ctx.sent[0].partition(b"\r\n\r\n")
    assert b"Subject: alice: la tua posta, =?utf-8?q?=C3=A8?= qui\r\n" in head
    assert b"From: postmaster@roma1.example\r\n" in head
    assert body == b"=C3=A8 di alice\r\n" and max(map(len, ctx.sent[0].split(b"\r\n"))) < 79


@pytest.mark.parametrize(
    "name, content, error",
    [
        ("user-alice.txt", b"\xe8\n", "not UTF-8"),
        ("user-alice.txt", b" \n", "is empty"),
    ],
)
def test_a_page_that_cannot_be_sent_stops_the_plan(ctx, tmp_path, name, content, error):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(user_pages.NoPages, match=error):
        STEP.probe(ctx.context)


def test_a_folder_without_pages_is_refused(tmp_path):
    with pytest.raises(user_pages.NoPages, match="no page of a user"):
        user_pages.of_users(str(tmp_path))
