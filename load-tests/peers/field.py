"""The proxies that are measured side by side: their files, their start, and how each is asked."""

import base64
import json
import os
import secrets
import sys

from loadtest import client, jose, machine, provider
from loadtest.process import free_port

HERE = os.path.dirname(os.path.abspath(__file__))
MODULES = "/usr/lib/apache2/modules"
TARGET = f"/api/credential/v1?organisationId={provider.ORGANISATION}"
PUBLIC = f"/ssi/v1?organisationId={provider.ORGANISATION}"
# As many bytes as a page of a list has in Core, and the same from everybody.
BODY = json.dumps({"values": ["0123456789abcdef" * 4] * 14, "totalPages": 1, "totalItems": 14})


class Mode:
    """One way to ask one server."""

    def __init__(self, name, what, server, url, headers=None, refused=None):
        self.name, self.what, self.server, self.url = name, what, server, url
        self.headers = headers or {}
        # What a request without the credential gets, where there is one.
        self.refused = refused

    def verify(self):
        """Whether it forwards who is let in, and nobody else, before anything is measured."""
        answer = client.request(self.url, self.headers)
        if answer.status != 200 or answer.body.decode() != BODY:
            raise SystemExit(
                f"{self.name}: {self.url} is answered with {answer.status}: {answer.body[:200]}\n"
                f"{self.server.said()}"
            )
        if self.refused is not None:
            status = client.request(self.url).status
            if status not in self.refused:
                raise SystemExit(f"{self.name}: without a credential it answers {status}")

    def seen_by_upstream(self):
        """The `Authorization` that the upstream got."""
        answer = client.request(f"{self.url}&seen=1", self.headers)
        return answer.headers.get("X-Seen-Authorization", "")


