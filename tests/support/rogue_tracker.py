"""A tracker that a workstation was led to: a real HTTP server, right in every answer until a test makes it say something else.

with RogueTracker() as tracker:
    tracker.says("/healthz", {"status": "ok", "version": "\\x1b[2J", "boot_id": "b"})
    ...
    assert tracker.asked == [("GET", "/healthz")]
"""

from __future__ import annotations

import base64
import copy
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from llmpt.core import merkle
from llmpt.core.blob import Etag
from llmpt.core.metainfo import Metainfo

REPO = {"repo_type": "model", "repo_id": "org/name"}
COMMIT = "c" * 40
BLOB = Metainfo.from_leaves(Etag("e" * 64), 70_000, bytes(32) * merkle.leaf_count(70_000))
CONTACT = {"next": None, "boot_id": "b", "announce_port": 6969, "min_blob_bytes": 1 << 20}
PLACE = {**REPO, "commit": COMMIT, "path": "model.bin"}
TORRENT = {
    "info_hash": str(BLOB.info_hash),
    "etag": str(BLOB.etag),
    "size": BLOB.size,
    "piece_length": BLOB.piece_length,
    "magnet": BLOB.magnet,
    "seeders": 1,
    "leechers": 0,
    "completed": 3,
    "appears_in": [PLACE],
    "metainfo": base64.b64encode(BLOB.encode()).decode(),
    "peers": [],
}
REVISION = {"commit": COMMIT, "refs": ["main"], "complete": True, "files": 1, "size": 9, "files_here": 1, "size_here": 9}
FILE = {"path": "model.bin", "size": BLOB.size, "etag": str(BLOB.etag), "lfs": True, "here": True}
MOMENT = "2026-11-22T00:00:00+00:00"
MIRROR = {
    **REPO, "id": 1, "revision": "main", "include": ["*"], "state": "failed", "commit": COMMIT, "files_total": 1, "files_done": 0,
    "bytes_total": 9, "bytes_done": 0, "error": {"message": "not today", "status": 429, "code": "TooMany", "retry_after_s": 9},
    "requested_at": MOMENT, "wanted_at": MOMENT, "ended_at": MOMENT,
}  # fmt: skip
WHOAMI = {"address": "127.0.0.1", "reachable": True, "version": "0.1.0", "protocol": 1, "oldest_client": "0.1.0"}
RIGHT: dict[str, Any] = {
    "/healthz": {"status": "ok", "version": "0.1.0", "boot_id": "b"},
    "/api/v1/torrents": {**CONTACT, "torrents": [TORRENT]},
    "/api/v1/lookup": {**CONTACT, "torrents": [TORRENT]},
    "/api/v1/repos": {"next": None, "repos": [{**REPO, "revisions": [REVISION]}]},
    "/api/v1/repos/model/org/name/revisions/main": {"commit": COMMIT, "refs": ["main"], "complete": True, "files": [FILE]},
    "/api/v1/mirrors": {"next": None, "mirrors": [MIRROR], **MIRROR},
    "/api/v1/whoami": WHOAMI,
    "/api/v1/tokens": {"token": "llmpt_share_1", "scope": "share"},
    "/api/v1/leases": {"leases": [], "poll_s": 0.5, "boot_id": "b"},
}  # fmt: skip


class RogueTracker:
    """A context manager. `asked` has the method and the target of each request, `bodies` its body."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self.answers: dict[str, Any] = copy.deepcopy(RIGHT)
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[bytes] = []

    def says(self, path: str, answer: Any) -> None:
        """Answer `path` so: with an object, with raw bytes, or by a function of the request's handler."""
        self.answers[path] = answer

    def __enter__(self) -> RogueTracker:
        rogue = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                rogue.asked.append((self.command, self.path))
                rogue.bodies.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
                answer = rogue.answers.get(urlsplit(self.path).path)
                if callable(answer):
                    answer(self)
                    return
                status = 404 if answer is None else answer.get("_status", 200) if isinstance(answer, Mapping) else 200
                body = answer if isinstance(answer, bytes) else json.dumps(answer or {}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Connection", "close")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)
                self.close_connection = True

            do_GET = do_POST = do_PUT = do_HEAD = _answer

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((self._host, 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        for name in ("/api/v1/torrents", "/api/v1/lookup"):
            self.answers[name]["announce_port"] = self.port
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


def redirect(location: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer with a redirect to `location`."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(307)
        handler.send_header("Location", location)
        handler.send_header("Content-Length", "0")
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True

    return answer


def places(document: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to every field and every element of a document."""
    items = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, value in items:
        yield (*at, key)
        yield from places(value, (*at, key))


def changed(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    """Return a copy in which something else stands at one place; the field is left out for `...`."""
    made = copy.deepcopy(document)
    inside = made
    for key in at[:-1]:
        inside = inside[key]
    if value is ...:
        del inside[at[-1]]
    else:
        inside[at[-1]] = value
    return made


def value_at(document: Any, at: tuple[Any, ...]) -> Any:
    """Return what stands at one place."""
    for key in at:
        document = document[key]
    return document
