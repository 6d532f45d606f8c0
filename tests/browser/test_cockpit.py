"""A night in JupyterLab, by clicks and typing, on the lab's real servers.

The tests follow one another, as the night does.
"""

import re
import time

import pytest
import screen
from cutover.model import runbook
from screen import BOARD, CELLS

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


def passed(server, step):
    return runbook.states(server.events()).get(step) == "passed"


def step_by_step(page, server, notebook, last="verify"):
    """Open a step's notebook and run its cells down to one. → what stands below that one."""
    page.open(server, notebook)
    for name, number in CELLS.items():
        text = page.run(number)
        assert "Traceback" not in text, text
        if name == last:
            return text
    return None


# --- a site where people approve


def test_the_board_says_what_is_next_and_why_not_another(page, production):
    page.open(production, "00_board.ipynb")
    for number in BOARD.values():
        page.run(number)
    text = page.until(BOARD["steps"], "may run now: NEXT")
    assert re.search(r"switch-alias\s.*verify has not run; restore-sendmail has not run", text)
    assert "No go: preflight has not been verified" in page.shown(BOARD["gates"])
    assert "xinetd runs" in page.shown(BOARD["world"])
    page.picture("board-begin", BOARD["steps"])


def test_preflight_gives_the_go(page, production):
    assert "FAIL (0)" in step_by_step(page, production, "01_preflight.ipynb")
    assert passed(production, "preflight")
    # the board follows by itself, in a kernel that was there before
    page.open(production, "00_board.ipynb")
    page.run(CELLS["open"])
    assert "Next: dns-rename" in page.until(CELLS["open"], "Next: ")
    page.run(BOARD["gates"])
    assert "GO, after a look at" in page.until(BOARD["gates"], "GO")
    page.run(BOARD["steps"])
    # and leads to the next notebook
    page.panel.locator("a", has_text="Open dns-rename").click()
    page.tab.locator(".lm-TabBar-tabLabel", has_text="02_dns_rename.ipynb").wait_for()


def test_dns_rename_waits_for_what_a_person_types_and_signs(page, production, signer):
    page.open(production, "02_dns_rename.ipynb")
    for name in ("parameters", "open", "probe"):
        page.run(CELLS[name])
    assert "update add mailboxold.lab.test" in page.run(CELLS["plan"])
    assert "to approve, type" in page.run(CELLS["approve"])
    typed, key = (
        page.cell(CELLS["approve"]).locator("input[type=text]").nth(number) for number in (0, 1)
    )
    button = page.cell(CELLS["approve"]).locator("button", has_text="Approve this plan")
    typed.fill("yes")
    button.click()
    assert "type exactly: dns-rename" in page.until(CELLS["approve"], "Not approved")
    assert "not approved: 0 of 1 signatures" in page.run(
        CELLS["apply"]
    )  # nothing is done meanwhile
    typed.fill("dns-rename")
    key.fill(str(signer))
    page.picture("approval", CELLS["plan"])
    button.click()
    assert "by anna@lab.test" in page.until(CELLS["approve"], "Signed: plan")
    page.picture("approved", CELLS["plan"])
    assert "Applied: 1 change" in page.run(CELLS["apply"])
    assert "6 checks: 6 passed" in page.run(CELLS["verify"])
    page.picture("dns-rename-verified", CELLS["apply"])
    assert passed(production, "dns-rename")
    approved = [
        event
        for event in production.events()
        if event["event"] == "approved" and event["step"] == "dns-rename"
    ]
    assert approved[-1]["by"] == "anna@lab.test" and approved[-1]["kind"] == "signed"


def sign(page, cell, typed, key, label):
    fields = page.cell(cell).locator("input[type=text]")
    fields.nth(0).fill(typed)
    fields.nth(1).fill(str(key))
    page.cell(cell).locator("button", has_text=label).click()


