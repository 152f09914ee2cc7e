"""This server's key, and what it signs: that it holds the key, and what its own catalogue says of a commit. Nothing else.

The key is made once, at the first start, beside the database. With a copy of it anything can be signed in this server's name.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from llmpt.core.errors import InvalidInput
from llmpt.core.repo import Commit, RefName, RepoRef
from llmpt.host.certificate import Certificate
from llmpt.identity import hello
from llmpt.identity.keys import ServerKey
from llmpt.identity.statement import Content, files_sha256, sign
from llmpt_tracker.errors import Refused
from llmpt_tracker.rules.catalogue.repos import ManifestLine, RevisionSummary


class Identity:
    """The identity whose key lies in `file`; it is read when it is first needed. `name` is what the server calls itself.

    `certificate` is the one with which it speaks TLS; None: it does not, or a proxy in front does.
    """

    def __init__(self, file: Path, *, certificate: Certificate | None = None, name: str | None = None) -> None:
        self._file, self._certificate = file, certificate
        self._name = name or socket.gethostname()
        self._key: ServerKey | None = None

    @property
    def fingerprint(self) -> str:
        """The key's fingerprint, for people; empty where there is no key."""
        try:
            return str(self._read().public.fingerprint)
        except Refused:
            return ""

    def answer(self, nonce: str) -> dict[str, Any]:
        """Show that the key is held. Raises `Refused`."""
        try:
            shown = "" if self._certificate is None else self._certificate.sha256
            return hello.answer(self._read(), nonce, shown)
        except InvalidInput as error:
            raise Refused(400, "bad_request", str(error)) from None

    def sign(self, repo: RepoRef, revision: RevisionSummary, lines: Iterable[ManifestLine], *, now: datetime) -> dict[str, Any]:
        """Sign what the catalogue says of a commit: all of it. Raises `Refused`."""
        listed = files_sha256((one.path, one.size, one.etag) for one in lines)
        content = Content(repo, Commit(revision.commit), revision.complete, listed)
        return sign(self._read(), self._name, content, map(RefName, revision.refs), at=int(now.timestamp())).as_json()

    def _read(self) -> ServerKey:
        if self._key is None:
            try:
                self._key = ServerKey.read(self._file)
            except (OSError, InvalidInput):
                raise Refused(404, "not_found", "this server has no key with which it could sign") from None
        return self._key
