"""Requests as they are sent: places filled in, credentials added, in the order of their weights."""

import dataclasses
import math
import random
import urllib.parse
import uuid

# The same order in every run.
SEED = 20261201
# Ids that look like Core's and are the same in every run.
NAMESPACE = uuid.UUID("6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11")


@dataclasses.dataclass(frozen=True)
class Prepared:
    method: str
    path: str
    headers: dict
    body: bytes
    expect: tuple

    def raw(self, host):
        """As HTTP/1.1 writes it."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body or self.method in ("PATCH", "POST", "PUT"):
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


def variants(request, callers):
    """A request once for each of its callers and ids, whichever are more."""
    tokens = callers.tokens(request.credential, request.callers)
    cookie = callers.cookie() if request.credential == "session" else None
    ids = callers.ids(request.ids) if "{id}" in request.path + request.body else [""]
    for number in range(max(len(tokens), len(ids), 1)):
        token = tokens[number % len(tokens)] if tokens else ""
        values = {
            "organisation": callers.organisation,
            "token": urllib.parse.quote(token),
            "id": ids[number % len(ids)],
        }
        headers = dict(request.headers)
        # A token in the body is the credential by itself.
        if token and "{token}" not in request.body:
            headers["Authorization"] = f"Bearer {token}"
        if cookie:
            headers["Cookie"] = cookie
        body = fill(request.body, values).encode() or b"x" * request.body_bytes
        yield Prepared(request.method, fill(request.path, values), headers, body, request.expect)


def fill(text, values):
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def turns(requests, variants_of):
    """Which variant is sent when: numbers into all variants, one after the other.

    Every variant has its turn, and each kind of request its weight's part.
    """
    times = max(
        math.ceil(len(each) / request.weight)
        for request, each in zip(requests, variants_of, strict=True)
    )
    order, first = [], 0
    for request, each in zip(requests, variants_of, strict=True):
        order += [first + n % len(each) for n in range(times * request.weight)]
        first += len(each)
    if len(requests) > 1:
        random.Random(SEED).shuffle(order)
    return order


def prepare(scenario, callers):
    """All that a scenario sends, in which turns, and one of each kind."""
    variants_of = [list(variants(request, callers)) for request in scenario.requests]
    everything = [one for each in variants_of for one in each]
    return everything, turns(scenario.requests, variants_of), [each[0] for each in variants_of]


def write(path, everything, order, host):
    """The file that `requests.lua` reads."""
    with open(path, "wb") as file:
        file.write(b"%d\n" % len(everything))
        for one in everything:
            raw = one.raw(host)
            file.write(b"%d\n%s\n" % (len(raw), raw))
        file.write(" ".join(str(number + 1) for number in order).encode())


def some_ids(count):
    return [str(uuid.uuid5(NAMESPACE, str(number))) for number in range(count)]
