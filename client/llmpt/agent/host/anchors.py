"""The authorities that this machine believes, shown to libtorrent, which takes them from OpenSSL's own two variables.

It looks there once, when its session is made, and its OpenSSL knows nothing of the system's: so it is shown all of them.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path

from llmpt.net.authorities import Trust, named_places

_FILE, _FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"


@contextmanager
def shown(trust: Trust, environ: MutableMapping[str, str]) -> Iterator[None]:
    """While the `with` block runs, OpenSSL finds there what `trust` believes; `environ` is that of the process."""
    before = {name: environ.get(name) for name in (_FILE, _FOLDER)}
    own = ssl.get_default_verify_paths()
    places = [place for place in (own.cafile, own.capath, *named_places(trust.ca, environ)) if place]
    with tempfile.NamedTemporaryFile(prefix="llmpt-authorities-", suffix=".pem") as bundle:
        for place in filter(os.path.isfile, places):
            with suppress(OSError):  # what cannot be read counts as not there
                bundle.write(Path(place).read_bytes() + b"\n")
        bundle.flush()
        environ[_FILE], environ[_FOLDER] = bundle.name, os.pathsep.join(filter(os.path.isdir, places))
        try:
            yield
        finally:
            for name, text in before.items():
                environ.pop(name, None)
                if text is not None:
                    environ[name] = text
