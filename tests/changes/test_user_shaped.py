"""Root on a host follows nothing that a user put in the place of mail."""

import os
import random
import shutil
import subprocess
import sys
import types

import pytest
from cutover.carryback import set_aside
from cutover.changes import bring_beside, mail_directory
from cutover.facts import copied_tree, copies, mailboxes, sieve, spam_folders, spool

UID = 12345
PLACEMENTS = int(os.environ.get("CUTOVER_PLACEMENTS", "200"))
ANYWHERE = [
    *("cur", "new", "tmp", "cur/1:2,S", "cur/7", "new/2", "dovecot-uidlist", "subscriptions"),
    *(".f", ".f/cur", ".f/new", ".f/cur/3", ".f/dovecot-uidlist", ".g", "..h", "a\nb"),
]
root = pytest.mark.skipif(os.getuid() != 0, reason="needs root to give files away")


class Here:
    """Hosts whose commands run on this machine, as this account."""

    def __init__(self, top):
        roles = types.SimpleNamespace(new="new", backup="backup", old="old")
        self.site = types.SimpleNamespace(
            roles=roles,
            backup=types.SimpleNamespace(target=str(top)),
            new_store=types.SimpleNamespace(python=sys.executable, work=str(top), escapes=False),
        )
        self.users = []

    def run(self, host, argv, *, sudo=False, as_user=None, check=True, timeout=60, input=b""):
        self.users.append(as_user or ("root" if sudo else None))
        done = subprocess.run(argv, input=input, capture_output=True, timeout=60)
        assert not check or done.returncode == 0, done.stderr
        return types.SimpleNamespace(
            rc=done.returncode,
            out=done.stdout,
            err=done.stderr,
            text=done.stdout.decode("utf-8", "backslashreplace"),
        )


@pytest.fixture
def hosts(tmp_path):
    (tmp_path / "copy").mkdir()
    return Here(tmp_path / "copy")


@pytest.fixture
def secret(tmp_path):
    """Another's directory, which looks like a mail folder."""
    folder = tmp_path / "secret"
    for part in ("cur", "new"):
        (folder / part).mkdir(parents=True)
    (folder / "cur/7").write_text("secret")
    (folder / "dovecot-uidlist").write_text("3 V9 N9\n7 :7\n")
    return folder


@pytest.fixture
def eva(hosts, tmp_path):
    """A plain tree of a user's copy: INBOX with two messages, and a folder with none."""
    tree = tmp_path / "copy" / "eva"
    for part in ("cur", "new", ".f/cur", ".f/new"):
        (tree / part).mkdir(parents=True)
    (tree / "cur/1:2,S").write_text("1")
    (tree / "new/2").write_text("2")
    (tree / "dovecot-uidlist").write_text("3 V5 N3\n1 :1\n2 W9 :2\n")
    return tree


def odd(path, kind, elsewhere):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "directory":
        path.mkdir()
    elif kind == "hole":
        path.touch()
        os.truncate(path, 64 << 20)
    elif kind == "link":
        path.symlink_to(elsewhere)
    else:
        path.symlink_to("/dev/zero")


def test_a_plain_tree_is_listed(hosts, eva):
    assert copies.listing(hosts, "eva") == {
        "INBOX": copies.CopiedFolder(".", 2, 5, [1, 2]),
        "f": copies.CopiedFolder(".f", 0, None, []),
    }
    assert copied_tree.newest(hosts, str(eva), 9) == ["cur/1:2,S", "new/2"]
    assert copied_tree.newest(hosts, str(eva), 1) == ["new/2"]
    assert copied_tree.uids(hosts, str(eva)) == {1, 2} and copies.listing(hosts, "nobody") is None


@pytest.mark.parametrize("kind", ["fifo", "link", "device"])
@pytest.mark.parametrize("place", ["dovecot-uidlist", "cur", "new", ".f", ".f/cur", "cur/7"])
def test_what_is_odd_in_a_copy_is_not_read(hosts, eva, secret, place, kind):
    uidlist = place == "dovecot-uidlist"
    odd(eva / place, kind, secret / place if uidlist or place in ("cur", "new") else secret)
    with open(eva / "dovecot-uidlist", "ab") if not uidlist else open(os.devnull, "wb") as file:
        file.write(b"7 :7\n8 :../../../secret/cur/7\n")
    listed = copies.listing(hosts, "eva")
    assert all(folder.uidvalidity != 9 and folder.messages < 3 for folder in listed.values())
    names = copied_tree.newest(hosts, str(eva), 9)
    assert set(names) <= {"cur/1:2,S", "new/2"}
    assert 9 not in copied_tree.uids(hosts, str(eva))


