"""What the old server lists besides the folders: which of it is mail, judged from outside."""

import subprocess

import pytest
from cutover.comparison import elsewhere

MBOX = b"From a@b Mon Jan  1 00:00:00 2024\nSubject: x\n\nhello\n\n"


def test_the_first_bytes_of_each_file_are_told_apart_whatever_they_hold(tmp_path):
    paths = [bytes(tmp_path / name) for name in ("a", "b", "gone", "c", "dir", "long", "z")]
    contents = {
        "a": b"\n==> " + bytes(tmp_path / "gone") + b" <==\n",
        "b": b"",
        "c": b"==> x <==\n",
        "long": b"x" * (elsewhere.HEAD + 800),
        "z": MBOX,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "dir").mkdir()
    output = subprocess.run([*elsewhere.HEADS, *paths], capture_output=True).stdout
    heads = dict(elsewhere.heads_of(output, paths))
    assert heads[paths[-1]] == MBOX and heads[paths[-2]].startswith(b"x" * elsewhere.HEAD)
    assert heads[paths[4]] == heads[paths[1]] == b""
    asked = subprocess.run([*elsewhere.DIRECTORIES, *paths], capture_output=True, check=True)
    assert asked.stdout == paths[4] + b"\0"
    # the file that plays another one is the only one misread, and still looks like no mail
    assert not any(elsewhere.begins_like_mail(heads[path]) for path in paths[:4] if path in heads)


@pytest.mark.parametrize(
    "head, mail",
    [
        (b"", False),
        (b"plain text\n", False),
        (b"\x7fELF\0\0", False),
        (MBOX, True),
        (b"\n\n" + MBOX, True),
        (b"\r\n \t\n", False),  # c-client shows it as a text
        (b"*mbx*\r\n", True),
        (b"\1\1\1\1\nSubject: x\n", True),
        (b" 3-Feb-2009 01:02:03 +0100,9;000000000001\r\nA: b", True),
        (b"From here on it is text\n", False),
    ],
)
def test_what_c_client_would_open_as_a_mailbox(head, mail):
    assert elsewhere.begins_like_mail(head) is mail
