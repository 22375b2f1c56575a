"""The command line of `load-tests/run`."""

import argparse
import json
import os
import shlex
import shutil
import signal
import sys
import tempfile
import textwrap
import time

from . import (
    callers, client, deployment, machine, metrics, page, progress, provider, report, running,
)
from . import scenario as scenarios
from .scenario import Fault

STOPPED, FAILED, USAGE = 130, 1, 2

EPILOG = """\
Without --target everything is started on loopback, on free ports, and ended again.
With it, requests go to that origin and to no other; scenarios that a deployment
cannot have are listed with the reason.

  load-tests/run --only bearer,session --seconds 10
  portcullis-demo token alice |
    load-tests/run --target http://localhost:8080 --tokens - --only bearer
  load-tests/run --target https://desk.example.com --mint iam.pem --claims c.json \\
    --organisation 6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11 --ramp 100:2000 --seconds 60

Ctrl-C ends the run and reports what there is so far; a second one gives up.
Exit code 0: all was answered as expected; 1: something was not; 2: the command
line, a scenario or what it needs is at fault; 130: ended by Ctrl-C, with a report.
"""


def parser():
    made = argparse.ArgumentParser(
        prog="load-tests/run",
        description="Asks a gateway by scenarios, and reports what it did.",
        epilog=EPILOG,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(
            prog, max_help_position=26, width=80
        ),
        allow_abbrev=False,
    )
    made.add_argument("--list", action="store_true", help="list the scenarios and end")
    made.add_argument("--only", metavar="NAMES", help="scenarios, separated by commas")
    made.add_argument("--scenarios", metavar="DIR", help="scenarios of your own")
    made.add_argument(
        "--out", metavar="DIR", default="target/load-test",
        help="where the report goes [%(default)s]",
    )
    how = made.add_argument_group("how long and how fast")
    how.add_argument("--rounds", type=whole, default=3, metavar="N", help="rounds [3]")
    how.add_argument(
        "--seconds", type=whole, default=3, metavar="S", help="of each scenario in a round [3]"
    )
    how.add_argument(
        "--connections", type=whole, metavar="N", help="at once, in place of the scenario's"
    )
    rate = how.add_mutually_exclusive_group()
    rate.add_argument(
        "--rate", type=positive, metavar="R",
        help="requests a second, open loop, in place of as fast as it is answered",
    )
    rate.add_argument(
        "--ramp", type=ramp, metavar="A:B",
        help=f"the same in {running.STEPS} steps from A to B a second",
    )
    rate.add_argument(
        "--closed", action="store_true", help="leave open loops out, which need oha"
    )
    there = made.add_argument_group("a deployment")
    there.add_argument("--target", metavar="URL", help="its origin; the only place that is asked")
    there.add_argument("--admin", metavar="URL", help="its admin listener: CPU, memory, counters")
    there.add_argument(
        "--direct", metavar="URL", help="the upstream's origin, to measure what the gateway adds"
    )
    there.add_argument(
        "--insecure", action="store_true", help="take any certificate [authorities of the system]"
    )
    there.add_argument("--tokens", metavar="FILE", help="IAM tokens, one a line; - is stdin")
    there.add_argument("--mint", metavar="KEY", help="PEM of a key that the gateway trusts")
    there.add_argument("--claims", metavar="FILE", help="with --mint: claims of a token, as JSON")
    there.add_argument("--kid", metavar="ID", help="with --mint: the key's id [name of the file]")
    there.add_argument("--cookie", metavar="FILE", help="a session: the value of Cookie")
    there.add_argument("--ids", metavar="FILE", help="ids of credentials that exist, one a line")
    there.add_argument(
        "--organisation", metavar="UUID", default=provider.ORGANISATION,
        help="of the requests [the demo's Acme]",
    )
    here = made.add_argument_group("loopback")
    here.add_argument(
        "--binaries", metavar="DIR", default="target/release",
        help="where portcullis and portcullis-demo are [%(default)s]",
    )
    here.add_argument("--threads", type=whole, default=1, metavar="N", help="of the gateway [1]")
    here.add_argument("--gateway-cores", metavar="LIST", help="its cores [as many, from 0]")
    here.add_argument("--other-cores", metavar="LIST", help="of all else [those that are left]")
    made.add_argument("--oha", metavar="FILE", help="oha's binary [beside the report, or in PATH]")
    return made


def number(text, kind, least, what):
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not least <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return value


def whole(text):
    return number(text, int, 1, "a whole number from 1 on")


def positive(text):
    return number(text, float, 1, "a number from 1 on")


def ramp(text):
    first, colon, last = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is not A:B, such as 100:2000")
    return positive(first), positive(last)


