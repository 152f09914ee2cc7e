"""What stands before every question to a server that this user has joined: is it still the one with that key?"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from llmpt.core.errors import TrackerUnavailable
from llmpt.identity.hello import meet
from llmpt.net.authorities import SYSTEM, Trust
from llmpt.settings.known_servers import KnownServers, token_of, trust_of
from llmpt.tracker.client import TrackerClient
from llmpt.tracker.reading import ReadToken

FRESH_S = 60.0
REFUSED_S = 15.0


class Gate:
    """Lets questions pass to the server at `url` while it holds the key with the fingerprint `pinned`. Threads may share it."""

    def __init__(
        self,
        url: str,
        pinned: str,
        *,
        trust: Trust = SYSTEM,
        fresh_s: float = FRESH_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A server that has shown its key is asked again after `fresh_s`."""
        self._client = TrackerClient(url, trust=trust).patient()
        self._pinned, self._fresh_s, self._clock = pinned, fresh_s, clock
        self._until = -1.0
        self._refusal: tuple[float, str] = (-1.0, "")

    def __call__(self) -> None:
        """Raise `TrackerUnavailable` unless the server has shown that key of late, or does so now."""
        now = self._clock()
        if now < self._until:
            return
        if now < self._refusal[0]:
            raise TrackerUnavailable(self._refusal[1])
        met = meet(self._client)
        if met is None or str(met.fingerprint) != self._pinned:
            found = "shows no key" if met is None else f"has another key ({met.fingerprint})"
            reason = (
                f"the server at {self._client.url} {found} than the one that was joined there ({self._pinned}): it is not asked. "
                f"If that is meant, `llmpt join {self._client.url}` again: it says how"
            )
            self._refusal = (now + REFUSED_S, reason)
            raise TrackerUnavailable(reason)
        self._until = now + self._fresh_s


def joined(url: str, ca: str, environ: Mapping[str, str], *, token: str | None = None) -> TrackerClient:
    """Return a client of the server at `url`, held to what this user knows of it: its key, its certificate, authorities (`ca`).

    `token` is the one to read with; None: that of an invitation, if there was one. Raises `SettingError`.
    """
    trust, known = trust_of(url, ca, environ), KnownServers.of(environ).joined(url)
    admit = None if known is None or not known.fingerprint else Gate(url, known.fingerprint, trust=trust)
    return TrackerClient(url, trust=trust, admit=admit).read_with(ReadToken(token_of(url, token, environ)))
