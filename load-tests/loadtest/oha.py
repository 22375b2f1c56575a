"""oha: fixed rates with open loop.

A request is due at its time whether or not those before it were answered, and its time counts from
when it was due (`--latency-correction`). So a server that stalls is charged for everybody who would
have waited: there is no coordinated omission.
"""

import csv
import os

from . import client, generator, measured

# Requests that were due, and for which there was no time left: the rate was not carried.
LATE = "due, not answered"


def open_loop(url, prepared, connections, rate, seconds, directory, cores, find):
    """Asks so often a second, answered or not."""
    out = os.path.join(directory, "oha.csv")
    if os.path.exists(out):
        os.remove(out)
    command = [find, "--no-tui", "-z", f"{round(seconds * 1000)}ms", "-q", f"{rate:g}"]
    command += ["-c", connections]
    command += ["--latency-correction", "--wait-ongoing-requests-after-deadline"]
    command += ["-t", "30s", "--redirect", "0", "--output-format", "csv", "-o", out]
    command += ["-m", prepared.method]
    if client.Trust.context:
        command.append("--insecure")
    for name, value in prepared.headers.items():
        command += ["-H", f"{name}: {value}"]
    if prepared.body:
        body = os.path.join(directory, "oha.body")
        with open(body, "wb") as file:
            file.write(prepared.body)
        command += ["-D", body]
    command.append(url)
    _, used, stopped = generator.run(command, seconds, cores)
    try:
        with open(out, newline="") as file:
            found = read(file)
    except (OSError, ValueError, KeyError):
        if stopped:
            raise generator.Stopped() from None
        raise
    # What was due and did not come: oha's table has answers alone.
    missing = round(rate * seconds) - found.requests
    if not stopped and missing > max(connections, 0.01 * rate * seconds):
        found.errors[LATE] = missing
    found.command, found.generator_cpu = generator.shown(command), used
    if stopped:
        raise generator.Stopped(found)
    return found


def read(lines):
    """Its table: a line for each answer, seconds with a fraction.

    `request-start` is when a request was sent and `request-duration` counts from when it was due,
    so the two may not be added.
    """
    answers = []
    for row in csv.DictReader(lines):
        sent, took = float(row["request-start"]), float(row["request-duration"])
        due = max(0.0, sent + float(row["Response-delay"]) - took)
        answers.append((due, int(row["status"]), took * 1e3))
    seconds = max((due + took / 1e3 for due, _, took in answers), default=0.0)
    return measured.of_answers(answers, seconds)
