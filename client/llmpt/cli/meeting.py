"""Which server answers at an address: what `llmpt join` holds it to, and what is known of it from then on."""

from __future__ import annotations

import contextlib
import re
import ssl
import sys
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit

import click

from llmpt.core.errors import InvalidInput, LlmptError, SettingError, TrackerError, TrackerUnavailable
from llmpt.core.words import plain
from llmpt.identity.hello import Met, meet
from llmpt.identity.keys import Fingerprint
from llmpt.net import authorities
from llmpt.net.authorities import Trust
from llmpt.net.connecting import connect
from llmpt.settings.known_servers import KnownServer, KnownServers
from llmpt.tracker.client import TrackerClient
from llmpt.tracker.url import HttpUrl

TLS_S = 5.0


@dataclass(frozen=True, slots=True)
class Expected:
    """What the user says of the server in advance.

    fingerprint: of its key; None: nothing
    certificate: SHA-256 of its certificate, in hex; empty: nothing
    ca: authorities that count, too (LLMPT_CA)
    known: the servers that were joined before
    """

    fingerprint: Fingerprint | None
    certificate: str
    ca: str
    known: KnownServers

    @classmethod
    def read(cls, fingerprint: str | None, certificate: str | None, ca: str, known: KnownServers) -> Expected:
        """Read what was typed. Raises `SettingError`."""
        plain_hex = re.sub(r"[:\s]", "", certificate or "").lower()
        if plain_hex and not re.fullmatch(r"[0-9a-f]{64}", plain_hex):
            raise SettingError("--certificate takes the SHA-256 of a certificate: 64 hex digits, with colons or without")
        try:
            return cls(Fingerprint.parse(fingerprint) if fingerprint else None, plain_hex, ca, known)
        except InvalidInput as error:
            raise SettingError(f"--fingerprint: {error}") from None


def met(url: str, expected: Expected) -> tuple[TrackerClient, KnownServer]:
    """Have the server at `url` show its key, and hold it to what is expected, and to what is known of it.

    Returns a client that is held to that, and what is to be known from now on. Raises `TrackerError`, `LlmptError`.
    """
    before = expected.known.joined(url)
    certificate = expected.certificate or (before.certificate if before is not None else "")
    certificate = certificate if url.startswith("https:") else ""
    client = TrackerClient(url, trust=Trust(expected.ca, certificate))
    try:
        shown = _shown(client)
    except TrackerUnavailable as error:
        if authorities.REFUSED not in str(error):
            raise
        certificate = _certificate(url)
        client = TrackerClient(url, trust=Trust(expected.ca, certificate))
        shown = _shown(client)
        _accept(url, certificate, shown, expected, before)
    _compare(url, shown, expected, before)
    host = urlsplit(url).hostname or url
    fingerprint = "" if shown is None else str(shown.fingerprint)
    token = before.token if before is not None and before.fingerprint == fingerprint else ""
    return client, KnownServer(fingerprint, host, url, certificate, token)


def _shown(client: TrackerClient) -> Met | None:
    try:
        return meet(client)
    except TrackerError:
        raise
    except LlmptError as error:  # no library: it can be joined, and is not known by its key
        click.echo(f"llmpt: the server's key was not looked at: {error}", err=True)
        return None


def _compare(url: str, shown: Met | None, expected: Expected, before: KnownServer | None) -> None:
    now = "" if shown is None else str(shown.fingerprint)
    if expected.fingerprint is not None:
        if now != str(expected.fingerprint):
            raise TrackerUnavailable(f"the server at {url} {_says(now)}, and not {expected.fingerprint}: it was not joined")
    elif before is not None and before.fingerprint not in ("", now):
        how = f"`llmpt join {url} --fingerprint {now}`" if now else "remove it from known-servers.json, and join again"
        raise TrackerUnavailable(
            f"the server at {url} {_says(now)}, and had {before.fingerprint} when it was joined: it is another one, or has been "
            f"set up anew. If that is meant, and its console shows the same: {how}"
        )


def _says(fingerprint: str) -> str:
    return f"has the fingerprint {fingerprint}" if fingerprint else "shows no key"


def _accept(url: str, certificate: str, shown: Met | None, expected: Expected, before: KnownServer | None) -> None:
    """Raise unless the certificate, for which no authority vouches, is the server's by its key's word, or its user's.

    Its key counts where the user has named it, or has joined it `before`: so a renewed certificate asks nothing of the user.
    """
    if expected.certificate:
        raise TrackerUnavailable(f"the certificate of {url} has the SHA-256 {certificate}, and not the one that was given")
    key = str(expected.fingerprint) if expected.fingerprint is not None else (before.fingerprint if before is not None else "")
    if shown is not None and str(shown.fingerprint) == key and shown.certificate == certificate:
        return
    said = f"no authority vouches for the certificate of {url}; its SHA-256 is {certificate}"
    if not sys.stdin.isatty():
        raise TrackerUnavailable(
            f"{said}. `--fingerprint` with that of the server's console takes it, or `--certificate` with this, if it is the "
            "server's; LLMPT_CA names an authority"
        )
    click.echo(f"{said}.", err=True)
    click.confirm("Is it the one that the server shows? Then it is the only one that counts from now on", abort=True, err=True)


def _certificate(url: str) -> str:
    """Return the SHA-256 of the certificate that is shown at `url`; nothing is asked there. Raises `TrackerUnavailable`."""
    server = HttpUrl.parse(url)
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # it is only looked at
    try:
        with contextlib.closing(connect(server.host, server.port, wait_s=TLS_S)) as sock:
            sock.settimeout(TLS_S)
            with context.wrap_socket(sock, server_hostname=server.host) as tls:
                return sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()
    except OSError as error:
        raise TrackerUnavailable(f"{url} shows no certificate: {plain(error)}") from None
