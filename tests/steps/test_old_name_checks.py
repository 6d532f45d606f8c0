"""Names that users' mail programs know: what is planned, and what preflight refuses."""

import dataclasses
import types

import pytest
from cutover import model
from cutover.facts import dovecot_names, old_mail, prefixes, users
from cutover.site import night_sections
from cutover.steps.checks import old_names

INBOX = dovecot_names.Namespace("inbox", inbox=True, special={"Drafts": "\\Drafts"})
NAMES = dovecot_names.Names("2.3.19", [INBOX])
ALICE = users.Account("alice", 2001, 2001, "/home/alice")


def site(compatibility=("mail/", "~/mail/"), dots="underscore", **special):
    return types.SimpleNamespace(
        roles=types.SimpleNamespace(new="mailboxvm"),
        old_store=types.SimpleNamespace(imap_prefix="mail/"),
        new_store=night_sections.NewStore(
            work="/var/imap/.cutover",
            compatibility=None if compatibility is None else list(compatibility),
            special=special,
            dots=dots,
        ),
    )


def state(text=None):
    """Dovecot with a file of ours that holds a text."""
    spaces = list(NAMES.namespaces)
    for space in dovecot_names.parse(text or "").namespaces:
        if space.section == "inbox":
            spaces[0] = dataclasses.replace(INBOX, special=INBOX.special | space.special)
        else:
            spaces.append(space)
    return model.Reading(dovecot_names.State(dataclasses.replace(NAMES, namespaces=spaces), text))


def survey(prefixes=None, folders=(), renamed=()):
    folder = types.SimpleNamespace
    return types.SimpleNamespace(
        users={
            "alice": types.SimpleNamespace(
                prefixes=prefixes or {},
                folders=[folder(folder=name) for name in folders],
                renamed=renamed,
            )
        }
    )


def failed(checks):
    return {check.id for check in checks if not check.passed}


def test_the_plan_is_settled_by_its_own_result():
    parameters = site(sent=["sent-mail"], drafts=["Drafts"])
    change = old_names.change(state(), parameters)
    assert change.before is None and change.after.count("alias_for") == 2
    # what the rest of the configuration declares is not declared again
    assert "sent-mail" in change.after and "Drafts" not in change.after
    assert old_names.change(state(change.after), parameters) is None
    assert not failed(old_names.after(state(change.after), parameters))
    assert failed(old_names.after(state(), parameters)) == {
        "old-names-answered",
        "special-folders-declared",
    }


def test_the_file_goes_when_the_parameters_ask_for_nothing():
    text = old_names.change(state(), site()).after
    change = old_names.change(state(text), site(()))
    assert (change.before, change.after) == (text, None)
    assert old_names.change(state(), site(())) is None
    assert list(old_names.after(state(), site(()))) == []


def test_a_prefix_that_the_site_declared_itself_is_left_alone():
    own = dataclasses.replace(INBOX, section="old", prefix="mail/", inbox=False, alias_for="")
    names = dataclasses.replace(NAMES, namespaces=[INBOX, own])
    reading = model.Reading(dovecot_names.State(names, None))
    assert old_names.change(reading, site(["mail/"])) is None
    assert not failed(old_names.after(reading, site(["mail/"])))


def test_facts_of_an_earlier_version_are_not_judged():
    assert old_names.change(None, site()) is None
    assert list(old_names.before(None, survey(), site())) == []


def test_dovecot_that_cannot_be_read_stops_the_plan_and_preflight():
    reading = model.Reading(error="connection refused")
    with pytest.raises(model.CannotPlan, match="connection refused"):
        old_names.change(reading, site())
    assert "old-names-answered" in failed(old_names.before(reading, survey(), site()))


@pytest.mark.parametrize(
    "listed, passed, warning",
    [
        (["mail/", "#mbx/"], True, False),
        (["mail/"], True, True),  # given up on purpose
        (None, False, True),
    ],
)
def test_prefixes_in_use_lead_somewhere_or_are_given_up(listed, passed, warning):
    (check,) = [
        check
        for check in old_names.before(state(), survey({"#mbx/": 3, "": 9}), site(listed))
        if check.id == "old-names-in-use"
    ]
    assert (check.passed, check.warning) == (passed, warning)
    assert check.data["used"] == {"mail/": 0, "#mbx/": 1}


@pytest.mark.parametrize("name, hidden", [("mail/x", True), ("mail", True), ("mailing", False)])
def test_a_folder_that_a_prefix_would_hide_fails_preflight(name, hidden):
    checks = old_names.before(state(), survey(folders=[name]), site())
    assert ("old-names-shadow" in failed(checks)) == hidden


def test_users_whose_folders_get_another_name_are_named():
    renamed = [{"from": "x.y/z", "to": "x_y.z", "why": "dots"}]
    checks = old_names.before(state(), survey(renamed=renamed), site())
    (check,) = [check for check in checks if check.id == "folders-renamed"]
    assert check.passed and check.warning
    assert check.data["renamed"] == ["alice: x.y/z → x_y/z (dots)"]


