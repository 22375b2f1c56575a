"""The report as one page: nothing outside of it is needed, no script, and it prints."""

import html
import os

from . import latency, plot, report

HERE = os.path.dirname(os.path.abspath(__file__))
# Lines of one plot; more cannot be told apart.
LINES = 4


def page(values):
    body = [
        f"<h1>Load test of Portcullis</h1><p>{text(report.machine(values))}.</p>",
        f"<p>{text(report.pace(values))}</p>",
    ]
    said = report.faults(values)
    if said:
        body.append("<p class='bad'>Not as expected:</p><ul>")
        body += [f"<li class='bad'>{text(fault)}</li>" for fault in said] + ["</ul>"]
    body.append(summary(values))
    body += [f"<p class='added'>{text(line)}</p>" for line in report.additions(values)]
    if values["refused"]:
        body.append("<h2>Not run</h2><ul>")
        body += [
            f"<li>{text(each['scenario'])}: {text(each['why'])}</li>" for each in values["refused"]
        ] + ["</ul>"]
    body += [section(entry) for entry in values["entries"]]
    body.append(with_what(values))
    return document("Load test of Portcullis", "".join(body))


def document(title, body):
    """A page that has all it needs."""
    with open(os.path.join(HERE, "page.css")) as file:
        style = file.read()
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        "<meta name='color-scheme' content='light dark'>"
        "<link rel='icon' href='data:,'>"
        f"<title>{text(title)}</title><style>{style}{plot.STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def text(value):
    return html.escape(str(value))


def anchor(name):
    return "".join(c if c.isalnum() else "-" for c in name)


def summary(values):
    head = "".join(f"<th>{text(name)}</th>" for name in report.HEAD)
    rows = []
    for entry in values["entries"]:
        first, *cells = report.row(entry)
        bad = " class='bad'" if report.unexpected(entry) else ""
        cells = [f"<td>{text(cell)}</td>" for cell in cells]
        cells[-1] = cells[-1].replace("<td>", f"<td{bad}>")
        link = f"<td><a href='#{anchor(first)}'>{text(first)}</a></td>"
        rows.append(f"<tr>{link}{''.join(cells)}</tr>")
    return (
        f"<div class='wide'><table id='summary'><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def section(entry):
    counted = report.counted(entry)
    facts = [
        ("answers", report.statuses(entry)),
        ("counted by the gateway", counted),
        ("requests", f"{sum(each['requests'] for each in entry['rounds']):,}"),
        ("command", entry["rounds"][0]["command"]),
    ]
    facts = "".join(
        f"<dt>{name}</dt><dd>{'<code>' if name == 'command' else ''}{text(value)}"
        f"{'</code>' if name == 'command' else ''}</dd>"
        for name, value in facts if value
    )
    modes = {
        "closed": "closed loop: as fast as it is answered",
        "open": "open loop: due at its rate, answered or not",
        "direct": "open loop, straight to the upstream",
    }
    drawn = "".join(f"<figure>{one}</figure>" for one in plots(entry))
    return (
        f"<section id='{anchor(entry['name'])}'><h2>{text(entry['title'])} "
        f"<span class='faint'>{text(entry['name'])}</span></h2>"
        f"<p>{text(entry['about'])} <span class='faint'>{modes[entry['mode']]}</span></p>"
        f"<div class='plots'>{drawn}</div><dl>{facts}</dl>{each_round(entry)}</section>"
    )


def plots(entry):
    """Time line, latency histogram, and CPU over time; a line for each round."""
    name = entry["name"]
    rounds = list(enumerate(entry["rounds"], 1))[:LINES]
    yield plot.lines(
        f"{name}: answers a second",
        [(f"round {number}", each["rate"]) for number, each in rounds],
        "seconds", "answers a second",
    )
    weighted = [(each["latency"], each["requests"]) for each in entry["rounds"]]
    marks = [(time, report.middle(entry, "shown", time)) for time in ("p50", "p99")]
    yield plot.bars(
        f"{name}: latency", latency.histogram(weighted), "milliseconds", "% of requests", marks
    )
    if any(each["p99_line"] for each in entry["rounds"]):
        yield plot.lines(
            f"{name}: p99 over time",
            [(f"round {number}", each["p99_line"]) for number, each in rounds],
            "seconds", "p99, milliseconds",
        )
    costs = busiest(entry["rounds"][0]["cpu_line"])
    if costs:
        yield plot.lines(
            f"{name}: CPU of each process", costs, "seconds of round 1", "cores"
        )


def busiest(lines):
    """Those that used a noticeable part of a core, the busiest first."""
    used = {name: max((cores for _, cores in points), default=0) for name, points in lines.items()}
    names = sorted((n for n in used if used[n] >= 0.02), key=lambda n: -used[n])[:LINES]
    return [(name, lines[name]) for name in names]


def each_round(entry):
    """All rounds, so that their spread is seen."""
    rows = []
    for number, each in enumerate(entry["rounds"], 1):
        cells = [
            number, f"{each['per_second']:,.0f}",
            *(report.milliseconds(each["shown"][time]) for time in report.TIMES),
            report.figure(each["cpu_us"].get("gateway")),
            report.figure(each["memory_mib"].get("gateway"), 0), each["unexpected"],
        ]
        rows.append("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in cells) + "</tr>")
    head = ["round", "requests/s", *report.TIMES, "CPU µs", "MiB", "unexpected"]
    head = "".join(f"<th>{name}</th>" for name in head)
    return (
        "<details><summary>each round</summary><div class='wide'><table><thead><tr>"
        f"{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def with_what(values):
    facts = [*values["versions"].items(), ("command", values["command"])]
    facts = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in facts)
    return (
        f"<h2>With what</h2><dl>{facts}</dl><p class='faint'>CPU and memory are those of each "
        "process with its children. Closed loop: wrk and h2load; a request waits for the answer "
        "before it, so the times are of requests that were sent. Open loop: oha; times count from "
        "when a request was due.</p>"
    )
