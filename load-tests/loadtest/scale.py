"""What grows, and how it is asked at each size.

A growth has points. Each point is ready before any is measured, and all are measured in turns.
"""

import dataclasses
import http.client
import os
import statistics
import subprocess
import time
import urllib.parse
import uuid

from . import prepared, provider, wrk
from .process import free_port
from .scenario import Fault, Request
from .stage import template as stage_template
from .watching import MIB, Watching

TARGET = "/api/credential/v1?page=0&pageSize=20&organisationId={organisation}"
BEARER = Request(TARGET, credential="bearer")
# Logins of the sessions that are asked with; a login is slow, and what it leaves is alike.
LOGINS = 50


@dataclasses.dataclass
class Point:
    """One size, ready to be asked."""

    size: int
    gateway: object
    requests: str
    url: str
    connections: int = 32
    # At least so long, where it takes a while until all is as it will stay.
    seconds: float = 0
    # What the gateway's memory is here, in MiB, and of what else.
    memory: dict = dataclasses.field(default_factory=dict)
    done: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Growth:
    name: str
    title: str
    # What a size counts.
    unit: str
    points: list
    # Figures of the whole growth: (what, value, unit).
    facts: list = dataclasses.field(default_factory=list)
    notes: str = ""
    # Whether one gateway is asked at all sizes, so that its memory says nothing of one.
    one_gateway: bool = False


# The first part of each time is connecting, and does not count.
STEADY = 0.4


def measure(stage, point, seconds):
    stage.before(None)
    settle(point.gateway)
    seconds = max(seconds, point.seconds)
    with Watching({"gateway": point.gateway.server}) as watching:
        found = wrk.closed_loop(
            point.url, point.requests, point.connections, seconds, stage.directory,
            stage.other_cores,
        )
    if wrong := found.unexpected([200]):
        raise Fault(f"{point.size}: {wrong} of {found.requests} not answered with 200")
    times = dict(map(tuple, found.latency))
    # Of a part of both lines, so that it is the CPU of the requests of that part.
    busy = [cores for at, cores in watching.lines["gateway"] if at >= STEADY * seconds]
    fast = [rate for at, rate in found.rate if at >= STEADY * seconds]
    if not busy or not fast or not sum(fast):
        raise Fault(f"{point.size}: nothing was answered in the last part of {seconds} s")
    return {
        "cpu_us": statistics.mean(busy) / statistics.mean(fast) * 1e6,
        "per_second": statistics.mean(fast),
        "requests": found.requests,
        "p50_ms": times.get(0.5),
        "p99_ms": times.get(0.99),
    }


def settle(gateway, patience=60):
    """Until the connections of the last measurement are closed, whose end costs CPU as well."""
    deadline = time.monotonic() + patience
    while gateway.admin.one("portcullis_connections"):
        if time.monotonic() > deadline:
            raise Fault(f"{gateway.origin}: connections stay open")
        time.sleep(0.05)


def written(stage, name, requests, gateway, cookies=None):
    """The file of what is asked, and where."""
    everything = [one for each in requests for one in prepared.variants(each, stage.callers)]
    if cookies:
        everything = [
            dataclasses.replace(everything[0], headers={"Cookie": cookie}) for cookie in cookies
        ]
    path = os.path.join(stage.directory, f"{name}.requests")
    host = urllib.parse.urlsplit(gateway.origin).netloc
    prepared.write(path, everything, range(len(everything)), host)
    return path, gateway.origin + everything[0].path


def resident(gateway):
    return gateway.server.resident_bytes() / MIB


def template():
    return stage_template("issuer.yaml")


def routes(stage, full):
    """The route that is asked stands among so many others."""
    points = []
    for size in (10, 100, 1_000, 10_000):
        more = "".join(
            f"  - {{ path: '/service{n // 10}/{'abcdefghij'[n % 10]}/{{id}}', "
            "permissions: [CREDENTIAL_LIST], upstream: core }\n"
            for n in range(size)
        )
        text = template().replace("routes:\n", "routes:\n" + more)
        gateway = stage.gateway(f"routes-{size}", text)
        points.append(Point(size, gateway, *written(stage, f"routes-{size}", [BEARER], gateway)))
    return Growth("routes", "Routes", "routes", points)


# Roles that each organisation has.
ROLES = 10


