"""The command line of `load-tests/scale`, and its report."""

import argparse
import json
import os
import shlex
import statistics
import sys
import tempfile

from . import command, machine, page, plot, progress, rounds, scale
from .scenario import Fault
from .stage import Stage


def parser():
    made = argparse.ArgumentParser(
        prog="load-tests/scale",
        description="What a request and memory cost against the size of things, on loopback.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=26, width=80),
        allow_abbrev=False,
    )
    made.add_argument("--only", metavar="NAMES", help=f"of {', '.join(scale.GROWTHS)}")
    made.add_argument("--full", action="store_true", help="a million sessions, 100,000 tokens")
    made.add_argument("--rounds", type=command.whole, default=5, metavar="N", help="rounds [5]")
    made.add_argument(
        "--seconds", type=command.whole, default=2, metavar="S", help="of each size [2]"
    )
    made.add_argument(
        "--binaries", metavar="DIR", default="target/release",
        help="where portcullis and portcullis-demo are [%(default)s]",
    )
    made.add_argument(
        "--out", metavar="DIR", default="target/scale", help="where the report goes [%(default)s]"
    )
    return made


def main(words):
    options = parser().parse_args(words)
    command.heed_signals()
    try:
        names = chosen(options.only)
        about = {
            "machine": machine.describe(),
            "command": shlex.join(["load-tests/scale", *words]),
            "rounds": options.rounds,
            "seconds": options.seconds,
        }
        told, found, code = progress.Progress(), [], 0
        try:
            for name in names:
                # One that fails takes nothing from the others.
                try:
                    found.append(grown(name, options, told))
                except (Fault, SystemExit) as fault:
                    told.say(f"{name}: failed, {fault}")
                    code = command.FAILED
        except KeyboardInterrupt:
            code = command.STOPPED
        told.end()
        if found:
            write(found, about, options.out)
        return code
    except Fault as fault:
        print(f"load-tests/scale: {fault}", file=sys.stderr)
        return command.USAGE


def chosen(only):
    names = [name.strip() for name in only.split(",")] if only else list(scale.GROWTHS)
    for name in names:
        if name not in scale.GROWTHS:
            raise Fault(f"no growth {name}; there are {', '.join(scale.GROWTHS)}")
    return names


