"""A verified record, and two runs compared, as tables for the command line and notebooks."""

from cutover.record import audit
from cutover.report import run_comparison, tables


def verified(path, allowed: bytes | None = None) -> tables.Stack:
    """The findings of audit.verify in a run's folder."""
    return shown(audit.verify(path, allowed))


def shown(result) -> tables.Stack:
    """An audit.Result."""
    rows = [[finding.kind, finding.where, finding.what] for finding in result.findings]
    return tables.Stack(
        tables.Table(["finding", "where", "what"], rows) if rows else None,
        tables.Text(
            f"{tables.count(len(rows), 'finding')}; {result.events} events, {result.files} files; "
            f"signed by {result.signer or 'nobody'}"
            + ("" if result.trusted else ", according to the folder's own list of signers")
            + f"; head {result.head[:16]}"
        ),
    )


def compared(first, second) -> tables.Stack:
    """How run `second` (a folder) differs from run `first`, what matters first."""
    runs = [run_comparison.read(path) for path in (first, second)]
    return differences(runs, run_comparison.compare(*runs))


def differences(runs, rows) -> tables.Stack:
    """The differences (`rows`) between two runs (run_comparison.RunFigures)."""
    if not rows:
        return tables.Stack(tables.Text("no difference"))
    cells = [
        ["matters" if row.matters else "", row.topic, row.where, row.one, row.other, row.why]
        for row in rows
    ]
    matter = sum(row.matters for row in rows)
    return tables.Stack(
        tables.Table(["", "topic", "where", runs[0].name, runs[1].name, "why"], cells),
        tables.Text(f"{tables.count(len(rows), 'difference')}, {matter} of which matter"),
    )
