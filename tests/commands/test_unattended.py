"""Which steps an unattended call executes."""

import contextlib
import types
from unittest import mock

from cutover.commands import unattended
from cutover.model import runbook

RESUMED = {"event": "intent", "step": "restore-sendmail", "time": "2026-04-14T21:00:00+00:00"}


def to_do(names, *events):
    lines = []
    run = types.SimpleNamespace(journal=types.SimpleNamespace(events=lambda: list(events)))
    return unattended._still_to_do(run, names, lines.append), lines


def test_the_same_command_goes_on_after_delivery_was_resumed():
    """Not from its first step: delivery would stop again, and verify would find the new mail."""
    assert to_do(runbook.ORDER) == (runbook.NIGHT, [])
    names, lines = to_do(runbook.ORDER, RESUMED)
    assert names == [name for name in runbook.NIGHT if name not in runbook.CLOSING]
    assert len(lines) == len(runbook.CLOSING) and " 8  verify is over" in "".join(lines)


def test_what_is_left_out_is_not_taken_for_a_point_of_no_return(monkeypatch, tmp_path):
    executed, run = [], types.SimpleNamespace()
    run.journal = types.SimpleNamespace(events=lambda: [RESUMED], append=None)
    run.alone, run.check = contextlib.nullcontext, lambda *_: None
    for module in ("html_page", "outage_watch", "lease", "hosts", "kernels"):
        monkeypatch.setattr(unattended, module, mock.MagicMock())
    monkeypatch.setattr(unattended, "_sign", lambda *_: None)
    monkeypatch.setattr(
        unattended.papermill, "execute", lambda site, run, name, **_: executed.append(name)
    )
    unattended.execute(None, run, ["stop-imap", "restore-imap", "decommission"], lambda _: None)
    assert executed == ["restore-imap", "decommission"]


def test_who_asks_for_nothing_else_is_refused_by_the_step():
    assert to_do(["convert", "verify"], RESUMED) == (["convert", "verify"], [])
