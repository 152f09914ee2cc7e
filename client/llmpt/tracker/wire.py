"""One request to a tracker, and its answer: JSON over HTTP, within a bounded time, past every proxy, to where it was sent.

LAN traffic: proxies in the environment are ignored, and redirects are not followed. A tracker that takes a question and says
nothing is either out of action or has too much to do: its event loop, which is never busy, says which (`GET /livez`).
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import urlencode

from llmpt.core import request_id
from llmpt.core.documents import read_json
from llmpt.core.errors import (
    InvalidInput,
    SettingError,
    TrackerBusy,
    TrackerError,
    TrackerRefused,
    TrackerSlow,
    TrackerUnavailable,
)
from llmpt.core.words import plain
from llmpt.net.authorities import SYSTEM, Trust
from llmpt.net.http import Bounds, Connection, Extension
from llmpt.tracker.reading import ReadToken
from llmpt.tracker.url import HttpUrl

CONNECT_TIMEOUT_S = 1.0
MAX_ANSWER_BYTES = 32 << 20
LIVENESS = "/livez"
_FINE = (200, 201, 202, 204)

# What asking over a network raises, whatever is at the other end: a head that http.client cannot read may be any of these.
NETWORK_ERRORS = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a tracker answered.

    document: a JSON object
    address: where the tracker was reached
    size: of the document, in bytes
    """

    document: dict[str, Any]
    address: str
    size: int


class Wire:
    """The way to the tracker at `url` (http or https). One connection per call; safe to share among threads.

    `token` is sent with whatever has a body or is `authorized`. `timeout_s` bounds all of it: the look-up of the name, and the
    whole answer, trickled or not; connecting has a bound of its own (1 s). Raises `SettingError` for a URL that cannot be one.

    `busy_s`: for how long an answer is waited for that has not begun by half of that time, while the tracker lives; 0: no longer.
    """

    busy_s = 0.0

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 2.0,
        trust: Trust = SYSTEM,
        admit: Callable[[], None] | None = None,
    ) -> None:
        """`trust` says what an https server's certificate is held to; `admit` is called before each request, and may raise."""
        try:
            parts = HttpUrl.parse(url.rstrip("/"))
            if "?" in url or "#" in url:
                raise InvalidInput("it has a query")
        except InvalidInput:
            raise SettingError(f"not the address of a tracker: {url!r:.200}; write it as http://server:8000") from None
        self.url, self.host, self.port = parts.text, parts.host, parts.port
        self._tls, self._base = parts.tls and trust, parts.target
        self.trust, self._admit = trust, admit
        self._token, self.reader = token, ReadToken()
        self._timeout_s = timeout_s

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = None,
        authorized: bool = False,
    ) -> Reply:
        """Make one request, once more with the token to read if that is wanted; return what was answered.

        Raises `TrackerUnavailable` without a sensible answer in time (`TrackerSlow` when it took the question, `TrackerBusy` when
        it says so), `TrackerRefused` when the answer is no.
        """
        if self._admit is not None:
            self._admit()
        headers = self.reader.header()
        if self._token and (body is not None or authorized):
            headers = {"Authorization": f"Bearer {self._token}"}
        try:
            return self._ask(method, path, query, body, headers=headers, timeout_s=timeout_s)
        except TrackerRefused as error:
            if not self.reader.was_asked(error.status, bool(headers)):
                raise
        return self._ask(method, path, query, body, headers=self.reader.header(), timeout_s=timeout_s)

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None,
        *,
        headers: Mapping[str, str],
        timeout_s: float | None,
    ) -> Reply:
        bounds = Bounds.of(timeout_s or self._timeout_s)
        headers = {**headers, "Accept": "application/json", "Connection": "close", **own_headers()}
        data = None
        if body is not None:
            data = written(body)
            headers["Content-Type"] = "application/json"
        connection = Connection(self.host, self.port, tls=self._tls, bounds=bounds, connect_s=CONNECT_TIMEOUT_S)
        target = self._base + path + ("?" + urlencode(query) if query else "")
        unanswered: type[TrackerUnavailable] = TrackerUnavailable
        try:
            connection.connect()
            unanswered = TrackerSlow
            address = connection.address
            connection.request(method, target, data, headers)
            if timeout_s is None and self.busy_s > self._timeout_s:
                waits_until = bounds.deadline - self._timeout_s + self.busy_s
                doubts_s = self._timeout_s / 2
                bounds.extension = Extension(bounds.deadline - doubts_s, waits_until, self.lives, doubts_s, 5 * doubts_s)
            with connection.getresponse() as response:  # it has the socket, and lets go of it only when it is closed
                text = _read_all(response)
        except NETWORK_ERRORS as error:
            kind_of_silence = unanswered if isinstance(error, TimeoutError) else TrackerUnavailable
            raise kind_of_silence(f"no answer from the tracker at {self.url}: {reason_of(error)}") from None
        finally:
            connection.close()
        try:
            answer = read_json(text, most_bytes=MAX_ANSWER_BYTES) if response.status != http.HTTPStatus.NO_CONTENT else {}
            if not isinstance(answer, dict):
                raise TypeError("not a JSON object")
        except (ValueError, TypeError):
            if response.status in _FINE:
                raise TrackerUnavailable(f"{self.url} did not answer with JSON; is it an llmpt tracker?") from None
            answer = {}
        if response.status not in _FINE:
            raise _refusal(self.url, response, answer)
        return Reply(answer, address, len(text))

    def lives(self, within_s: float) -> bool:
        """Whether the tracker's event loop says, within so long, that questions are answered there."""
        connection = Connection(
            self.host, self.port, tls=self._tls, bounds=Bounds.of(within_s), connect_s=min(CONNECT_TIMEOUT_S, within_s)
        )
        try:
            connection.request("GET", self._base + LIVENESS, headers={"Connection": "close", **own_headers()})
            with connection.getresponse() as response:
                return response.status == http.HTTPStatus.NO_CONTENT
        except NETWORK_ERRORS:
            return False
        finally:
            connection.close()


