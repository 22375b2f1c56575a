"""Keys and signed tokens, by the `cryptography` library."""

import base64
import json
import os

try:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
except ImportError:
    raise SystemExit(
        "python3-cryptography is missing here: `tests/install-prerequisites load` brings it for "
        "/usr/bin/python3, pip for another Python"
    ) from None


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    """A signing key in a file: Ed25519 for EdDSA, RSA for RS256, P-256 for ES256."""

    def __init__(self, algorithm, path, kid=None):
        self.algorithm, self.path, self.kid = algorithm, path, kid or f"{algorithm}-1"
        if not os.path.exists(path):
            _write(path, _generate(algorithm))
        self.private = _read(path)

    @classmethod
    def of_file(cls, path, kid):
        """The key in a PEM file, for the algorithm that it is good for."""
        private = _read(path)
        kinds = {
            ed25519.Ed25519PrivateKey: "EdDSA",
            rsa.RSAPrivateKey: "RS256",
            ec.EllipticCurvePrivateKey: "ES256",
        }
        for kind, algorithm in kinds.items():
            if isinstance(private, kind):
                return cls(algorithm, path, kid)
        raise ValueError(f"{path} holds no Ed25519, RSA or P-256 key")

    def jwk(self):
        """The public half."""
        common = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        public = self.private.public_key()
        if self.algorithm == "EdDSA":
            raw = public.public_bytes(
                serialization.Encoding.Raw, serialization.PublicFormat.Raw
            )
            return {"kty": "OKP", "crv": "Ed25519", "x": base64url(raw), **common}
        numbers = public.public_numbers()
        if self.algorithm == "ES256":
            x, y = (base64url(n.to_bytes(32, "big")) for n in (numbers.x, numbers.y))
            return {"kty": "EC", "crv": "P-256", "x": x, "y": y, **common}
        modulus = numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")
        return {"kty": "RSA", "n": base64url(modulus), "e": "AQAB", **common}

    def sign(self, claims):
        """The claims as a JWT."""
        header = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid}
        parts = (json.dumps(part, separators=(",", ":")).encode() for part in (header, claims))
        signed = ".".join(map(base64url, parts)).encode()
        return f"{signed.decode()}.{base64url(self._signature(signed))}"

    def _signature(self, data):
        if self.algorithm == "EdDSA":
            return self.private.sign(data)
        if self.algorithm == "RS256":
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        r, s = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _generate(algorithm):
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _read(path):
    with open(path, "rb") as file:
        return serialization.load_pem_private_key(file.read(), password=None)


def _write(path, private):
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
