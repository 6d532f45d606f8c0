"""Services: outputs of real hosts in tables, the xinetd editor on files, and the lab's systemd."""

import os
import shutil
import subprocess

import pytest
from cutover.connect.ssh import Result
from cutover.facts import services


def result(text, rc=0, err=b""):
    return Result("box", ("x",), rc, text.encode(), err, 0.1)


def shown(**properties):
    """As `systemctl show` prints it on Debian 12."""
    usual = {
        "Id": "x.service",
        "LoadState": "loaded",
        "ActiveState": "active",
        "SubState": "running",
        "UnitFileState": "enabled",
    }
    usual |= {"WantedBy": "", "RequiredBy": "", "TriggeredBy": ""}
    return "".join(f"{key}={value}\n" for key, value in {**usual, **properties}.items())


DEAD = {"ActiveState": "inactive", "SubState": "dead"}


@pytest.mark.parametrize(
    "properties, running, at_boot, exists",
    [
        ({}, True, True, True),
        (DEAD, False, True, True),
        ({**DEAD, "UnitFileState": "disabled"}, False, False, True),
        (
            {"UnitFileState": "generated", "WantedBy": "multi-user.target graphical.target"},
            True,
            True,
            True,
        ),
        ({"UnitFileState": "generated"}, True, False, True),
        ({"UnitFileState": "static", "WantedBy": "y.service"}, True, True, True),
        ({"UnitFileState": "enabled-runtime"}, True, False, True),
        ({**DEAD, "UnitFileState": "masked", "LoadState": "masked"}, False, False, True),
        (
            {"UnitFileState": "masked", "WantedBy": "multi-user.target"},
            True,
            False,
            True,
        ),  # masked while it runs
        ({"ActiveState": "failed", "SubState": "failed"}, False, True, True),
        ({"SubState": "exited"}, False, True, True),  # an init script's unit whose daemon is gone
        ({"ActiveState": "activating", "SubState": "start"}, True, True, True),
        ({"ActiveState": "deactivating", "SubState": "stop-sigterm"}, True, True, True),
        ({"SubState": "listening", "Id": "x.socket"}, True, True, True),
        ({**DEAD, "LoadState": "not-found", "UnitFileState": ""}, False, False, False),
    ],
)
def test_systemd_states(properties, running, at_boot, exists):
    state = services.parse_status("systemd", "x", result(shown(**properties)))
    assert (state.running, state.starts_at_boot, state.exists) == (running, at_boot, exists)


def test_a_socket_that_can_start_the_service_is_named():
    state = services.parse_status("systemd", "x", result(shown(TriggeredBy="x.socket")))
    assert "can be started by x.socket" in state.detail


@pytest.mark.parametrize(
    "text, running, at_boot, exists",
    [
        ("script\nlink /etc/rc3.d/S20x\nlink /etc/rc5.d/S20x\nstatus 0\n", True, True, True),
        ("script\nlink /etc/rc.d/rc3.d/S80x\nstatus 3\n", False, True, True),
        ("script\nstatus 0\n", True, False, True),
        ("script\nstatus 1\n", False, False, True),
        ("status 1\n", False, False, False),
    ],
)
def test_sysv_states(text, running, at_boot, exists):
    state = services.parse_status("sysv", "x", result(text))
    assert (state.running, state.starts_at_boot, state.exists) == (running, at_boot, exists)


CONF = "file /etc/xinetd.conf\n  defaults\n  {\n    %s\n  }\n"
BLOCK = (
    "file /etc/xinetd.d/imap\n  service imap2\n  {\n    port = 143\n%s  }\n"
    "  service other\n  {\n    disable = yes\n  }\n"
)


@pytest.mark.parametrize(
    "text, running, at_boot, exists",
    [
        ("pid 80\n" + BLOCK % "    disable = no\n", True, True, True),
        ("pid 80\n" + BLOCK % "", True, True, True),
        (BLOCK % "", False, True, True),
        ("pid 80\n" + BLOCK % "    disable\t= yes\n", False, False, True),
        ("pid 80\n" + BLOCK % "    # disable = yes\n", True, True, True),
        ("pid 80\n" + CONF % "disabled = pop3 imap2" + BLOCK % "", False, False, True),
        ("pid 80\n" + CONF % "disabled += imap2" + BLOCK % "", False, False, True),
        ("pid 80\n" + CONF % "log_type = SYSLOG" + BLOCK % "", True, True, True),
        ("pid 80\n" + CONF % "", False, False, False),
    ],
)
def test_xinetd_states(text, running, at_boot, exists):
    state = services.parse_status("xinetd", "imap2", result(text))
    assert (state.running, state.starts_at_boot, state.exists) == (running, at_boot, exists)


@pytest.mark.parametrize(
    "manager, answer",
    [
        ("systemd", result("", 1, b"Failed to connect to bus")),
        ("systemd", result("Id=x\n")),
        ("sysv", result("", 127)),
    ],
)
def test_answers_of_no_use(manager, answer):
    with pytest.raises(services.StatusUnreadable, match="state of x on box failed"):
        services.parse_status(manager, "x", answer)


def test_unknown_manager():
    for function in (services.status_argv, services.stop_argvs, services.start_argvs):
        with pytest.raises(services.UnknownManager, match="upstart"):
            function("upstart", "x")


