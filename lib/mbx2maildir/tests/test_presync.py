"""Delta passes: presync*, changes, convert gives what one conversion from scratch gives."""

import os
import pathlib
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mbx2maildir import batch, events, plan_file
from mbx2maildir.convert import delta, folder, index
from mbx2maildir.tests import build
from mbx2maildir.tests.test_batch import deliver, messages, of, tree


def passes(plan, presync=False):
    collected = events.Collected()
    batch.convert(plan_file.check(dict(plan, presync=presync)), collected)
    assert not of(collected.all, "error"), repr(of(collected.all, "error"))
    return collected.all


@pytest.fixture(autouse=True)
def no_skew(monkeypatch):
    """Files just written count as settled, or no folder of a test would ever be unchanged."""
    monkeypatch.setattr(index, "CLOCK_SKEW", -1)


def folders(results):
    return {event["folder"]: event for event in of(results, "folder")}


def test_unchanged_folders_are_not_opened(site, monkeypatch):
    site.user("alice", build.simple(3), {"a": build.simple(2)})
    passes(site.plan(), presync=True)
    monkeypatch.setattr(folder, "convert_folder", None)
    again = folders(passes(site.plan(), presync=True))
    assert again["INBOX"]["unchanged"] and again["a"]["unchanged"]
    monkeypatch.setattr(delta, "write", None)
    passes(site.plan())
    assert [uid for uid, _text in messages(site.maildir("alice"))] == [1, 2, 3]


def test_subscriptions_are_staged_and_both_sides_published(site):
    site.user("alice", build.simple(1), {"a": build.simple(1)}, subscriptions=b"mail/a\nINBOX\n")
    passes(site.plan(), presync=True)
    staged = site.root / "new/work/staging/alice/subscriptions"
    assert staged.read_bytes() == b"a\nINBOX\n"
    live = site.maildir("alice")
    (live / "cur").mkdir(parents=True)
    (live / "subscriptions").write_bytes(b"Trash\n")
    passes(site.plan())
    assert (live / "subscriptions").read_bytes() == b"a\nINBOX\nTrash\n"


def test_only_what_changed_is_touched(site, monkeypatch):
    inbox = bytearray(build.simple(50))
    home = site.user("alice", bytes(inbox))
    passes(site.plan(), presync=True)
    inbox[15:23] = b"%08x" % 51
    inbox = bytes(inbox).replace(b"0011-00000007", b"0013-00000007") + build.message(
        build.text(51), 51, 1
    )
    inbox = inbox.replace(b"0011-00000009", b"8011-00000009")
    (home / "INBOX").write_bytes(inbox)
    before = {
        path.name: path.stat().st_ino
        for path in (site.root / "new/work/staging/alice/cur").iterdir()
    }
    monkeypatch.setattr(delta, "write", None)
    (event,) = of(passes(site.plan(), presync=True), "folder")
    assert [event[key] for key in ("messages", "written", "renamed", "removed", "expunged")] == [
        50,
        1,
        1,
        1,
        1,
    ]
    after = {
        path.name: path.stat().st_ino
        for path in (site.root / "new/work/staging/alice/cur").iterdir()
    }
    assert len(set(before.items()) & set(after.items())) == 48


DOUBTS = {
    "other version": lambda work: rewrite(
        work, lambda text: text.replace('"version": ', '"version": 9')
    ),
    "no JSON": lambda work: rewrite(work, lambda text: text[:40]),
    "index cut": lambda work: [os.truncate(path, 60) for path in work.glob("index/alice/*/index")],
    "index altered": lambda work: [
        path.write_bytes(path.read_bytes()[:-1] + b"\1")
        for path in work.glob("index/alice/*/index")
    ],
    "index gone": lambda work: [path.unlink() for path in work.glob("index/alice/*/index")],
    "message gone": lambda work: next((work / "staging/alice/cur").iterdir()).unlink(),
    "uidlist altered": lambda work: (work / "staging/alice/dovecot-uidlist").write_bytes(
        b"3 V1 N1\n"
    ),
    "tree gone": lambda work: shutil.rmtree(work / "staging/alice"),
}


