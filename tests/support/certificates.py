"""Certificates made on the fly: an authority, and what it vouches for, or does not."""

from __future__ import annotations

import datetime
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Authority:
    """One that signs certificates below `folder`; its own is `file`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        made = self._built(self._name, self._key, days=2).add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def certificate(self, file: str, *, host: str = "localhost", days: int = 2, self_signed: bool = False) -> Path:
        """Make a certificate of `host` that ends in so many days (ago, when negative), its key behind it in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        built = self._built(subject, key, days=days, issuer=subject if self_signed else None)
        built = built.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False)
        made = built.sign(key if self_signed else self._key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path = self.folder / file
        path.write_bytes(made.public_bytes(Encoding.PEM) + private)
        return path

    def _built(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int, issuer: x509.Name | None = None
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer or self._name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=30))
        return builder.not_valid_after(now + datetime.timedelta(days=days))


def digest(file: Path) -> str:
    """The SHA-256 of a certificate, as it is pinned."""
    return sha256(x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.DER)).hexdigest()
