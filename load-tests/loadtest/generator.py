"""Running a load generator: one process, its CPU, and an end before time that keeps results."""

import os
import shlex
import shutil
import signal
import subprocess

from .scenario import Fault

# How long a generator may take to write down its results, after its time or a Ctrl-C.
GRACE = 30


class Stopped(Exception):
    """A Ctrl-C came while this was measured; `measured` is what there was until then, or None."""

    def __init__(self, measured=None):
        super().__init__()
        self.measured = measured


def run(command, seconds, cores=None):
    """Runs it to its end: (what it wrote, CPU seconds, whether a Ctrl-C ended it)."""
    command = [str(word) for word in command]
    if shutil.which(command[0]) is None:
        raise Fault(f"{command[0]} is missing; tests/install-prerequisites load brings it")
    pinned = ["taskset", "-c", cores, *command] if cores else command
    before = os.times()
    process = subprocess.Popen(
        pinned,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A Ctrl-C is ours to pass on.
        start_new_session=True,
        text=True,
    )
    stopped = False
    try:
        try:
            output, faults = process.communicate(timeout=seconds + GRACE)
        except KeyboardInterrupt:
            stopped = True
            process.send_signal(signal.SIGINT)
            output, faults = process.communicate(timeout=GRACE)
    except subprocess.TimeoutExpired:
        raise Fault(f"{command[0]} does not end: {shlex.join(command)[:400]}") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    after = os.times()
    used = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    if process.returncode != 0 and not stopped:
        said = (faults or output).strip()[-800:]
        raise Fault(f"{command[0]} failed ({process.returncode}): {said}")
    return output, used, stopped


def shown(command):
    """A command to repeat, without the credentials in it."""
    words = []
    for word in map(str, command):
        name, colon, _ = word.partition(":")
        secret = colon and name.lower() in ("authorization", "cookie")
        words.append(f"{name}: …" if secret else word)
    return shlex.join(words)
