"""ssh: quoting in a table, faults against a server that misbehaves, the verbs against the lab's
real sshd.
"""

import concurrent.futures
import logging
import os
import socket
import subprocess
import threading
import time
import types
from pathlib import Path

import fakes
import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cutover import site
from cutover.connect import ssh
from cutover.connect.ssh import channel, connection, on_host
from cutover.connect.ssh.command import ENVIRONMENT
from cutover.model import errors
from lab import inside, requirements


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """(folder, host key, client key); the client's private key lies in folder/key."""
    folder = tmp_path_factory.mktemp("keys")
    host, client = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
    client.write_private_key_file(str(folder / "key"))
    return folder, host, client


@pytest.fixture
def dial(keys, tmp_path):
    """Make a connection to a fake on a port.

    The host's key is pinned unless another line is given.
    """
    folder, host, _ = keys
    made = []

    def connect(port, pinned=None, **other):
        known = tmp_path / "known_hosts"
        known.write_text(
            pinned
            if pinned is not None
            else f"[box]:{port} {host.get_name()} {host.get_base64()}\n"
        )
        given = {
            "host": "box",
            "address": "127.0.0.1",
            "port": port,
            "user": "operator",
            "key_file": folder / "key",
        }
        made.append(
            ssh.Connection(**{**given, "known_hosts": known, "connect_timeout": 3, **other})
        )
        return made[-1]

    yield connect
    for opened in made:
        opened.close()


def play(script):
    """A fake's behaviour from {command: function(transport, channel)}."""

    def behave(transport, channel, line):
        script[line.decode().removeprefix(ENVIRONMENT)](transport, channel)

    return behave


def answer(out=b"", rc=0, err=b""):
    def behave(transport, channel):
        channel.sendall(out)
        channel.sendall_stderr(err)
        channel.send_exit_status(rc)
        channel.close()

    return behave


def cut(transport, channel):
    channel.sendall(b"half of the ")
    time.sleep(0.2)
    transport.sock.shutdown(socket.SHUT_RDWR)


def flood(transport, channel):
    channel.sendall_stderr(
        b"e" * 20_000_000
    )  # ten windows: whoever reads stdout alone waits for ever
    channel.sendall(b"done")
    channel.send_exit_status(0)
    channel.close()


def killed(transport, channel):
    message = paramiko.Message()
    message.add_byte(bytes([98]))  # SSH_MSG_CHANNEL_REQUEST, RFC 4254 §6.10
    message.add_int(channel.remote_chanid)
    message.add_string("exit-signal")
    message.add_boolean(False)
    message.add_string("SEGV")
    message.add_boolean(False)
    message.add_string("")
    message.add_string("")
    transport._send_user_message(message)
    channel.close()


def no_status(transport, channel):
    channel.sendall(b"out")
    channel.close()


def daemon(transport, channel):
    channel.sendall(b"started\n")
    channel.send_exit_status(0)
    time.sleep(8)  # a child holds the pipes open, so there is no end of file


def hang(transport, channel):
    time.sleep(8)


def drip(transport, channel):
    for _ in range(15):
        channel.sendall(b".")
        time.sleep(0.1)
    channel.close()


SCRIPT = {
    "ok": answer(b"fine\n"),
    "fails": answer(b"", 3, b"no such thing\n"),
    "cut": cut,
    "flood": flood,
    "killed": killed,
    "no-status": no_status,
    "daemon": daemon,
    "hang": hang,
    "hang-exec": hang,
    "drip": drip,
    "big": answer(b"x" * 3_000_000),
    "sudo -n -- ok": answer(
        b"", 1, b"sudo: unable to resolve host box\nsudo: a password is required\n"
    ),
    "sudo -n -- denied": answer(
        b"", 1, b"Sorry, user operator is not allowed to execute 'x' as root on box.\n"
    ),
    "sudo -n -- grumbles": answer(b"", 1, b"sudo: grumbles: command not found\n"),
    "sudo -n -- tty": answer(b"", 1, b"sudo: sorry, you must have a tty to run sudo\n"),
    "sudo -n -- old": answer(b"", 1, b"sudo: illegal option `-n'\nusage: sudo -h | -K | -L\n"),
    "sudo -- ok": answer(b"as root\n"),
}


