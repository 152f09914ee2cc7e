"""What the client says to a tracker, and makes of its refusal, on a real socket."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import pytest

from llmpt.core.blob import Etag
from llmpt.core.errors import TrackerRefused, TrackerSlow, TrackerUnavailable
from llmpt.core.leases import Poll
from llmpt.tracker.client import TrackerClient

REFUSAL = {"error": {"code": "client_too_old", "message": "update llmpt on this machine"}}


class Once:
    """A tracker that answers one request, as told."""

    def __init__(self, status: str = "426 Upgrade Required", answer: object = REFUSAL, *headers: str) -> None:
        body = b"" if answer is None else json.dumps(answer).encode()
        head = "\r\n".join((f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers))
        self._answer = f"{head}\r\n\r\n".encode() + body
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(10)
        self.request = b""
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._thread.join(20)
        self.listening.close()

    def _serve(self) -> None:
        connection, _ = self.listening.accept()
        with connection:
            connection.settimeout(10)
            while b"\r\n\r\n" not in self.request:
                self.request += connection.recv(4096)
            length = re.search(rb"(?i)\ncontent-length: (\d+)", self.request)
            whole = self.request.index(b"\r\n\r\n") + 4 + (int(length[1]) if length else 0)
            while len(self.request) < whole:  # what is left unread would reset the connection under the answer
                self.request += connection.recv(4096)
            connection.sendall(self._answer)


@contextmanager
def asked(tracker: Once) -> Iterator[TrackerClient]:
    yield TrackerClient(f"http://127.0.0.1:{tracker.listening.getsockname()[1]}", token="llmpt_share_secret")
    tracker.close()


@pytest.fixture
def tracker() -> Iterator[Once]:
    one = Once()
    yield one
    one.close()


def test_the_client_says_its_version_and_passes_on_that_it_is_too_old(tracker: Once) -> None:
    client = TrackerClient(f"http://127.0.0.1:{tracker.listening.getsockname()[1]}")
    with pytest.raises(TrackerRefused, match="update llmpt on this machine") as refusal:
        client.get("/api/v1/whoami")
    assert (refusal.value.status, refusal.value.code) == (426, "client_too_old")
    assert b"\r\nUser-Agent: llmpt/%b\r\n" % version("llmpt").encode() in tracker.request


def test_a_token_for_sharing_is_asked_for_by_name_and_code() -> None:
    tracker = Once("201 Created", {"token": "llmpt_share_1", "scope": "share"})
    with asked(tracker) as client:
        assert client.share_token("ann", "a-code") == "llmpt_share_1"
    assert b"POST /api/v1/tokens " in tracker.request
    assert b'{"name": "ann", "code": "a-code"}' in tracker.request


def test_an_answer_without_a_body_is_an_answer() -> None:
    tracker = Once("204 No Content", None)
    with asked(tracker) as client:
        client.report(Etag("a" * 64), "b" * 64, "wrong")
    assert b"Authorization: Bearer llmpt_share_secret" in tracker.request


@pytest.mark.parametrize(("said", "seconds"), [("7", 7), ("soon", None)])
def test_a_refusal_passes_on_when_to_ask_again(said: str, seconds: int | None) -> None:
    tracker = Once("429 Too Many Requests", {"error": {"code": "slow_down", "message": "too often"}}, f"Retry-After: {said}")
    with asked(tracker) as client, pytest.raises(TrackerRefused, match="too often") as refusal:
        client.leases(Poll("m"))
    assert refusal.value.retry_after_s == seconds


@pytest.mark.parametrize(
    "answer", [{}, {"leases": 5}, {"leases": [{"etag": "x", "role": "wait"}]}, {"leases": [{"etag": "a" * 64}]}, {"leases": [7]}]
)
def test_an_answer_about_leases_that_makes_no_sense_is_none(answer: dict[str, object]) -> None:
    with asked(Once("200 OK", answer)) as client, pytest.raises(TrackerUnavailable, match="about leases makes no sense"):
        client.leases(Poll("m"))


def test_a_tracker_that_takes_the_question_and_says_nothing_is_slow_and_one_that_is_not_there_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(TrackerSlow):
            TrackerClient(url, timeout_s=0.2).leases(Poll("m"))
    with pytest.raises(TrackerUnavailable) as gone:
        TrackerClient(url, timeout_s=0.2).leases(Poll("m"))
    assert not isinstance(gone.value, TrackerSlow)