def main(words):
    options = parser().parse_args(words)
    heed_signals()
    try:
        check(options)
        every = scenarios.load_all(options.scenarios)
        if options.list:
            return listed(every)
        return run(options, scenarios.choose(every, options.only), words)
    except Fault as fault:
        print(f"load-tests/run: {fault}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("load-tests/run: stopped before anything was measured", file=sys.stderr)
        return STOPPED


def heed_signals():
    """What asks us to end gets the results so far, and what we started is ended."""
    # A shell's background job ignores Ctrl-C unless it says otherwise.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)


def check(options):
    """What belongs together, and what does not."""
    there = ("admin", "direct", "insecure", "tokens", "mint", "claims", "kid", "cookie", "ids")
    if not options.target:
        for name in there:
            if getattr(options, name):
                raise Fault(f"--{name} is for a deployment: say which by --target")
    if options.mint and options.tokens:
        raise Fault("--mint and --tokens exclude each other")
    if bool(options.mint) != bool(options.claims):
        raise Fault("--mint KEY and --claims FILE belong together")
    for name in ("target", "admin", "direct"):
        if value := getattr(options, name):
            setattr(options, name, deployment.origin_of(value, f"--{name}"))


def listed(every):
    for one in every.values():
        alone = " (Loopback alone.)" if one.loopback_only else ""
        print(textwrap.fill(
            f"{one.name:14} {one.about}{alone}", 80, subsequent_indent=" " * 15
        ))
    return 0


def run(options, chosen, words):
    if options.insecure:
        client.Trust.everybody()
    about = {"machine": machine.describe()}
    told = progress.Progress()
    with tempfile.TemporaryDirectory(prefix="load-test-") as directory:
        with site(options, directory) as place:
            refuse_ended(place.callers)
            pace = running.Pace(
                options.rounds, options.seconds, options.connections, options.rate, options.ramp,
                options.closed,
            )
            going = running.Running(
                place, directory, pace, told, cores=getattr(place, "other_cores", None),
                find_oha=options.oha or oha(options.out),
            )
            wanted, refused = going.sort_out(chosen)
            for name, why in refused:
                told.say(f"{name}: not run, {why}")
            if not wanted:
                raise Fault("no scenario is left to run")
            everything = running.entries(wanted, pace, bool(place.direct))
            going.check_tools(everything)
            complete = going.run(everything)
            about |= {
                "versions": versions(place, going.find_oha),
                "command": shlex.join(["load-tests/run", *words]),
                "target": place.name,
                "pace": {"rounds": pace.rounds, "seconds": pace.seconds},
                "threads": options.threads if not options.target else None,
                "stopped": not complete,
            }
    values = report.document(everything, refused, about)
    if not values["entries"]:
        raise KeyboardInterrupt
    write(values, options.out)
    told.say(f"report: {os.path.join(options.out, 'report.html')}")
    if not complete:
        return STOPPED
    return FAILED if report.faults(values) else 0


def site(options, directory):
    if options.target:
        mint = tokens = cookie = ids = None
        if options.mint:
            kid = options.kid or callers.key_id(options.mint)
            mint = callers.Mint.of_options(options.mint, kid, options.claims)
        if options.tokens:
            tokens = callers.read_tokens(options.tokens)
        if options.cookie:
            cookie = callers.read_lines(options.cookie, "--cookie")[0]
        if options.ids:
            ids = callers.read_lines(options.ids, "--ids")
        who = callers.Callers(options.organisation, mint, tokens or (), cookie, ids or ())
        admin = metrics.Admin(options.admin) if options.admin else None
        return deployment.Deployment(options.target, who, admin, options.direct)
    from .stage import Stage

    cores = os.cpu_count() or 1
    mine = options.gateway_cores or listing(0, min(options.threads, max(cores - 1, 1)))
    first = min(options.threads, cores - 1)
    others = options.other_cores or listing(first, cores)
    # The access log is open to nginx's worker, which is another user where root starts it.
    os.chmod(directory, 0o755)
    return Stage(directory, options.binaries, mine, others, options.threads)


def listing(first, end):
    return f"{first}" if end - first < 2 else f"{first}-{end - 1}"


def refuse_ended(who):
    """Tokens that have ended would be counted as the gateway's refusals."""
    ends = [end for end in map(callers.expiry, who.given) if isinstance(end, int | float)]
    if ends and min(ends) <= time.time():
        raise Fault("a token of --tokens has ended already")


def oha(out):
    """oha as `make load-test` installs it, or as the machine has it."""
    installed = os.path.join(os.path.dirname(out.rstrip("/")), "tools", "bin", "oha")
    return installed if os.access(installed, os.X_OK) else "oha"


def versions(place, find_oha):
    found = {**place.versions(), "wrk": machine.package("wrk")}
    if shutil.which("h2load"):
        found["h2load"] = machine.first_line("h2load", "--version")
    if shutil.which(find_oha):
        found["oha"] = machine.first_line(find_oha, "--version")
    found["Python"] = sys.version.split()[0]
    return found


def write(values, out):
    try:
        os.makedirs(out, exist_ok=True)
        for name, text in (
            ("report.json", json.dumps(values, indent=None, separators=(",", ":"))),
            ("report.md", report.markdown(values)),
            ("report.html", page.page(values)),
        ):
            with open(os.path.join(out, name), "w") as file:
                file.write(text)
    except OSError as fault:
        raise Fault(f"--out {out}: {fault.strerror}") from None
    print(report.markdown(values))
