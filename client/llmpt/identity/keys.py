"""A server's key (Ed25519): what it signs, how that is checked, and the fingerprint by which people know it."""

from __future__ import annotations

import base64
import os
import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpt.core.errors import InvalidInput, LlmptError
from llmpt.core.files import give_name

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_BYTES = 32
SIGNATURE_BYTES = 64
FINGERPRINT_BYTES = 20  # of the SHA-256: as much as people can compare, more than can be forged
MAX_KEY_FILE = 4096
_GROUP = 4
_CANONICAL = re.compile(r"[a-z2-7]{32}")


class Forged(LlmptError):
    """A signature that is not that of the key."""


@dataclass(frozen=True, slots=True, order=True)
class Fingerprint:
    """The beginning of the SHA-256 of a public key, as people read it: `k3qv-…`, eight groups of four. `parse` reads one."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Fingerprint:
        """Read one as people write it, upper or lower case, with or without dashes. Raises `InvalidInput`."""
        plain = re.sub(r"[\s-]", "", text).lower() if isinstance(text, str) else ""
        if not _CANONICAL.fullmatch(plain):
            raise InvalidInput(f"not the fingerprint of a server (eight groups of four letters and digits): {text!r:.80}")
        return cls("-".join(plain[at : at + _GROUP] for at in range(0, len(plain), _GROUP)))

    @classmethod
    def of(cls, public_key: bytes) -> Fingerprint:
        """Return that of a public key."""
        return cls.parse(base64.b32encode(sha256(public_key).digest()[:FINGERPRINT_BYTES]).decode())

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The public half: 32 bytes."""

    raw: bytes

    @classmethod
    def parse(cls, text: object) -> PublicKey:
        """Read one in base64. Raises `InvalidInput`."""
        return cls(decoded(text, KEY_BYTES))

    @property
    def fingerprint(self) -> Fingerprint:
        return Fingerprint.of(self.raw)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Raise `Forged` unless the holder of the key has signed `message`; `LlmptError` without the library."""
        library = _library()
        try:
            library.Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except Exception as error:  # noqa: BLE001 - InvalidSignature, ValueError, or what a version of the library has instead
            raise Forged(f"not signed by the key {self.fingerprint} ({type(error).__name__})") from None

    def __str__(self) -> str:
        return base64.b64encode(self.raw).decode()


class ServerKey:
    """The private half, which never leaves its server."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = PublicKey(private.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> ServerKey:
        """Make a new one."""
        return cls(_library().Ed25519PrivateKey.generate())

    @classmethod
    def read(cls, file: Path) -> ServerKey:
        """Read the one in `file` (PEM). Raises `OSError`, `InvalidInput` when it is none."""
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        with file.open("rb") as opened:
            text = opened.read(MAX_KEY_FILE)
        try:
            private = load_pem_private_key(text, password=None)
        except Exception as error:  # noqa: BLE001 - the library has many, and all mean the same here
            raise InvalidInput(f"{file} holds no key: {type(error).__name__}") from None
        if not isinstance(private, _library().Ed25519PrivateKey):
            raise InvalidInput(f"{file} holds another kind of key")
        return cls(private)

    def write(self, file: Path) -> None:
        """Put it into `file`, which is new, whole or not at all, readable by its owner alone from its first moment.

        Raises `FileExistsError` where another process was first, `OSError`.
        """
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

        text = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as out:
                out.write(text)
                out.flush()
                os.fsync(out.fileno())
            give_name(draft, file)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise

    def sign(self, message: bytes) -> bytes:
        return self._private.sign(message)


def decoded(text: object, size: int) -> bytes:
    """Read `size` bytes in base64. Raises `InvalidInput`."""
    try:
        if not isinstance(text, str) or len(text) > 4 * size:
            raise ValueError("no text of that length")
        raw = base64.b64decode(text, validate=True)
        if len(raw) != size:
            raise ValueError(f"{len(raw)} bytes")
    except ValueError as error:
        raise InvalidInput(f"not {size} bytes in base64: {error}") from None
    return raw


def _library() -> Any:
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError:
        raise LlmptError("what a server signs is checked by the library cryptography: pip install cryptography") from None
    return ed25519