@pytest.fixture
def box(keys, dial):
    _, host, client = keys
    with fakes.ssh_server(host, client, play(SCRIPT)) as port:
        yield dial(port)


WORDS = [
    *("a b", "it's", '"', "$HOME", "*", "", "-n", "\\", "`id`", "é", "~", "{a,b}", "x\\"),
    *(
        "new\nline",
        "\\\nit's",
        "\\n\n",
        "end\n",
        "hi!",
        "\\!7",
        "!!",
        "\\0041!",
        "[ ! -e x ]\n%s\r\n",
    ),
    "".join(map(chr, range(1, 0x180))),
]


@pytest.mark.parametrize(
    "shell, package", [("sh", "dash"), ("bash", "bash"), ("tcsh", "tcsh"), ("bsd-csh", "csh")]
)
def test_every_login_shell_gives_each_word_back(shell, package):
    if not requirements.program(shell, package):
        pytest.skip(f"{shell} is not installed")
    line = ssh.remote_line(["printf", "%s\\0", *WORDS])
    ran = subprocess.run([shell, "-c", line], capture_output=True)
    assert ran.stdout.decode().split("\0")[:-1] == WORDS, ran.stderr


@pytest.mark.parametrize("word", WORDS)
def test_a_line_has_nothing_that_csh_sees_in_quotes(word):
    assert not set(ssh.remote_line(["printf", word])) & set("\n!")


def test_sudo_prefixes():
    def line(**how):
        return ssh.remote_line(["id"], **how).removeprefix(ENVIRONMENT)

    assert line() == "id"
    assert line(sudo=True) == "sudo -n -- id"
    assert line(sudo=True, as_user="a b") == "sudo -n -u 'a b' -H -- id"
    assert line(sudo=True, old_sudo=True) == "sudo -- id"
    assert line(as_user="a b", old_sudo=True) == "sudo -u 'a b' -H -- id"


def test_users_read_at_the_same_time_leave_a_session():
    """With all sessions taken by users' mail, what is asked about it would never be answered."""
    most = site.Site.model_json_schema()["$defs"]["Verify"]["properties"]["parallel"]["maximum"]
    assert most < ssh.SESSIONS


def test_run_and_check(box):
    assert box.run(["ok"]).text == "fine\n"
    with pytest.raises(
        ssh.CommandFailed, match="box: status 3 from: fails: no such thing"
    ) as caught:
        box.run(["fails"])
    assert caught.value.rc == 3 and caught.value.result.err == b"no such thing\n"
    assert box.run(["fails"], check=False).rc == 3


def test_a_cut_link_is_unknown_not_failed_and_the_next_call_reconnects(box):
    with pytest.raises(ssh.LinkLost, match="UNKNOWN") as caught:
        box.run(["cut"])
    assert not isinstance(caught.value, ssh.CommandFailed)
    assert box.run(["ok"]).text == "fine\n"


def test_a_channel_closed_without_status_is_unknown(box):
    with pytest.raises(ssh.LinkLost, match="without an exit status"):
        box.run(["no-status"], check=False)


def test_stderr_flood_does_not_block(box):
    result = box.run(["flood"], timeout=30)
    assert result.out == b"done" and len(result.err) == 20_000_000


def test_flood_beyond_the_limit(box):
    with pytest.raises(ssh.TooMuchOutput, match="1000 bytes on stderr"):
        box.run(["flood"], max_output=1000)
    with pytest.raises(ssh.TooMuchOutput, match="on stdout"):
        box.run(["big"], max_output=1000)
    assert box.run(["ok"]).rc == 0


def test_signal(box):
    with pytest.raises(ssh.CommandFailed, match="signal SEGV") as caught:
        box.run(["killed"])
    assert (caught.value.rc, caught.value.result.signal) == (-1, "SEGV")


def test_timeouts(box):
    for command in ("hang", "drip"):
        began = time.monotonic()
        with pytest.raises(ssh.TimedOut, match="may still be running"):
            box.run([command], timeout=0.5)
        assert time.monotonic() - began < 2
    with pytest.raises(ssh.TimedOut, match="no start"):
        box.run(["hang-exec"], timeout=0.5)


