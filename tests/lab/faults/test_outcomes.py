"""Results that are added to the page of faults make the page that all of them would make."""

import types

import outcomes
import pytest


def fault(name, step, **about):
    return {
        "name": name,
        "kind": "fault",
        "step": step,
        "when": "before",
        "did": "a | b",
        "said": "no: (x) | y",
        "outcome": "stopped",
        "passed": True,
        "seconds": 3.2,
        "date": "2026-01-01",
        **about,
    }


def night(number, accepted, date="2026-01-01"):
    return {
        "name": f"night-{number}",
        "kind": "night",
        "way": "forward",
        "passed": True,
        "accepted": accepted,
        "date": date,
    }


BEFORE = [
    fault("kill-control-verify-start", "verify", outcome="rode", when="start"),
    fault("zeta", "convert", said=""),
    fault("alpha", "verify", passed=False),
    fault("beta", "verify", passed=False),
    night(1, 5),
]
LATER = [
    fault("alpha", "verify", date="2026-01-02"),
    fault("gamma", "convert", outcome="rode", date="2026-01-03"),
    night(2, 7, "2026-01-03"),
]


def test_added_results_make_the_same_page(monkeypatch):
    first, second = ({result["name"]: result for result in some} for some in (BEFORE, LATER))
    both = {**first, **second}
    catalogue = [types.SimpleNamespace(name=name) for name in both if not name.startswith("night")]
    monkeypatch.setattr(outcomes, "CATALOGUE", catalogue)
    whole = outcomes.page(both)
    assert (
        "5 were run (2026-01-01, 2026-01-02, 2026-01-03), and\n4 ended as expected. Wrong outcome: beta."
        in whole
    )
    # a page of all names but one says what was not run
    with pytest.raises(SystemExit):
        outcomes.add(outcomes.page(first), second)
    monkeypatch.setattr(
        outcomes, "CATALOGUE", [fault for fault in catalogue if fault.name != "gamma"]
    )
    page = outcomes.page(first)
    monkeypatch.setattr(outcomes, "CATALOGUE", catalogue)
    assert outcomes.add(page, second) == whole
    with pytest.raises(SystemExit):
        outcomes.add(page, {"kill-control-verify-end": fault("kill-control-verify-end", "verify")})
