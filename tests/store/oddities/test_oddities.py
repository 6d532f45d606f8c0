"""Random stores of odd mail files: c-client's view of them, converted, and Dovecot's view.

CUTOVER_ODDITIES=20000 makes it a long run, from seed CUTOVER_ODDITIES_FROM.
"""

import concurrent.futures
import os
import random
import shutil

import pytest

from store.oddities import blocks, homes, judging, sides, verifying

COUNT = int(os.environ.get("CUTOVER_ODDITIES", 500))
FIRST = int(os.environ.get("CUTOVER_ODDITIES_FROM", 0))
READ = 2 * COUNT  # files for the readers alone
TOGETHER = 100  # users of one plan
READERS = 8  # stores read at a time: both servers and verify wait more than they work
VERIFIED = 3  # of so many stores one is also read as verify reads it
pytestmark = pytest.mark.lab


def test_each_format_is_read_as_c_client_reads_it(mail_host):
    """Random files, read by our readers alone."""
    user = mail_host.user(f"readers{len(mail_host.users)}")
    kinds = list(blocks.FILES)
    faults, opened = [], 0
    with sides.Session(user) as session:
        for seed in range(FIRST, FIRST + READ):
            kind = kinds[seed % len(kinds)]
            path = user.home / f"mail/{kind}{seed}"
            path.write_bytes(blocks.FILES[kind](random.Random(seed)))
            os.utime(path, (10**9, 10**9))  # the date of MMDF messages without one
            os.chown(path, user.uid, user.uid)
            old = session.view(b"mail/" + path.name.encode(), kind == "tenex")
            new = sides.read(path)
            if None not in (old, new) and old != "text":
                opened += 1
                for text in judging.differences(old, new):
                    if not (judging.too_large(old) and text.startswith("UIDVALIDITY")):
                        faults.append(f"{path.name}: {text}")
            elif new is not None or old not in (None, "text"):
                faults.append(f"{path.name}: only one side reads it")
            path.unlink()
    assert not faults and opened > READ / 2, "\n".join(faults)


@pytest.mark.parametrize("first", range(FIRST, FIRST + COUNT, TOGETHER))
def test_random_stores(mail_host, first):
    homes.share(mail_host)
    mail_host.complaints()
    stores = []
    try:
        for slot, seed in enumerate(range(first, min(first + TOGETHER, FIRST + COUNT))):
            stores.append(homes.Store(mail_host, slot, seed))
            stores[-1].make_directories()
        faults = run(mail_host, stores)
    finally:
        for store in stores:
            store.remove()
        shutil.rmtree(mail_host.root / "var/imap/.work", ignore_errors=True)
    assert not faults, "\n".join(faults)
    assert mail_host.complaints() == ""


def run(host, stores):
    with concurrent.futures.ThreadPoolExecutor(READERS) as pool:
        views = list(pool.map(sides.Old, stores))
        surveys, failed, states = sides.convert(host, stores)

        def judged(store, old):
            name = store.user.name
            judge = judging.Judge(store, old, surveys[name], failed.get(name), states[name])
            faults = []
            if name not in failed and not store.seed % VERIFIED:
                texts = verifying.faults(store, judge.preflight, states[name])
                faults += [f"{store.seed}: {text}" for text in texts]
            return faults + judge.run()

        return [fault for faults in pool.map(judged, stores, views) for fault in faults]
