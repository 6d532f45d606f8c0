"""The results as text, as JSON, and as docs/bench.md."""

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


def as_json(values):
    return json.dumps(values, indent=1, sort_keys=True)


def rows(values):
    """→ [(place, contest, who, seconds, cpu, MiB, ratio text)]."""
    found = []
    jobs = values["options"]["jobs"]
    for place, side in values["places"].items():
        for contest, entries in side["contests"].items():
            ours = entries.get("ours") or side["contests"]["full"]["ours"]
            for who, entry in entries.items():
                ratio = ""
                if who == "doveadm":
                    ratio = (
                        f"{entry['seconds'] / ours['seconds']:.1f} (target {TARGETS[contest, who]})"
                    )
                    if "inside" in ours:
                        ratio += f"; {entry['seconds'] / max(ours['inside'], 0.001):.0f} without Python's start"
                elif who == "floor":
                    ratio = (
                        f"{entry['seconds'] / (ours['seconds'] * jobs):.2f} a core (target 0.6); "
                        f"by CPU time {entry['cpu'] / ours['cpu']:.2f}"
                    )
                elif who == "verify":
                    ratio = (
                        f"{entry['seconds'] / ours['seconds']:.1f} of the full conversion (target at most 2); "
                        f"imapd and Dovecot alone {entry['servers']:.2f} s of CPU time"
                    )
                elif who == "python" and contest == "full":
                    ratio = f"{entry['cpu'] / ours['cpu']:.2f} of ours by CPU time"
                    if "floor" in entries:
                        ratio += f"; all that the floor does is {entries['floor']['cpu'] / entry['cpu']:.2f} of this"
                elif who == "python":
                    ratio = (
                        f"{entry['seconds'] / ours['seconds']:.2f} of ours; doveadm takes "
                        f"{entries['doveadm']['seconds'] / entry['seconds']:.0f} times as long as this"
                    )
                found.append(
                    (
                        place,
                        contest,
                        NAMES[who],
                        entry["seconds"],
                        entry["cpu"],
                        entry["memory"] / 1024,
                        ratio,
                    )
                )
    return found


HEAD = ("on", "what", "who", "seconds", "CPU s", "MiB", "how many times ours")


def lines(values, before="", between="  ", after=""):
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


def text(values):
    """For the terminal."""
    return "\n".join([*lines(values), *scale(values)])


def scale(values):
    """A line for each single large folder."""
    found = []
    for entry in [*values["scale"], *([values["large"]] if values["large"] else [])]:
        line = (
            f"one folder of {entry['messages']:,} messages, {entry['bytes'] / 1e6:,.0f} MB: {entry['seconds']:.1f} s, "
            f"{each(entry, 'seconds'):.1f} µs a message, {each(entry, 'cpu'):.1f} µs of CPU time; "
            f"{entry['memory'] / 1024:.0f} MiB the largest process; lines compared again in {entry['delta']:.2f} s"
        )
        first = values["scale"][0] if entry in values["scale"] else entry
        if entry is not first:
            line += (
                f"; a message takes {each(entry, 'seconds') / each(first, 'seconds'):.2f} (by CPU time "
                f"{each(entry, 'cpu') / each(first, 'cpu'):.2f}) times what it takes at {first['messages']:,}"
            )
        found.append(line)
    return found


def each(entry, key):
    """Microseconds a message."""
    return 1e6 * entry[key] / entry["messages"]


def document(values):
    """docs/bench.md."""
    machine, options = values["machine"], values["options"]
    table = lines(values, "| ", " | ", " |")
    table.insert(1, "|" + "---|" * len(HEAD))
    sizes = {place: side["store"] / 1e6 for place, side in values["places"].items()}
    parts = [
        "# Measurements",
        "",
        "`cutover bench convert --write docs/bench.md` made this page. **Only the ratios carry over**: the seconds are this "
        "machine's.",
        "",
        f"{machine['date']}; {machine['cores']} cores of {machine['cpu']}, kernel {machine['kernel']}, the mail host's Python "
        f"{machine['python']}; load {machine['load_before']:.1f} at the beginning, {machine['load_after']:.1f} at the end.",
        f"Store: {options['messages']:,} messages in two folders written by c-client, "
        f"{max(sizes.values()):,.0f} MB. Medians of {options['runs']} interleaved runs, `sync` before each; "
        f"ours with {options['jobs']} processes. All times are those of the whole command, Python's start included. "
        "doveadm: `doveadm backup -R imapc:` from a real imapd, mail_prefetch_count=20, mail_fsync=never. "
        '"1% changed": flags of every hundredth message changed by c-client; ours is what convert pays after a presync, '
        'publishing included. "Python itself": in a full conversion, the host\'s Python '
        "reads the two files and turns CRLF into LF by the fastest way it has, no more; where nothing changed, it imports what "
        'any program would that does this work, no more. "verify": c-client and Dovecot give every message over IMAP, one '
        "side after the other, and digests are compared.",
        "",
        *table,
        "",
    ]
    if values["scale"] or values["large"]:
        parts += [
            "## Large folders",
            "",
            "Ours alone; on tmpfs, the largest by bytes on the disk. Target: at most 64 MiB "
            "a process, and a message at 1,000,000 within 1.2 times of one at 10,000.",
            "",
            *(f"- {line}" for line in scale(values)),
            "",
        ]
    return "\n".join(parts)
