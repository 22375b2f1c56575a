"""A gateway that somebody else runs: asked at the one URL that was named, and nowhere else."""

import urllib.parse

from . import client
from .process import raise_files
from .scenario import Fault


class Deployment:
    foreign = True

    def __init__(self, target, callers, admin=None, direct=None):
        self.name = self.target = target
        self.callers, self.admin_source, self.direct = callers, admin, direct

    def __enter__(self):
        try:
            client.request(self.target + "/")
        except OSError as fault:
            raise Fault(f"--target {self.target} does not answer: {fault}") from None
        if self.admin_source and not self.admin_source.reachable():
            raise Fault(f"--admin {self.admin_source.origin}: no metrics of Portcullis there")
        return self

    def __exit__(self, *_):
        pass

    def refusal(self, wanted):
        if wanted.loopback_only:
            return f"on loopback alone: {wanted.loopback_only}"
        return self.callers.lacks(wanted)

    def origin(self, _):
        return self.target

    def admin(self, _):
        return self.admin_source

    def watched(self, _):
        return {"gateway": self.admin_source} if self.admin_source else {}

    def clients(self, count):
        return min(count, max(1, raise_files() - 1000))

    def before(self, _):
        pass

    def versions(self):
        return {"Portcullis": self.admin_source.version()} if self.admin_source else {}


def origin_of(text, option):
    """An origin as one may type it: `host:port` is plain HTTP."""
    if "://" not in text:
        text = f"http://{text}"
    parts = urllib.parse.urlsplit(text)
    try:
        port = parts.port
    except ValueError:
        raise Fault(f"{option} {text}: the port is no number") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise Fault(f"{option} {text}: has to be an http or https URL")
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise Fault(f"{option} {text}: an origin has no path, query or user")
    return f"{parts.scheme}://{parts.netloc}"