def rewrite(work, change):
    for path in work.glob("index/alice/*/state.json"):
        path.write_text(change(path.read_text()))


@pytest.mark.parametrize("doubt", DOUBTS)
@pytest.mark.parametrize("changed", [False, True], ids=["source unchanged", "source changed"])
def test_a_doubtful_state_is_made_anew(site, doubt, changed):
    home = site.user("alice", build.simple(9), {"a": build.simple(2)})
    passes(site.plan(), presync=True)
    DOUBTS[doubt](site.root / "new/work")
    if changed or doubt in (
        "index altered",
    ):  # an index is read only when there is something to do
        (home / "INBOX").write_bytes(build.simple(10))
        (home / "mail/a").write_bytes(build.simple(3))
    passes(site.plan())
    assert [uid for uid, _text in messages(site.maildir("alice"))] == list(
        range(1, len(messages(site.maildir("alice"))) + 1)
    )
    assert tree(site.maildir("alice")) == scratch(site, "alice")


def scratch(site, name):
    """The tree of one conversion from scratch."""
    other = site.root / "scratch"
    shutil.rmtree(other, ignore_errors=True)
    plan = site.plan("s")
    plan = dict(
        plan,
        work=str(other / "work"),
        users=[dict(user, maildir=str(other / user["user"])) for user in plan["users"]],
    )
    passes(plan)
    return tree(other / name)


def test_dual_delivery_after_presync(site):
    text = build.text(5)
    home = site.user(
        "alice", build.mbx(build.message(text, 1, 0x11), uidlast=1), {"a": build.simple(1)}
    )
    passes(site.plan(), presync=True)
    live = site.maildir("alice")
    deliver(live, "1.a.new", b"Received: by new\n" + text.replace(b"\r\n", b"\n"))
    late = build.text(6)
    (home / "INBOX").write_bytes(
        build.mbx(build.message(text, 1, 0x11), build.message(late, 0, 0), uidlast=1)
    )
    deliver(live, "2.b.new", b"Received: by new\n" + late.replace(b"\r\n", b"\n"))
    results = passes(site.plan())
    assert (results[-1]["matched"], results[-1]["appended"]) == (2, 0)
    assert [uid for uid, _text in messages(live)] == [1, 2]


def test_folders_renamed_and_deleted(site):
    home = site.user(
        "alice",
        build.simple(1),
        {"a": build.simple(2), "b.c": build.simple(3), "gone/x": build.simple(1)},
    )
    passes(site.plan(), presync=True)
    (home / "mail/a").rename(home / "mail/z")
    (home / "mail/b.c").rename(home / "mail/b_c")
    shutil.rmtree(home / "mail/gone")
    passes(site.plan(), presync=True)
    passes(site.plan())
    assert tree(site.maildir("alice")) == scratch(site, "alice")


def test_spool_mail_whose_uids_move(site):
    """Found by the random histories: the same UID, second and size, but another message."""
    spool = b"".join(
        b"From a@b Tue Nov 10 10:00:00 2026\nSubject: %d\n\nspool\n\n" % number
        for number in range(2)
    )
    home = site.user("alice", build.simple(4), spool=spool)
    passes(site.plan(), presync=True)
    (home / "INBOX").write_bytes(build.simple(5))
    passes(site.plan())
    assert [text[:10] for _uid, text in messages(site.maildir("alice"))][5:] == [
        b"Subject: 0",
        b"Subject: 1",
    ]
    assert tree(site.maildir("alice")) == scratch(site, "alice")


# --- random histories of a file
# ------------------------------------------------------------------------------------