def mappings(stage, full):
    """Organisations with ten roles each; the caller has one role in one of them."""
    roles = "".join(f"  role-{n}: {{ '*': [ reader ] }}\n" for n in range(ROLES))
    growth = Growth("organisations", "Role mappings, ten for each organisation", "mappings", [])
    for size in (10, 1_000, 10_000, 100_000):
        growth.points.append(organised(stage, size, size // ROLES, lambda text: text.replace(
            "upstreams:\n", roles + "upstreams:\n"
        )))
    return growth


def memberships(stage, full):
    """One role that counts in all of so many organisations, as an administrator's does."""
    growth = Growth("memberships", "Organisations that one caller may act in", "organisations", [])
    for size in (1, 100, 1_000, 10_000):
        growth.points.append(organised(stage, size, size, lambda text: text.replace(
            "organization_admin: { @ORGANISATION@:", "organization_admin: { '*':"
        )))
    return growth


def organised(stage, size, organisations, change):
    """A gateway with so many organisations beside the caller's."""
    more = "".join(
        f"  {uuid.UUID(int=2**100 + n)}: {{ name: Other }}\n" for n in range(organisations - 1)
    )
    name = f"organisations-{size}"
    gateway = stage.gateway(name, change(template()).replace("iam_roles:\n", more + "iam_roles:\n"))
    return Point(size, gateway, *written(stage, name, [BEARER], gateway))


def tokens(stage, full):
    """So many callers take turns; each was verified and has its app token before."""
    # Tokens that end during the run would be minted again.
    gateway = stage.gateway("tokens", template().replace("endpoint: true", "lifetime: 1h"))
    growth = Growth("tokens", "Different tokens, all of them remembered", "tokens", [])
    before = None
    for size in (1, 100, 1_000, 10_000, 100_000 if full else 30_000):
        request = dataclasses.replace(BEARER, callers=size)
        point = Point(size, gateway, *written(stage, f"tokens-{size}", [request], gateway))
        # Each run begins with the first, so one has to last until the last.
        seconds = 1
        while measure(stage, point, seconds)["requests"] < size:
            seconds *= 2
        point.memory["gateway"] = resident(gateway)
        before = before or point.memory["gateway"]
        growth.points.append(point)
    added = (point.memory["gateway"] - before) * 1024 / point.size
    growth.facts.append(("memory of a remembered token with its app token", added, "KiB"))
    return growth


def sessions(stage, full):
    """Redis holds so many records; 50 sessions among them take turns."""
    growth = Growth("sessions", "Sessions in Redis", "sessions", [])
    growth.notes = (
        f"{LOGINS} sessions of real logins are asked with; the others are copies of their records "
        "under other names, which Redis cannot tell apart."
    )
    # A Redis for each size, so that all are measured in turns.
    for size in (100, 1_000, 10_000, 100_000, *([1_000_000] if full else [])):
        port = free_port()
        redis = stage.servers.start(
            f"redis-{size}",
            ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir",
             stage.directory],
            stage.other_cores,
        )
        wait_for_redis(port, redis)
        store = f"  store: {{ redis: {{ url: 'redis://127.0.0.1:{port}/0' }} }}\n"
        text = template().replace("sts:\n", store + "sts:\n", 1)
        gateway = stage.gateway(f"sessions-{size}", text)
        empty = redis.resident_bytes()
        cookies = [stage.log_in(gateway) for _ in range(LOGINS)]
        copied = multiply(port, size)
        path, url = written(
            stage, f"sessions-{size}", [dataclasses.replace(BEARER, credential="none")],
            gateway, cookies,
        )
        point = Point(size, gateway, path, url)
        point.memory["redis"] = redis.resident_bytes() / MIB
        growth.points.append(point)
    growth.facts.append((
        "memory of a session in Redis", (redis.resident_bytes() - empty) / 1024 / copied, "KiB"
    ))
    return growth


# One call for at most so many keys, since a script holds everybody up.
COPIES = 20_000