def test_a_daemon_that_keeps_the_pipes_does_not_hold_the_call(box):
    began = time.monotonic()
    assert box.run(["daemon"], timeout=30).out == b"started\n"
    assert time.monotonic() - began < ssh.DRAIN_GRACE + 2


def test_stream_is_idle_only_when_nothing_comes(box):
    got = []
    with pytest.raises(ssh.LinkLost):  # the fake never says how it ended
        box.stream(["drip"], on_line=got.append, idle_timeout=0.6)
    with pytest.raises(ssh.TimedOut, match="no output"):
        box.stream(["hang"], on_line=got.append, idle_timeout=0.3)


def test_a_stream_keeps_the_end_of_stderr_only(box):
    result = box.stream(["flood"], on_line=lambda line: None)
    assert result.out == b"" and len(result.err) == ssh.ERR_KEPT


@pytest.mark.parametrize("command", ["ok", "denied"])
def test_sudo_that_says_no(box, command):
    for check in (True, False):
        with pytest.raises(ssh.NoSudo, match="operator needs a NOPASSWD rule"):
            box.run([command], sudo=True, check=check)


def test_a_sudo_of_old_names_the_line_to_change(keys, dial, box):
    with pytest.raises(ssh.SudoNeedsTerminal, match="Defaults:operator !requiretty"):
        box.run(["tty"], sudo=True)
    with pytest.raises(ssh.OldSudo, match="hosts.box.legacy_sudo: true"):
        box.run(["old"], sudo=True)
    _, host, client = keys
    with fakes.ssh_server(host, client, play(SCRIPT)) as port:
        assert dial(port, old_sudo=True).run(["ok"], sudo=True).text == "as root\n"


def test_a_missing_command_under_sudo_is_no_sudo_trouble(box):
    with pytest.raises(ssh.CommandFailed, match="command not found"):
        box.run(["grumbles"], sudo=True)


def test_refused_sessions_are_asked_for_again(keys, dial):
    _, host, client = keys
    with fakes.ssh_server(host, client, play(SCRIPT), sessions=[False, False, True]) as port:
        assert dial(port).run(["ok"]).rc == 0


def test_two_refusals_at_the_same_moment_are_refusals(keys, dial, monkeypatch):
    """paramiko keeps one reason for both threads; the second gets none."""
    _, host, client = keys
    with fakes.ssh_server(host, client, play(SCRIPT)) as port:
        link = dial(port)
        transport = link.links.transport()
        answers = [paramiko.SSHException("Unable to open channel.")] * 3

        def open_session(**_):
            if answers:
                raise answers.pop()
            return paramiko.Transport.open_session(transport)

        monkeypatch.setattr(transport, "open_session", open_session)
        assert link.run(["ok"]).rc == 0
        answers = [paramiko.SSHException("Timeout opening channel.")]
        with pytest.raises(ssh.Unreachable):
            link.run(["ok"])


def test_sessions_refused_for_ever(keys, dial):
    _, host, client = keys
    with (
        fakes.ssh_server(host, client, play(SCRIPT), sessions=[False] * 1000) as port,
        pytest.raises(ssh.TooManySessions),
    ):
        dial(port, connect_timeout=1.5).run(["ok"])


def test_unknown_host_key_names_fingerprint_file_and_line(keys, dial):
    _, host, client = keys
    with fakes.ssh_server(host, client, play(SCRIPT)) as port:
        with pytest.raises(ssh.UnknownHostKey) as caught:
            dial(port, pinned="").run(["ok"])
        assert host.fingerprint in str(caught.value) and "known_hosts" in str(caught.value)
        assert dial(port, pinned=caught.value.line + "\n").run(["ok"]).rc == 0  # the advice is good


def test_changed_host_key(keys, dial):
    _, host, client = keys
    other = paramiko.ECDSAKey.generate()
    with (
        fakes.ssh_server(host, client, play(SCRIPT)) as port,
        pytest.raises(ssh.HostKeyChanged) as caught,
    ):
        dial(port, pinned=f"[box]:{port} {other.get_name()} {other.get_base64()}\n").run(["ok"])
    assert host.fingerprint in str(caught.value) and other.fingerprint in str(caught.value)


