"""A scenario: what is asked, by whom, how fast, and what has to be answered.

One TOML file each; `load-tests/README.md` lists the keys. What a file says wrongly is told with
the name of the file and of the key, before anything is started.
"""

import dataclasses
import os
import tomllib

KINDS = ("requests", "storm", "http2", "websocket", "login")
CREDENTIALS = ("none", "bearer", "unpermitted", "session")
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
# What may stand in a path or a body, in braces.
PLACES = ("organisation", "token", "id")


class Fault(Exception):
    """What is wrong, in words for whoever wrote it."""


@dataclasses.dataclass(frozen=True)
class Request:
    """One kind of request of a scenario."""

    path: str
    method: str = "GET"
    credential: str = "none"
    # How many different callers, each with a token of their own.
    callers: int = 1
    # How many different ids take the place of {id}.
    ids: int = 1
    headers: dict = dataclasses.field(default_factory=dict)
    # Text, or so many bytes of it.
    body: str = ""
    body_bytes: int = 0
    # Its part of all requests.
    weight: int = 1
    # The statuses that are right.
    expect: tuple = (200,)


@dataclasses.dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    about: str
    kind: str
    requests: tuple
    # The gateway that it needs on loopback: a file in `gateways` beside the scenarios.
    gateway: str = "issuer"
    connections: int = 32
    # Parts of the greatest throughput of the same run at which it is asked with open loop.
    open_at: tuple = ()
    # Whether the same load goes straight to the upstream as well.
    direct: bool = False
    # Why it cannot be asked of a deployment; empty where it can.
    loopback_only: str = ""
    # A counter of the gateway, by outcome, that belongs into the report.
    counter: str = ""
    # Bounds on that counter over a round: { outcome: [least, most] }.
    counted: dict = dataclasses.field(default_factory=dict)

    @property
    def credentials(self):
        return {request.credential for request in self.requests}

    @property
    def callers(self):
        """The most callers that one of its requests wants."""
        return max((r.callers for r in self.requests if r.credential != "none"), default=0)

    @property
    def expected(self):
        return sorted({status for request in self.requests for status in request.expect})


def directory():
    here = os.path.dirname(os.path.abspath(__file__))
    return os.path.join(os.path.dirname(here), "scenarios")


def load_all(folder=None):
    """Every scenario of a folder, by name, in the order of their `order` key."""
    folder = folder or directory()
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".toml"))
    except OSError as fault:
        raise Fault(f"{folder}: {fault.strerror}") from None
    if not names:
        raise Fault(f"{folder} has no scenarios (*.toml)")
    found = []
    for name in names:
        with open(os.path.join(folder, name), "rb") as file:
            try:
                values = tomllib.load(file)
            except tomllib.TOMLDecodeError as fault:
                raise Fault(f"{name}: {fault}") from None
        order = values.pop("order", 1000)
        found.append((order, parse(name.removesuffix(".toml"), values)))
    found.sort(key=lambda each: (each[0], each[1].name))
    return {scenario.name: scenario for _, scenario in found}


def choose(scenarios, only):
    """Those that `--only` names, in their own order."""
    if not only:
        return list(scenarios.values())
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in scenarios]
    if unknown:
        raise Fault(f"no scenario {', '.join(unknown)}; there are {', '.join(scenarios)}")
    return [scenario for scenario in scenarios.values() if scenario.name in wanted]


def parse(name, values):
    """A scenario of what its file says."""
    reading = _Reading(f"{name}.toml", values)
    scenario = Scenario(
        name=name,
        title=reading.text("title"),
        about=" ".join(reading.text("about").split()),
        kind=reading.word("kind", KINDS, "requests"),
        requests=tuple(_request(each) for each in reading.tables("request")),
        gateway=reading.text("gateway", "issuer"),
        connections=reading.number("connections", 32),
        open_at=reading.parts("open_at"),
        direct=reading.truth("direct"),
        loopback_only=reading.text("loopback_only", ""),
        counter=reading.text("counter", ""),
        counted=reading.bounds("counted"),
    )
    reading.end()
    if scenario.direct and not scenario.open_at:
        raise Fault(f"{name}.toml: direct: needs open_at, the rates that are compared")
    if scenario.counted and not scenario.counter:
        raise Fault(f"{name}.toml: counted: needs counter, what is counted")
    if scenario.kind != "requests" and len(scenario.requests) != 1:
        raise Fault(f"{name}.toml: request: kind {scenario.kind} asks in one way alone")
    if scenario.open_at and (len(scenario.requests) != 1 or scenario.requests[0].callers != 1):
        raise Fault(f"{name}.toml: open_at: oha sends one request of one caller again and again")
    return scenario


