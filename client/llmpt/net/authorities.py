"""Which certificates are believed: the system's authorities, a company's that the environment names, as requests has it, and
for the LAN's own server what its user has said: an authority of its own, or the very certificate that it showed at `join`.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

REFUSED = "its certificate does not count here"  # how each refusal begins
_NAMES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # SSL_CERT_FILE and SSL_CERT_DIR are OpenSSL's own


@dataclass(frozen=True, slots=True)
class Trust:
    """What a connection by TLS is held to.

    ca: a file or folder with authorities that count beside the others (LLMPT_CA); empty: none
    certificate: SHA-256 in hex of the only certificate that counts, whatever name, end and authority it has; empty: none
    """

    ca: str = ""
    certificate: str = ""

    def wrapped(self, sock: Any, host: str) -> Any:
        """Speak TLS on a connected socket. Raises `OSError` (`ssl.SSLError` is one) for a certificate that does not count."""
        context = tls_context()
        if self.certificate:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE  # it is compared below, before anything is said
        elif self.ca:
            _load(context, self.ca)
        context.set_alpn_protocols(["http/1.1"])
        try:
            wrapped = context.wrap_socket(sock, server_hostname=host)
        except ssl.SSLCertVerificationError as error:
            raise ssl.SSLError(
                f"{REFUSED} ({error.verify_message}): name its authority by LLMPT_CA or REQUESTS_CA_BUNDLE, "
                "or `llmpt join` the server, which shows it"
            ) from None
        if self.certificate:
            shown = sha256(wrapped.getpeercert(binary_form=True) or b"").hexdigest()
            if not hmac.compare_digest(shown, self.certificate):
                wrapped.close()
                raise ssl.SSLError(f"{REFUSED} ({shown[:16]}…): it is another one than it showed at `llmpt join`; join again")
        return wrapped


SYSTEM = Trust()


def tls_context(environ: Mapping[str, str] | None = None) -> ssl.SSLContext:
    """Return a context for connections to servers. A bundle of the environment that cannot be read counts as none."""
    context = ssl.create_default_context()
    for place in named_places("", os.environ if environ is None else environ):
        with contextlib.suppress(OSError):  # ssl.SSLError is one
            _load(context, place)
    return context


def named_places(ca: str, environ: Mapping[str, str]) -> list[str]:
    """Return the files and folders with authorities that `environ`, and `ca`, name beside OpenSSL's own."""
    company = next(filter(None, map(environ.get, _NAMES)), "")
    return [os.path.expanduser(place) for place in (company, ca) if place]  # noqa: PTH111 - without a home it stays as it is


def _load(context: ssl.SSLContext, place: str) -> None:
    """Raises `OSError`: with the name of a file that is not there, or holds no certificate."""
    place = os.path.expanduser(place)  # noqa: PTH111 - without a home it stays as it is
    try:
        if os.path.isdir(place):  # noqa: PTH112 - pathlib raises in a folder that is closed to us
            context.load_verify_locations(capath=place)
        else:
            context.load_verify_locations(cafile=place)
    except OSError as error:
        raise OSError(f"{place} cannot be used as an authority for certificates: {error.strerror or error}") from None
