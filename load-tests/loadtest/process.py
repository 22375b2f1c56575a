"""Servers under measurement: started on cores of their own, and ended by their process id."""

import http.client
import os
import resource
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def free_port():
    """A port that nobody listens on; somebody may take it before we do, which then is an error."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def free_port_pair():
    """A free port whose next one is free as well."""
    for _ in range(100):
        first = free_port()
        with socket.socket() as taken:
            try:
                taken.bind(("127.0.0.1", first + 1))
            except (OSError, OverflowError):
                continue
            return first
    raise SystemExit("no two free ports side by side")


def raise_files(wanted=65_536):
    """Lets us and what we start open as many files as the system allows; says how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limits in ((wanted, max(hard, wanted)), (hard, hard)):
        if soft >= wanted:
            break
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            break
        except (ValueError, OSError):
            continue
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Server:
    """A process with its children, pinned to a set of cores."""

    def __init__(self, name, command, cores, log, environment=None):
        self.name = name
        self.command = ["taskset", "-c", cores, *map(str, command)]
        self.log = log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **(environment or {})},
                # A Ctrl-C is ours to answer: results first, then the servers' end.
                start_new_session=True,
            )

    def tree(self):
        """Its process ids: the started one and all below it."""
        found, at = [self.process.pid], 0
        while at < len(found):
            found.extend(_children(found[at]))
            at += 1
        return found

    def cpu_seconds(self):
        """CPU that all its processes have used so far, in user and kernel."""
        return sum(_cpu_seconds(pid) for pid in self.tree())

    def resident_bytes(self):
        """Memory that its processes hold."""
        return sum(_resident_bytes(pid) for pid in self.tree())

    def wait_until_ready(self, url, seconds=60):
        """Until it answers anything at all at `url`."""
        deadline = time.monotonic() + seconds
        while not _answers(url):
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended with {self.process.returncode}: {self.said()}")
            if time.monotonic() > deadline:
                raise SystemExit(f"{self.name} does not answer at {url}: {self.said()}")
            time.sleep(0.05)

    def said(self):
        """The last lines of its log."""
        with open(self.log, errors="replace") as log:
            return "\n".join(line.rstrip()[:400] for line in log.readlines()[-15:])

    def stop(self):
        """Asks it to end, and kills what does not."""
        pids = self.tree()
        _signal(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            pass
        for pid in pids:
            if pid == self.process.pid and self.process.poll() is not None:
                continue
            if pid == self.process.pid or os.path.exists(f"/proc/{pid}"):
                _signal(pid, signal.SIGKILL)
        self.process.wait()


class Servers:
    """All that were started; leaving the block ends them, last first."""

    def __init__(self, directory):
        self.directory = directory
        self.running = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in reversed(self.running):
            server.stop()

    def start(self, name, command, cores, environment=None):
        log = os.path.join(self.directory, f"{name}.log")
        server = Server(name, command, cores, log, environment)
        self.running.append(server)
        return server


def _signal(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _children(pid):
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [
        int(child)
        for task in tasks
        for child in _read(f"/proc/{pid}/task/{task}/children").split()
    ]


def _cpu_seconds(pid):
    # The name stands in parentheses and may hold anything; utime and stime are fields 14 and 15.
    fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND if fields else 0.0


def _resident_bytes(pid):
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * PAGE if fields else 0


def _answers(url):
    try:
        urllib.request.urlopen(url, timeout=1).close()
    except (urllib.error.HTTPError, http.client.HTTPException):
        # Whatever it says, TLS to somebody who does not speak it for example.
        return True
    except OSError:
        return False
    return True
