"""A user swaps her directories for links, and her files for FIFOs, while rsync runs as root."""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from cutover.remote import backup_copier, confined, store_copies, store_mover, trees
from cutover.steps.checks import backup_files
from example import ROMA1
from mbx2maildir import events

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for mounts")

ALICE = 20001
SECRET = b"what bob alone may read"


@pytest.fixture
def store(tmp_path):
    """alice's and bob's mail; a large file of alice's is sent before all that is of interest."""
    for folder in ("alice/.A/cur", "alice/.X/cur", "alice/.Y", "bob/cur"):
        (tmp_path / "store" / folder).mkdir(parents=True)
    (tmp_path / "copy").mkdir()
    store = tmp_path / "store"
    (store / "alice/.A/cur/big").write_bytes(os.urandom(4 << 20))
    for user, text in (("alice/.X", b"alice's own"), ("bob", SECRET)):
        (store / user / "dovecot-uidlist").write_bytes(text)
        (store / user / "cur/1").write_bytes(text)
    (store / "alice/.Y/link").symlink_to("../.A")
    subprocess.run(["chown", "-hR", f"{ALICE}:{ALICE}", store / "alice"], check=True)
    (store / "bob").chmod(0o700)
    return store


def swap_directory(store):
    (store / "alice/.X").rename(store / "alice/.was")
    (store / "alice/.X").symlink_to("../bob")
    os.lchown(store / "alice/.X", ALICE, ALICE)


def swap_for_fifo(store):
    (store / "alice/.X/cur/1").unlink()
    os.mkfifo(store / "alice/.X/cur/1")


@contextlib.contextmanager
def meanwhile(store, copy, attack):
    """Once rsync has its list and sends the large file, the attack is made."""

    def wait_and_attack():
        until = time.monotonic() + 30
        while not list(copy.glob("alice/.A/cur/.big.*")) and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.2)
        attack(store)

    attacker = threading.Thread(target=wait_and_attack)
    attacker.start()
    try:
        yield
    finally:
        attacker.join()


def served(store, tmp_path):
    """The copier's settings for a store that the new host's program serves over a pipe."""
    config = tmp_path / "rsyncd.conf"
    config.write_text(
        backup_files._CONFIG.format(sudoers="", module=backup_files.MODULE, store=store)
    )
    backup = ROMA1.backup.model_copy(update={"store": str(store)})
    new_store = ROMA1.new_store.model_copy(update={"python": sys.executable})
    site = ROMA1.model_copy(update={"backup": backup, "new_store": new_store})
    server = tmp_path / "server"
    text = backup_files.server(site).replace("/usr/bin/rsync", "rsync")
    server.write_text(text.replace(backup_files.CONFIG, str(config)))
    return {
        "source": f"here::{backup_files.MODULE}/",
        "target": str(tmp_path / "copy"),
        "rsh": f"sh -c 'exec {sys.executable} -I {server}'",
        "exclude": [],
    }


@pytest.mark.parametrize("attack", [swap_directory, swap_for_fifo])
def test_the_backup_follows_nobody_and_goes_on(rsync, store, tmp_path, attack):
    settings, copy = served(store, tmp_path), tmp_path / "copy"
    run = backup_copier.Run(settings, print)
    run.users = {b"alice": [], b"bob": []}
    with meanwhile(store, copy, attack), tempfile.TemporaryFile() as out:
        status, complaints = backup_copier.rsync(settings, out, "--bwlimit=3000")
    assert status == backup_copier.PARTIAL and run.blame(complaints), complaints
    assert list(run.failed) == [b"alice"]
    copied = [path for path in (copy / "alice").rglob("*") if path.is_file()]
    assert SECRET not in [path.read_bytes() for path in copied] and copied
    assert (copy / "bob/cur/1").read_bytes() == SECRET
    assert not os.path.lexists(copy / "alice/.Y/link")  # links are no mail, and not copied


@pytest.mark.parametrize("attack", [swap_directory, swap_for_fifo])
def test_the_move_follows_nobody_and_ends(rsync, store, tmp_path, attack):
    copy = tmp_path / "copy"
    with (
        confined.links_off(str(store), str(copy)),
        pytest.raises(store_mover.CopyFailed, match=r"alice/\.X/"),
        meanwhile(store, copy, attack),
    ):
        store_mover.rsync(str(store), str(copy), "--bwlimit=3000")
    copied = [path for path in (copy / "alice").rglob("*") if path.is_file()]
    assert SECRET not in [path.read_bytes() for path in copied] and copied