def test_key_refused_and_unusable(keys, dial, tmp_path):
    folder, host, client = keys
    paramiko.ECDSAKey.generate().write_private_key_file(str(tmp_path / "other"))
    client.write_private_key_file(str(tmp_path / "locked"), password="secret")
    sealed = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "sealed").write_bytes(sealed)
    (tmp_path / "rubbish").write_text("no key\n")
    with fakes.ssh_server(host, client, play(SCRIPT)) as port:
        with pytest.raises(ssh.KeyRefused, match="operator may not log in"):
            dial(port, key_file=tmp_path / "other").run(["ok"])
        for name in ("locked", "sealed", "rubbish", "none"):
            with pytest.raises(ssh.KeyUnusable, match=name):
                dial(port, key_file=tmp_path / name).run(["ok"])
        with pytest.raises(ssh.KnownHostsUnusable, match="none cannot be read: No such file"):
            dial(port, known_hosts=tmp_path / "none").run(["ok"])


def test_unreachable(dial):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(ssh.Unreachable, match="Connection refused"):
        dial(port).run(["ok"])
    with (
        fakes.listening(fakes.scripted([None])) as port,
        pytest.raises(ssh.Unreachable, match="banner"),
    ):
        dial(port, connect_timeout=0.5).run(["ok"])
    with (
        fakes.listening(fakes.scripted([b"SSH-2.0-silent\r\n", None])) as port,
        pytest.raises(ssh.Unreachable, match="exchange"),
    ):
        dial(port, connect_timeout=0.5).run(["ok"])
    with (
        fakes.listening(fakes.scripted([b"220 mail ESMTP\r\n"])) as port,
        pytest.raises(ssh.Unreachable),
    ):
        dial(port, connect_timeout=0.5).run(["ok"])


def test_an_sshd_with_sha1_only(dial):
    """A KEXINIT as OpenSSH 3 sends it (RFC 4253 §7.1)."""
    lists = [
        "diffie-hellman-group1-sha1,diffie-hellman-group14-sha1",
        "ssh-rsa,ssh-dss",
        *["aes128-cbc"] * 2,
    ]
    lists += ["hmac-sha1"] * 2 + ["none"] * 2 + [""] * 2
    body = (
        b"\x14"
        + bytes(16)
        + b"".join(len(text).to_bytes(4, "big") + text.encode() for text in lists)
        + bytes(5)
    )
    pad = next(size for size in range(4, 20) if (5 + len(body) + size) % 8 == 0)
    packet = (1 + len(body) + pad).to_bytes(4, "big") + bytes([pad]) + body + bytes(pad)
    script = fakes.scripted([b"SSH-2.0-OpenSSH_3.9p1\r\n", packet, None])
    with fakes.listening(script) as port, pytest.raises(ssh.OldAlgorithms) as caught:
        dial(port).run(["ok"])
    assert "hosts.box.legacy_ssh: true" in str(caught.value)


def test_every_error_is_one_an_operator_can_read(box):
    with pytest.raises(errors.CutoverError):
        box.run(["fails"])


# -- the lab's sshd


@pytest.mark.lab
def test_real_verbs(real):
    link = real.ssh("sanbackup")
    assert link.run(["id", "-un"]).text == "operator\n"
    assert link.run(["id", "-un"], sudo=True).text == "root\n"
    assert (
        link.run(["sh", "-c", "id -un; echo $HOME"], as_user="backup").text
        == "backup\n/var/backups\n"
    )
    assert link.run(["printf", "%s", "a 'b' $HOME *\n"]).text == "a 'b' $HOME *\n"
    everything = bytes(range(256)) * 40_000
    assert link.run(["cat"], input=everything).out == everything
    assert link.run(["head", "-c", "3"], input=everything).out == everything[:3]
    with pytest.raises(ssh.CommandFailed, match=r"signal KILL|status 137 \(signal KILL\)"):
        link.run(["sh", "-c", "kill -9 $$"])


@pytest.mark.lab
def test_real_stream_comes_as_it_is_written(real):
    came = []
    script = "for i in 1 2 3; do echo $i; sleep 0.3; done; printf last; echo oops >&2"
    result = real.ssh("sanbackup").stream(
        ["sh", "-c", script], on_line=lambda line: came.append((line, time.monotonic()))
    )
    assert [line for line, _ in came] == [b"1", b"2", b"3", b"last"] and result.err == b"oops\n"
    assert came[2][1] - came[0][1] > 0.4


