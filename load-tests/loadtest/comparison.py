"""Whether two reports differ by more than their own rounds do."""

import argparse
import itertools
import random
import statistics
import sys

from . import report, rounds
from .scenario import Fault

# What is compared, where it stands in a round, and whether more is better.
FIGURES = (
    ("requests/s", ("per_second",), True),
    ("p50", ("shown", "p50"), False),
    ("p99", ("shown", "p99"), False),
    ("CPU", ("cpu_us", "gateway"), False),
)
# Below so many rounds their spread says too little to call anything a change.
FEWEST = 3
RESAMPLES = 2000
SEED = 20261201

EPILOG = """\
A ratio is B by A of the medians of all rounds. In brackets is where the ratio
lies with 95 %, by resampling the rounds of each report (bootstrap). An interval
that holds 1 is within noise. Two runs at different times also differ by what
else the machine did, which no interval shows: run A again after B when it matters.
"""


def values(entry, keys):
    found = []
    for each in entry["rounds"]:
        for key in keys:
            each = each.get(key) if each is not None else None
        if each is not None:
            found.append(each)
    return found


def ratio(before, after):
    """(ratio of the medians, least, most of 95 % of the resampled ones); None without figures."""
    if not before or not after or not statistics.median(before):
        return None
    middle = statistics.median(after) / statistics.median(before)
    dice = random.Random(SEED)
    found = sorted(
        statistics.median(dice.choices(after, k=len(after))) / below
        for _ in range(RESAMPLES)
        if (below := statistics.median(dice.choices(before, k=len(before))))
    )
    if not found:
        return middle, middle, middle
    cut = len(found) * 25 // 1000
    return middle, found[cut], found[-1 - cut]


def verdict(before, after, more_is_better):
    """What the ratio is worth, in words."""
    found = ratio(before, after)
    if found is None:
        return "-"
    middle, least, most = found
    shown = f"{middle:.2f} ({least:.2f} to {most:.2f})"
    if min(len(before), len(after)) < FEWEST:
        return f"{shown}, too few rounds to say"
    # Rounds of one report that overlap with the other's are noise, whatever their medians say.
    apart = max(before) < min(after) or max(after) < min(before)
    if least <= 1 <= most or not apart:
        return f"{shown}, within noise"
    return f"{shown}, {'better' if (middle > 1) == more_is_better else '**worse**'}"


def compare(one, other):
    """A page in Markdown."""
    entries = {entry["name"]: entry for entry in other["entries"]}
    shared = [entry for entry in one["entries"] if entry["name"] in entries]
    rows = [
        [entry["name"], *(
            verdict(values(entry, keys), values(entries[entry["name"]], keys), more)
            for _, keys, more in FIGURES
        )]
        for entry in shared
    ]
    parts = ["# B by A"]
    for name, each in (("A", one), ("B", other)):
        parts.append(f"- {name}: {report.machine(each)}; {report.pace(each)} `{each['command']}`")
    if differing := differences(one, other):
        parts.append("Not the same: " + "; ".join(differing) + ".")
    if rows:
        parts.append(rounds.table(["scenario", *(name for name, _, _ in FIGURES)], rows))
    else:
        parts.append("No scenario stands in both.")
    alone = [
        f"- only in {name}: {', '.join(missing)}"
        for name, here, there in (("A", one, other), ("B", other, one))
        if (missing := names(here) - names(there)) and (missing := sorted(missing))
    ]
    if alone:
        parts.append("\n".join(alone))
    return "\n\n".join(parts) + "\n"


def names(values_of):
    return {entry["name"] for entry in values_of["entries"]}


def differences(one, other):
    """What makes two reports hard to compare."""
    found = []
    for key in ("processor", "cores", "kernel"):
        pair = one["machine"][key], other["machine"][key]
        if pair[0] != pair[1]:
            found.append(f"{key} {pair[0]} and {pair[1]}")
    for key in ("target", "threads"):
        if one.get(key) != other.get(key):
            found.append(f"{key} {one.get(key)} and {other.get(key)}")
    if one["pace"] != other["pace"]:
        found.append("rounds or their seconds")
    both = itertools.chain(one["versions"], other["versions"])
    for key in dict.fromkeys(both):
        pair = one["versions"].get(key), other["versions"].get(key)
        if pair[0] != pair[1]:
            found.append(f"{key} {pair[0]} and {pair[1]}")
    return found


def main(words):
    parser = argparse.ArgumentParser(
        prog="load-tests/compare",
        description="Compares two reports of load-tests/run: throughput, times and CPU.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", metavar="A", help="report.json, or the directory that it is in")
    parser.add_argument("b", metavar="B", help="the other one")
    options = parser.parse_args(words)
    try:
        print(compare(report.read(options.a), report.read(options.b)), end="")
    except Fault as fault:
        print(f"load-tests/compare: {fault}", file=sys.stderr)
        return 2
    return 0