def multiply(port, size):
    """Copies records of sessions until Redis holds so many keys; says how many it then holds."""
    def redis(*words):
        done = subprocess.run(
            ["redis-cli", "-p", str(port), *map(str, words)], capture_output=True, text=True
        )
        if done.returncode != 0 or done.stdout.startswith("ERR"):
            raise Fault(f"redis-cli {words[0]}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    # The greatest record is that of a session; others are small and few.
    keys = redis("KEYS", "*").splitlines()
    largest = max(keys, key=lambda key: int(redis("MEMORY", "USAGE", key)))
    script = "for n = ARGV[1], ARGV[2] do redis.call('COPY', KEYS[1], KEYS[1] .. ':' .. n) end"
    for first in range(0, max(0, size - len(keys)), COPIES):
        last = min(first + COPIES, size - len(keys)) - 1
        redis("EVAL", script, 1, largest, first, last)
    return int(redis("DBSIZE"))


def wait_for_redis(port, server):
    deadline = time.monotonic() + 20
    while True:
        done = subprocess.run(
            ["redis-cli", "-p", str(port), "ping"], capture_output=True, text=True
        )
        if done.stdout.strip() == "PONG":
            return
        if server.process.poll() is not None or time.monotonic() > deadline:
            raise Fault(f"Redis does not start: {server.said()}")
        time.sleep(0.05)


def connections(stage, full):
    """So many connections ask at once; memory is that of connections that ask once and stay."""
    growth = Growth("connections", "Connections", "connections", [], one_gateway=True)
    quiet = stage.gateway("idle", template())
    before = resident(quiet)
    with Idle(quiet, stage.callers, stage.clients(10_000) - 500) as held:
        added = (resident(quiet) - before) * 1024 / held.count
    stage.end_gateway("idle")
    gateway = stage.gateway("connections", template())
    path, url = written(stage, "connections", [BEARER], gateway)
    growth.facts.append((f"memory of a connection, {held.count:,} idle ones", added, "KiB"))
    for size in (1, 10, 100, 1_000, 10_000):
        size = stage.clients(size)
        growth.points.append(Point(
            size, gateway, path, url, connections=size, seconds=2 + size // 1_000
        ))
    return growth


class Idle:
    """Kept connections, each of which has been answered once."""

    def __init__(self, gateway, callers, count):
        self.gateway, self.callers, self.count = gateway, callers, count
        self.open = []

    def __enter__(self):
        host, _, port = urllib.parse.urlsplit(self.gateway.origin).netloc.partition(":")
        one = next(iter(prepared.variants(BEARER, self.callers)))
        for _ in range(self.count):
            connection = http.client.HTTPConnection(host, int(port), timeout=30)
            connection.request(one.method, one.path, headers=one.headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise Fault(f"connections: answered with {answer.status}")
            self.open.append(connection)
        return self

    def __exit__(self, *_):
        for connection in self.open:
            connection.close()


def threads(stage, full):
    """The gateway's threads, each on a core of its own where there are enough."""
    growth = Growth("threads", "Threads", "threads", [])
    cores = os.cpu_count() or 1
    growth.notes = (
        f"{cores} cores for everything: the generator and the upstream share them with the "
        "gateway, so throughput of two threads says little."
        if cores < 4 else ""
    )
    for size in (1, 2, *([4] if cores >= 8 else [])):
        kept, stage.gateway_cores = stage.gateway_cores, f"0-{size - 1}" if size > 1 else "0"
        gateway = stage.gateway(f"threads-{size}", template(), THREADS=size)
        stage.gateway_cores = kept
        path, url = written(stage, f"threads-{size}", [BEARER], gateway)
        growth.points.append(Point(size, gateway, path, url))
    return growth


def bodies(stage, full):
    """An answer of so many bytes."""
    gateway = stage.gateway("bodies", template())
    growth = Growth("bodies", "Size of an answer", "KiB", [], one_gateway=True)
    for size in (1, 16, 128, 1_024, 8_192):
        with open(os.path.join(stage.directory, f"down-{size}"), "wb") as file:
            file.write(b"x" * size * 1024)
        request = dataclasses.replace(
            BEARER, path=f"/bodies/down-{size}?organisationId={{organisation}}"
        )
        path, url = written(stage, f"bodies-{size}", [request], gateway)
        growth.points.append(Point(size, gateway, path, url, connections=8))
    return growth


GROWTHS = {
    "routes": routes,
    "organisations": mappings,
    "memberships": memberships,
    "tokens": tokens,
    "sessions": sessions,
    "connections": connections,
    "threads": threads,
    "bodies": bodies,
}
