"""Configuration files are replaced whole or not at all, also on a full disk."""

import concurrent.futures
import contextlib
import dataclasses
import fcntl
import os
import resource
import subprocess
import sys
import types

import pytest
from cutover import model
from cutover.changes import bacula_jobs, files, userdb_edit
from cutover.connect import ssh
from cutover.facts import services

TEXT = "".join(f"Password = {number:060}\n" for number in range(1000))


def shell(script, *arguments, room=None, input=b"", **environment):
    """Run a script. `room`: bytes after which each file is full, as on a full disk."""

    def full():
        if room is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    return subprocess.run(
        ["sh", *script, "script", *map(str, arguments)],
        input=input,
        capture_output=True,
        preexec_fn=full,
        restore_signals=False,  # as on a full disk: an error, no signal
        env={**os.environ, **environment},
    )


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "etc" / "bacula-dir.conf"
    path.parent.mkdir()
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


def include(config, verb, **options):
    lock = f"{config.parent.parent}/lock"
    return shell(["-ec", bacula_jobs._INCLUDE], config, "/etc/ours.conf", verb, lock, **options)


def test_two_stores_include_their_files_at_the_same_time(config):
    lock, before = config.parent.parent / "lock", config.read_text()
    with open(lock, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            mine = pool.submit(include, config, "in")
            concurrent.futures.wait([mine], timeout=0.5)  # it would be done by then
            config.write_text(before + "@/etc/theirs.conf\n")
            fcntl.flock(held, fcntl.LOCK_UN)
            assert mine.result().returncode == 0
    assert config.read_text() == before + "@/etc/theirs.conf\n@/etc/ours.conf\n"


def test_the_include_goes_in_and_out_and_all_else_stays(config):
    config.write_text(TEXT + "# no line end")
    for _ in range(2):
        assert include(config, "in").returncode == 0
        assert config.read_text() == TEXT + "# no line end\n@/etc/ours.conf\n"
    for _ in range(2):
        assert include(config, "out").returncode == 0
        assert config.read_text() == TEXT + "# no line end\n"
    assert config.stat().st_mode & 0o777 == 0o640 and os.listdir(config.parent) == [config.name]


def test_the_only_line_is_taken_out_and_a_link_stays_one(config):
    config.write_text("@/etc/ours.conf\n")
    link = config.parent.parent / "link"
    link.symlink_to(config)
    assert include(link, "out").returncode == 0
    assert link.is_symlink() and config.read_text() == ""


@pytest.mark.parametrize("verb", ["in", "out"])
@pytest.mark.parametrize("room", [0, 100, 8192])
def test_a_full_disk_cuts_no_configuration_of_bacula(config, verb, room):
    if verb == "out":
        config.write_text("@/etc/ours.conf\n" + TEXT)
    before = config.read_text()
    assert include(config, verb, room=room).returncode != 0
    assert config.read_text() == before and os.listdir(config.parent) == [config.name]


def test_nothing_goes_through_tmp(config, tmp_path):
    full = {"TMPDIR": str(tmp_path / "no such directory")}
    for verb in ("in", "out"):
        assert include(config, verb, **full).returncode == 0
    assert config.read_text() == TEXT


@pytest.fixture
def visudo(tmp_path):
    """A visudo that says what it was given; the environment for it."""
    program = tmp_path / "bin" / "visudo"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\ndirname "$2"; cat "$2"\n')
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}"}


def test_a_sudoers_text_is_judged_beside_its_file(tmp_path, visudo):
    path, text = tmp_path / "sudoers.d" / "rule", b"x ALL=(root) ALL\n" * 1000
    path.parent.mkdir()
    judge = ["-c", files._JUDGE]
    done = shell(judge, path, len(text), input=text, **visudo)
    assert done.stdout == f"{path.parent}\n".encode() + text and done.returncode == 0
    for options in ({"room": 8192}, {"input": text[:-1]}):
        done = shell(judge, path, len(text), **{"input": text, **options}, **visudo)
        assert done.returncode and not done.stdout
    assert os.listdir(path.parent) == []


