"""Blobs over HTTP from memory, as a tracker and its seeders give them: `/blobs/<etag>` is redirected, the seeder sends ranges.

with BlobServer({etag: content}) as seeder, BlobServer(redirect_to=lambda: seeder) as tracker:
    BlobHttp(tracker.url, …).fetch(…)
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Asked:
    method: str
    etag: str
    range: str


class BlobServer:
    """`contents` by etag; with `redirect_to` it is a tracker, and sends the asker there for whatever that one has.

    With `slow` it sends so many bytes every 20 ms.
    With `trailers` an answer comes in chunks, and lines follow it without end.
    Every answer breaks off after `cut_after` bytes and stops for good after `stall_after` (`on_cut` is called then); `status`
    answers that instead; `requests` are those that were made.
    """

    def __init__(
        self, contents: Mapping[str, bytes] | None = None, *, redirect_to: Callable[[], BlobServer | None] | None = None
    ) -> None:
        self.contents = dict(contents or {})
        self.redirect_to = redirect_to
        self.cut_after: int | None = None
        self.stall_after: int | None = None
        self.slow: int | None = None
        self.trailers = False
        self.status: int | None = None
        self.on_cut: Callable[[], None] = lambda: None
        self.requests: list[Asked] = []
        self.bytes_sent = 0
        self.is_left = False  # a client went away in the middle of an answer
        self.closing = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> BlobServer:
        owner = self

        class Handler(_Handler):
            server_of = owner

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def note(self, asked: Asked) -> None:
        with self._lock:
            self.requests.append(asked)

    def sent(self, count: int) -> None:
        with self._lock:
            self.bytes_sent += count


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_of: BlobServer

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        server, etag = self.server_of, self.path.removeprefix("/blobs/")
        server.note(Asked(self.command, etag, self.headers.get("Range", "")))
        if server.status is not None:
            self._say(server.status)
        elif server.redirect_to is not None:
            target = server.redirect_to()
            if target is None or etag not in target.contents:
                self._say(404)
            else:
                self._say(302, Location=f"{target.url}{self.path}")
        elif etag not in server.contents:
            self._say(404)
        else:
            self._send(server, etag, server.contents[etag])

    def _say(self, status: int, **headers: str) -> None:
        body = json.dumps({"error": {"code": "not_found", "message": "none has it"}}).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _send(self, server: BlobServer, etag: str, content: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        stop = min(int(asked[2]) + 1, len(content)) if asked and asked[2] else len(content)
        if server.trailers and self.command == "GET":
            return self._follow_without_end(content[:1000])
        self.send_response(206 if asked else 200)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("Content-Length", str(stop - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return None
        limit = min(limit for limit in (server.cut_after, server.stall_after, stop - start) if limit is not None)
        try:
            step = server.slow or limit
            for at in range(start, start + limit, max(step, 1)):
                self.wfile.write(content[at : min(at + step, start + limit)])
                self.wfile.flush()
                if server.slow is not None and server.closing.wait(0.02):
                    break
            server.sent(limit)
            if limit < stop - start:
                server.on_cut()
                self.close_connection = True
                if server.stall_after is not None:
                    server.closing.wait(30)
        except ConnectionError:
            server.is_left = self.close_connection = True

    def _follow_without_end(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.close_connection = True
        try:
            self.wfile.write(b"%x\r\n%b\r\n0\r\n" % (len(content), content))
            while not self.server_of.closing.wait(0.01):
                self.wfile.write(b"X-More: yes\r\n")
                self.wfile.flush()
        except ConnectionError:
            pass
