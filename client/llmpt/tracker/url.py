"""The address of a server on the LAN: an http or https URL that was read once, where it came in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from llmpt.core.errors import InvalidInput

MAX_URL = 8000
_SENDABLE = re.compile(r"[!-~]+")  # what may stand in a request line: ASCII without blanks and control characters
_HOST = re.compile(r"[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._-]{1,32})?")


@dataclass(frozen=True, slots=True)
class HttpUrl:
    """A URL that can be asked. `HttpUrl.parse` is the way in.

    text: the whole, as it was written
    tls: whether it is https
    host: a name or an address, IPv6 without brackets
    port: the one written, else 80 or 443
    target: path and query, as a request line has them
    """

    text: str
    tls: bool
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, text: str) -> HttpUrl:
        """Read one; raise `InvalidInput` for what is none: another scheme, no host, a port that is none, blanks, a password."""
        try:
            if not isinstance(text, str) or len(text) > MAX_URL or not _SENDABLE.fullmatch(text):
                raise ValueError("it has characters that no URL has")
            parts = urlsplit(text)
            host, port = parts.hostname or "", parts.port
            if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or port == 0 or "@" in parts.netloc:
                raise ValueError("it is not http://host:port")
            if any(len(label) > 63 for label in host.split(".")) or ".." in host or host.startswith("."):
                raise ValueError("no host has such a name")
        except ValueError as error:
            raise InvalidInput(f"not the URL of a server: {text!r:.200}: {error}") from None
        tls = parts.scheme == "https"
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        return cls(text, tls, host, port or (443 if tls else 80), target)

    @property
    def place(self) -> str:
        """Host and port, for people."""
        return f"{in_url(self.host)}:{self.port}"


def in_url(host: str) -> str:
    """Write a host as it stands in a URL: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host