@pytest.mark.parametrize("room", [None, 0, 4096])
def test_a_full_disk_cuts_no_configuration_of_xinetd(tmp_path, room):
    path = tmp_path / "imap"
    path.write_text("service imap\n{\n}\n" + TEXT)
    _, _, script, *arguments = services.stop_argvs("xinetd", "imap")[0]
    assert services._XINETD_FILES in script
    script = script.replace(services._XINETD_FILES, str(path)).replace("pidof", "false")
    before = path.read_text()
    done = shell(["-c", script], *arguments[1:], room=room)
    if room is None:
        assert done.returncode == 0 and path.read_text() == before.replace(
            "{\n", "{\n#cutover-stopped imap\n\tdisable = yes\n"
        )
    else:
        assert done.returncode and path.read_text() == before
    assert os.listdir(tmp_path) == ["imap"]


def test_python_ignores_the_signal_of_a_full_file():
    program = "import signal; print(signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN)"
    assert subprocess.check_output([sys.executable, "-c", program]) == b"True\n"


class Mx:
    """An MX whose makemap writes only the first `kept` records, as on a full disk, and exits 0."""

    def __init__(self, source, kept):
        self.source, self.kept, self.argvs = source, kept, []
        self.site = types.SimpleNamespace(others=())
        self.alone = lambda host: contextlib.nullcontext(self)

    def ssh(self, host):
        return self

    def get(self, path, **options):
        return self.source

    def put(self, data, path, **options):
        self.source = data

    def run(self, *arguments, **options):
        argv, out = arguments[-1], b""
        self.argvs.append(argv)
        if argv[:2] == ["makemap", "-u"]:
            lines = self.source.splitlines(keepends=True)[: self.kept]
            out = b"".join(lines)
        return ssh.Result("mx", tuple(argv), 0, out, b"", 0.0)


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_map_that_makemap_cut_is_not_put_in_place(kept):
    source = b"alice:maildrop\talice@a\nbob:maildrop\tbob@a\n"
    hosts = Mx(source, kept)
    edit = userdb_edit.UserdbEdit(
        "mx", "/etc/userdb", "/etc/userdb.db", "/etc/userdb.was", [["bob:maildrop\tbob@a"] * 2]
    )
    context = model.Context(hosts)
    if kept == 2:
        edit.apply(context, None)
    else:
        with pytest.raises(model.ChangeFailed, match="was not replaced"):
            edit.apply(context, None)
    renames = [argv for argv in hosts.argvs if argv[:2] == ["mv", "-f"] and argv[-1] == edit.map]
    assert len(renames) == (kept == 2)


def test_an_edit_is_undone_though_a_user_was_removed_meanwhile():
    """The entry is nobody's any more; without it a rollback would never pass."""
    pairs = [
        ["alice:maildrop\talice@a", "alice:maildrop\talice@b"],
        ["bob:maildrop b", "bob:maildrop c"],
    ]
    undo = userdb_edit.UserdbEdit("mx", "/etc/userdb", "/etc/userdb.db", "/was", pairs).inverse()
    context = model.Context(Mx(b"alice:maildrop\talice@b\n", 1))
    assert not undo.settled(context).done
    assert "1 of the entries were removed" in undo.apply(context, None).text
    assert context.hosts.source == b"alice:maildrop\talice@a\n"
    assert undo.settled(context).done
    with pytest.raises(model.ChangeFailed, match="occurs 0 times.*make it b'bob:maildrop b'"):
        undo.apply(model.Context(Mx(b"bob:maildrop elsewhere\n", 1)), None)
    with pytest.raises(model.ChangeFailed, match="occurs 0 times"):
        dataclasses.replace(undo, undo=False).apply(context, None)


def test_an_entry_that_became_a_comment_comes_back():
    pairs = [["zoe:maildrop zoe@else", "# r1: zoe:maildrop zoe@else"]]
    undo = userdb_edit.UserdbEdit("mx", "/etc/userdb", "/etc/userdb.db", "/was", pairs).inverse()
    context = model.Context(Mx(b"# r1: zoe:maildrop zoe@else\r\n", 1))
    assert not undo.settled(context).done
    assert undo._still_there(context.hosts.source) == [(pairs[0][1], pairs[0][0])]
    assert userdb_edit.replace_lines(context.hosts.source, undo.replacements, "x") == (
        b"zoe:maildrop zoe@else\r\n",
        1,
    )


def test_a_source_that_is_not_what_was_written_is_no_success():
    hosts = Mx(b"bob:maildrop b\n", 1)
    hosts.put = lambda data, path, **options: None
    edit = userdb_edit.UserdbEdit(
        "mx", "/etc/userdb", "/etc/userdb.db", "/was", [["bob:maildrop b", "bob:maildrop c"]]
    )
    with pytest.raises(model.ChangeFailed, match="is not what was written"):
        edit.apply(model.Context(hosts), None)
