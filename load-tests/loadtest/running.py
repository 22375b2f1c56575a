"""Scenarios in interleaved rounds: what is asked when, and what came of it."""

import dataclasses
import shutil
import urllib.parse

from . import client, generator, h2load, latency, metrics, oha, own, prepared, rounds, wrk
from .scenario import Fault, Scenario
from .watching import INTERVAL, Watching

# Streams of HTTP/2 on each connection.
STREAMS = 16
# Steps of a ramp.
STEPS = 8
BROUGHT_BY = {
    "wrk": "tests/install-prerequisites load brings it",
    "h2load": "tests/install-prerequisites load brings it",
    "oha": "`make load-test` installs it, and --closed does without",
}


@dataclasses.dataclass
class Entry:
    """One line of the report: a scenario in one mode."""

    scenario: Scenario
    # closed: as fast as it is answered. open: at a rate. direct: the same, past the gateway.
    mode: str
    # The part of the greatest throughput, or the rate itself; a ramp has two.
    part: float | None = None
    rates: tuple = ()
    done: list = dataclasses.field(default_factory=list)

    @property
    def name(self):
        at = f" at {self.part:.0%}" if self.part else ""
        if not self.part and len(self.rates) == 1:
            at = f" at {self.rates[0]:g}/s"
        if len(self.rates) > 1:
            at = f" from {self.rates[0]:g} to {self.rates[-1]:g}/s"
        return self.scenario.name + at + (" direct" if self.mode == "direct" else "")


@dataclasses.dataclass
class Pace:
    """How long, how often, and how fast where the scenario does not say."""

    rounds: int = 3
    seconds: float = 3
    connections: int | None = None
    rate: float | None = None
    ramp: tuple | None = None
    # Whether open loops are left out.
    closed: bool = False


def entries(scenarios, pace, has_direct):
    found = []
    for one in scenarios:
        if pace.rate or pace.ramp:
            found.append(Entry(one, "open", rates=(pace.rate,) if pace.rate else steps(*pace.ramp)))
            continue
        found.append(Entry(one, "closed"))
        for part in () if pace.closed else one.open_at:
            found.append(Entry(one, "open", part=part))
            if one.direct and has_direct:
                found.append(Entry(one, "direct", part=part))
    return found


def turn(everything, number):
    """The order of one round. What belongs to a scenario stays together, its closed loop first."""
    scenarios = list(dict.fromkeys(entry.scenario.name for entry in everything))
    found = []
    for name in rounds.order(scenarios, number):
        own = [entry for entry in everything if entry.scenario.name == name]
        closed = [entry for entry in own if entry.mode == "closed"]
        open_loops = [entry for entry in own if entry.mode != "closed"]
        found += closed + (open_loops[::-1] if number % 2 else open_loops)
    return found


def steps(first, last, count=STEPS):
    return tuple(first + (last - first) * n / (count - 1) for n in range(count))


def open_loop_refusal(scenario):
    """Why a scenario has no fixed rate; None when it has."""
    if scenario.kind != "requests":
        return f"no generator here asks {scenario.kind} at a fixed rate"
    if len(scenario.requests) > 1 or scenario.callers > 1 or scenario.requests[0].ids > 1:
        return "oha sends one request of one caller, so mixtures have no fixed rate"
    return None


