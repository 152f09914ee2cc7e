"""The servers that this user knows by their keys: `known-servers.json` in the config folder, for its user alone (0600).

`llmpt join` puts one there with its URL, `llmpt import --trust` one without. Standard library only: the hook looks up with
which certificate a server speaks TLS.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmpt.core.documents import read_json
from llmpt.core.errors import SettingError
from llmpt.net.authorities import Trust
from llmpt.settings.sources import user_config_file

NAME = "known-servers.json"
MAX_BYTES = 1 << 20
_FINGERPRINT = re.compile(r"(?:[a-z2-7]{4}-){7}[a-z2-7]{4}")
_CERTIFICATE = re.compile(r"[0-9a-f]{64}")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}")


@dataclass(frozen=True, slots=True)
class KnownServer:
    """A server.

    fingerprint: of its key; empty: it showed none
    name: what it is called here
    url: where it is joined; empty: it is known by what it signs only
    certificate: SHA-256 of the certificate with which it speaks TLS, when no authority has to vouch for that; else empty
    token: with which this machine reads there, if it was invited
    """

    fingerprint: str
    name: str
    url: str = ""
    certificate: str = ""
    token: str = ""


def token_of(url: str, token: str | None, environ: Mapping[str, str]) -> Callable[[], str]:
    """Return what finds the token to read with at the server at `url`: `token` (LLMPT_TOKEN), else the one of an invitation."""

    def found() -> str:
        known = None if token else KnownServers.of(environ).joined(url)
        return token or (known.token if known is not None else "")

    return found


def trust_of(url: str, ca: str, environ: Mapping[str, str]) -> Trust:
    """Return what the certificates of the server at `url` are held to: its own, if it is https, and its seeders'.

    Raises `SettingError`.
    """
    if not url.startswith("https:"):
        return Trust(ca)
    known = KnownServers.of(environ).joined(url)
    return Trust(ca, "" if known is None else known.certificate)


def known_servers_file(environ: Mapping[str, str]) -> Path:
    """Return where they are kept."""
    return user_config_file(environ).with_name(NAME)


class KnownServers:
    """What the file says; one that is not there says nothing."""

    def __init__(self, file: Path) -> None:
        self.file = file

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> KnownServers:
        return cls(known_servers_file(environ))

    def all(self) -> list[KnownServer]:
        """Return them. Raises `SettingError` when the file cannot be what it is for: then none is known, and that is said."""
        try:
            with self.file.open("rb") as opened:
                text = opened.read(MAX_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):  # also of a home such as /dev/null
            return []
        except OSError as error:
            if isinstance(error, PermissionError) and not os.path.lexists(self.file):
                return []  # a home that this user may not enter is another's
            raise SettingError(f"{self.file} cannot be read: {error.strerror}") from None
        try:
            return [_read(row) for row in read_json(text, most_bytes=MAX_BYTES)["servers"]]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SettingError(f"{self.file} is not as llmpt wrote it ({error}); remove it, and join again") from None

    def joined(self, url: str) -> KnownServer | None:
        """Return the server that was joined at `url`."""
        return next((one for one in self.all() if one.url == url), None)

    def signer(self, fingerprint: str) -> KnownServer | None:
        """Return the server with that key."""
        return next((one for one in self.all() if one.fingerprint == fingerprint), None)

    def put(self, server: KnownServer) -> None:
        """Know a server from now on, in the place of what was known of its URL. Raises `SettingError`."""
        rest = [one for one in self.all() if not _same(one, server)]
        rows = [dataclasses.asdict(one) for one in [*rest, server]]
        text = json.dumps({"servers": rows}, indent=1).encode() + b"\n"
        draft = self.file.with_name(f".{NAME}.{secrets.token_hex(4)}")
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as out:
                    out.write(text)
                    out.flush()
                    os.fsync(out.fileno())
                draft.replace(self.file)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise SettingError(f"{self.file} cannot be written: {error.strerror}") from None


def _same(one: KnownServer, other: KnownServer) -> bool:
    return one.url == other.url if one.url or other.url else one.fingerprint == other.fingerprint


def _read(row: Mapping[str, Any]) -> KnownServer:
    found = KnownServer(**{name: str(row.get(name, "")) for name in ("fingerprint", "name", "url", "certificate", "token")})
    if found.fingerprint and not _FINGERPRINT.fullmatch(found.fingerprint):
        raise ValueError(f"{found.fingerprint!r:.80} is no fingerprint")
    if found.token and not _TOKEN.fullmatch(found.token):
        raise ValueError("a token has letters, digits, dashes and underscores")
    if found.certificate and not _CERTIFICATE.fullmatch(found.certificate):
        raise ValueError(f"{found.certificate!r:.80} is no certificate's")
    return found
