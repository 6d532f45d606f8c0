"""Verify's own reading of both sides of a store, and whether preflight knew what it finds."""

import os

from cutover import model
from cutover.comparison import elsewhere, folders
from cutover.comparison.contents import Contents
from cutover.facts import mailboxes, users
from cutover.remote import converter
from cutover.steps.night import verify

from store import test_places
from store.oddities import sides


class Hosts(test_places.Hosts):
    """Both sides on the mail host. preflight: what it names outside the folders is accepted."""

    def __init__(self, store, preflight):
        super().__init__(store.user)
        self.site.old_store.accepts = lambda path, *user: preflight.tells(
            mailboxes.imap.encode_name(path), "mail-outside"
        )


def faults(store, preflight, state):
    """What verify finds first, as texts. state: the user's, as the converter's `state` says it."""
    hosts = Hosts(store, preflight)
    site, user = hosts.site, model.from_json(converter.User, state)
    known, passed = verify.converted_folders(site, user), verify.passed_over(site, user)
    contents = Contents("seed")
    account = users.Account(user.user, store.user.uid, store.user.uid, os.fsdecode(store.own))
    with mailboxes.old_session(hosts, user.user) as old:
        with mailboxes.new_session(hosts, user.user) as new:
            rows = folders.read_user(hosts, old, new, user.user, known, "content", contents, passed)
        besides = elsewhere.read(hosts, old, account, known, passed)
    added = {folder.new: folder.added for folder in known}
    mail = verify.UserMail(rows, passed, added, besides)
    check, _sums = verify.user_check(user.user, mail, "content")
    if check.passed:
        return []
    texts = []
    for row in rows:
        name = mailboxes.imap.encode_name(row.old_name) if row.old_name else b""
        path = sides.within(store.host.root, os.path.join(store.own, name))
        wrong = row.differences or row.unknown and not mailboxes.is_below(row.name, passed)
        wrong = wrong or row.extra != added.get(row.new_name, 0)
        if wrong and not (path and preflight.tells(path)):
            texts.append(f"{row.name}: {row.differences or 'unknown'}, {row.extra} added")
    texts += [f"{item.name}: unknown mail" for item in besides.mail]
    return [f"verify finds first {text}" for text in texts]
