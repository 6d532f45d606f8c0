"""The results of the conversion benchmark as text, as JSON, and as docs/bench.md."""

import json

TARGETS = {
    ("full", "doveadm"): 8,
    ("nothing changed", "doveadm"): 100,
    ("1% changed", "doveadm"): 20,
}
NAMES = {
    "ours": "cutover convert",
    "doveadm": "doveadm backup",
    "floor": "C floor, one process",
    "python": "Python itself",
    "verify": "verify, content of both",
}


def as_json(values) -> str:
    """For scripts."""
    return json.dumps(values, indent=1, sort_keys=True)


def rows(values) -> list:
    """[(place, contest, who, seconds, cpu, MiB, ratio as text)]."""
    table = []
    for place, side in values["places"].items():
        for contest, entries in side["contests"].items():
            ours = entries.get("ours") or side["contests"]["full"]["ours"]
            for who, entry in entries.items():
                ratio = ""
                if who in RATIOS:
                    ratio = RATIOS[who](entry, ours, contest, entries, values["options"]["jobs"])
                usage = entry["seconds"], entry["cpu"], entry["memory"] / 1024
                table.append((place, contest, NAMES[who], *usage, ratio))
    return table


def _doveadm(entry, ours, contest, entries, jobs):
    ratio = f"{entry['seconds'] / ours['seconds']:.1f} (target {TARGETS[contest, 'doveadm']})"
    if "inside" in ours:
        without_start = entry["seconds"] / max(ours["inside"], 0.001)
        ratio += f"; {without_start:.0f} without Python's start"
    return ratio


def _floor(entry, ours, contest, entries, jobs):
    return (
        f"{entry['seconds'] / (ours['seconds'] * jobs):.2f} per core (target 0.6); "
        f"by CPU time {entry['cpu'] / ours['cpu']:.2f}"
    )


def _verify(entry, ours, contest, entries, jobs):
    return (
        f"{entry['seconds'] / ours['seconds']:.1f} of the full conversion (target at most 2); "
        f"imapd and Dovecot alone {entry['servers']:.2f} s of CPU time"
    )


def _python(entry, ours, contest, entries, jobs):
    if contest != "full":
        return (
            f"{entry['seconds'] / ours['seconds']:.2f} of ours; doveadm takes "
            f"{entries['doveadm']['seconds'] / entry['seconds']:.0f} times as long as this"
        )
    ratio = f"{entry['cpu'] / ours['cpu']:.2f} of ours by CPU time"
    if "floor" in entries:
        ratio += f"; the whole floor is {entries['floor']['cpu'] / entry['cpu']:.2f} of this"
    return ratio


RATIOS = {"doveadm": _doveadm, "floor": _floor, "verify": _verify, "python": _python}


HEAD = ("on", "what", "who", "seconds", "CPU s", "MiB", "times ours")


def lines(values, before="", between="  ", after="") -> list:
    """The table, a line per row, its columns aligned."""
    table = [HEAD] + [
        (place, contest, who, f"{seconds:.3f}", f"{cpu:.3f}", f"{memory:.0f}", ratio)
        for place, contest, who, seconds, cpu, memory, ratio in rows(values)
    ]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEAD))]
    return [
        before
        + between.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        + after
        for row in table
    ]


def text(values) -> str:
    """For the terminal."""
    return "\n".join([*lines(values), *scale(values)])


def scale(values) -> list:
    """One line per single large folder."""
    large = [values["large"]] if values["large"] else []
    lines = []
    for entry in [*values["scale"], *large]:
        line = (
            f"one folder of {entry['messages']:,} messages, {entry['bytes'] / 1e6:,.0f} MB: "
            f"{entry['seconds']:.1f} s, {per_message(entry, 'seconds'):.1f} µs per message, "
            f"{per_message(entry, 'cpu'):.1f} µs of CPU time; "
            f"{entry['memory'] / 1024:.0f} MiB in the largest process; "
            f"lines compared again in {entry['delta']:.2f} s"
        )
        if entry in values["scale"][1:]:
            line += _against(entry, values["scale"][0])
        lines.append(line)
    return lines


def _against(entry, first):
    seconds = per_message(entry, "seconds") / per_message(first, "seconds")
    cpu = per_message(entry, "cpu") / per_message(first, "cpu")
    return (
        f"; a message takes {seconds:.2f} (by CPU time {cpu:.2f}) times what it takes "
        f"at {first['messages']:,}"
    )


def per_message(entry, key) -> float:
    """Microseconds per message."""
    return 1e6 * entry[key] / entry["messages"]


# the parts of docs/bench.md, filled in by document()
INTRODUCTION = """\
# Measurements

`cutover bench convert --write docs/bench.md` wrote this page. **Only the ratios carry over** to
other machines: the seconds are this machine's.

{date}; {cores} cores of {cpu}, kernel {kernel}, the mail host's Python {python}; load
{load_before:.1f} at the beginning, {load_after:.1f} at the end.

- Store: {messages:,} messages in two folders written by c-client, {megabytes:,.0f} MB.
- Medians of {runs} interleaved runs, `sync` before each; ours with {jobs} processes. All times are
  of the whole command, including Python's start.
- doveadm: `doveadm backup -R imapc:` from a real imapd, mail_prefetch_count=20, mail_fsync=never.
- "1% changed": c-client changed the flags of every hundredth message. Ours is what convert costs
  after a presync, with publishing.
- "Python itself": in a full conversion, the host's Python reads the two files and turns CRLF into
  LF the fastest way it can, and does nothing else. If nothing changed, it only imports what any
  program for this work would import.
- "verify": c-client, then Dovecot send every message over IMAP, and the digests are compared.

"""
LARGE = """\
## Large folders

Ours alone; on tmpfs, the largest by bytes on the disk. Target: at most 64 MiB per process, and at
1,000,000 messages at most 1.2 times the time per message at 10,000.

"""


def document(values) -> str:
    """docs/bench.md."""
    table = lines(values, "| ", " | ", " |")
    table.insert(1, "|" + "---|" * len(HEAD))
    megabytes = max(side["store"] for side in values["places"].values()) / 1e6
    parts = [
        INTRODUCTION.format(**values["machine"], **values["options"], megabytes=megabytes),
        *(f"{line}\n" for line in table),
    ]
    if values["scale"] or values["large"]:
        parts += ["\n", LARGE, *(f"- {line}\n" for line in scale(values))]
    return "".join(parts)
