"""Our own small clients, for what no load generator does: WebSocket and login."""

import json
import os
import sys

from . import generator, measured

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def run(module, asked, directory, cores=None):
    """`module` is run as a process of its own, so that its CPU is known and kept apart."""
    file = os.path.join(directory, f"{module}.json")
    with open(file, "w") as written:
        json.dump(asked, written)
    command = ["env", f"PYTHONPATH={HERE}", sys.executable, "-m", f"loadtest.{module}", "ask", file]
    output, used, stopped = generator.run(command, asked["seconds"], cores)
    try:
        values = json.loads(output)
    except ValueError:
        if stopped:
            raise generator.Stopped() from None
        raise
    found = measured.of_answers(
        [tuple(answer) for answer in values["answers"]], asked["seconds"], values["errors"]
    )
    found.command = (
        f"python3 -m loadtest.{module}: {asked['connections']} at once, {asked['seconds']} s, "
        f"{asked['url']}"
    )
    found.generator_cpu = used
    if stopped:
        raise generator.Stopped(found)
    return found
