"""A kept connection serves the next request, and one that the server has closed is made anew."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from llmpt.net.kept import KeptConnections, ServerPlace


class Server(ThreadingHTTPServer):
    daemon_threads = True
    connections = 0
    closes = False

    def process_request(self, request: object, client_address: object) -> None:
        self.connections += 1
        super().process_request(request, client_address)  # type: ignore[arg-type]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        body = self.path.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.server.closes  # without a word of it


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join(5)


def ask(kept: KeptConnections, server: Server, target: str, *, reads: bool = True) -> bytes:
    place = ServerPlace("127.0.0.1", server.server_address[1], tls=False)
    with kept.asked("GET", place, target, {}, whole_s=2.0) as response:
        return response.read() if reads else b""


def test_one_connection_serves_many_requests(server: Server) -> None:
    kept = KeptConnections()
    assert [ask(kept, server, f"/{number}") for number in range(5)] == [b"/%d" % number for number in range(5)]
    assert server.connections == 1


def test_a_connection_that_was_closed_meanwhile_is_made_anew(server: Server) -> None:
    kept = KeptConnections()
    server.closes = True
    assert [ask(kept, server, f"/{number}") for number in range(3)] == [b"/%d" % number for number in range(3)]
    assert server.connections == 3


def test_a_connection_whose_answer_was_not_read_is_not_kept(server: Server) -> None:
    kept = KeptConnections()
    ask(kept, server, "/first", reads=False)
    assert ask(kept, server, "/second") == b"/second"
    assert server.connections == 2