def test_a_link_for_a_user_in_the_copy_is_not_entered(hosts, secret, tmp_path):
    (tmp_path / "copy" / "eva").symlink_to(secret)
    tree = str(tmp_path / "copy" / "eva")
    assert copies.listing(hosts, "eva") is None and copied_tree.newest(hosts, tree, 9) == []
    packed = subprocess.run(bring_beside.packing(tree, ["cur"]), capture_output=True)
    assert packed.returncode == 3 and not packed.stdout


def beside(hosts, tree, names, place):
    """Bring some names of a tree to a place, without the stream in between."""
    packed = subprocess.run(bring_beside.packing(str(tree), names), capture_output=True, check=True)
    taking = ["sh", "-c", bring_beside._TAKE, "take", str(place)]
    done = subprocess.run(taking, input=packed.stdout, capture_output=True)
    if done.returncode == 0:
        owner = f"{os.getuid()}:{os.getgid()}"
        hosts.run("new", ["sh", "-ec", bring_beside._PUBLISH, "publish", str(place), owner])
    return done


def test_only_files_and_directories_are_brought(hosts, eva, secret, tmp_path):
    (eva / ".bob").symlink_to(secret)
    (eva / ".f/cur/9").symlink_to(secret / "cur/7")
    os.mkfifo(eva / ".f/cur/8")
    (eva / ".f/cur/3").write_text("3")
    odd(eva / "new", "link", secret / "cur")
    names = ["cur", "new/7", ".bob", ".f", "dovecot-uidlist"]
    place = tmp_path / "work" / "restore" / "eva"
    assert beside(hosts, eva, names, place).returncode == 0
    brought = {str(path.relative_to(place)) for path in place.rglob("*")}
    assert brought == {
        *("cur", "cur/1:2,S", "new", "tmp", "dovecot-uidlist"),
        *(".f", ".f/cur", ".f/new", ".f/cur/3"),
    }
    assert not any(path.is_symlink() for path in place.rglob("*"))
    assert place.parent.stat().st_mode & 0o777 == 0o700


def test_a_file_without_data_costs_no_room(hosts, eva, tmp_path):
    os.truncate(eva / "cur/1:2,S", 1 << 30)
    place = tmp_path / "work" / "restore" / "eva"
    assert beside(hosts, eva, ["cur"], place).returncode == 0
    brought = (place / "cur/1:2,S").stat()
    assert brought.st_size == 1 << 30 and brought.st_blocks < 100


