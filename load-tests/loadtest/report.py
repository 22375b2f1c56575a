"""The report: all that was measured as JSON, and a table of it in Markdown."""

import json
import os
import statistics

from . import rounds
from .scenario import Fault

KIND, VERSION = "portcullis-load-test", 1
# The columns of times, in milliseconds.
TIMES = ("p50", "p90", "p99", "p99.9", "max")


def document(entries, refused, about):
    """What `report.json` holds. `about` says where, when, with what and by which command."""
    return {
        "kind": KIND,
        "version": VERSION,
        **about,
        "entries": [
            {
                "name": entry.name,
                "scenario": entry.scenario.name,
                "title": entry.scenario.title,
                "about": entry.scenario.about,
                "mode": entry.mode,
                "rates": list(entry.rates),
                "part": entry.part,
                "expected": entry.scenario.expected,
                "rounds": entry.done,
            }
            for entry in entries
            if entry.done
        ],
        "refused": [{"scenario": name, "why": why} for name, why in refused],
        "added": added(entries),
    }


def added(entries):
    """What the gateway adds to the times of answers: the same load past it, in the same round."""
    found = []
    for entry in entries:
        beside = [
            other for other in entries
            if other.mode == "direct" and other.scenario is entry.scenario
            and other.part == entry.part
        ]
        if entry.mode != "open" or not beside:
            continue
        pairs = list(zip(entry.done, beside[0].done, strict=False))
        if not pairs:
            continue
        found.append({
            "name": entry.name,
            "rate": round(statistics.median(one["per_second"] for one, _ in pairs)),
            **{
                f"{time}_ms": [one["shown"][time] - other["shown"][time] for one, other in pairs]
                for time in ("p50", "p99")
                if all(each["shown"][time] is not None for pair in pairs for each in pair)
            },
        })
    return found


def read(path):
    """A report that was written before; `path` is the file or the directory that it is in."""
    if os.path.isdir(path):
        path = os.path.join(path, "report.json")
    try:
        with open(path) as file:
            values = json.load(file)
    except OSError as fault:
        raise Fault(f"{path}: {fault.strerror}") from None
    except ValueError as fault:
        raise Fault(f"{path}: is no JSON: {fault}") from None
    if not isinstance(values, dict) or values.get("kind") != KIND:
        raise Fault(f"{path}: is no report of a load test")
    if values.get("version") != VERSION:
        raise Fault(f"{path}: is of version {values.get('version')}, this reads {VERSION}")
    return values


def middle(entry, *keys):
    """The median over the rounds of one figure; None where no round has it."""
    found = []
    for each in entry["rounds"]:
        for key in keys:
            each = each.get(key) if each is not None else None
        if each is not None:
            found.append(each)
    return statistics.median(found) if found else None


def most(entry, *keys):
    found = []
    for each in entry["rounds"]:
        for key in keys:
            each = each.get(key) if each is not None else None
        if each is not None:
            found.append(each)
    return max(found) if found else None


def figure(value, digits=1):
    return "-" if value is None else f"{value:,.{digits}f}"


def milliseconds(value):
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def statuses(entry):
    """Answers by status over all rounds, and what was no answer."""
    found = {}
    for each in entry["rounds"]:
        for kind in ("statuses", "errors"):
            for key, count in each[kind].items():
                found[str(key)] = found.get(str(key), 0) + count
    return ", ".join(f"{key}: {count:,}" for key, count in sorted(found.items())) or "none"


def counted(entry):
    """The gateway's counter over all rounds."""
    found = {}
    for each in entry["rounds"]:
        for key, count in each["counted"].items():
            found[key] = found.get(key, 0) + count
    return ", ".join(f"{key}: {count:,}" for key, count in sorted(found.items()))


def unexpected(entry):
    return sum(each["unexpected"] for each in entry["rounds"])


def others(entry):
    """CPU a request of every process but the gateway, in microseconds."""
    names = {name for each in entry["rounds"] for name in each["cpu_us"]} - {"gateway"}
    costs = [(name, middle(entry, "cpu_us", name)) for name in sorted(names)]
    return ", ".join(f"{name} {cost:.1f}" for name, cost in costs if cost and cost >= 0.05) or "-"


HEAD = [
    "scenario", "requests/s", *(f"{time} ms" for time in TIMES),
    "gateway, CPU µs a request", "others, CPU µs a request", "gateway, MiB", "unexpected",
]


def row(entry):
    """One line of the table, under `HEAD`."""
    return [
        entry["name"],
        figure(middle(entry, "per_second"), 0),
        *(milliseconds(middle(entry, "shown", time)) for time in TIMES),
        figure(middle(entry, "cpu_us", "gateway")),
        others(entry),
        figure(most(entry, "memory_mib", "gateway"), 0),
        f"{unexpected(entry):,}",
    ]


def faults(report):
    """What was not as the scenarios have it."""
    return [
        f"{entry['name']}, round {number}: {fault}"
        for entry in report["entries"]
        for number, each in enumerate(entry["rounds"], 1)
        for fault in each["faults"]
    ]


def additions(report):
    """A sentence for each comparison with the upstream alone."""
    return [
        f"{each['name']} ({each['rate']:,}/s): the gateway adds {rounds.spread(each['p50_ms'])} ms "
        f"to p50 and {rounds.spread(each['p99_ms'])} ms to p99 of the same load straight to the "
        "upstream, in the same rounds."
        for each in report["added"]
        if "p99_ms" in each
    ]


def machine(report):
    about = report["machine"]
    return (
        f"{about['date']}, {about['processor']}, {about['cores']} cores, "
        f"{about['memory_mib'] / 1024:.0f} GiB, Linux {about['kernel']}, load of the machine "
        f"before: {about['load_before']:.2f}"
    )


def pace(report):
    pace = report["pace"]
    early = " It was stopped before its end." if report["stopped"] else ""
    number = pace["rounds"]
    many = f"{number} interleaved rounds" if number > 1 else "One round"
    return (
        f"{many} of {pace['seconds']:g} s{'; medians' if number > 1 else ''}. "
        f"Target: {report['target']}.{early}"
    )


def markdown(report):
    """The page that is printed and kept."""
    parts = ["# Load test", f"{machine(report)}. {pace(report)}"]
    parts.append(rounds.table(HEAD, [row(entry) for entry in report["entries"]]))
    if report["added"]:
        parts.append("\n".join(additions(report)))
    if said := faults(report):
        parts.append("Not as expected:\n\n" + "\n".join(f"- {fault}" for fault in said))
    counts = [
        f"- {entry['name']}: answers {statuses(entry)}"
        + (f"; counted by the gateway: {counted(entry)}" if counted(entry) else "")
        for entry in report["entries"]
    ]
    parts.append("\n".join(counts))
    if report["refused"]:
        parts.append("\n".join(
            f"- not run: {each['scenario']}, {each['why']}" for each in report["refused"]
        ))
    parts.append("\n".join(f"- {name}: {text}" for name, text in report["versions"].items()))
    commands = [entry["rounds"][0]["command"] for entry in report["entries"]]
    parts.append("```sh\n" + "\n".join([report["command"], *commands]) + "\n```")
    return "\n\n".join(parts) + "\n"