def test_the_outage_is_approved_before_it_begins(page, production, signer):
    page.open(production, "03_dual_delivery.ipynb")
    for name in ("parameters", "open", "probe", "plan", "approve"):
        page.run(CELLS[name])
    sign(page, CELLS["approve"], "dual-delivery", signer, "Approve this plan")
    page.until(CELLS["approve"], "Signed: plan")
    for name in ("apply", "verify"):
        page.run(CELLS[name])
    page.open(production, "00_board.ipynb")
    for name in ("parameters", "open", "ahead"):
        page.run(BOARD[name])
    page.cell(BOARD["ahead"]).locator("button", has_text="Work out the plans").click()
    assert "convert" in page.until(BOARD["ahead"], "stop sendmail")
    sign(page, BOARD["ahead"], "mailbox.lab.test ahead", signer, "Approve these plans ahead")
    assert "by anna@lab.test" in page.until(BOARD["ahead"], "Signed ahead")
    page.picture("ahead", BOARD["ahead"])


def test_switching_the_alias_before_verify_is_refused_and_says_why(page, production):
    page.open(production, "10_switch_alias.ipynb")
    page.run(CELLS["parameters"])
    text = page.run(CELLS["open"])
    assert "switch-alias may not run yet" in text and "has not run" in text
    page.picture("refused", CELLS["open"])
    assert "switch-alias" not in runbook.states(production.events())


def test_going_back_by_the_notebook(page, production, signer):
    page.open(production, "90_rollback.ipynb")
    for name in ("parameters", "open", "probe", "plan"):
        page.run(CELLS[name])
    page.run(CELLS["approve"])
    sign(page, CELLS["approve"], "mailbox.lab.test", signer, "Approve this plan")
    page.until(CELLS["approve"], "Signed: plan")
    assert "Applied:" in page.run(CELLS["apply"])
    assert "FAIL" not in page.run(CELLS["verify"]).replace("FAIL (0)", "")
    assert passed(production, "rollback")
    page.open(production, "00_board.ipynb")
    page.run(BOARD["parameters"])
    page.run(BOARD["open"])
    assert "Rolled back" in page.until(BOARD["open"], "Rolled back")


# --- a rehearsal: partly by hand, partly by papermill


def test_first_steps_by_hand_the_next_by_papermill(page, rehearsal):
    assert "FAIL (0)" in step_by_step(page, rehearsal, "01_preflight.ipynb")
    for first, last in (
        ("dns-rename", "dual-delivery"),
        ("stop-imap", "stop-sendmail"),
    ):  # no presync: convert has it all
        done = rehearsal.command(
            "run",
            "--site",
            str(rehearsal.site_file),
            "--run",
            str(rehearsal.run_dir),
            "--from",
            first,
            "--to",
            last,
        )
        assert done.returncode == 0, done.stderr
    page.open(rehearsal, "00_board.ipynb")
    for number in BOARD.values():
        page.run(number)
    assert "Next: convert" in page.until(BOARD["open"], "Next:")  # presync was left out
    page.picture("board-night", BOARD["open"])
    text = page.until(BOARD["outage"], "RUNNING")
    assert text.count("RUNNING") == 2
    assert "stunnel4 is stopped" in page.shown(BOARD["world"])