class Field:
    """All servers of one run."""

    def __init__(self, servers, binaries, envoy, proxy_core, other_core):
        self.servers, self.binaries, self.envoy = servers, binaries, envoy
        self.proxy_core, self.other_core = proxy_core, other_core
        self.directory = servers.directory
        # A tool that watches the proxies, such as valgrind.
        self.under = []
        self.issuer_port = free_port()
        self.values = {
            "DIRECTORY": self.directory,
            "MODULES": MODULES,
            "BODY": BODY,
            "ISSUER": f"http://127.0.0.1:{self.issuer_port}",
            "PROVIDER": self.issuer_port,
            "UPSTREAM": free_port(),
            "SECRET": secrets.token_hex(16),
            "SESSION_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "ORGANISATION": provider.ORGANISATION,
            "ROLE": provider.ROLE,
        }

    def start(self):
        """Starts what is behind and beside all proxies, and makes the one token."""
        self._run(
            "provider",
            [sys.executable, "-m", "loadtest.provider", self.issuer_port, self.directory],
            self.other_core,
            f"{self.values['ISSUER']}/jwks",
            environment={"PYTHONPATH": os.path.dirname(HERE)},
        )
        keys = provider.keys(self.directory)
        self.values["JWKS"] = json.dumps({"keys": [key.jwk() for key in keys.values()]})
        self.token = keys["EdDSA"].sign(provider.access_claims(self.values["ISSUER"]))
        self._run(
            "upstream",
            ["nginx", "-p", self.directory, "-c", self.file("upstream.conf")],
            self.other_core,
            self.origin(self.values["UPSTREAM"]),
        )

    def file(self, name, **values):
        """A configuration with its places filled in."""
        with open(os.path.join(HERE, name)) as template:
            text = template.read()
        for key, value in {**self.values, **values}.items():
            text = text.replace(f"@{key}@", str(value))
        path = os.path.join(self.directory, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def origin(self, port):
        return f"http://127.0.0.1:{port}"

    def bearer(self):
        return {"Authorization": f"Bearer {self.token}"}

    def proxy(self, name, command, url):
        return self._run(name, [*self.under, *command], self.proxy_core, url)

    def _run(self, name, command, core, url, environment=None):
        server = self.servers.start(name, command, core, environment)
        server.wait_until_ready(url)
        return server


def gateway(field):
    """Portcullis, asked in three ways."""
    listen, admin = free_port(), free_port()
    jose.Key("EdDSA", os.path.join(field.directory, "sts.pem"))
    config = field.file(
        "gateway.yaml", LISTEN=listen, ADMIN=admin, STS_KEY=os.path.join(field.directory, "sts.pem")
    )
    command = [os.path.join(field.binaries, "portcullis"), "run", "--config", config]
    origin = field.origin(listen)
    server = field.proxy("portcullis", command, field.origin(admin) + "/readyz")
    server.wait_until_ready(origin)
    browser = client.Browser()
    browser.open(origin + TARGET)
    session = {"Cookie": browser.cookie_header(origin)}
    bearer = Mode(
        "portcullis-bearer",
        "Portcullis: bearer token (remembered), permission, organisation, app token, log, metrics",
        server, origin + TARGET, field.bearer(), refused=(401,),
    )
    cookie = Mode(
        "portcullis-session",
        "Portcullis: session cookie, and all of the above",
        server, origin + TARGET, session, refused=(401,),
    )
    public = Mode(
        "portcullis-public",
        "Portcullis: public route, log, metrics",
        server, origin + PUBLIC,
    )
    for mode in (bearer, cookie):
        seen = mode.seen_by_upstream()
        if not seen.startswith("Bearer ey") or field.token in seen:
            raise SystemExit(f"{mode.name}: no app token reached the upstream: {seen[:40]!r}")
    return [bearer, cookie, public]


def bare_pingora(field):
    listen = free_port()
    command = [
        os.path.join(field.binaries, "bare-pingora"),
        f"127.0.0.1:{listen}",
        f"127.0.0.1:{field.values['UPSTREAM']}",
    ]
    server = field.proxy("bare-pingora", command, field.origin(listen))
    what = "Pingora 0.9.1 by itself, built alike: no checks"
    return [Mode("pingora-bare", what, server, field.origin(listen) + TARGET)]


def nginx(field):
    ports = {name: free_port() for name in ("PLAIN", "LOGGED", "ASKING")}
    command = ["nginx", "-p", field.directory, "-c", field.file("nginx.conf", **ports)]
    server = field.proxy("nginx", command, field.origin(ports["PLAIN"]))
    def url(name):
        return field.origin(ports[name]) + TARGET
    return [
        Mode("nginx", "nginx: no checks, no log", server, url("PLAIN")),
        Mode("nginx-logged", "nginx: no checks, access log (JSON)", server, url("LOGGED")),
        Mode(
            "nginx-auth-request",
            "nginx: auth_request to a service that says 204 to all; no log, the service not counted",
            server, url("ASKING"), field.bearer(),
        ),
    ]


def haproxy(field):
    listen = free_port()
    command = ["haproxy", "-db", "-f", field.file("haproxy.cfg", LISTEN=listen)]
    server = field.proxy("haproxy", command, field.origin(listen))
    return [Mode("haproxy", "HAProxy: no checks, no log", server, field.origin(listen) + TARGET)]


def envoy(field):
    ports = {name: free_port() for name in ("JWT", "LOGGED", "SESSION")}
    config = field.file("envoy.yaml", **ports)
    command = [field.envoy, "-c", config, "--concurrency", "1", "--disable-hot-restart"]
    server = field.proxy("envoy", [*command, "-l", "warning"], field.origin(ports["JWT"]))
    session = field.origin(ports["SESSION"])
    browser = client.Browser()
    browser.open(session + TARGET)
    cookie = {"Cookie": browser.cookie_header(session)}
    return [
        Mode(
            "envoy-jwt", "Envoy: JWT (token cache on), RBAC; no log",
            server, field.origin(ports["JWT"]) + TARGET, field.bearer(), refused=(401, 403),
        ),
        Mode(
            "envoy-jwt-logged", "Envoy: the same, access log (JSON)",
            server, field.origin(ports["LOGGED"]) + TARGET, field.bearer(), refused=(401, 403),
        ),
        Mode(
            "envoy-session", "Envoy: OAuth2 filter's session; no log",
            server, session + TARGET, cookie, refused=(302,),
        ),
    ]


def apache(field):
    listen = free_port()
    command = ["apache2", "-D", "FOREGROUND", "-f", field.file("apache.conf", LISTEN=listen)]
    server = field.proxy("apache", command, field.origin(listen))
    origin = field.origin(listen)
    browser = client.Browser()
    browser.open(origin + TARGET)
    cookie = {"Cookie": browser.cookie_header(origin)}
    what = "Apache: mod_auth_openidc's session (shared memory), a role; no log"
    return [
        Mode("mod-auth-openidc", what, server, origin + TARGET, cookie, refused=(302, 401)),
    ]


# In the order of the table, with the modes of each.
NAMES = {
    gateway: ["portcullis-bearer", "portcullis-session", "portcullis-public"],
    bare_pingora: ["pingora-bare"],
    nginx: ["nginx", "nginx-logged", "nginx-auth-request"],
    haproxy: ["haproxy"],
    envoy: ["envoy-jwt", "envoy-jwt-logged", "envoy-session"],
    apache: ["mod-auth-openidc"],
}


def versions(field):
    """What each program says of itself."""
    return {
        "Portcullis": machine.first_line(os.path.join(field.binaries, "portcullis"), "--version"),
        "nginx": machine.first_line("nginx", "-v"),
        "HAProxy": machine.first_line("haproxy", "-v"),
        "Envoy": machine.first_line(field.envoy, "--version"),
        "Apache": machine.first_line("apache2", "-v"),
        "mod_auth_openidc": machine.package("libapache2-mod-auth-openidc"),
        "wrk": machine.package("wrk"),
    }
