"""How far it is, on standard error: a line that changes on a terminal, a line a round elsewhere."""

import shutil
import sys
import threading
import time


class Progress:
    def __init__(self, out=None):
        self.out = out or sys.stderr
        self.live = self.out.isatty()
        self.began = time.monotonic()
        self.over = threading.Event()
        self.now = None
        self.lock = threading.Lock()
        if self.live:
            threading.Thread(target=self._turn, daemon=True).start()

    def say(self, text):
        with self.lock:
            self._clear()
            print(text, file=self.out, flush=True)

    def at(self, done, total, number, rounds, name):
        """What is measured from now on."""
        self.now = (done, total, number, rounds, name, time.monotonic())
        if self.live:
            self._draw()

    def tell(self, entry, result):
        """What one round said."""
        gateway = result["cpu_us"].get("gateway")
        cpu = f", {gateway:.1f} µs of CPU each" if gateway is not None else ""
        p99 = result["shown"]["p99"]
        slow = f", p99 {p99:.2f} ms" if p99 is not None else ""
        errors = "".join(f"; {kind}: {count:,}" for kind, count in result["errors"].items())
        wrong = "".join(f"; {fault}" for fault in result["faults"])
        self.say(f"{entry.name}: {result['per_second']:,.0f}/s{slow}{cpu}{errors}{wrong}")

    def end(self):
        self.over.set()
        with self.lock:
            self._clear()
            self.now = None

    def _turn(self):
        while not self.over.wait(0.5):
            self._draw()

    def _draw(self):
        with self.lock:
            if self.now is None:
                return
            done, total, number, rounds, name, since = self.now
            left = ""
            if done:
                whole = (since - self.began) / done * total
                seconds = max(0, whole - (time.monotonic() - self.began))
                left = f", about {seconds / 60:.0f} min left" if seconds > 90 else (
                    f", about {seconds:.0f} s left"
                )
            text = (
                f"[{done / total:4.0%}] round {number} of {rounds}: {name}, "
                f"{time.monotonic() - since:.0f} s{left}"
            )
            width = shutil.get_terminal_size().columns
            self._clear()
            self.out.write(text[: width - 1])
            self.out.flush()

    def _clear(self):
        if self.live:
            self.out.write("\r\x1b[K")
