"""The server's certificate: read at the start, and again when its file has changed, as it does when it is renewed."""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from socket import socket

from llmpt.core.errors import SettingError
from llmpt.host.pacing import Paced

LOOKED_AT_EVERY_S = 1.0
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
CLIENT_HELLO = b"\x16"  # the first byte of TLS; no method of HTTP begins so

_not_taken = Paced(logging.getLogger(__name__).warning)


class Certificate:
    """A certificate with its chain, and its key (None: in the same file). Raises `SettingError` for what is none."""

    def __init__(self, certificate: Path, key: Path | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = (certificate, key or certificate)
        self._clock, self._looked_at = clock, clock()
        self._changed = self._stamps()
        try:
            self._context, self._sha256 = self._load()
        except (OSError, ValueError) as error:
            raise SettingError(
                f"LLMPT_TLS_CERT={certificate}, LLMPT_TLS_KEY={key or ''} cannot be used: {error}; name a certificate with its "
                "chain, and its key, in PEM files that this user can read"
            ) from None

    @property
    def sha256(self) -> str:
        """The SHA-256 of the certificate itself, in hex, as clients see it."""
        self._read_again()
        return self._sha256

    def wrap(self, sock: socket) -> ssl.SSLSocket:
        """Return the socket with TLS around it; the handshake has yet to be made."""
        self._read_again()
        return self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)

    def _read_again(self) -> None:
        now = self._clock()
        if now - self._looked_at < LOOKED_AT_EVERY_S:
            return
        self._looked_at = now
        stamps = self._stamps()
        if stamps == self._changed:
            return
        try:
            self._context, self._sha256 = self._load()
        except (OSError, ValueError) as error:  # written just now, perhaps: one file is new, and the other is not
            _not_taken("the new certificate cannot be used, and the old one stays: %s", error)
        else:
            self._changed = stamps

    def _stamps(self) -> tuple[object, ...]:
        found: list[object] = []
        for file in self._files:
            try:
                stat = file.stat()
                found.append((stat.st_mtime_ns, stat.st_ino, stat.st_size))
            except OSError:
                found.append(None)
        return tuple(found)

    def _load(self) -> tuple[ssl.SSLContext, str]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(*self._files, password=_no_password)
        _, begin, rest = self._files[0].read_text(errors="replace").partition(_BEGIN)
        first = begin + rest.partition(_END)[0] + _END  # the others are its chain
        return context, sha256(ssl.PEM_cert_to_DER_cert(first)).hexdigest()


def _no_password() -> str:
    raise ValueError("its key is encrypted")
