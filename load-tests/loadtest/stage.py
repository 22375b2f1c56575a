"""Everything on loopback: provider, upstream, token service, and a gateway for each need.

The gateways have their cores, all else has the others, so that what is measured is the gateway.
"""

import base64
import json
import os
import secrets
import sys
import urllib.request

from . import client, jose, machine, metrics, prepared, provider, scenario
from .callers import Callers, Mint
from .process import Servers, free_port, free_port_pair, raise_files

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# As many bytes as a page of a list has in Core.
BODY = json.dumps({"values": ["0123456789abcdef" * 4] * 14, "totalPages": 1, "totalItems": 14})
FILL = "0123456789abcdef" * 56
MEBIBYTE = 2**20
# How long the token service of a storm takes, so that all have to wait for it.
STORM_DELAY_MS = 3000
# Ids that exist.
IDS = 10_000


class Gateway:
    def __init__(self, server, origin, admin):
        self.server, self.origin, self.admin = server, origin, metrics.Admin(admin)


class Stage:
    """What stands on loopback for one run; leaving the block ends it."""

    name = "loopback"
    foreign = False

    def __init__(self, directory, binaries, gateway_cores="0", other_cores="1", threads=1):
        self.directory, self.binaries = directory, binaries
        self.gateway_cores, self.other_cores = gateway_cores, other_cores
        self.servers = Servers(directory)
        self.gateways, self.parts, self.cookie = {}, {}, None
        self.files = raise_files()
        self.values = {
            "DIRECTORY": directory,
            "FILES": min(self.files, 65_536),
            "BODY": BODY,
            "FILL": FILL,
            "THREADS": threads,
            "UPSTREAM": free_port(),
            "SECRET": secrets.token_hex(16),
            "SESSION_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "STS_KEY": os.path.join(directory, "sts.pem"),
            "ORGANISATION": provider.ORGANISATION,
        }
        for name in ("portcullis", "portcullis-demo"):
            if not os.access(self.binary(name), os.X_OK):
                raise scenario.Fault(
                    f"{self.binary(name)} is missing; `make load-test` builds it, or say where it "
                    "is by --binaries"
                )

    def __enter__(self):
        try:
            self._start()
        except BaseException:
            self.servers.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.servers.__exit__()

    def _start(self):
        port = free_port()
        self.issuer = self.values["ISSUER"] = origin(port)
        self.parts["provider"] = self._run(
            "provider",
            ["env", f"PYTHONPATH={HERE}", sys.executable, "-m", "loadtest.provider", port,
             self.directory, "EdDSA"],
            f"{self.issuer}/jwks",
        )
        key = provider.keys(self.directory, ["EdDSA"])["EdDSA"]
        jose.Key("EdDSA", self.values["STS_KEY"])
        with open(os.path.join(self.directory, "mebibyte"), "wb") as file:
            file.write(b"x" * MEBIBYTE)
        self.direct = origin(self.values["UPSTREAM"])
        self.parts["upstream"] = self._run(
            "upstream",
            ["nginx", "-p", self.directory, "-c", self.file("upstream.conf")],
            self.direct,
        )
        mint = Mint.of_provider(self.issuer, key)
        self.callers = Callers(
            provider.ORGANISATION, mint, cookie=self.session, ids=prepared.some_ids(IDS)
        )

    def binary(self, name):
        return os.path.join(self.binaries, name)

    def file(self, name, text=None, **values):
        """A configuration with its places filled in."""
        text = text or template(name)
        for key, value in {**self.values, **values}.items():
            text = text.replace(f"@{key}@", str(value))
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def gateway(self, name, text=None, **values):
        """The gateway of that configuration; started when it is first asked for."""
        if name not in self.gateways:
            self.gateways[name] = self._gateway(name, text, values)
        return self.gateways[name]

    def end_gateway(self, name):
        """Ends one whose turn is over."""
        gone = self.gateways.pop(name)
        self.servers.running.remove(gone.server)
        gone.server.stop()

    def _gateway(self, name, text, values):
        listen, admin = free_port(), free_port()
        text = text or template(f"{name}.yaml")
        if "@ECHO@" in text:
            self._start_echo()
        if "@STS@" in text:
            self._start_sts()
        values = {"LISTEN": listen, "ADMIN": admin, **values}
        config = self.file(f"{name}.yaml", text, **values)
        server = self.servers.start(
            name, [self.binary("portcullis"), "run", "--config", config], self.gateway_cores
        )
        server.wait_until_ready(origin(admin) + "/readyz")
        server.wait_until_ready(origin(listen))
        return Gateway(server, origin(listen), origin(admin))

    def session(self):
        """A session at the gateway of most scenarios; made when it is first asked for."""
        if self.cookie is None:
            self.cookie = self.log_in(self.gateway("issuer"))
        return self.cookie

    def log_in(self, gateway):
        """A new session there, as a `Cookie` header has it."""
        browser = client.Browser()
        browser.open(f"{gateway.origin}/api/credential/v1?organisationId={provider.ORGANISATION}")
        cookie = browser.cookie_header(gateway.origin)
        if not cookie:
            raise scenario.Fault(f"no session at {gateway.origin}: {gateway.server.said()}")
        return cookie

    def _start_echo(self):
        if "echo" in self.parts:
            return
        port = self.values["ECHO"] = free_port()
        self.parts["echo"] = self._run(
            "echo",
            ["env", f"PYTHONPATH={HERE}", sys.executable, "-m", "loadtest.websocket", "echo", port],
            origin(port),
        )

    def _start_sts(self):
        if "token service" in self.parts:
            return
        # Its control port is the next one.
        port = self.values["STS"] = free_port_pair()
        self.control = origin(port + 1)
        self.parts["token service"] = self._run(
            "sts",
            [self.binary("portcullis-demo"), "sts", "--port", port, "--iam-url", self.issuer],
            origin(port) + "/.well-known/jwks.json",
        )
        request = urllib.request.Request(
            f"{self.control}/_stand-in/faults",
            data=json.dumps({"delay": STORM_DELAY_MS}).encode(),
            headers={"Content-Type": "application/json"},
            method="PUT",
        )
        urllib.request.urlopen(request, timeout=5).close()

    def _run(self, name, command, url):
        server = self.servers.start(name, command, self.other_cores)
        server.wait_until_ready(url)
        return server

    # What a run asks of whatever it measures.

    def refusal(self, wanted):
        path = os.path.join(scenario.directory(), "gateways", f"{wanted.gateway}.yaml")
        if not os.path.exists(path):
            return f"there is no gateway {wanted.gateway} for loopback"
        return self.callers.lacks(wanted)

    def origin(self, wanted):
        return self.gateway(wanted.gateway).origin

    def admin(self, wanted):
        return self.gateway(wanted.gateway).admin

    def watched(self, wanted):
        return {"gateway": self.gateway(wanted.gateway).server, **self.parts}

    def clients(self, count):
        """So many at once as files may be open: to the gateway, each may be two."""
        return min(count, self.files // 2)

    def before(self, _):
        """Logs are written as always, and thrown away between two rounds."""
        for name in os.listdir(self.directory):
            if name.endswith(("-access.log", "-audit.log")):
                os.truncate(os.path.join(self.directory, name), 0)

    def versions(self):
        return {
            "Portcullis": machine.first_line(self.binary("portcullis"), "--version"),
            "nginx (upstream)": machine.first_line("nginx", "-v"),
        }


def template(name):
    """A configuration whose places are not filled in."""
    with open(os.path.join(scenario.directory(), "gateways", name)) as file:
        return file.read()


def origin(port):
    return f"http://127.0.0.1:{port}"
