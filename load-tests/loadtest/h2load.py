"""h2load: HTTP/2, and a storm of clients that ask once each."""

import os
import re

from . import generator, measured

# More than the token service of a storm may take.
PATIENCE = 60


def storm(url, headers, clients, directory, cores=None):
    """Every client opens a connection and asks once, all of them at once (HTTP/1.1)."""
    command = ["h2load", "--h1", "-n", clients, "-c", clients, "-t", "1", "-T", f"{PATIENCE}s"]
    return _run([*command, "-N", f"{PATIENCE}s"], url, headers, PATIENCE, directory, cores)


def closed_loop(url, headers, connections, streams, seconds, directory, cores=None):
    """Asks over HTTP/2 as fast as it is answered."""
    command = ["h2load", "-D", seconds, "-c", connections, "-m", streams, "-t", "1"]
    return _run(command, url, headers, seconds, directory, cores)


def _run(command, url, headers, seconds, directory, cores):
    log = os.path.join(directory, "h2load.log")
    if os.path.exists(log):
        os.remove(log)
    command = [*command, f"--log-file={log}"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    command.append(url)
    output, used, stopped = generator.run(command, seconds, cores)
    try:
        with open(log) as file:
            found = read(output, file)
    except (OSError, ValueError):
        if stopped:
            raise generator.Stopped() from None
        raise
    found.command, found.generator_cpu = generator.shown(command), used
    if stopped:
        raise generator.Stopped(found)
    return found


def read(output, log):
    """Its summary, and its log: microsecond of the start, status, microseconds to the end."""
    answers, unanswered, first, last = [], 0, None, 0
    for line in log:
        words = line.split()
        if len(words) < 3:
            continue
        start, status, took = (int(word) for word in words[:3])
        first = start if first is None else min(first, start)
        last = max(last, start + took)
        if status < 100:
            unanswered += 1
        else:
            answers.append((start, status, took / 1e3))
    # Requests that never began stand in no log, and nothing is summed up when it was killed.
    total = re.search(r"requests: (\d+) total, (\d+) started", output)
    ends = re.search(r"(\d+) errored, (\d+) timeout", output)
    errors = {"unanswered": unanswered}
    if total and ends:
        errors["not started"] = int(total.group(1)) - int(total.group(2))
        errors["timeout"] = int(ends.group(2))
        errors["unanswered"] = max(unanswered, int(ends.group(1))) - errors["timeout"]
    if first is not None:
        answers = [((start - first) / 1e6, status, took) for start, status, took in answers]
    seconds = (last - (first or 0)) / 1e6
    errors = {kind: count for kind, count in errors.items() if count > 0}
    return measured.of_answers(answers, seconds, errors)
