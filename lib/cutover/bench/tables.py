"""The results as text, as JSON, and as docs/bench.md."""

import json

TARGETS = {("full", "doveadm"): 8, ("nothing changed", "doveadm"): 100, ("1% changed", "doveadm"): 20}
NAMES = {"ours": "cutover convert", "doveadm": "doveadm backup", "floor": "C floor, one process"}


def as_json(values):
    return json.dumps(values, indent=1, sort_keys=True)


def rows(values):
    """→ [(place, contest, who, seconds, cpu, MiB, ratio text)]."""
    found = []
    jobs = values["options"]["jobs"]
    for place, side in values["places"].items():
        for contest, entries in side["contests"].items():
            ours = entries["ours"]
            for who, entry in entries.items():
                ratio = ""
                if who == "doveadm":
                    ratio = f"{entry['seconds'] / ours['seconds']:.1f} (target {TARGETS[contest, who]})"
                    if "inside" in ours:
                        ratio += f"; {entry['seconds'] / max(ours['inside'], 0.001):.0f} without Python's start"
                elif who == "floor":
                    ratio = (f"{entry['seconds'] / (ours['seconds'] * jobs):.2f} a core (target 0.6); "
                             f"by CPU time {entry['cpu'] / ours['cpu']:.2f}")
                found.append((place, contest, NAMES[who], entry["seconds"], entry["cpu"], entry["memory"] / 1024, ratio))
    return found


HEAD = ("on", "what", "who", "seconds", "CPU s", "MiB", "how many times ours")


def lines(values, before="", between="  ", after=""):
    table = [HEAD] + [(place, contest, who, f"{seconds:.3f}", f"{cpu:.3f}", f"{memory:.0f}", ratio)
                      for place, contest, who, seconds, cpu, memory, ratio in rows(values)]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEAD))]
    return [before + between.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + after
            for row in table]


def text(values):
    """For the terminal."""
    return "\n".join([*lines(values), *scale(values)])


def scale(values):
    """A line for each single large folder."""
    found = []
    for entry in [*values["scale"], *([values["large"]] if values["large"] else [])]:
        found.append(f"one folder of {entry['messages']:,} messages, {entry['bytes'] / 1e6:,.0f} MB: "
                     f"{entry['seconds']:.1f} s, {1e6 * entry['cpu'] / entry['messages']:.1f} µs CPU a message, "
                     f"{entry['memory'] / 1024:.0f} MiB the largest process; lines compared again in {entry['delta']:.2f} s")
    return found


def document(values):
    """docs/bench.md."""
    machine, options = values["machine"], values["options"]
    table = lines(values, "| ", " | ", " |")
    table.insert(1, "|" + "---|" * len(HEAD))
    sizes = {place: side["store"] / 1e6 for place, side in values["places"].items()}
    parts = [
        "# Measurements", "",
        "`cutover bench convert --write docs/bench.md` made this page. **Only the ratios carry over**: the seconds are this "
        "machine's.",
        "",
        f"{machine['date']}; {machine['cores']} cores of {machine['cpu']}, kernel {machine['kernel']}, the mail host's Python "
        f"{machine['python']}; load {machine['load_before']:.1f} at the beginning, {machine['load_after']:.1f} at the end.",
        f"Store: {options['messages']:,} messages in two folders written by c-client, "
        f"{max(sizes.values()):,.0f} MB. Medians of {options['runs']} interleaved runs, `sync` before each; "
        f"ours with {options['jobs']} processes. All times are those of the whole command, Python's start included. "
        "doveadm: `doveadm backup -R imapc:` from a real imapd, mail_prefetch_count=20, mail_fsync=never. "
        "\"1% changed\": flags of every hundredth message changed by c-client; ours is what convert pays after a presync, "
        "publishing included.", "", *table, ""]
    if values["scale"] or values["large"]:
        parts += ["## Large folders", "", "Ours alone; on tmpfs, the largest by bytes on the disk.", "",
                  *(f"- {line}" for line in scale(values)), ""]
    return "\n".join(parts)