def test_a_closed_tab_loses_nothing_of_a_conversion(page, rehearsal):
    page.open(rehearsal, "07_convert.ipynb")
    for name in ("parameters", "open", "probe", "plan", "approve"):
        page.run(CELLS[name])
    with screen.Slowed(rehearsal.run_dir.name) as slowed:
        page.start(CELLS["apply"])
        deadline = time.monotonic() + screen.PATIENCE
        while screen.users_done(rehearsal) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        slowed.pause()
        page.until(CELLS["apply"], "of 24 users")
        screen.saved(rehearsal, "07_convert.ipynb", "requestUrl")  # by itself, within seconds
        page.close()

        page.open(rehearsal, "00_board.ipynb")  # in a new tab
        page.run(BOARD["open"])
        page.run(BOARD["progress"])
        page.until(BOARD["progress"], "at work")
        first = users_done(page)
        assert 4 <= first < 24
        page.picture("progress", BOARD["progress"])
        slowed.go_on()
        deadline = time.monotonic() + screen.PATIENCE
        while users_done(page) <= first:  # it goes on, and the view with it
            assert time.monotonic() < deadline, page.shown(BOARD["progress"])
            time.sleep(0.2)
        slowed.let_go()
    page.until(BOARD["progress"], "24 of 24 users")
    page.close()

    deadline = time.monotonic() + screen.PATIENCE
    while not any(
        event["event"] == "applied" and event["step"] == "convert" for event in rehearsal.events()
    ):
        assert time.monotonic() < deadline, "nobody was there, and the cell did not come to its end"
        time.sleep(0.1)
    # opened again: what the cell said while nobody was there stands below it, and the night goes on
    # at the next cell
    page.open(rehearsal, "07_convert.ipynb")
    page.until(CELLS["apply"], "Applied: 1 change")
    text = page.run(CELLS["verify"])
    assert passed(rehearsal, "convert"), text
    # or from the top, as the guide says: what is done is recognised
    text = step_by_step(page, rehearsal, "07_convert.ipynb")
    assert "all 24 users are published" in page.shown(CELLS["plan"])
    assert passed(rehearsal, "convert"), text
    page.save(rehearsal, "07_convert.ipynb", "users are published")


def users_done(page):
    counted = re.search(r"(\d+) of 24 users", page.shown(BOARD["progress"]))
    return int(counted[1]) if counted else 0


def test_verify_passes_and_its_table_can_be_narrowed(page, rehearsal):
    text = step_by_step(page, rehearsal, "08_verify.ipynb")
    assert "Do the sums agree?" in text and "FAIL (0)" in text, text
    page.picture("verify", CELLS["verify"])
    cell = page.cell(CELLS["verify"])
    cell.locator("button", has_text="warn (").click()
    page.until(CELLS["verify"], "shown")
    assert "Do the sums agree?" not in page.shown(CELLS["verify"])
    cell.locator("button", has_text="all (").click()
    page.fill(CELLS["verify"], "alice", "1 shown")
    assert "Is alice's mail the same" in page.shown(CELLS["verify"])
    assert passed(rehearsal, "verify")
    page.save(rehearsal, "08_verify.ipynb", "Do the sums agree?")


def test_papermill_ends_the_night_and_the_board_shows_it(page, rehearsal):
    done = rehearsal.command(
        "run",
        "--site",
        str(rehearsal.site_file),
        "--run",
        str(rehearsal.run_dir),
        "--from",
        "restore-sendmail",
    )
    assert done.returncode == 0, done.stderr
    page.open(rehearsal, "00_board.ipynb")
    for number in BOARD.values():
        page.run(number)
    text = page.until(BOARD["steps"], "production-test")
    assert text.count("passed") == 12 and "Passed: 12 steps" in page.shown(BOARD["open"])
    assert page.shown(BOARD["outage"]).count("over:") == 2
    page.picture("board-end", BOARD["open"])
    page.picture("timeline", BOARD["timeline"])
    page.plain()
    page.picture("board-end-800", BOARD["open"], 800, 1000)
    page.dark(rehearsal)
    page.open(rehearsal, "00_board.ipynb")
    for name in ("open", "steps", "outage"):
        page.run(BOARD[name])
    page.picture("board-end-dark", BOARD["open"])
    assert (rehearsal.run_dir / "report.html").exists()
    assert (rehearsal.run_dir / "html" / "07_convert.by-hand.html").exists()


def test_what_a_kernel_said_that_is_gone_can_still_be_read(page, rehearsal):
    assert page.shut_down(rehearsal)
    for notebook, name, text in (
        ("08_verify.ipynb", "verify", "Do the sums agree?"),
        ("07_convert.ipynb", "plan", "published"),
    ):
        page.open(rehearsal, notebook)
        page.until(CELLS[name], text)
        assert not page.tab.locator("text=Error displaying widget").count()


def test_the_templates_stay_as_they_are(rehearsal):
    import subprocess

    from cutover import site

    done = subprocess.run(
        ["git", "status", "--porcelain", "notebooks"],
        cwd=site.PROJECT,
        capture_output=True,
        text=True,
    )
    assert done.returncode or not done.stdout
