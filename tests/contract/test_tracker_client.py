"""What the client says to a tracker, and makes of its refusal, on a real socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from importlib.metadata import version

import pytest

from llmpt.core.errors import TrackerRefused
from llmpt.tracker_client import TrackerClient


class Refusing:
    """A tracker of the future that serves one request with 426."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(10)
        self.head = b""
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._thread.join(20)
        self.listening.close()

    def _serve(self) -> None:
        connection, _ = self.listening.accept()
        with connection:
            connection.settimeout(10)
            while b"\r\n\r\n" not in self.head:
                self.head += connection.recv(4096)
            body = json.dumps({"error": {"code": "client_too_old", "message": "update llmpt on this machine"}}).encode()
            connection.sendall(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


@pytest.fixture
def tracker() -> Iterator[Refusing]:
    one = Refusing()
    yield one
    one.close()


def test_the_client_says_its_version_and_passes_on_that_it_is_too_old(tracker: Refusing) -> None:
    client = TrackerClient(f"http://127.0.0.1:{tracker.listening.getsockname()[1]}")
    with pytest.raises(TrackerRefused, match="update llmpt on this machine") as refusal:
        client.get("/api/v1/whoami")
    assert (refusal.value.status, refusal.value.code) == (426, "client_too_old")
    assert b"\r\nUser-Agent: llmpt/%b\r\n" % version("llmpt").encode() in tracker.head