MESSAGE = st.tuples(
    st.integers(0, 3),
    st.sampled_from([0, 1, 0x10, 0x11, 0x13, 0x2F, 0x8011]),
    st.integers(0, 7),
    st.sampled_from([b"short\r\n", b"a\r\r\nb", b"bare\nLF", b"long" * 300 + b"\r\n"]),
)
CHANGE = st.one_of(
    st.tuples(st.just("append"), MESSAGE),
    st.tuples(st.just("flag"), st.integers(0, 9), MESSAGE),
    st.tuples(st.just("expunge"), st.integers(0, 9)),
    st.tuples(st.just("assign")),
    st.tuples(st.just("spoil uid")),
    st.tuples(st.just("validity")),
    st.tuples(st.just("spool"), st.integers(0, 2)),
    st.tuples(st.just("keyword")),
    st.tuples(st.just("presync")),
    st.tuples(st.just("presync")),
)


class History:
    """An MBX file that changes as c-client's would."""

    def __init__(self):
        self.messages, self.uidlast, self.uidvalidity, self.keywords, self.spool, self.number = (
            [],
            0,
            1000,
            [],
            0,
            0,
        )

    def change(self, what, *arguments):
        getattr(self, what.replace(" ", "_"))(*arguments)

    def append(self, message):
        self.number += 1
        self.messages.append([0, message[1], message[2], build.text(self.number, message[3])])

    def flag(self, place, message):
        if self.messages:
            entry = self.messages[place % len(self.messages)]
            entry[1], entry[2] = message[1], message[2]

    def expunge(self, place):
        self.assign()  # whoever expunges has opened the mailbox, and then all messages have UIDs
        if self.messages:
            del self.messages[place % len(self.messages)]

    def assign(self):
        for entry in self.messages:
            if not entry[0]:
                self.uidlast += 1
                entry[0] = self.uidlast
            entry[1] |= 0x10

    def spoil_uid(self):
        if self.messages:
            self.messages[-1][0] = self.uidlast + 5  # c-client renumbers

    def validity(self):
        self.uidvalidity += 1

    def keyword(self):
        self.keywords.append(b"k%d" % len(self.keywords))

    def spool_(self, count):
        self.spool = count

    def content(self):
        return build.mbx(
            *(build.message(text, uid, flags, bits) for uid, flags, bits, text in self.messages),
            uidlast=self.uidlast,
            uidvalidity=self.uidvalidity,
            keywords=self.keywords[:30],
        )


@settings(max_examples=60)
@given(st.lists(CHANGE, max_size=25))
def test_random_histories_end_as_from_scratch(tmp_path_factory, changes):
    site = build.Site(pathlib.Path(tmp_path_factory.mktemp("history")))
    home = site.user("alice", b"")
    history = History()

    def write():
        (home / "INBOX").write_bytes(history.content())
        (site.root / "spool/alice").write_bytes(
            b"".join(
                b"From a@b Tue Nov 10 10:00:00 2026\nSubject: %d\n\nspool\n\n" % number
                for number in range(history.spool)
            )
        )

    for what, *arguments in changes:
        if what == "presync":
            write()
            passes(site.plan(), presync=True)
        else:
            history.change("spool_" if what == "spool" else what, *arguments)
    write()
    passes(site.plan())
    assert tree(site.maildir("alice")) == scratch(site, "alice")


def test_a_line_in_a_text_and_garbage_behind_it(site):
    """Found by the mutations: where a message ends is not known by its line alone when none follows
    it there."""
    fake = build.line(30, 4, 0x11) + b"x" * 30
    parts = [build.message(build.text(1), 1, 0x11), build.message(build.text(2, fake), 2, 0x11)]
    home = site.user("alice", build.mbx(*parts, build.message(build.text(3), 3, 0x11), uidlast=3))
    passes(site.plan(), presync=True)
    (home / "INBOX").write_bytes(
        build.mbx(*parts, b"garbage", build.message(build.text(3), 3, 0x11), uidlast=3)
    )
    passes(site.plan())
    assert tree(site.maildir("alice")) == scratch(site, "alice")