@pytest.mark.parametrize("number", range(max(1, PLACEMENTS // 10)))
def test_odd_files_anywhere_in_a_copy(hosts, eva, secret, tmp_path, number):
    """What is read of a copy and what is restored from it; no user can reach what was brought."""
    choose = random.Random(number)
    for path in (".f/cur/3", ".f/new/4", "subscriptions"):
        (eva / path).write_text("own")
    for _ in range(10):
        path = eva / choose.choice(ANYWHERE)
        inside = path.parent.is_dir() and path.parent.resolve().is_relative_to(eva.resolve())
        if inside and choose.random() < 0.8:
            to = secret / path.name if choose.random() < 0.5 else secret
            odd(path, choose.choice(["fifo", "link", "device", "loop", "hole", "directory"]), to)
    assert all(folder.uidvalidity != 9 for folder in copies.listing(hosts, "eva").values())
    names = copied_tree.newest(hosts, str(eva), 9)
    assert 7 not in copied_tree.uids(hosts, str(eva))
    place = tmp_path / "work" / "restore" / "eva"
    if beside(hosts, eva, ["cur", "new", ".f", "dovecot-uidlist", *names], place).returncode == 0:
        brought = [path for path in place.rglob("*") if not path.is_dir()]
        assert all(path.is_file() and not path.is_symlink() for path in brought)
        small = [path for path in brought if path.stat().st_size < 4096]
        assert not [path for path in small if "secret" in path.read_text()]
    assert (secret / "cur/7").read_text() == "secret" and len(list(secret.rglob("*"))) == 4


def test_nothing_is_brought_into_a_directory_of_others(hosts, eva, secret, tmp_path):
    (tmp_path / "work").symlink_to(secret)
    done = beside(hosts, eva, ["cur"], tmp_path / "work" / "eva")
    assert done.returncode == 77 and not (secret / "eva").exists()


def make(hosts, path, owner=f"{UID}:{UID}"):
    argv = [sys.executable, "-I", "-c", mail_directory._MAKE, str(path), owner, "2750"]
    return subprocess.run(argv, capture_output=True, text=True)


@root
def test_a_mail_directory_is_made_for_its_user_alone(hosts, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, UID, UID)
    assert make(hosts, home / "Maildir").returncode == 0
    made = (home / "Maildir").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o7777) == (UID, UID, 0o2750)
    assert os.listdir(home) == ["Maildir"]
    other = tmp_path / "other"
    other.mkdir()
    os.chown(other, UID + 1, UID + 1)
    (home / "way").symlink_to(other)
    os.lchown(home / "way", UID, UID)
    for path in (other / "Maildir", home / "way" / "Maildir"):
        assert make(hosts, path).returncode == 1 and os.listdir(other) == []


@root
def test_no_part_of_the_way_to_a_mail_directory_is_a_users_link(hosts, tmp_path):
    """As with `{home}/a/b/{user}`: the first part is the user's own to replace."""
    home, other = tmp_path / "home", tmp_path / "other"
    (other / "b").mkdir(parents=True)
    home.mkdir()
    (home / "a").symlink_to(other)
    os.chown(home, UID, UID)
    assert make(hosts, home / "a/b/eva").returncode == 0, "a link of root's is followed"
    (other / "b/eva").rmdir()
    os.lchown(home / "a", UID, UID)
    assert make(hosts, home / "a/b/eva").returncode == 1 and os.listdir(other / "b") == []


@root
def test_the_directory_for_removed_messages_is_roots_own(hosts, tmp_path):
    """Whoever shapes the way to old_store.aside gets no mode changed and nothing given."""
    victim, entry = tmp_path / "victim", {"user": "eva", "uid": UID, "gid": UID}
    victim.mkdir(mode=0o700)
    aside = tmp_path / "aside"
    aside.symlink_to(victim)
    with pytest.raises(AssertionError, match="is a link"):
        set_aside.SetAside(hosts, str(aside), "r1", entry).folder_for("mail/x")
    assert victim.stat().st_mode & 0o777 == 0o700 and os.listdir(victim) == []
    aside.unlink()
    assert set_aside.SetAside(hosts, str(aside), "r1", entry).folder_for("mail/x")
    made = [(path.stat().st_uid, path.stat().st_mode & 0o777) for path in (aside, aside / "r1/eva")]
    assert made == [(0, 0o711), (UID, 0o700)]
    (aside / "r1/eva").rmdir()
    (aside / "r1/eva").symlink_to(victim)
    set_aside.SetAside(hosts, str(aside), "r1", entry).folder_for("mail/x")
    assert victim.stat().st_uid == 0


@root
def test_what_the_user_swaps_in_is_not_given_away(hosts, tmp_path):
    """The user wins the race: a link stands where the directory was made."""
    home, victim = tmp_path / "home", tmp_path / "victim"
    home.mkdir()
    os.chown(home, UID, UID)
    victim.mkdir()
    swap = f"""
import os
mkdir = os.mkdir
def swapped(name, *rest, **options):
    os.symlink({str(victim)!r}, name, **options)
os.mkdir = swapped
"""
    argv = [sys.executable, "-I", "-c", swap + mail_directory._MAKE]
    done = subprocess.run([*argv, str(home / "Maildir"), f"{UID}:{UID}", "700"])
    assert done.returncode and victim.stat().st_uid == 0 and not (home / "Maildir").exists()


def away(path, aside):
    argv = ["sh", "-ec", mail_directory._AWAY, "away", path, aside, sys.executable]
    return subprocess.run(list(map(str, argv)), capture_output=True, text=True).stdout.strip()


def test_a_mail_directory_goes_away_unless_mail_is_in_it(tmp_path, secret):
    path, aside = tmp_path / "Maildir", tmp_path / "aside"
    path.symlink_to(secret)
    assert away(path, aside) == "stays: it is a link" and path.is_symlink()
    path.unlink()
    assert away(path, aside) == "did not exist"
    (path / "cur").mkdir(parents=True)
    (path / "cur/1").write_text("1")
    assert away(path, aside) == "stays: 1 messages are in it" and (path / "cur/1").exists()
    (path / "cur/1").unlink()
    assert away(path, aside).startswith("set aside in ") and not path.exists()
    path.mkdir()
    assert away(path, aside) == "removed"


def test_a_sieve_script_is_read_as_its_user(hosts, tmp_path):
    link = tmp_path / sieve.LINK
    assert sieve.script(hosts, "new", "eva", str(tmp_path)) is None
    (tmp_path / "a.sieve").write_text("keep;\n")
    link.symlink_to("a.sieve")
    assert sieve.script(hosts, "new", "eva", str(tmp_path)) == "keep;\n"
    assert sieve.active(hosts, "new", "eva", str(tmp_path)) == "a"
    assert set(hosts.users) == {"eva"}
    with open(tmp_path / "a.sieve", "wb") as file:
        file.truncate(1 << 40)
    assert len(sieve.script(hosts, "new", "eva", str(tmp_path))) == sieve.LIMIT
    for kind in ("fifo", "device"):
        odd(link, kind, None)
        assert sieve.script(hosts, "new", "eva", str(tmp_path)) == ""


def test_a_file_name_tells_nothing_of_other_users(hosts, tmp_path):
    own = tmp_path / "r1" / "eva"
    (own / "cur").mkdir(parents=True)
    (own / "cur/1").write_text("1")
    forged = own / "x\n1 r1" / "bob" / "cur"
    forged.mkdir(parents=True)
    (forged / "1").write_text("1")
    assert spam_folders.kept(hosts, "new", str(tmp_path)) == {
        "r1": spam_folders.Kept({"eva": 1}, 0)
    }
    (tmp_path / "a\nb 5").write_text("1")
    assert spool.files(hosts, "new", str(tmp_path)) == {"a\nb 5": 1}


def test_a_test_restore_reads_no_uid_list_through_a_link(hosts, eva, secret):
    odd(eva / "dovecot-uidlist", "link", secret / "dovecot-uidlist")
    assert copied_tree.uids(hosts, str(eva)) == set()


def overlay(tree, live, uid, made=""):
    """What a program sees that the script of tree_session() starts; None where mounts are refused."""
    probe = ["unshare", "--mount", "--propagation", "private", "mount", "-t", "tmpfs", "x", "/mnt"]
    if subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("mounts are refused here")
    script = mailboxes._SCRIPT.partition("uid=$3")[0] + 'ls "$2"; ls -d /etc/passwd'
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "staged"]
    return subprocess.run(
        [*argv, str(tree), str(live), str(uid), "1", made], capture_output=True, text=True
    )


@root
def test_no_tree_is_laid_over_what_is_not_the_users(hosts, eva, tmp_path):
    live = tmp_path / "live"
    live.symlink_to("/etc")
    done = overlay(eva, live, UID)
    assert done.returncode == 1 and "not a directory of its user" in done.stderr
    live.unlink()
    live.mkdir()
    os.chown(live, UID, UID)
    done = overlay(eva, live, UID)
    if "overlay" not in done.stderr:  # a file system that cannot be laid over another
        assert done.stdout.split() == ["cur", "dovecot-uidlist", "new", "/etc/passwd"]
    assert os.listdir(live) == []


@root
def test_a_tree_is_read_in_the_place_of_a_maildir_that_is_not_there_yet(eva, tmp_path):
    live = tmp_path / "maildirs/eva"
    live.parent.mkdir()
    (live.parent / "bob").mkdir()
    done = overlay(eva, live, UID, "made")
    if "overlay" not in done.stderr:  # a file system that cannot be laid over another
        assert done.stdout.split() == ["cur", "dovecot-uidlist", "new", "/etc/passwd"]
    assert os.listdir(live.parent) == ["bob"], "nothing outside notices"
    done = overlay(eva, live, UID)
    assert done.returncode == 1 and "no such directory" in done.stderr
    live.symlink_to("/etc/nowhere")
    assert overlay(eva, live, UID, "made").returncode == 1


@pytest.mark.parametrize(
    "template, may",
    [("/var/imap/{user}", True), ("{home}/Maildir", False), ("/var/imap/{user}/mail", False)],
)
def test_a_maildir_is_made_where_no_user_can_shape_what_is_above(template, may):
    site = types.SimpleNamespace(new_store=types.SimpleNamespace(maildir=template))
    assert mailboxes.may_lack_maildir(site) == may


def test_of_a_message_copied_under_two_names_one_is_brought(tmp_path):
    """Dovecot shows both from its second look on."""
    for name in (
        *("cur/1.M:2,", "cur/1.M:2,S", "cur/1.M1:2,S", "cur/2.M:2,F", "new/2.M", "new/3.M"),
        *(".a:2,b/cur/1:2,", ".a:2,b/cur/2:2,", ".a:2,b/new/2", "cur/4.M", "cur/-rf:2,"),
    ):
        path = tmp_path / "ugo.part" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    owner = f"{os.getuid()}:{os.getgid()}"
    argv = ["sh", "-ec", bring_beside._PUBLISH, "publish", str(tmp_path / "ugo"), owner]
    assert subprocess.check_output(argv).split() == [b"8"]
    brought = {str(path.relative_to(tmp_path / "ugo")) for path in (tmp_path / "ugo").rglob("*")}
    assert {name for name in brought if name.count("/") and name[-3:] not in ("cur", "new")} == {
        *("cur/-rf:2,", "cur/1.M:2,S", "cur/1.M1:2,S", "cur/2.M:2,F", "cur/4.M", "new/3.M"),
        *(".a:2,b/cur/1:2,", ".a:2,b/cur/2:2,"),
    }
