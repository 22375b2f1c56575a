"""What the processes use while they are asked: CPU, and the most memory."""

import threading
import time

MIB = 2**20
INTERVAL = 0.25


class Watching:
    """Samples `watched` (name -> something that tells cpu_seconds and resident_bytes)."""

    def __init__(self, watched, interval=INTERVAL):
        self.watched, self.interval = watched, interval
        self.over = threading.Event()
        self.lines = {name: [] for name in watched}
        self.most = dict.fromkeys(watched, 0.0)
        self.thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self):
        self.began = time.monotonic()
        self.first = {name: each.cpu_seconds() for name, each in self.watched.items()}
        self.thread.start()
        return self

    def __exit__(self, *_):
        # Before the thread has ended: its end is no part of what was measured.
        last = {name: each.cpu_seconds() for name, each in self.watched.items()}
        self.seconds = time.monotonic() - self.began
        self.over.set()
        self.thread.join()
        self.used = {name: last[name] - self.first[name] for name in self.watched}
        for name, each in self.watched.items():
            self.most[name] = max(self.most[name], each.resident_bytes() / MIB)

    def _sample(self):
        at, before = self.began, dict(self.first)
        while not self.over.wait(self.interval):
            try:
                now = time.monotonic()
                for name, each in self.watched.items():
                    used = each.cpu_seconds()
                    cores = (used - before[name]) / (now - at)
                    self.lines[name].append([at - self.began, max(0.0, cores)])
                    before[name] = used
                    self.most[name] = max(self.most[name], each.resident_bytes() / MIB)
                at = now
            except OSError:
                # An admin listener that does not answer once; the total is read at the end.
                continue