class Running:
    """Goes through all rounds. `site` is a stage or a deployment."""

    def __init__(self, site, directory, pace, progress, cores=None, find_oha="oha"):
        self.site, self.directory, self.pace, self.progress = site, directory, pace, progress
        self.cores, self.find_oha = cores, find_oha
        self.files = {}

    def sort_out(self, chosen):
        """Which of the scenarios can be asked here, and why the others cannot."""
        wanted, refused = [], []
        open_loop = self.pace.rate or self.pace.ramp
        for one in chosen:
            why = self.site.refusal(one) or (open_loop_refusal(one) if open_loop else None)
            if not why and self.site.foreign:
                # A gateway of somebody else's has other routes; the rest can be asked all the same.
                try:
                    self.files[one.name] = self.prepare(one, self.site.origin(one))
                except Fault as fault:
                    why = str(fault).removeprefix(f"{one.name}: ")
            if why:
                refused.append((one.name, why))
                continue
            wanted.append(one)
            if (given := self.site.callers.count(one.callers)) < one.callers:
                self.progress.say(f"{one.name}: {given} callers, not {one.callers:,}")
        return wanted, refused

    def check_tools(self, everything):
        """Whether all generators are there, before the first is needed."""
        wanted = set()
        for entry in everything:
            if entry.mode != "closed":
                wanted.add(self.find_oha)
            elif entry.scenario.kind in ("storm", "http2"):
                wanted.add("h2load")
            elif entry.scenario.kind == "requests":
                wanted.add("wrk")
        for name in sorted(wanted):
            if shutil.which(name) is None:
                raise Fault(f"{name} is missing; {BROUGHT_BY.get(name, BROUGHT_BY['oha'])}")

    def run(self, everything):
        """Whether all of it was done; what was done stands in the entries."""
        self.everything = everything
        total = len(everything) * self.pace.rounds
        try:
            for number in range(self.pace.rounds):
                for at, entry in enumerate(turn(everything, number)):
                    done = number * len(everything) + at
                    self.progress.at(done, total, number + 1, self.pace.rounds, entry.name)
                    entry.done.append(self.round(entry))
                    self.progress.tell(entry, entry.done[-1])
        except (generator.Stopped, KeyboardInterrupt):
            return False
        finally:
            self.progress.end()
        return True

    def round(self, entry):
        scenario = entry.scenario
        origin = self.site.origin(scenario)
        if scenario.name not in self.files:
            self.files[scenario.name] = self.prepare(scenario, origin)
        self.site.before(scenario)
        admin = self.site.admin(scenario)
        before = admin.counts(scenario.counter) if admin and scenario.counter else {}
        stopped = False
        with Watching(self.site.watched(scenario), INTERVAL if self.cores else 1.0) as watching:
            try:
                found = self.ask(entry, origin)
            except generator.Stopped as early:
                if early.measured is None or not early.measured.requests:
                    raise
                found, stopped = early.measured, True
        counted = {}
        if admin and scenario.counter:
            counted = metrics.grown(before, admin.counts(scenario.counter))
        result = self.result(entry, found, watching, counted)
        if stopped:
            entry.done.append(result)
            raise generator.Stopped(found)
        return result

    def prepare(self, scenario, origin):
        """The requests in a file; each kind has been asked once, and answered as is expected."""
        everything, order, kinds = prepared.prepare(scenario, self.site.callers)
        # A storm has to find everything cold; the others ask in their own way.
        if scenario.kind in ("requests", "http2"):
            for one in kinds:
                verify(scenario, origin, one)
        path = f"{self.directory}/{scenario.name}.requests"
        prepared.write(path, everything, order, urllib.parse.urlsplit(origin).netloc)
        return path, everything

    def ask(self, entry, origin):
        scenario, pace = entry.scenario, self.pace
        connections = self.site.clients(pace.connections or scenario.connections)
        path, everything = self.files[scenario.name]
        one, url = everything[0], origin + everything[0].path
        if entry.mode != "closed":
            return self.open_loop(entry, one, origin, connections)
        if scenario.kind == "storm":
            headers = {**one.headers, "Authorization": f"Bearer {self.site.callers.stranger()}"}
            return h2load.storm(url, headers, connections, self.directory, self.cores)
        if scenario.kind == "http2":
            return h2load.closed_loop(
                url, one.headers, connections, STREAMS, pace.seconds, self.directory, self.cores
            )
        asked = {"url": url, "connections": connections, "seconds": pace.seconds}
        if scenario.kind == "websocket":
            asked |= {"headers": one.headers, "bytes": len(one.body)}
            asked["url"] = "ws" + url.removeprefix("http")
            return own.run("websocket", asked, self.directory, self.cores)
        if scenario.kind == "login":
            return own.run("logins", asked, self.directory, self.cores)
        return wrk.closed_loop(url, path, connections, pace.seconds, self.directory, self.cores)

    def open_loop(self, entry, one, origin, connections):
        rates = entry.rates or (self.rate_of(entry),)
        target = self.site.direct if entry.mode == "direct" else origin
        seconds = self.pace.seconds / len(rates)
        found, until = [], 0.0
        for rate in rates:
            try:
                found.append((until, oha.open_loop(
                    target + one.path, one, connections, rate, seconds, self.directory,
                    self.cores, self.find_oha,
                )))
            except generator.Stopped as early:
                if early.measured:
                    found.append((until, early.measured))
                raise generator.Stopped(joined(found) if found else None) from None
            until += seconds
        return joined(found)

    def rate_of(self, entry):
        """A part of what the gateway carried a moment before."""
        for other in self.everything:
            if other.scenario is entry.scenario and other.mode == "closed" and other.done:
                return max(1, round(other.done[-1]["per_second"] * entry.part))
        raise Fault(f"{entry.name}: its greatest throughput was not measured")

    def result(self, entry, found, watching, counted):
        scenario = entry.scenario
        asked = max(found.requests, 1)
        past = entry.mode == "direct"
        names = [name for name in watching.used if not (past and name == "gateway")]
        cpu = {
            name: watching.used[name] / asked * 1e6
            for name in names
            if watching.used[name] >= getattr(watching.watched[name], "least_cpu", 0)
        }
        cpu["generator"] = found.generator_cpu / asked * 1e6
        unexpected = found.unexpected(scenario.expected)
        return {
            "requests": found.requests,
            "seconds": found.seconds,
            "per_second": found.per_second,
            "shown": latency.shown(found.latency),
            "latency": found.latency,
            "statuses": found.statuses,
            "errors": found.errors,
            "unexpected": unexpected,
            "faults": faults(scenario, found, counted, unexpected, entry.mode),
            "rate": found.rate,
            "p99_line": found.p99_line,
            "cpu_us": cpu,
            "cpu_line": {name: watching.lines[name] for name in names},
            "memory_mib": {name: watching.most[name] for name in names},
            "counted": counted,
            "command": found.command,
        }