@pytest.mark.lab
def test_real_put_and_get(real):
    link = real.ssh("sanbackup")
    folder = link.run(["mktemp", "-d", "/tmp/cutover test.XXXXXX"]).text.strip()
    try:
        path, data = f"{folder}/a 'file'", bytes(range(256)) * 1000
        link.put(data, path, mode=0o640, sudo=True)
        link.run(["chown", "backup:mail", path], sudo=True)
        link.run(["ln", "-s", path, f"{folder}/link"])
        link.put(data[::-1], f"{folder}/link", mode=None, sudo=True)
        assert link.get(path, sudo=True) == data[::-1]
        assert link.run(["stat", "-c", "%U:%G %a", path]).text == "backup:mail 640\n"
        with pytest.raises(ssh.CommandFailed, match="Permission denied"):
            link.get(path)
        with pytest.raises(ssh.NoSuchFile, match="does not exist"):
            link.get(f"{folder}/none")
        with pytest.raises(ssh.CommandFailed, match="the directory of .* does not exist"):
            link.put(b"", f"{folder}/no/where")
        with pytest.raises(ssh.TooMuchOutput):
            link.get(path, sudo=True, max_bytes=1000)
        short = [
            "sh",
            "-c",
            connection._PUT,
            "put",
            path,
            "9999999",
            "",
        ]  # what a link lost half way amounts to
        with pytest.raises(ssh.CommandFailed, match="only part of the data"):
            link.run(short, input=b"half", sudo=True)
        assert link.get(path, sudo=True) == data[::-1]
        assert sorted(link.run(["ls", "-A", folder]).text.splitlines()) == ["a 'file'", "link"]
    finally:
        link.run(["rm", "-r", folder], sudo=True)


@pytest.mark.lab
def test_a_real_link_by_the_cheapest_cipher_survives_new_keys(real):
    link = real.ssh("sanbackup")
    assert link.run(["true"]).rc == 0
    transport, data = link.links.transport(), bytes(range(256)) * 4096
    assert {transport.local_cipher, transport.remote_cipher} == {channel.CIPHER}
    transport.packetizer.REKEY_BYTES = 100_000
    session, exchange = transport.session_id, transport.H
    for _ in range(3):
        assert link.run(["cat"], input=data).out == data
    assert link.links.transport() is transport and transport.session_id == session
    assert exchange != transport.H, "no new keys were made"


