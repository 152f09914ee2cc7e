"""A machine between a client and a server: it passes on what it is asked, but for what it was told to change."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
import urllib.request
from pathlib import Path
from types import TracebackType
from urllib.error import HTTPError

DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class InBetween:
    """A context manager. Passes GETs on to the server at `url`, but for what stands in `changed` (path → what it says instead).

    With `certificate` (a file with its key) it speaks TLS, as `localhost`. `asked` are the paths that it was asked for.
    """

    def __init__(self, url: str, *, certificate: Path | None = None) -> None:
        self.to = url
        self.changed: dict[str, bytes] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                status, body = 200, outer.changed.get(self.path.partition("?")[0])
                if body is None:
                    try:
                        with DIRECT.open(outer.to + self.path, timeout=10) as answer:
                            body = answer.read()
                    except HTTPError as error:
                        status, body = error.code, error.read()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                pass  # a client that refuses the certificate

        self._server = Server(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme, host = ("http", "127.0.0.1") if certificate is None else ("https", "localhost")
        self.url = f"{scheme}://{host}:{self._server.server_port}"

    def __enter__(self) -> InBetween:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        with contextlib.suppress(OSError):
            self._server.server_close()