def faults(scenario, found, counted, unexpected, mode):
    """What was not as the scenario has it, in words."""
    said = []
    # A rate that is not carried is what an open loop finds out, and no fault.
    wrong = unexpected - (found.errors.get(oha.LATE, 0) if mode != "closed" else 0)
    if wrong:
        said.append(f"{wrong} of {found.requests} not answered as expected")
    if not found.requests:
        said.append("nothing was answered")
    if counted and mode == "closed":
        for outcome, (least, most) in scenario.counted.items():
            count = counted.get(outcome, 0)
            if not least <= count <= most:
                said.append(f"{scenario.counter} {outcome}: {count}, not {least} to {most}")
    return said


def joined(parts):
    """Rates one after the other, as one round."""
    if len(parts) == 1:
        return parts[0][1]
    first = parts[0][1]
    whole = dataclasses.replace(
        first, requests=0, seconds=0.0, statuses={}, errors={}, rate=[], p99_line=[],
        generator_cpu=0.0,
    )
    weighted = []
    for start, part in parts:
        whole.requests += part.requests
        whole.seconds += part.seconds
        whole.generator_cpu += part.generator_cpu
        whole.rate += [[start + at, rate] for at, rate in part.rate]
        whole.p99_line += [[start + at, value] for at, value in part.p99_line]
        for mine, theirs in ((whole.statuses, part.statuses), (whole.errors, part.errors)):
            for key, count in theirs.items():
                mine[key] = mine.get(key, 0) + count
        weighted.append((part.latency, part.requests))
    whole.latency = latency.pooled(weighted)
    whole.command = f"{first.command}  # and {len(parts) - 1} more rates"
    return whole


def verify(scenario, origin, one):
    """Whether a request is answered as the scenario says, before anything is measured."""
    try:
        answer = client.request(origin + one.path, one.headers, one.method, one.body)
    except OSError as fault:
        raise Fault(f"{scenario.name}: {origin} does not answer: {fault}") from None
    if answer.status not in one.expect:
        expected = " or ".join(map(str, one.expect))
        raise Fault(
            f"{scenario.name}: {one.method} {one.path} is answered with {answer.status}, "
            f"expected {expected}: {answer.body[:300].decode(errors='replace')}"
        )
