"""Who calls: tokens that are minted here or read from a file, and a session's cookie."""

import base64
import json
import os
import secrets
import time
import uuid

from . import prepared, provider
from .scenario import Fault

# Longer than any run.
LIFETIME = 6 * 3600
AUDITOR = "organization_auditor"


class Mint:
    """Makes IAM tokens with a provider's key."""

    def __init__(self, key, claims, unpermitted):
        self.key, self.claims, self.changes = key, claims, unpermitted

    def token(self, subject, unpermitted=False):
        now = int(time.time())
        claims = {
            **self.claims,
            **(self.changes if unpermitted else {}),
            "sub": subject,
            "iat": now,
            "exp": now + LIFETIME,
            "jti": secrets.token_hex(16),
        }
        return self.key.sign(claims)

    @classmethod
    def of_provider(cls, issuer, key):
        return cls(key, provider.access_claims(issuer), {"roles": [AUDITOR]})

    @classmethod
    def of_options(cls, path, kid, claims):
        """Of a key file and a JSON file of claims; a caller without roles has none of them."""
        from . import jose

        try:
            with open(claims) as file:
                values = json.load(file)
            key = jose.Key.of_file(path, kid)
        except (OSError, ValueError) as fault:
            raise Fault(f"--mint: {fault}") from None
        missing = [name for name in ("iss", "aud") if name not in values]
        if missing:
            raise Fault(f"{claims}: a token needs {' and '.join(missing)}")
        return cls(key, values, {"roles": [], "realm_access": {"roles": []}})


class Callers:
    """What the scenarios may send. Tokens are made once and kept for the next scenario."""

    def __init__(self, organisation, mint=None, tokens=(), cookie=None, ids=()):
        self.organisation = organisation
        self.mint, self.given, self.session, self.given_ids = mint, list(tokens), cookie, list(ids)
        self.made = {}

    def tokens(self, credential, count):
        if credential not in ("bearer", "unpermitted"):
            return []
        if self.mint is None:
            return self.given[:count]
        made = self.made.setdefault(credential, [])
        while len(made) < count:
            subject = provider.SUBJECT if not made else str(uuid.uuid4())
            made.append(self.mint.token(subject, credential == "unpermitted"))
        return made[:count]

    def count(self, wanted):
        """How many of them there are."""
        return wanted if self.mint else min(wanted, len(self.given))

    def stranger(self):
        """A token of somebody whom the gateway never saw."""
        return self.mint.token(str(uuid.uuid4()))

    def cookie(self):
        """What `Cookie` holds: a text, or what makes one when it is needed."""
        return self.session() if callable(self.session) else self.session

    def ids(self, count):
        return self.given_ids[:count] if self.given_ids else prepared.some_ids(count)

    def lacks(self, scenario):
        """Why the scenario cannot be sent with what was given; None when it can."""
        if "session" in scenario.credentials and not self.session:
            return "needs a session: --cookie FILE"
        if "unpermitted" in scenario.credentials and self.mint is None:
            return "needs a caller without the permission: --mint KEY --claims FILE"
        if scenario.kind == "storm" and self.mint is None:
            return "needs a caller never seen before, every time: --mint KEY --claims FILE"
        if "bearer" in scenario.credentials and self.mint is None and not self.given:
            return "needs tokens: --tokens FILE or --mint KEY --claims FILE"
        if scenario.callers > 1 and self.count(2) < 2:
            return "needs different callers: more lines in --tokens FILE, or --mint KEY"
        if any("{id}" in request.path for request in scenario.requests) and not self.given_ids:
            return "needs ids of things that exist: --ids FILE"
        return None


def read_lines(path, what):
    """One a line; `-` is standard input."""
    import sys

    try:
        with sys.stdin if path == "-" else open(path) as file:
            lines = [line.strip() for line in file]
    except OSError as fault:
        raise Fault(f"{what} {path}: {fault.strerror}") from None
    found = [line for line in lines if line and not line.startswith("#")]
    if not found:
        raise Fault(f"{what} {path}: is empty")
    return found


def read_tokens(path):
    tokens = read_lines(path, "--tokens")
    for number, token in enumerate(tokens, 1):
        if any(not 0x21 <= ord(character) <= 0x7E for character in token):
            raise Fault(f"--tokens {path}: line {number} is no token")
    return tokens


def expiry(token):
    """When a JWT ends, where it says so."""
    try:
        part = token.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))).get("exp")
    except (IndexError, ValueError, AttributeError):
        return None


def key_id(path):
    """The name of a key file, for a header's `kid` that was not told."""
    return os.path.splitext(os.path.basename(path))[0]
