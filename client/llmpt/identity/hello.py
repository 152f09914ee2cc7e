"""The first thing that a machine asks a server: to show that it holds its key, by signing a number that was just made up.

Over plain HTTP this tells a server from another one that only has its address. A machine in between that passes everything on
is shut out by TLS alone: then what is signed names the certificate, too.
"""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass
from typing import Any

from llmpt.core.errors import InvalidInput, TrackerRefused, TrackerUnavailable
from llmpt.identity.keys import SIGNATURE_BYTES, Fingerprint, Forged, PublicKey, ServerKey, decoded
from llmpt.identity.statement import canonical
from llmpt.tracker.client import TrackerClient

ROUTE = "/api/v1/hello"
KIND = "llmpt hello 1"
NONCE = re.compile(r"[0-9a-f]{32,128}")
_CERTIFICATE = re.compile(r"(?:[0-9a-f]{64})?")


@dataclass(frozen=True, slots=True)
class Met:
    """A server that has shown its key.

    key: its public half
    certificate: the SHA-256 of the certificate with which it speaks TLS itself; empty: it says none
    """

    key: PublicKey
    certificate: str = ""

    @property
    def fingerprint(self) -> Fingerprint:
        return self.key.fingerprint


def message(nonce: str, certificate: str) -> bytes:
    """Return the bytes that a server signs."""
    return canonical({"kind": KIND, "nonce": nonce, "certificate": certificate})


def answer(key: ServerKey, nonce: str, certificate: str = "") -> dict[str, Any]:
    """Answer a hello, as the server does. Raises `InvalidInput`."""
    if not NONCE.fullmatch(nonce):
        raise InvalidInput("a hello has a nonce of 32 to 128 lower-case hex digits")
    return {
        "public_key": str(key.public),
        "fingerprint": str(key.public.fingerprint),
        "certificate": certificate,
        "signature": base64.b64encode(key.sign(message(nonce, certificate))).decode(),
    }


def meet(client: TrackerClient) -> Met | None:
    """Have the server show its key; None when it has none to show, as older ones do.

    Raises `TrackerUnavailable` (also for an answer that makes no sense, or a key that it does not hold), `TrackerRefused`.
    """
    nonce = secrets.token_hex(32)
    try:
        said = client.get(ROUTE, {"nonce": nonce})
    except TrackerRefused as error:
        if error.status in (404, 405):
            return None
        raise
    try:
        key, certificate = PublicKey.parse(said.get("public_key")), said.get("certificate")
        if not isinstance(certificate, str) or not _CERTIFICATE.fullmatch(certificate):
            raise InvalidInput("not the SHA-256 of a certificate")
        key.verify(decoded(said.get("signature"), SIGNATURE_BYTES), message(nonce, certificate))
    except (InvalidInput, Forged) as error:
        raise TrackerUnavailable(f"{client.url} does not show that it holds its key: {error}") from None
    return Met(key, certificate)
