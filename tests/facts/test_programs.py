"""Which programs a host needs, and which of them it does not have."""

import os
import shutil
import subprocess
import types

import pytest
from cutover.facts import programs
from cutover.model import from_json
from cutover.site import host_sections
from cutover.steps.night import preflight
from example import ROMA1, recorded

OLD_TOOLS = "chown date env find getent grep head ls mktemp ps readlink sh stat true xargs"


def asked(path, needed, monkeypatch):
    """What is missing on a host with this PATH."""
    monkeypatch.setattr(programs, "needed", lambda site, name: needed)

    def run(name, argv, sudo):
        done = subprocess.run(argv, capture_output=True, text=True, env={"PATH": str(path)})
        return types.SimpleNamespace(text=done.stdout)

    return programs.missing(types.SimpleNamespace(site=None, run=run), "box")


def test_a_program_or_an_option_that_is_missing_is_named(tmp_path, monkeypatch):
    for tool in OLD_TOOLS.split():
        (tmp_path / tool).symlink_to(shutil.which(tool))
    needed = sorted({*programs.BY_EVERY_HOST, *programs.BY_OLD, "env -u", "ps -o user:32"})
    assert asked(tmp_path, needed, monkeypatch) == ["shutdown"]
    (tmp_path / "stat").unlink()
    (tmp_path / "xargs").unlink()
    (tmp_path / "xargs").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "xargs").chmod(0o755)
    assert asked(tmp_path, needed, monkeypatch) == ["shutdown", "stat -c", "xargs -0"]


@pytest.mark.parametrize(
    "version, missing",
    [("3.2.7", []), ("v3.4.1", []), ("3.1.0", []), ("3.0.9", ["rsync from 3.1"])],
)
def test_the_version_of_rsync(tmp_path, monkeypatch, version, missing):
    (tmp_path / "rsync").write_text(f"#!/bin/sh\necho 'rsync  version {version}  protocol'\n")
    (tmp_path / "rsync").chmod(0o755)
    path = f"{tmp_path}:{os.defpath}"
    assert asked(path, ["rsync from 3.1"], monkeypatch) == missing


@pytest.mark.parametrize(
    "release, missing",
    [
        ("6.1.0-42-amd64", []),
        ("5.14.0-503.el9.x86_64", []),
        ("4.18.0-553.el8_10.x86_64", ["Linux from 5.14"]),
        ("5.4.0", ["Linux from 5.14"]),
    ],
)
def test_the_version_of_the_kernel(tmp_path, monkeypatch, release, missing):
    (tmp_path / "uname").write_text(f"#!/bin/sh\necho {release}\n")
    (tmp_path / "uname").chmod(0o755)
    assert asked(f"{tmp_path}:{os.defpath}", ["Linux from 5.14"], monkeypatch) == missing


@pytest.mark.parametrize(
    "machine, missing", [("aarch64", []), ("x86_64", []), ("i686", ["x86_64 or aarch64"])]
)
def test_the_kind_of_processor(tmp_path, monkeypatch, machine, missing):
    (tmp_path / "uname").write_text(f"#!/bin/sh\necho {machine}\n")
    (tmp_path / "uname").chmod(0o755)
    path = f"{tmp_path}:{os.defpath}"
    assert asked(path, ["x86_64 or aarch64"], monkeypatch) == missing


def test_the_new_host_needs_a_kernel_for_a_store_that_is_copied():
    new, old = ROMA1.roles.new, ROMA1.roles.old
    assert "Linux from 5.14" in programs.needed(ROMA1, new)
    assert "Linux from 5.14" not in programs.needed(ROMA1, old)
    neither = ROMA1.model_copy(
        update={
            "backup": None,
            "maintenance": ROMA1.maintenance.model_copy(update={"move_store": None}),
        }
    )
    assert "Linux from 5.14" not in programs.needed(neither, new)


def test_an_old_host_needs_neither_python_nor_systemd():
    services = types.SimpleNamespace(
        imap=[host_sections.Service(manager="xinetd", name="imap")],
        sendmail=[host_sections.Service(manager="sysv", name="sendmail")],
    )
    by_old_means = ROMA1.services.model_copy(update={"old": services})
    site = ROMA1.model_copy(update={"services": by_old_means, "backup": None})
    old, mx = (programs.needed(site, name) for name in (site.roles.old, site.roles.mx[0]))
    assert {"service", "pidof"} <= set(old)
    modern = {"timeout", "systemctl", "journalctl", "setpriv --init-groups", "python3 from 3.8"}
    assert not modern.intersection([*old, *mx])
    assert {"setpriv --init-groups", "df --output"} <= set(programs.needed(ROMA1, ROMA1.roles.new))


def test_preflight_says_what_is_missing_where():
    data = recorded("preflight", "before")
    data["missing"] = {"postino3": {"value": []}, "mailboxold": {"value": ["flock", "stat -c"]}}
    checks = preflight.verify(from_json(preflight.Facts, data), ROMA1)
    shown = {check.subject: check for check in checks if check.id == "programs-present"}
    assert shown["postino3"].passed and not shown["mailboxold"].passed
    assert shown["mailboxold"].actual == "flock, stat -c missing"