def test_systemd_commands():
    """Stop before mask: a masked unit no longer knows how to stop. A whole unit name is kept."""
    stop = services.stop_argvs("systemd", "dovecot.socket")
    assert [argv[:2] for argv in stop] == [["systemctl", "stop"], ["sh", "-c"]]
    assert "systemctl mask" in stop[1][2] and stop[1][-1] == stop[0][-1] == "dovecot.socket"
    start = services.start_argvs("systemd", "dovecot", starts_at_boot=False)
    unit = ["--", "dovecot.service"]
    assert start == [["systemctl", "unmask", *unit], ["systemctl", "start", *unit]]
    assert len(services.start_argvs("systemd", "dovecot")) == 3


# -- the xinetd editor, with /etc in a folder of the test and no real xinetd

IMAP = """# mail
service imap2
{
    port           = 143
    disable        = no
    server         = /usr/sbin/imapd
}

service imap2
{
    id = second
}
service imap22
{
    disable = no
}
"""


@pytest.fixture
def xinetd(tmp_path):
    """run(argvs): play them there; `service` and `pidof` only take notes."""
    (tmp_path / "xinetd.d").mkdir()
    (tmp_path / "xinetd.conf").write_text("defaults\n{\n}\nincludedir /etc/xinetd.d\n")
    (tmp_path / "xinetd.d" / "imap").write_text(IMAP)
    (tmp_path / "xinetd.d" / "imap").chmod(0o640)
    (tmp_path / "bin").mkdir()
    for name, script in [("service", f'echo "$@" >> {tmp_path}/called'), ("pidof", "exit 1")]:
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)

    def run(argvs):
        for argv in argvs:
            moved = [word.replace("/etc/xinetd", f"{tmp_path}/xinetd") for word in argv]
            environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
            done = subprocess.run(
                moved,
                env=environment,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                check=True,
            )
        return done.stdout

    run.folder = tmp_path
    return run


SERVICE = ("xinetd", "imap2")


@pytest.mark.skipif(not shutil.which("awk"), reason="the scripts run on the mail hosts need awk")
def test_xinetd_service_is_stopped_and_restored_to_the_byte(xinetd):
    file = xinetd.folder / "xinetd.d" / "imap"

    def state():
        text = "pid 80\n" + xinetd([services.status_argv(*SERVICE)])
        return services.parse_status(*SERVICE, result(text)).running

    assert state()
    xinetd(services.stop_argvs(*SERVICE))
    stopped = file.read_text()
    assert not state()
    assert stopped.count("\tdisable = yes\n") == 2 and stopped.endswith(
        "service imap22\n{\n    disable = no\n}\n"
    )
    xinetd(services.stop_argvs(*SERVICE))
    assert file.read_text() == stopped
    xinetd(services.start_argvs(*SERVICE))
    assert file.read_text() == IMAP and state()
    assert file.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(file.parent)) == ["imap"]
    assert (xinetd.folder / "called").read_text() == "xinetd restart\n"  # none was running


@pytest.mark.skipif(not shutil.which("awk"), reason="the scripts run on the mail hosts need awk")
def test_xinetd_service_that_was_disabled_by_hand(xinetd):
    file = xinetd.folder / "xinetd.d" / "imap"
    file.write_text(IMAP.replace("disable        = no", "disable        = yes"))
    xinetd(services.start_argvs(*SERVICE, starts_at_boot=True))
    assert file.read_text() == IMAP


# -- the lab; a reboot was tried by hand, here daemon-reload makes the units again as a boot does

TRIAL = ("systemd", "xinetd")  # a unit made from an init script; idle on sanbackup


@pytest.fixture
def idle(real):
    link = real.ssh("sanbackup")

    def back():
        link.run(["systemctl", "unmask", "xinetd.service"], sudo=True, check=False)
        link.run(["systemctl", "stop", "xinetd.service"], sudo=True, check=False)
        link.run(["update-rc.d", "xinetd", "disable"], sudo=True, check=False)

    back()
    yield link
    back()


def state_of(link, service):
    reply = link.run(services.status_argv(*service), sudo=True, check=False)
    return services.parse_status(*service, reply)


@pytest.mark.lab
@pytest.mark.parametrize("service", [TRIAL, ("sysv", "xinetd")], ids=["systemd", "sysv"])
def test_real_stop_survives_and_start_restores(idle, service):
    def play(argvs):
        for argv in argvs:
            idle.run(argv, sudo=True, timeout=60)

    idle.run(["update-rc.d", "xinetd", "enable"], sudo=True, check=False)
    idle.run(["systemctl", "daemon-reload"], sudo=True)
    play(services.start_argvs(*service))
    before = state_of(idle, service)
    assert before.running and before.starts_at_boot
    for _ in range(2):
        play(services.stop_argvs(*service))
        idle.run(["systemctl", "daemon-reload"], sudo=True)
        stopped = state_of(idle, service)
        assert not stopped.running and not stopped.starts_at_boot and stopped.exists
    if service is TRIAL:
        assert idle.run(["systemctl", "start", "xinetd"], sudo=True, check=False).rc
        idle.run(
            ["/etc/init.d/xinetd", "start"], sudo=True, check=False
        )  # what a cron job or a hook would call
        assert not state_of(idle, service).running
    play(services.start_argvs(*service, starts_at_boot=before.starts_at_boot))
    assert state_of(idle, service) == before


@pytest.mark.lab
def test_real_states(real):
    old, new = real.ssh("mailboxold"), real.ssh("mailboxvm")
    for link, service in [
        (old, ("xinetd", "imap2")),
        (new, ("systemd", "dovecot")),
    ]:
        assert state_of(link, service).exists
    for manager in ("systemd", "sysv", "xinetd"):
        assert not state_of(old, (manager, "nosuch")).exists