@pytest.mark.lab
def test_real_threads_share_a_connection(real):
    link, seen = real.ssh("sanbackup"), []
    work = [
        threading.Thread(
            target=lambda i=i: seen.append(link.run(["sh", "-c", f"sleep 0.2; echo {i}"]).text)
        )
        for i in range(30)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join(30)
    assert sorted(map(int, seen)) == list(range(30))


@pytest.mark.lab
def test_real_many_short_commands_never_lose_the_link(real):
    """Ends of commands race with paramiko's own thread.

    A descriptor closed too early once ended the whole link.
    """
    link, wrong = real.ssh("sanbackup"), []

    def work():
        for _ in range(60):
            try:
                link.run(["true"])
            except ssh.SshError as error:
                wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(ssh.SESSIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert wrong == []


@pytest.mark.lab
def test_real_commands_given_up_do_not_starve_the_connection(real):
    """sshd keeps a session as long as its command runs, and has few."""
    link = real.ssh("sanbackup")
    for _ in range(12):
        with pytest.raises(ssh.TimedOut):
            link.run(["sleep", "20"], timeout=0.1)
    assert link.run(["echo", "still"]).text == "still\n"


@pytest.mark.lab
def test_real_lock_ends_with_the_link_and_with_the_command_under_it(real):
    first, second = real.ssh("sanbackup"), real.ssh("sanbackup")
    lock, place = "/var/run/test.lock", "/root/under-lock"
    with ssh.Locked(first, lock, 5) as held:
        held.put(b"text", place)
        with ssh.Locked(second, lock, 0.1) as other:
            assert held.held and not other.held
        with pytest.raises(ssh.TimedOut):
            held.run(["sh", "-c", f"sleep 1; rm {place}"], timeout=0.2)
        first.links.transport().close()
        with ssh.Locked(second, lock, 20) as other:
            assert other.held and second.run(["ls", place], sudo=True, check=False).rc == 2
        assert first.run(["id", "-un"]).text == "operator\n"  # by a link that was made again
        with pytest.raises(ssh.LinkLost):
            held.run(["true"])
    assert second.run(["sh", "-c", "ls /var/run/test.lock*"], sudo=True).text == f"{lock}\n"
    second.run(["rm", lock], sudo=True)


@pytest.mark.lab
def test_real_duplex(real):
    with real.ssh("sanbackup").open(["cat"], timeout=1) as stream:
        stream.write(b"one\ntwo")
        assert stream.readline() == b"one\n" and stream.read(3) == b"two"
        with pytest.raises(ssh.TimedOut):
            stream.read(1)
    with real.ssh("sanbackup").open(["sh", "-c", "echo out; echo err >&2; exit 4"]) as stream:
        assert (
            stream.read(100) == b"out\n"
            and stream.readline() == b""
            and stream.stderr_text() == "err\n"
        )


def test_noise_on_stderr_is_no_answer():
    """A user's own process may write there for ever, and verify would wait as long."""

    class Noisy(ssh.stream.Output):
        timeout, out, err = 0.2, bytearray(b"half a line"), bytearray()

        def pump(self, deadline, what):
            time.sleep(0.01)
            if time.monotonic() > deadline:
                raise TimeoutError
            self.err += b"x"
            assert len(self.err) < 300, "it waits as long as there is noise"
            return True

    for ask in (lambda noisy: noisy.readline(), lambda noisy: noisy.read(100)):
        with pytest.raises(TimeoutError):
            ask(Noisy())


@pytest.mark.lab
def test_real_refusals(real, tmp_path):
    with pytest.raises(ssh.KeyRefused):
        real.ssh("sanbackup", user="root").run(["id"])
    with pytest.raises(ssh.UnknownHostKey):
        real.ssh(
            "sanbackup",
            host="other",
            address=real.site.address("sanbackup"),
            known_hosts=Path("/dev/null"),
        ).run(["id"])
    swapped = tmp_path / "known_hosts"
    lines = Path(real.site.ssh.known_hosts).read_text().splitlines()
    of_another = next(line for line in lines if "mailboxvm" in line).split(None, 1)[1]
    swapped.write_text(f"sanbackup {of_another}\n")
    with pytest.raises(ssh.HostKeyChanged):
        real.ssh("sanbackup", known_hosts=swapped).run(["id"])
    with pytest.raises(ssh.CommandFailed, match="unknown user"):
        real.ssh("sanbackup").run(["id"], as_user="nobodyatall")


@pytest.fixture
def counted(real, monkeypatch):
    """(connection to the lab's sanbackup, the lines given to its shell)"""
    link, lines = real.ssh("sanbackup"), []
    start = link.links.start
    monkeypatch.setattr(
        link.links, "start", lambda line, t: (lines.append(line), start(line, t))[1]
    )
    return link, lines


@pytest.mark.lab
def test_real_users_share_a_channel(counted):
    link, lines = counted
    everything = bytes(range(256)) * 10_000
    for user in ["backup", "list", "mail"] * 10:
        assert link.run(["id", "-un"], as_user=user).text == user + "\n"
        assert link.run(["cat"], as_user=user, input=everything).out == everything
        assert link.run(["head", "-c", "3"], as_user=user, input=everything).out == everything[:3]
        with link.open(["cat"], as_user=user, timeout=5) as stream:
            stream.write(b"one\ntwo")
            assert stream.readline() == b"one\n" and stream.read(3) == b"two"
    assert len(lines) == 1


def test_input_that_came_with_a_users_command_is_passed_on_at_once(monkeypatch, capfdbinary):
    """Before it waits for anything else: most commands say nothing until they have their input."""
    frames = [(b"i", b"some text"), (b"z", b"")]
    inbox = bytearray(b"".join(on_host.HEAD.pack(kind, len(text)) + text for kind, text in frames))
    asked, select = [], on_host.select.select
    monkeypatch.setattr(
        on_host.select,
        "select",
        lambda reading, writing, *rest: (
            asked.append(list(writing)),
            select([number for number in reading if number], writing, *rest),
        )[1],
    )
    on_host.run(inbox, "root", ["cat"])
    assert asked[0] and not inbox
    if not os.getuid():
        assert b"some text" in capfdbinary.readouterr().out


def test_a_user_is_looked_up_once_for_a_few_commands(monkeypatch):
    asked = []

    def getpwnam(user):
        asked.append(user)
        if user == "nobody there":
            raise KeyError(user)
        return types.SimpleNamespace(pw_gid=len(asked))

    monkeypatch.setattr(on_host, "accounts", {})
    monkeypatch.setattr(on_host.pwd, "getpwnam", getpwnam)
    monkeypatch.setattr(on_host.os, "getgrouplist", lambda user, gid: [gid, 7])
    seen = [on_host.account_of(user) for user in ("ada", "bob", "ada")]
    assert [groups for _, groups in seen] == [[1, 7], [2, 7], [1, 7]] and asked == ["ada", "bob"]
    assert [on_host.account_of("nobody there") for _ in range(2)] == [None, None]
    assert asked[2:] == ["nobody there"] * 2, "it may be made meanwhile"
    for number in range(on_host.KNOWN):
        on_host.account_of(f"user{number}")
    assert len(on_host.accounts) <= on_host.KNOWN


@pytest.mark.lab
def test_real_user_is_the_same_as_with_sudo(counted):
    """Identity for good, groups, limits, environment and signals."""
    link, _ = counted
    script = (
        "id; pwd; umask; ulimit -n; grep -E '^(Uid|Gid|Groups|Cap|Sig(Ign|Blk)|NoNew)' "
        "/proc/self/status; env | grep -vE '^(SUDO_|_=|MAIL=|TERM=|PWD=)' | sort; yes | head -n 1"
    )
    by_runner = link.run(["sh", "-c", script], as_user="www-data")
    line = ssh.remote_line(["sh", "-c", script], as_user="www-data")
    by_sudo = link.run(["sh", "-c", line])
    assert by_runner.text.split("\n") == by_sudo.text.split("\n")
    assert b"uid=33" in by_runner.out and by_runner.text.endswith("\ny\n")
    refused = link.run(["setpriv", "--reuid", "0", "true"], as_user="www-data", check=False)
    assert refused.rc != 0


@pytest.mark.lab
def test_real_ends_of_users_commands(counted):
    link, lines = counted

    def ends(script, **options):
        return link.run(["sh", "-c", script], as_user="backup", check=False, **options)

    assert ends("echo out; echo err >&2; exit 4").rc == 4
    assert ends("echo out; echo err >&2; exit 4").err == b"err\n"
    assert (ends("kill -SEGV $$").rc, ends("kill -SEGV $$").signal) == (-1, "SEGV")
    assert link.run(["nosuchprogram"], as_user="backup", check=False).rc == 127
    with pytest.raises(ssh.CommandFailed, match="nosuchprogram: command not found"):
        link.run(["nosuchprogram"], as_user="backup")
    assert ends("exec >&- 2>&-; sleep 0.3; exit 5").rc == 5
    assert len(ends("head -c 3000000 /dev/zero >&2").err) == 3_000_000
    with pytest.raises(ssh.TooMuchOutput, match="1000 bytes on stdout"):
        ends("exec cat /dev/zero", max_output=1000)
    with pytest.raises(ssh.UnsendableCommand):
        link.run(["a\0b"], as_user="backup")
    ends("true")
    lines.clear()
    with pytest.raises(ssh.TimedOut, match=r"no end within 0\.5 s from: sleep 20"):
        link.run(["sleep", "20"], as_user="backup", timeout=0.5)
    assert ends("echo still").out == b"still\n" and len(lines) <= 1


@pytest.mark.lab
def test_real_leftovers_of_a_user_meet_nothing_of_the_next(counted):
    """What a command left behind has neither the next user's input nor a way into its output."""
    link, lines = counted
    leaves = "(trap '' PIPE; while sleep 0.05; do echo forged; done; cat > /dev/null) & echo left"
    began = time.monotonic()
    assert b"left\n" in link.run(["sh", "-c", leaves], as_user="backup").out
    assert time.monotonic() - began < ssh.DRAIN_GRACE + 2
    try:
        for _ in range(10):
            assert link.run(["cat"], as_user="list", input=b"secret").out == b"secret"
        assert len(lines) <= 1
    finally:
        link.run(["pkill", "-u", "backup"], sudo=True, check=False)


@pytest.mark.lab
def test_real_idle_runners_make_room(counted):
    """Sessions of sshd are few: a runner keeps its own only while nobody needs it."""
    link, _ = counted

    def both(i):
        name = ("backup", "list")[i % 2]
        assert link.run(["id", "-un"], as_user=name).text == name + "\n"
        assert link.run(["echo", "by", "itself"], timeout=30).text == "by itself\n"

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(both, range(64)))
    link.links.transport().close()  # a lost link is made again
    both(0)


@pytest.mark.lab
def test_real_host_without_python(counted):
    """As in 2007: each command of a user is an ssh command of its own."""
    link, lines = counted
    inside.run("sanbackup", ["mv", "/usr/bin/python3", "/usr/bin/python3.away"])
    try:
        for _ in range(2):
            assert link.run(["id", "-un"], as_user="backup").text == "backup\n"
        assert len(lines) == 3 and "python3" in lines[0] and "python3" not in lines[2]
    finally:
        inside.run("sanbackup", ["mv", "/usr/bin/python3.away", "/usr/bin/python3"])


OLD_SSHD = """
set -eu
rm -rf /run/old-ssh
mkdir /run/old-ssh
cat > /run/old-ssh/keys
ssh-keygen -q -t rsa -b 2048 -N '' -f /run/old-ssh/host
cat > /run/old-ssh/config <<END
Port 2222
HostKey /run/old-ssh/host
PidFile /run/old-ssh/pid
AuthorizedKeysFile /run/old-ssh/keys
KexAlgorithms diffie-hellman-group14-sha1
HostKeyAlgorithms ssh-rsa
PubkeyAcceptedAlgorithms ssh-rsa
Ciphers aes128-cbc,3des-cbc
MACs hmac-sha1
END
/usr/sbin/sshd -f /run/old-ssh/config
cat /run/old-ssh/host.pub
"""


@pytest.mark.lab
def test_a_real_sshd_of_old_algorithms_only(real, tmp_path):
    link, address = real.ssh("sanbackup"), real.site.address("sanbackup")
    keys = {name: paramiko.RSAKey.generate(2048) for name in ("known", "other")}
    for name, key in keys.items():
        key.write_private_key_file(str(tmp_path / name))
    public = f"ssh-rsa {keys['known'].get_base64()}\n".encode()
    host_key = link.run(["sh", "-c", OLD_SSHD], sudo=True, input=public).text
    (tmp_path / "hosts").write_text(f"[sanbackup]:2222 {host_key}")

    def old(key="known", **other):
        files = {"key_file": tmp_path / key, "known_hosts": tmp_path / "hosts"}
        return real.ssh("sanbackup", address=address, port=2222, **files, **other)

    try:
        with pytest.raises(ssh.OldAlgorithms, match="legacy_ssh: true"):
            old().run(["true"])
        with old(old_algorithms=True) as legacy:
            assert legacy.run(["id", "-un"]).text == "operator\n"
            assert legacy.old_algorithms() == ["diffie-hellman-group14-sha1", "ssh-rsa"]
        with pytest.raises(ssh.KeyRefused):
            old("other", old_algorithms=True).run(["true"])
        assert link.old_algorithms() == []
    finally:
        link.run(["sh", "-c", "kill $(cat /run/old-ssh/pid)"], sudo=True)
    with pytest.raises(ssh.Unreachable):
        old(old_algorithms=True).run(["true"])


def test_to_close_a_channel_of_a_lost_link_is_no_error():
    """A command's watchdog may do it at that moment, in a thread of its own."""

    class Lost:
        def _send_user_message(self, message):
            raise EOFError

    closed = paramiko.Channel(1)
    closed.transport, closed.logger = Lost(), logging.getLogger("paramiko")
    closed.active = True
    channel.close_channel(closed)
    assert closed.closed
