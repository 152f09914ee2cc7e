"""What sends one request of huggingface_hub to the Hub, with a look at the LAN: one kind for requests, one for httpx and httpx2.

Neither library is imported here: what is needed of it comes from the objects that the library itself has made.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from http.client import responses
from typing import Any

from llmpt.core.blob import Etag
from llmpt.core.errors import InvalidName, LlmptError
from llmpt.core.hub_headers import NO_SUCH_FILE
from llmpt.hook.questions.heard import Heard
from llmpt.hook.questions.question import Question
from llmpt.tracker.blob_streams import Stretch
from llmpt.tracker.endpoint import EndpointReply

# Given a question and the Hub's side of it (`exchange.HubSide`), return a `EndpointReply` or the Hub's own answer.
Route = Callable[[Question, Any], Any]


class ThroughRequests:
    """A requests adapter before `adapter`, for a request whose target on the Hub is `raw`; `longest_s`: for how long the Hub is
    waited for where the LAN can stand in, and the library has no bound of its own."""

    def __init__(self, adapter: Any, raw: str, route: Route, longest_s: float) -> None:
        self._adapter, self._raw, self._route, self._longest_s = adapter, raw, route, longest_s

    def send(self, request: Any, **kwargs: Any) -> Any:
        question = Question.of(request.method, self._raw, request.headers.get, lambda: _bytes(request.body))
        if question is None:
            return self._adapter.send(request, **kwargs)
        side = _RequestsSide(self._adapter, request, kwargs, reads=question.target.route == "info", longest_s=self._longest_s)
        answer = self._route(question, side)
        return _requests_response(answer, request, self._adapter) if isinstance(answer, EndpointReply) else answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)


class _RequestsSide:
    def __init__(self, adapter: Any, request: Any, kwargs: dict[str, Any], *, reads: bool, longest_s: float) -> None:
        self._adapter, self._request, self._kwargs, self._reads = adapter, request, kwargs, reads
        self._longest_s = longest_s

    def ask(self, *, bounded: bool) -> Any:
        bound = {"timeout": self._longest_s} if bounded and self._kwargs.get("timeout") is None else {}
        response = self._adapter.send(self._request, **{**self._kwargs, **bound})
        if self._reads and response.status_code == 200:
            _ = response.content  # kept in the response; what reading it raises is the Hub's failure, too
        return response

    def heard(self, response: Any) -> Heard:
        content = response.content if self._reads and response.status_code == 200 else None
        return _heard(response.status_code, response.headers.get, content)

    def failure(self, error: Exception) -> str | None:
        errors = sys.modules["requests.exceptions"]
        if isinstance(error, errors.Timeout):
            return "time-out"
        return "no connection" if isinstance(error, errors.ConnectionError | errors.ChunkedEncodingError) else None

    def drop(self, response: Any) -> None:
        response.close()


def _requests_response(reply: EndpointReply, request: Any, adapter: Any) -> Any:
    raw = sys.modules["urllib3"].HTTPResponse(
        body=io.BytesIO(reply.body) if reply.rest is None else io.BufferedReader(_Stream(reply.rest)),
        headers=list(reply.headers),
        status=reply.status,
        reason=responses.get(reply.status, ""),
        version=11,
        preload_content=False,
        request_method=request.method,
    )
    build = sys.modules["requests.adapters"].HTTPAdapter.build_response
    return build(adapter, request, raw)


class _Stream(io.RawIOBase):
    """The body of an answer as it comes, for urllib3, which takes an `OSError` for a connection that breaks off."""

    def __init__(self, parts: Stretch) -> None:
        self._parts, self._left = parts, b""

    def close(self) -> None:
        self._parts.close()
        super().close()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            while not self._left:
                self._left = next(self._parts)
        except StopIteration:
            return 0
        except LlmptError as error:
            raise OSError(str(error)) from None
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count


class ThroughHttpx:
    """A transport of httpx or httpx2 before `transport`, likewise."""

    def __init__(self, transport: Any, raw: str, route: Route, longest_s: float) -> None:
        self._transport, self._raw, self._route, self._longest_s = transport, raw, route, longest_s

    def handle_request(self, request: Any) -> Any:
        question = Question.of(request.method, self._raw, request.headers.get, request.read)
        if question is None:
            return self._transport.handle_request(request)
        library = sys.modules[type(request).__module__.partition(".")[0]]
        reads = question.target.route == "info"
        side = _HttpxSide(library, self._transport, request, reads=reads, longest_s=self._longest_s)
        answer = self._route(question, side)
        if not isinstance(answer, EndpointReply):
            return answer
        body = library.ByteStream(answer.body) if answer.rest is None else _stream_of(library, request, answer.rest)
        return library.Response(answer.status, headers=list(answer.headers), stream=body)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def _stream_of(library: Any, request: Any, stretch: Stretch) -> Any:
    def parts(_stream: Any) -> Iterator[bytes]:
        try:
            yield from stretch
        except LlmptError as error:
            raise library.ReadError(str(error), request=request) from None

    return type("Stream", (library.SyncByteStream,), {"__iter__": parts, "close": lambda _stream: stretch.close()})()


class _HttpxSide:
    def __init__(self, library: Any, transport: Any, request: Any, *, reads: bool, longest_s: float) -> None:
        self._library, self._transport, self._request, self._reads = library, transport, request, reads
        self._longest_s = longest_s
        self._read: bytes | None = None

    def ask(self, *, bounded: bool) -> Any:
        if bounded:
            waits = self._request.extensions.get("timeout") or {}
            waits = {name: waits.get(name) or self._longest_s for name in ("connect", "read", "write", "pool")}
            self._request.extensions = {**self._request.extensions, "timeout": waits}
        response = self._transport.handle_request(self._request)
        if self._reads and response.status_code == 200:
            try:
                self._read = b"".join(response.stream)
            finally:
                response.stream.close()
            response.stream = self._library.ByteStream(self._read)
        return response

    def heard(self, response: Any) -> Heard:
        content = None
        if self._read is not None:
            copy = self._library.Response(
                response.status_code, headers=response.headers, stream=self._library.ByteStream(self._read)
            )
            content = copy.read()  # as its Content-Encoding says
        return _heard(response.status_code, response.headers.get, content)

    def failure(self, error: Exception) -> str | None:
        if isinstance(error, self._library.TimeoutException):
            return "time-out"
        return "no connection" if isinstance(error, self._library.TransportError) else None

    def drop(self, response: Any) -> None:
        response.stream.close()


def _heard(status: int, header: Callable[[str], str | None], content: bytes | None) -> Heard:
    commit, wait = header("X-Repo-Commit"), header("Retry-After") or ""
    if content is not None:
        try:
            document = json.loads(content)
        except ValueError:
            document = None
        commit = document.get("sha") if isinstance(document, dict) else None
    length = header("Content-Length") if status == 200 and not header("Content-Encoding") else None
    return Heard(
        status,
        commit,
        float(wait) if wait.isascii() and wait.isdigit() and len(wait) < 9 else None,
        _etag(header("X-Linked-Etag") or header("ETag") or ""),
        _size(header("X-Linked-Size") or length or ""),
        header("X-Error-Code") == NO_SUCH_FILE,
    )


def _etag(text: str) -> Etag | None:
    try:
        return Etag(text.removeprefix("W/").strip('"'))
    except InvalidName:
        return None


def _size(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _bytes(body: Any) -> bytes:
    if isinstance(body, str):
        return body.encode()
    return bytes(body) if isinstance(body, bytes | bytearray) else b""
