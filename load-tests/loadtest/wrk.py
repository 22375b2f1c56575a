"""Closed-loop load by wrk, and what it says."""

import re
import subprocess

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


def _one(text, pattern, absent):
    found = re.search(pattern, text)
    return found.group(1) if found else absent


def _seconds(text, label):
    found = re.search(rf"^\s+{re.escape(label)}\s+([\d.]+)(us|ms|s|m)", text, re.MULTILINE)
    return float(found.group(1)) * UNITS[found.group(2)] if found else None
