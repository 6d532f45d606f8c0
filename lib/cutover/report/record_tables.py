"""The record of a run verified, and two runs compared, as tables: for the command line and for notebooks alike."""

from cutover.record import audit
from cutover.report import run_comparison, tables


def verified(path, allowed: bytes | None = None) -> tables.Stack:
    """What audit.verify finds in a run's folder."""
    return shown(audit.verify(path, allowed))


def shown(result) -> tables.Stack:
    """An audit.Result."""
    rows = [[each.kind, each.where, each.what] for each in result.findings]
    return tables.Stack(
        tables.Table(["finding", "where", "what"], rows) if rows else None,
        tables.Text(
            f"{tables.count(len(rows), 'finding')}; {result.events} events, {result.files} files; signed by "
            f"{result.signer or 'nobody'}"
            + ("" if result.trusted else ", by the folder's own list of signers")
            + f"; head {result.head[:16]}"
        ),
    )


def compared(one, other) -> tables.Stack:
    """What is different in run `other` (a folder) from run `one`, what matters first."""
    told = [run_comparison.read(path) for path in (one, other)]
    return differences(told, run_comparison.compare(*told))


def differences(told, found) -> tables.Stack:
    """The differences between two runs, which `told` (a pair of run_comparison.RunFigures) names."""
    rows = [
        ["matters" if each.matters else "", each.topic, each.where, each.one, each.other, each.why]
        for each in found
    ]
    matter = sum(each.matters for each in found)
    return tables.Stack(
        tables.Table(["", "topic", "where", told[0].name, told[1].name, "why"], rows)
        if rows
        else None,
        tables.Text(
            f"{tables.count(len(rows), 'difference')}, {matter} of which matter"
            if rows
            else "no difference"
        ),
    )
