"""Where and with what something was measured."""

import datetime
import os
import platform
import subprocess


def first_line(*command):
    """What a program says first of itself, or of why it cannot."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except OSError as fault:
        return str(fault)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else ""


def package(name):
    """The version of a Debian package."""
    return first_line("dpkg-query", "-W", "-f", "${Version}", name)


def describe():
    with open("/proc/cpuinfo") as file:
        models = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    with open("/proc/meminfo") as file:
        memory = int(file.readline().split()[1]) // 1024
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_mib": memory,
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
    }
