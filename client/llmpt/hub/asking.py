"""A question to the Hub: within bounds, in time, and with two ways to fail.

    reply = ask(f"{endpoint}/api/models/{repo}")
    reply.document, reply.headers

This is Internet traffic, so that the proxies of the environment count. Only the standard library is needed.
"""

from __future__ import annotations

import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmpt.core.documents import read_json
from llmpt.core.errors import LlmptError
from llmpt.net.authorities import tls_context
from llmpt.net.within import within

ASK_TIMEOUT_S = 5.0  # without a byte
HEAD_S = 8.0  # a name server that swallows questions, or a head that trickles, knows no other bound
BODY_S = 60.0
MAX_ANSWER_BYTES = 16 << 20
MAX_WORDS_BYTES = 2000
TRACKERS_OWN = "X-Llmpt-Version"  # a tracker of ours answers as the Hub does, of what it knows
BROKEN = (OSError, http.client.HTTPException, ValueError)  # no route, time-outs, what makes no sense


class HubUnreachable(LlmptError):
    """The Hub gave no answer from which anything follows."""


class HubNo(LlmptError):
    """The Hub has said no.

    status: of HTTP
    code: its X-Error-Code; "" for none
    message: its words
    retry_after_s: when to ask again, if it said so
    """

    def __init__(self, status: int, code: str, message: str, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after_s = status, code, message, retry_after_s


@dataclass(frozen=True, slots=True)
class HubReply:
    """What the Hub answered: its JSON (None after a HEAD), and its headers."""

    document: Any
    headers: Mapping[str, str]

    @property
    def is_a_trackers(self) -> bool:
        """Whether it is no Hub that answers, but a tracker of ours."""
        return self.headers.get(TRACKERS_OWN) is not None


def ask(
    url: str,
    *,
    token: str | None = None,
    method: str = "GET",
    most_bytes: int = MAX_ANSWER_BYTES,
    head_s: float = HEAD_S,
    body_s: float = BODY_S,
) -> HubReply:
    """Ask without a token, unless one is given; raise `HubNo` for the Hub's no, `HubUnreachable` without an answer in time.

    The name, the connection and the answer's head have `head_s` together, its body `body_s`, however they come.
    """
    headers = {"Accept": "application/json", "User-Agent": "llmpt"}
    try:
        request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310
        if token:
            request.add_unredirected_header("Authorization", f"Bearer {token}")  # wherever it leads, it goes to the Hub alone
        context = tls_context() if url.startswith("https:") else None
        with within(head_s, lambda: _opened(request, context), name="ask-hub") as response:
            return HubReply(None if method == "HEAD" else _document(response, most_bytes, body_s), response.headers)
    except urllib.error.HTTPError as error:
        with error:
            raise _no(error) from None
    except BROKEN as error:
        raise HubUnreachable(f"{url}: {error}") from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What is said of a file stands in the first answer, not where its bytes lie."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def describe(url: str, *, head_s: float = HEAD_S) -> Mapping[str, str]:
    """HEAD a file's own address without a token, and follow no redirect; return the headers. Raises as `ask`."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "llmpt", "Accept-Encoding": "identity"}, method="HEAD")  # noqa: S310
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if url.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=tls_context()))
        opener = urllib.request.build_opener(*handlers)
        with within(head_s, lambda: opener.open(request, timeout=ASK_TIMEOUT_S), name="ask-hub") as response:
            return dict(response.headers)
    except urllib.error.HTTPError as error:
        with error:
            if 300 <= error.code < 400:
                return dict(error.headers)
            raise _no(error) from None
    except BROKEN as error:
        raise HubUnreachable(f"{url}: {error}") from None


def _opened(request: urllib.request.Request, context: ssl.SSLContext | None) -> Any:
    return urllib.request.urlopen(request, timeout=ASK_TIMEOUT_S, context=context)  # noqa: S310


def _document(response: Any, most_bytes: int, within_s: float) -> Any:
    body = _read(response, most_bytes + 1, within_s)
    return read_json(body, most_bytes=most_bytes)


def _read(response: Any, most_bytes: int, within_s: float) -> bytes:
    """Read a body, but for what is more than `most_bytes` of it; raise `TimeoutError` when it takes too long."""
    deadline, parts, left = time.monotonic() + within_s, [], most_bytes
    while left > 0 and (part := response.read1(left)):
        parts.append(part)
        left -= len(part)
        if time.monotonic() > deadline:
            raise TimeoutError("the answer took too long")
    return b"".join(parts)


def _no(error: urllib.error.HTTPError) -> HubNo:
    """Read the Hub's no, in its own words."""
    try:
        message = read_json(_read(error, MAX_WORDS_BYTES, ASK_TIMEOUT_S), most_bytes=MAX_WORDS_BYTES)["error"]
    except (*BROKEN, TypeError, KeyError):
        message = error.headers.get("X-Error-Message") or f"the Hub answered {error.code}"
    retry = error.headers.get("Retry-After", "")
    code = error.headers.get("X-Error-Code", "")
    return HubNo(error.code, code, str(message), int(retry) if re.fullmatch(r"[0-9]{1,6}", retry) else None)
