"""Keys and signed tokens, by OpenSSL's command line."""

import base64
import json
import os
import subprocess
import tempfile

ALGORITHMS = ("EdDSA", "RS256")


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _openssl(*arguments, data=None):
    done = subprocess.run(["openssl", *arguments], input=data, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"openssl {arguments[0]} failed: {done.stderr.decode()}")
    return done.stdout


class Key:
    """A signing key in a file: Ed25519 for EdDSA, RSA of 2,048 bits for RS256."""

    def __init__(self, algorithm, path):
        self.algorithm, self.path, self.kid = algorithm, path, f"{algorithm}-1"
        if not os.path.exists(path):
            kind = {
                "EdDSA": ["-algorithm", "ed25519"],
                "RS256": ["-algorithm", "rsa", "-pkeyopt", "rsa_keygen_bits:2048"],
            }[algorithm]
            _openssl("genpkey", *kind, "-out", path)

    def jwk(self):
        """The public half."""
        common = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        if self.algorithm == "EdDSA":
            # The last 32 bytes of SubjectPublicKeyInfo are the key (RFC 8410).
            der = _openssl("pkey", "-in", self.path, "-pubout", "-outform", "DER")
            return {"kty": "OKP", "crv": "Ed25519", "x": base64url(der[-32:]), **common}
        text = _openssl("rsa", "-in", self.path, "-noout", "-modulus").decode()
        modulus = bytes.fromhex(text.strip().partition("=")[2])
        return {"kty": "RSA", "n": base64url(modulus), "e": "AQAB", **common}

    def sign(self, claims):
        """The claims as a JWT."""
        header = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid}
        parts = (json.dumps(part, separators=(",", ":")).encode() for part in (header, claims))
        signed = ".".join(map(base64url, parts)).encode()
        return f"{signed.decode()}.{base64url(self._signature(signed))}"

    def _signature(self, data):
        if self.algorithm == "RS256":
            return _openssl("dgst", "-sha256", "-sign", self.path, data=data)
        # Ed25519 hashes twice, so OpenSSL wants a file that it can read again.
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            return _openssl("pkeyutl", "-sign", "-rawin", "-inkey", self.path, "-in", file.name)