def test_the_move_writes_through_no_link_in_the_copy(rsync, store, tmp_path):
    """The copy is the users' too."""
    copy = tmp_path / "copy"
    (store / "zoe").mkdir()

    def swap_in_the_copy(_store):
        (copy / "alice/.X").rename(copy / "alice/.was")
        (copy / "alice/.X").symlink_to("../zoe")
        os.lchown(copy / "alice/.X", ALICE, ALICE)

    with (
        confined.links_off(str(store), str(copy)),
        pytest.raises(store_mover.CopyFailed, match=r"alice/\.X/"),
        meanwhile(store, copy, swap_in_the_copy),
    ):
        store_mover.rsync(str(store), str(copy), "--bwlimit=3000")
    assert list((copy / "zoe").iterdir()) == []


def test_links_below_are_not_followed_and_those_above_are(tmp_path):
    (tmp_path / "real/alice").mkdir(parents=True)
    (tmp_path / "real/file").write_bytes(SECRET)
    (tmp_path / "real/alice/up").symlink_to("..")
    (tmp_path / "store").symlink_to("real")
    store = tmp_path / "store"
    with confined.links_off(str(store)):
        assert (store / "file").read_bytes() == SECRET
        with pytest.raises(OSError, match="symbolic links"):
            (store / "alice/up/file").read_bytes()
        assert os.readlink(store / "alice/up") == ".."
    assert (store / "alice/up/file").read_bytes() == SECRET  # nobody else notices


def test_a_kernel_that_cannot_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(confined, "MOUNT_SETATTR", 10_000)
    with pytest.raises(OSError, match=r"needs Linux 5\.14"), confined.links_off(str(tmp_path)):
        pass


def test_links_are_copied_by_themselves_and_set_aside_on_the_way_back(rsync, store, tmp_path):
    copy, aside = tmp_path / "copy", tmp_path / "aside"
    store_mover.rsync(str(store), str(copy))
    assert trees.compare(store, copy, store_mover.OURS).different == 0
    link = store / "alice/.Y/link"
    link.unlink()
    link.mkdir()
    (link / "mail").write_bytes(b"x")
    store_mover.rsync(str(store), str(copy))
    assert trees.compare(store, copy, store_mover.OURS).different == 0
    subprocess.run(["rm", "-r", link], check=True)
    link.symlink_to("elsewhere")
    store_mover.rsync(str(store), str(copy))
    assert trees.compare(store, copy, store_mover.OURS).different == 0
    link.unlink()
    link.mkdir()
    (store / "alice/more").symlink_to("nowhere")
    trees.copy_links(copy, store, store_mover.OURS, str(aside))
    assert os.readlink(link) == "elsewhere" and (aside / "alice/.Y/link").is_dir()
    assert os.readlink(aside / "alice/more") == "nowhere"
    assert not os.path.lexists(store / "alice/more")


def test_passes_and_the_last_copy_leave_the_process_where_it_was(rsync, store, tmp_path):
    """Dovecot counts outside: users' folders may be links."""
    (tmp_path / "place").mkdir()
    (store / "alice/.Y/out").symlink_to(tmp_path)
    values = {
        "store": str(store),
        "to": str(tmp_path / "copy"),
        "place": str(tmp_path / "place"),
        "passed": [],
        "passes": 2,
        "minutes": 1,
        "jobs": 2,
        "former": ["", ""],
        "users": [{"user": "root", "uid": 0, "gid": 0, "home": "/"}],
        "status": ["sh", "-c", f"cd {store}/alice/.Y/out && printf 'mailbox\\tx\\nINBOX\\t3\\n'"],
    }
    before, collected = os.readlink("/proc/self/ns/mnt"), events.Collected()
    store_mover.passes(values, collected)
    store_mover.last(values, collected)
    assert [event["event"] for event in collected.all].count("end") == 2
    assert store_copies.read_state(values)["before"] == {"root": {"INBOX": [3]}}
    assert trees.compare(store, tmp_path / "copy", store_mover.OURS).different == 0
    assert os.readlink("/proc/self/ns/mnt") == before