def _request(reading):
    path = reading.text("path")
    if not path.startswith("/"):
        raise Fault(f"{reading.where('path')}: has to begin with /")
    request = Request(
        path=path,
        method=reading.word("method", METHODS, "GET"),
        credential=reading.word("credential", CREDENTIALS, "none"),
        callers=reading.number("callers", 1),
        ids=reading.number("ids", 1),
        headers=reading.words("headers"),
        body=reading.text("body", ""),
        body_bytes=reading.number("body_bytes", 0, least=0),
        weight=reading.number("weight", 1),
        expect=reading.statuses("expect"),
    )
    reading.end()
    if request.body and request.body_bytes:
        raise Fault(f"{reading.where('body_bytes')}: there is a body already")
    for text, key in ((request.path, "path"), (request.body, "body")):
        for place in _places(text):
            if place not in PLACES:
                raise Fault(
                    f"{reading.where(key)}: {{{place}}} is none of "
                    + ", ".join(f"{{{known}}}" for known in PLACES)
                )
    return request


def _places(text):
    """The words in braces; JSON's own braces hold quotes or nothing."""
    pieces = text.split("{")[1:]
    inner = (piece.partition("}")[0] for piece in pieces if "}" in piece)
    return [word for word in inner if word.isalpha()]


class _Reading:
    """Takes the keys of a table one by one, and says which are left."""

    def __init__(self, place, values):
        self.place, self.values = place, dict(values)

    def where(self, key):
        return f"{self.place}: {key}"

    def end(self):
        if self.values:
            raise Fault(f"{self.where(next(iter(self.values)))}: no such key")

    def _take(self, key, kind, absent, what):
        if key not in self.values:
            if absent is None:
                raise Fault(f"{self.where(key)}: is missing")
            return absent
        value = self.values.pop(key)
        # A truth value is a number to Python.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise Fault(f"{self.where(key)}: {value!r} is not {what}")
        return value

    def text(self, key, absent=None):
        return self._take(key, str, absent, "a text")

    def truth(self, key):
        return self._take(key, bool, False, "true or false")

    def word(self, key, known, absent):
        value = self._take(key, str, absent, "a text")
        if value not in known:
            raise Fault(f"{self.where(key)}: {value!r} is none of {', '.join(known)}")
        return value

    def number(self, key, absent, least=1):
        value = self._take(key, int, absent, "a whole number")
        if value < least:
            raise Fault(f"{self.where(key)}: {value} is less than {least}")
        return value

    def parts(self, key):
        values = self._take(key, list, [], "a list of parts")
        for value in values:
            if not isinstance(value, float) or not 0 < value < 1:
                raise Fault(f"{self.where(key)}: {value!r} is not between 0.0 and 1.0")
        return tuple(values)

    def statuses(self, key):
        values = self._take(key, list, [200], "a list of statuses")
        for value in values:
            if not isinstance(value, int) or not 100 <= value <= 599:
                raise Fault(f"{self.where(key)}: {value!r} is no status")
        return tuple(values)

    def words(self, key):
        values = self._take(key, dict, {}, "a table of texts")
        for name, value in values.items():
            if not isinstance(value, str):
                raise Fault(f"{self.where(key)}.{name}: {value!r} is not a text")
        return values

    def bounds(self, key):
        values = self._take(key, dict, {}, "a table of [least, most]")
        for name, value in values.items():
            whole = isinstance(value, list) and all(isinstance(n, int) for n in value)
            if not whole or len(value) != 2 or value[0] > value[1]:
                raise Fault(f"{self.where(key)}.{name}: {value!r} is not [least, most]")
        return values

    def tables(self, key):
        values = self._take(key, list, None, "a list of tables")
        if not values:
            raise Fault(f"{self.where(key)}: is empty")
        return [_Reading(f"{self.place}: {key} {at}", each) for at, each in enumerate(values, 1)]