def grown(name, options, told):
    """One growth on a stage of its own, so that nothing of another is in the way."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        os.chmod(folder, 0o755)
        others = command.listing(min(1, cores - 1), cores)
        with Stage(folder, options.binaries, "0", others) as stage:
            told.say(f"{name}: getting ready")
            growth = scale.GROWTHS[name](stage, options.full)
            for point in growth.points:
                scale.measure(stage, point, options.seconds)
                if not growth.one_gateway:
                    point.memory.setdefault("gateway", scale.resident(point.gateway))
            total = options.rounds * len(growth.points)
            for number in range(options.rounds):
                for at, point in enumerate(rounds.order(growth.points, number)):
                    done = number * len(growth.points) + at
                    told.at(done, total, number + 1, options.rounds, f"{name} {point.size:,}")
                    point.done.append(scale.measure(stage, point, options.seconds))
            for point in growth.points:
                told.say(f"{name} {point.size:,}: {figure(point, 'cpu_us'):.1f} µs of CPU")
            return summary(growth)


def figure(point, key):
    return statistics.median(each[key] for each in point.done)


def summary(growth):
    """The growth as it is kept."""
    points = [
        {
            "size": point.size,
            "memory_mib": point.memory,
            "rounds": point.done,
            **{key: figure(point, key) for key in ("cpu_us", "per_second", "p50_ms", "p99_ms")},
        }
        for point in growth.points
    ]
    return {
        "name": growth.name,
        "title": growth.title,
        "unit": growth.unit,
        "notes": growth.notes,
        "points": points,
        "facts": [*growth.facts, slope(points, growth.unit)],
    }


def slope(points, unit):
    """CPU of a request for one more of what grows: lines of least squares, one for each round."""
    sizes = [point["size"] for point in points]
    every = [
        statistics.linear_regression(sizes, [each["cpu_us"] for each in turn]).slope
        for turn in zip(*(point["rounds"] for point in points), strict=False)
    ]
    by = statistics.median(every)
    # Told for so many that the number is read.
    count = next((n for n in (1, 1_000) if abs(by * n) >= 0.01), 1_000_000)
    least, most = min(every) * count, max(every) * count
    noise = ", within noise" if least <= 0 <= most else ""
    what = f"slope: CPU of a request for {count:,} more {unit}"
    return what, by * count, f"µs ({least:.3g} to {most:.3g}{noise})"


def spread(point, key):
    return rounds.spread([each[key] for each in point["rounds"]], 1)


def markdown(found, about):
    parts = [
        "# Scale",
        f"{about['machine']['date']}, {about['machine']['processor']}, "
        f"{about['machine']['cores']} cores, Linux {about['machine']['kernel']}, load of the "
        f"machine before: {about['machine']['load_before']:.2f}. {about['rounds']} rounds of "
        f"{about['seconds']:g} s, sizes in turns; medians, with the least and the greatest. One "
        f"thread on one core unless it says otherwise. `{about['command']}`",
    ]
    for growth in found:
        base = growth["points"][0]
        kinds = sorted({kind for point in growth["points"] for kind in point["memory_mib"]})
        rows = [
            [
                f"{point['size']:,}",
                spread(point, "cpu_us"),
                rounds.spread([
                    one["cpu_us"] / other["cpu_us"]
                    for one, other in zip(point["rounds"], base["rounds"], strict=False)
                ]),
                f"{point['per_second']:,.0f}",
                f"{point['p99_ms']:.2f}",
                *(f"{point['memory_mib'].get(kind, 0):.0f}" for kind in kinds),
            ]
            for point in growth["points"]
        ]
        head = [growth["unit"], "CPU µs a request", f"by {base['size']:,}", "requests/s", "p99 ms",
                *(f"{kind}, MiB" for kind in kinds)]
        parts.append(f"## {growth['title']} (`{growth['name']}`)")
        parts.append(rounds.table(head, rows))
        parts.append("\n".join(
            f"- {what}: {value:.3g} {unit}" for what, value, unit in growth["facts"]
        ))
        if growth["notes"]:
            parts.append(growth["notes"])
    return "\n\n".join(parts) + "\n"


def drawing(growth):
    each = growth["points"]
    return plot.lines(
        f"{growth['title']}: CPU of a request",
        [(growth["title"], [(point["size"], point["cpu_us"]) for point in each])],
        growth["unit"], "CPU of a request, µs",
        log_x=each[-1]["size"] / each[0]["size"] > 20, dots=True,
    )


def html_page(found, about):
    body = []
    for growth in found:
        facts = "".join(
            f"<dt>{page.text(what)}</dt><dd>{value:.3g} {unit}</dd>"
            for what, value, unit in growth["facts"]
        )
        body.append(
            f"<figure><h2>{page.text(growth['title'])}</h2>{drawing(growth)}<dl>{facts}</dl>"
            f"<p class='faint'>{page.text(growth['notes'])}</p></figure>"
        )
    where = f"{about['machine']['date']}, {about['machine']['processor']}, {about['command']}"
    return page.document(
        "Scale of Portcullis",
        f"<h1>Scale of Portcullis</h1><p>{page.text(where)}</p>"
        f"<div class='plots'>{''.join(body)}</div>",
    )


def write(found, about, out):
    os.makedirs(out, exist_ok=True)
    files = {
        "scale.json": json.dumps({**about, "growths": found}, indent=1),
        "scale.md": markdown(found, about),
        "scale.html": html_page(found, about),
        **{f"{growth['name']}.svg": plot.alone(drawing(growth)) for growth in found},
    }
    for name, text in files.items():
        with open(os.path.join(out, name), "w") as file:
            file.write(text)
    print(files["scale.md"])
