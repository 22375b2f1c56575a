"""An OpenID provider that logs everybody in at once, as the one user there is.

`python3 -m loadtest.provider PORT DIRECTORY [ALGORITHM...]`: its keys are in DIRECTORY. ID tokens
are signed with RS256 for the clients named `*-rs256`, since not every relying party reads EdDSA;
access tokens are signed with EdDSA, as Core's documents have it. With EdDSA alone its key set is
one that Core reads. It is for measuring what comes after a login and checks nothing.
"""

import base64
import json
import os
import secrets
import sys
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .jose import Key

SUBJECT = "3f1d2c9e-7a44-4a54-9f7e-2f6f2b1a9c01"
AUDIENCE = "procivis-one-platform"
ORGANISATION = "6b1e5f0a-2d2c-4c1c-9f0e-0d9f5a5b7a11"
ROLE = "organization_admin"
LIFETIME = 6 * 3600


def keys(directory, algorithms=("EdDSA", "RS256")):
    """The provider's keys, by algorithm; made when they are not there."""
    return {
        algorithm: Key(algorithm, os.path.join(directory, f"provider-{algorithm}.pem"))
        for algorithm in algorithms
    }


def access_claims(issuer, subject=SUBJECT):
    """What a provider such as Keycloak puts into an access token."""
    now = int(time.time())
    return {
        "iss": issuer,
        "sub": subject,
        "aud": AUDIENCE,
        "azp": "desk",
        "iat": now,
        "exp": now + LIFETIME,
        "jti": secrets.token_hex(16),
        "typ": "Bearer",
        "scope": "openid profile offline_access",
        "sid": secrets.token_hex(16),
        "preferred_username": "alice",
        "name": "Alice Admin",
        "roles": [ROLE, "offline_access", "default-roles-one"],
        "organisation": ORGANISATION,
    }


class Provider(ThreadingHTTPServer):
    """The server, its keys, and the codes that were not redeemed yet."""

    daemon_threads = True

    def __init__(self, port, directory, *algorithms):
        super().__init__(("127.0.0.1", port), Requests)
        self.issuer = f"http://127.0.0.1:{port}"
        self.keys = keys(directory, algorithms or ("EdDSA", "RS256"))
        self.codes = {}

    def document(self):
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "end_session_endpoint": f"{self.issuer}/logout",
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": list(self.keys),
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["openid", "profile", "offline_access"],
        }

    def tokens(self, client, nonce):
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": SUBJECT,
            "aud": client,
            "iat": now,
            "exp": now + LIFETIME,
            "auth_time": now,
            "roles": [ROLE],
        }
        if nonce:
            claims["nonce"] = nonce
        algorithm = "RS256" if client.endswith("-rs256") else "EdDSA"
        return {
            "access_token": self.keys["EdDSA"].sign(access_claims(self.issuer)),
            "id_token": self.keys[algorithm].sign(claims),
            "refresh_token": secrets.token_urlsafe(32),
            "token_type": "Bearer",
            "expires_in": LIFETIME,
            "scope": "openid profile offline_access",
        }


class Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if url.path == "/.well-known/openid-configuration":
            self.answer(self.server.document())
        elif url.path == "/jwks":
            self.answer({"keys": [key.jwk() for key in self.server.keys.values()]})
        elif url.path == "/userinfo":
            self.answer({"sub": SUBJECT, "name": "Alice Admin", "roles": [ROLE]})
        elif url.path == "/authorize":
            code = secrets.token_urlsafe(16)
            self.server.codes[code] = (query.get("client_id", ""), query.get("nonce"))
            answer = {"code": code, "state": query.get("state", ""), "iss": self.server.issuer}
            target = query["redirect_uri"]
            separator = "&" if "?" in target else "?"
            self.send_response(302)
            self.send_header("Location", target + separator + urllib.parse.urlencode(answer))
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.answer({"error": "not_found"}, 404)

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        form = dict(urllib.parse.parse_qsl(self.rfile.read(length).decode()))
        if self.path != "/token":
            return self.answer({"error": "not_found"}, 404)
        if form.get("grant_type") == "refresh_token":
            return self.answer(self.server.tokens(self.client(form), None))
        known = self.server.codes.pop(form.get("code"), None)
        if known is None:
            return self.answer({"error": "invalid_grant"}, 400)
        return self.answer(self.server.tokens(*known))

    def client(self, form):
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            name = base64.b64decode(value).decode().partition(":")[0]
            return urllib.parse.unquote(name)
        return form.get("client_id", "")

    def answer(self, value, status=200):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    Provider(int(sys.argv[1]), *sys.argv[2:]).serve_forever()
