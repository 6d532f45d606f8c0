"""The form that approves the outage's plans ahead, without a browser: its buttons are clicked."""

import pytest
import stub
from cutover.notebook import approval_form, board
from cutover.report import tables

TYPED = "mailbox.roma1.example ahead"
STEPS = ["stop-imap", "restore-imap"]


def quiet(facts, site):
    return [stub.model.equal("Is it quiet?", "yes", "yes", id="quiet")]


@pytest.fixture
def night(night):
    """A site of which stop-imap and restore-imap are real and the steps between ask as always."""
    for name in ("stop-sendmail", "convert", "restore-sendmail", "switch-alias"):
        night.alter(name, ahead=None)
    night.alter("restore-imap", requires=(), needs_fresh_verify=False, verify=quiet)
    night.before()
    return night


class Page:
    """The form as a person sees it."""

    def __init__(self, night):
        self.form, self.people = approval_form.Ahead(night.site, night.run), night.people
        self.shown, self.make, fields = self.form.widget().children
        row, self.result = fields.children
        self.typed, self.key, self.button = row.children

    def approve(self, who, typed=TYPED):
        self.typed.value, self.key.value = typed, str(self.people[who])
        self.button.click()
        return self.result.value


def given(night):
    return [event for event in night.run.journal.events() if event["event"] == "approved-ahead"]


def test_two_people_approve_the_list_that_one_of_them_made(night):
    anna = Page(night)
    assert "No plan of the outage" in anna.shown.value
    assert "there is no plan yet" in anna.approve("anna")
    anna.make.click()
    assert "systemctl stop -- dovecot.service" in anna.shown.value
    assert "asks: its plan depends on what happens before" in anna.shown.value
    assert "type exactly: mailbox.roma1.example ahead" in anna.approve("anna", "yes")
    assert not given(night)
    assert "Signed ahead: 2 plans, by anna@example" in anna.approve("anna")
    assert anna.typed.value == anna.key.value == ""
    bert = Page(night)
    assert "anna@example" in bert.shown.value and "dovecot.service" in bert.shown.value
    assert "by bert@example" in bert.approve("bert")
    assert [event["of"] for event in given(night)] == STEPS * 2
    for step in STEPS:
        night.finish(night.planned(step))
    assert "approval-missing" not in {event["event"] for event in night.run.journal.events()}


def test_a_list_that_was_made_again_is_not_approved_unread(night):
    anna, bert = Page(night), Page(night)
    anna.make.click()
    bert.make.click()
    assert "these plans were made again since" in anna.approve("anna")
    assert not given(night)


def test_a_plan_whose_file_was_changed_is_neither_shown_nor_approved(night):
    anna = Page(night)
    anna.make.click()
    place = night.run.path / anna.form.planned["plans"][0]["file"]
    place.chmod(0o600)
    place.write_bytes(place.read_bytes() + b" ")
    assert "do not approve" in Page(night).shown.value
    assert "Not approved" in anna.approve("anna") and not given(night)


def test_an_outage_that_has_begun_is_not_planned_ahead(night):
    Page(night).make.click()
    stepper = night.planned()
    for who in ("anna", "bert"):
        night.give(who, stepper)
    night.finish(stepper)
    late = Page(night)
    late.make.click()
    assert "Not worked out" in late.shown.value


def test_the_board_has_a_form_where_it_may_record(night):
    def cell(mode):
        return board.open(str(night.file), str(night.run.path), mode).ahead()

    assert isinstance(cell("execute"), approval_form.Ahead)
    assert isinstance(cell("plan"), tables.Text)
