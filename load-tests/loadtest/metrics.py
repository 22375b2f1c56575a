"""The gateway's metrics, read from its admin listener."""

import re
import urllib.error
import urllib.request

from . import client

LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def parse(text):
    """Values by name and labels; the labels are sorted pairs."""
    found = {}
    for line in text.splitlines():
        match = LINE.match(line)
        if match:
            name, labels, value = match.groups()
            key = tuple(sorted(LABEL.findall(labels or "")))
            found.setdefault(name, {})[key] = float(value)
    return found


class Admin:
    """One admin listener; in a report it stands for its process."""

    # Its CPU is counted in whole seconds, so less than this says nothing.
    least_cpu = 10.0

    def __init__(self, origin):
        self.origin = origin.rstrip("/")

    def read(self):
        with urllib.request.urlopen(
            f"{self.origin}/metrics", timeout=5, context=client.Trust.context
        ) as answer:
            return parse(answer.read().decode())

    def one(self, name):
        return next(iter(self.read().get(name, {}).values()), 0.0)

    def cpu_seconds(self):
        return self.one("process_cpu_seconds_total")

    def resident_bytes(self):
        return self.one("process_resident_memory_bytes")

    def counts(self, name):
        """A counter, by the words of its labels."""
        return {
            " ".join(word for _, word in labels) or "all": value
            for labels, value in self.read().get(name, {}).items()
        }

    def version(self):
        for labels in self.read().get("portcullis_build_info", {}):
            return dict(labels).get("version", "")
        return ""

    def reachable(self):
        try:
            return bool(self.read().get("portcullis_build_info"))
        except (OSError, ValueError, urllib.error.URLError):
            return False


def grown(before, after):
    """By how much each grew; what did not is left out."""
    both = {name: after[name] - before.get(name, 0) for name in after}
    return {name: int(value) for name, value in both.items() if value}
