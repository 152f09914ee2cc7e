"""Which certificate authorities are believed: the system's, and a company's that the environment names, as requests has it."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Mapping

_NAMES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # SSL_CERT_FILE and SSL_CERT_DIR are OpenSSL's own


def tls_context(environ: Mapping[str, str] | None = None) -> ssl.SSLContext:
    """Return a context for connections to servers. A bundle that cannot be read counts as none."""
    context = ssl.create_default_context()
    named = next(filter(None, map((os.environ if environ is None else environ).get, _NAMES)), None)
    if named is not None:
        with contextlib.suppress(OSError):  # ssl.SSLError is one
            if os.path.isdir(named):  # noqa: PTH112 - pathlib raises in a folder that is closed to us
                context.load_verify_locations(capath=named)
            else:
                context.load_verify_locations(cafile=named)
    return context
