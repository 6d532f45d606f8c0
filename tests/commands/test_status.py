"""`cutover status` of what is no run."""

from click import testing
from cutover.commands import main


def test_a_folder_without_a_run_is_no_run_with_nothing_left_to_do(tmp_path):
    reply = testing.CliRunner().invoke(main.cutover, ["status", "--run", str(tmp_path), "--json"])
    assert reply.exit_code and "no run began there" in str(reply.exception or reply.output)
