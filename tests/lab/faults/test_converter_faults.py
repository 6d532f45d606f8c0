"""SIGKILL of the converter at random points, drawn from a seed.

No published Maildir is ever half, and the same command reaches the same state. CUTOVER_FAULTS
unset: a few points; "all": thirty.
"""

import os
import random
import threading
import time

import outcomes
import pytest
from cutover import model, site
from cutover.changes import conversion
from cutover.connect.hosts import Hosts
from cutover.facts import mailboxes, users
from cutover.model import errors
from cutover.remote import converter
from lab import store, topology
from night import converters, eventually, kill
from scene import tree

pytestmark = pytest.mark.lab
NEW = "mailboxvm"
SEED = 20
POINTS = 30 if os.environ.get("CUTOVER_FAULTS") == "all" else 4
ASKED = 3  # users whose mail Dovecot itself counts after a kill


@pytest.fixture(scope="module")
def hosts(lab):
    with Hosts(site.load(site.PROJECT / "parameters/lab.yaml")) as opened:
        yield opened


def plan_of(hosts, name):
    return converter.plan(hosts.site, name, users.read(hosts, NEW), hosts.site.new_store.jobs)


def conversion_of(hosts, name):
    plan = plan_of(hosts, name)
    return conversion.Convert(NEW, name, plan["work"], plan["jobs"], plan["users"])


def trees():
    return {user: tree(store.imap(user)) for user in topology.USERS}


@pytest.fixture(scope="module")
def whole(hosts):
    """`(trees before, trees of a conversion that nothing disturbs, its seconds, {user.

    Messages})`
    """
    before, change = trees(), conversion_of(hosts, "whole")
    began = time.monotonic()
    change.apply(model.Context(hosts), lambda event: None)
    seconds = time.monotonic() - began
    after, counts = trees(), {user: counted(hosts, user) for user in topology.USERS}
    change.inverse().apply(model.Context(hosts), lambda event: None)
    assert trees() == before != after
    return before, after, seconds, counts


def counted(hosts, user):
    """A user's messages, as Dovecot counts them."""
    with mailboxes.new_session(hosts, user) as reader:
        return sum(
            len(reader.all(name)) for name, _, selectable in reader.folders("*") if selectable
        )


@pytest.mark.parametrize("number", range(POINTS))
def test_killed_at_a_random_point(hosts, whole, number):
    before, after, seconds, counts = whole
    rng = random.Random(SEED * 1000 + number)
    point, alone = rng.uniform(0, seconds), rng.random() < 0.3
    name = f"killed-{number}"
    change, seen = conversion_of(hosts, name), {}

    def strike():
        assert eventually(converters)
        time.sleep(point)
        pids = sorted(converters())
        kill([rng.choice(pids)] if alone and pids else pids)
        seen["killed"] = len(pids[:1] if alone else pids)

    striker = threading.Thread(target=strike)
    striker.start()
    message = ""
    try:
        change.apply(model.Context(hosts), lambda event: None)
    except errors.CutoverError as error:
        message = str(error)
    striker.join()
    assert not eventually(converters, 0)
    state = converter.state(hosts, NEW, plan_of(hosts, name)).users
    published = [user for user in topology.USERS if state[user].published]
    now = trees()
    half = [
        user
        for user in topology.USERS
        if now[user] != (after if user in published else before)[user]
    ]
    asked = rng.sample(published, min(ASKED, len(published)))
    half += [user for user in asked if counted(hosts, user) != counts[user]]
    if len(published) < len(topology.USERS):
        assert "Run this step again" in message or "run this step again" in message, message
    change.apply(model.Context(hosts), lambda event: None)
    same = trees() == after and change.settled(model.Context(hosts)).done
    outcomes.keep(
        name,
        kind="converter",
        seed=SEED,
        number=number,
        after=point,
        published=len(published),
        users=len(topology.USERS),
        half=len(half),
        same=same,
        said=message,
        killed=seen["killed"],
    )
    change.inverse().apply(model.Context(hosts), lambda event: None)
    assert not half, f"half published: {half}"
    assert same