def written(body: Mapping[str, Any]) -> bytes:
    """Write a body; `?` stands for what is no text, such as a path's bytes that are no UTF-8: no tracker would read the rest."""
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _read_all(response: http.client.HTTPResponse) -> bytes:
    """Read the body, however slowly it comes within the bounds of its connection."""
    chunks: list[bytes] = []
    total = 0
    while chunk := response.read1(1 << 20):
        chunks.append(chunk)
        total += len(chunk)
        if total > MAX_ANSWER_BYTES:
            raise http.client.HTTPException(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
    return b"".join(chunks)


def _refusal(url: str, response: http.client.HTTPResponse, answer: Mapping[str, Any]) -> TrackerError:
    status, wait = response.status, response.headers.get("Retry-After", "")
    error = answer.get("error")
    error = error if isinstance(error, dict) else {}
    message = plain(error.get("message") or f"status {status}")
    if status >= 500:
        kind = TrackerBusy if status == http.HTTPStatus.SERVICE_UNAVAILABLE else TrackerUnavailable
        return kind(f"{url}: {message}")
    return TrackerRefused(f"{url}: {message}", status=status, code=plain(error.get("code", "")),
                          retry_after_s=int(wait) if re.fullmatch("[0-9]{1,8}", wait) else None)  # fmt: skip


@cache
def user_agent() -> str:
    """Return what our requests say of themselves."""
    try:
        return f"llmpt/{version('llmpt')}"
    except PackageNotFoundError:  # removed while we run
        return "llmpt/unknown"


def own_headers() -> dict[str, str]:
    """Return the headers of each request of ours: what asks, and the id of what it asks for."""
    return {"User-Agent": user_agent(), **request_id.header()}


def reason_of(error: BaseException) -> str:
    """What an exception says, or at least which it is."""
    return str(error) or type(error).__name__
