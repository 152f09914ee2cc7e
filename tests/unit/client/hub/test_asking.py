"""A question to the Hub has an answer, the Hub's no, or none; nothing else comes out of it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from llmpt.hub.asking import HubNo, HubUnreachable, ask


@contextmanager
def hub(answer: bytes) -> Iterator[str]:
    """A Hub that answers one question with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.settimeout(10)
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/api/models/x"
        thread.join(10)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def whole(body: bytes, status: str = "200 OK", *fields: str) -> bytes:
    head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *fields))
    return f"{head}\r\n\r\n".encode() + body


def test_an_answer_is_its_json_and_its_headers() -> None:
    with hub(whole(b'{"id": "x"}', "200 OK", "Link: <next>", "X-Llmpt-Version: 1")) as url:
        reply = ask(url)
    assert (reply.document, reply.headers.get("Link"), reply.is_a_trackers) == ({"id": "x"}, "<next>", True)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"no HTTP at all\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        whole(b"<html>"),
        whole(b"\xff\xfe"),
        whole(b"[" * 100_000),
        whole(b"[" + b"1," * 100 + b"1]"),
    ],
)
def test_an_answer_that_makes_no_sense_is_none(answer: bytes) -> None:
    with hub(answer) as url, pytest.raises(HubUnreachable):
        ask(url, most_bytes=100)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "http://a b/", "http://[::1/", "nonsense", "http://ü\ud800/"])
def test_an_address_that_cannot_be_reached_is_no_answer(url: str) -> None:
    with pytest.raises(HubUnreachable):
        ask(url)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error": "Repository Not Found"}', "Repository Not Found"),
        (b"<html>", "the Hub answered 401"),
        (b"[" * 3000, "the Hub answered 401"),
        (b"7", "the Hub answered 401"),
        (b"\xff", "the Hub answered 401"),
    ],
)
def test_the_hubs_no_has_its_words_or_its_number(body: bytes, words: str) -> None:
    answer = whole(body, "401 Unauthorized", "X-Error-Code: RepoNotFound", "Retry-After: 7")
    with hub(answer) as url, pytest.raises(HubNo) as no:
        ask(url)
    assert (str(no.value), no.value.status, no.value.code, no.value.retry_after_s) == (words, 401, "RepoNotFound", 7)
