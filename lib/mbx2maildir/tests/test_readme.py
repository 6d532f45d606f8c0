"""The example of the README, run."""

import pathlib
import re
import shlex

import pytest

import mbx2maildir
from mbx2maildir import command_line
from mbx2maildir.tests import build

README = (pathlib.Path(mbx2maildir.__file__).parent / "README.md").read_text()
EXAMPLE = re.findall(r"```console\n\$ (mbx2maildir .*)\n((?:.*\n)*?)```", README)


@pytest.fixture
def alice(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "alice/mail").mkdir(parents=True)
    (tmp_path / "alice/INBOX").write_bytes(build.simple(3))
    (tmp_path / "alice/mail/work").write_bytes(build.simple(2))


def test_the_example_prints_what_the_readme_shows(alice, capsys):
    assert len(EXAMPLE) == 4
    for command, output in EXAMPLE:
        assert command_line.main(shlex.split(command)[1:]) == 0
        shown = capsys.readouterr()
        assert (shown.out, shown.err) == (output, "")


def test_every_command_of_the_table_exists(capsys):
    listed = re.findall(r"^\| `(\S+)` \|", README, re.MULTILINE)
    assert "presync" in listed
    for name in listed:
        assert command_line.main([name, "--help"]) == 0, name


def test_every_command_is_mentioned():
    for name in ("inspect", "convert", "compare", "survey", "state", "base"):
        assert re.search(r"\b{}\b".format(name), README)
    assert all("`{}`".format(command.name) in README for command in command_line.WRITING)
