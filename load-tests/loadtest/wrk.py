"""Closed-loop load by wrk, and what it says."""

import json
import os
import re
import subprocess

from . import generator, latency, measured

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "requests.lua")

UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


class Load:
    """One run's result; times in seconds."""

    def __init__(self, text):
        self.text = text
        self.requests = int(_one(text, r"(\d+) requests in", "0"))
        self.per_second = float(_one(text, r"Requests/sec:\s+([\d.]+)", "0"))
        self.p50 = _seconds(text, "50%")
        self.p99 = _seconds(text, "99%")
        refused = int(_one(text, r"Non-2xx or 3xx responses: (\d+)", "0"))
        broken = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        self.failed = refused + (sum(map(int, broken.groups())) if broken else 0)


def run(url, headers, seconds, connections, cores):
    """Asks `url` as fast as it answers, from one thread."""
    command = ["taskset", "-c", cores, "wrk", "--latency", "-t1", f"-c{connections}"]
    command += [f"-d{seconds}s", "--timeout", "5s"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    done = subprocess.run([*command, url], capture_output=True, text=True, timeout=seconds + 30)
    if done.returncode != 0:
        raise SystemExit(f"wrk failed: {done.stderr or done.stdout}")
    return Load(done.stdout)


def closed_loop(url, requests, connections, seconds, directory, cores=None):
    """Asks what stands in the file `requests` as fast as it is answered."""
    out = os.path.join(directory, "wrk.json")
    if os.path.exists(out):
        os.remove(out)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    command += ["-s", os.path.relpath(SCRIPT), url, "--", requests, out]
    grid = [f"{fraction:g}" for fraction in latency.GRID]
    _, used, stopped = generator.run([*command, *grid], seconds, cores)
    try:
        with open(out) as file:
            found = read(json.load(file))
    except (OSError, ValueError):
        if stopped:
            raise generator.Stopped() from None
        raise
    found.command = generator.shown([*command, "0", "0.01", "…", "1"])
    found.generator_cpu = used
    if stopped:
        raise generator.Stopped(found)
    return found


def read(values):
    """What `requests.lua` has written."""
    tenths = {int(number): count for number, count in values["tenths"].items()}
    slots = {}
    for number, count in tenths.items():
        slots[number // 2] = slots.get(number // 2, 0) + count
    return measured.Measured(
        requests=values["requests"],
        seconds=values["seconds"],
        latency=[[fraction, value] for fraction, value in values["latency"]],
        statuses={int(status): count for status, count in values["statuses"].items()},
        errors={kind: count for kind, count in values["errors"].items() if count},
        rate=measured.of_counts(slots, values["seconds"], 0.2),
    )


def _one(text, pattern, absent):
    found = re.search(pattern, text)
    return found.group(1) if found else absent


def _seconds(text, label):
    found = re.search(rf"^\s+{re.escape(label)}\s+([\d.]+)(us|ms|s|m)", text, re.MULTILINE)
    return float(found.group(1)) * UNITS[found.group(2)] if found else None