class Session:
    """Folders under the prefixes that Dovecot answers to; `uidvalidity` of each name."""

    def __init__(self, folders, subscribed, prefixes):
        self.names, self.subscriptions, self.prefixes = folders, subscribed, ("", *prefixes)

    def _under(self, pattern, names):
        prefix = pattern.rstrip("*")
        return [prefix + name for name in names] if prefix in self.prefixes else []

    def folders(self, pattern):
        return [(name, "/", True) for name in self._under(pattern, self.names)]

    def subscribed(self, pattern="*"):
        return self._under(pattern, self.subscriptions)

    def status(self, name, items):
        return dict.fromkeys(items, self.examine(name).uidvalidity)

    def examine(self, name):
        base = name.removeprefix("mail/").removeprefix("/home/alice/mail/")
        return types.SimpleNamespace(uidvalidity=self.names[base])


def test_what_a_session_does_not_show_is_named():
    session = Session({"work": 7, "a/b": 8}, ["work"], ["mail/"])
    assert prefixes.missing(session, ["mail/"], ALICE) == []
    wrong = prefixes.missing(session, ["mail/", "{home}/mail/"], ALICE)
    assert "LIST does not show /home/alice/mail/a/b" in wrong
    assert "LSUB does not show /home/alice/mail/work" in wrong
    check = old_names.led({"alice": model.Reading(wrong)}, site())
    assert not check.passed and check.data["differences"] == len(wrong)


def test_another_folder_of_the_same_name_is_not_the_same_folder():
    session = Session({"work": 7}, [], ["mail/"])
    session.status = lambda name, items: dict.fromkeys(items, 9 if name == "work" else 7)
    assert prefixes.missing(session, ["mail/"], ALICE) == ["mail/work is not work"]


@pytest.mark.parametrize(
    "prefix, users",
    [(None, {}), ("mail/", {"alice": []}), ("~/mail/", {"alice": ["LIST does not show ~/mail/x"]})],
)
def test_only_prefixes_that_are_configured_are_asked(monkeypatch, prefix, users):
    """By the first test user who has an account; without any prefix nobody is asked."""
    asked = []

    def probed(hosts, account, templates):
        asked.append((account.user, templates))
        return users[account.user]

    monkeypatch.setattr(prefixes, "_probed", probed)
    tests = [types.SimpleNamespace(user=user) for user in ("nobody", "alice")]
    parameters = site()
    parameters.production_test = types.SimpleNamespace(users=tests)
    own = dovecot_names.Namespace("old", prefix=prefix, alias_for="") if prefix else INBOX
    names = dataclasses.replace(NAMES, namespaces=[INBOX, own])
    reading = model.Reading(dovecot_names.State(names, None))
    answers = prefixes.asked(types.SimpleNamespace(site=parameters), reading, [ALICE])
    assert answers == {user: model.Reading(text) for user, text in users.items()}
    assert asked == [(user, [prefix]) for user in users]
    checks = list(old_names.asked(answers, reading, parameters))
    assert [check.passed for check in checks] == [not any(users.values())] * len(users)
    assert all(f"under {prefix}" in check.question for check in checks)


def test_the_survey_of_an_earlier_version_names_no_prefixes():
    assert old_mail.User(0, 0, 0, 0, [], [], [], []).prefixes == {}


def escaping(escapes, separator="/", version="2.3.19"):
    names = dovecot_names.Names(version, [dataclasses.replace(INBOX, separator=separator)])
    return model.Reading(dovecot_names.State(names, None, escapes))


def judged(reading, folders=()):
    parameters = site(dots="escape")
    return {
        check.id: check for check in old_names.before(reading, survey(folders=folders), parameters)
    }


def test_dots_that_stay_need_a_dovecot_that_escapes_them_in_every_protocol():
    good = {"imap": "\\", "lda": "\\", "doveadm": "\\"}
    assert judged(escaping(good))["dots-escaped"].passed
    for wrong in (
        escaping({}),
        escaping({**good, "lda": ""}),
        escaping({**good, "imap": "^"}),
        escaping(good, separator="."),
        model.Reading(error="no answer"),
    ):
        assert not judged(wrong)["dots-escaped"].passed
    assert "listescape" in judged(escaping({}))["dots-escaped"].todo
    assert "storage_escape_char" in judged(escaping({}, version="2.4.1"))["dots-escaped"].todo


def test_what_else_changes_with_escaped_names_is_said():
    good = {"imap": "\\", "lda": "\\", "doveadm": "\\"}
    check = judged(escaping(good), ["work", "list.announce", "~odd"])["dots-escaped-directories"]
    assert (check.mark, check.data["folders"]) == ("warn", 2)
    assert judged(escaping(good), ["work"])["dots-escaped-directories"].mark == "ok"
    assert not {"dots-escaped", "dots-escaped-directories"} & {
        check.id for check in old_names.before(escaping(good), survey(), site())
    }
