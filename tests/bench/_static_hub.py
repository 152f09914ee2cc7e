"""The fastest HTTP a Hub could give: one process that answers /<repo>/resolve/<revision>/<file> with sendfile(2).

The kernel moves the bytes from the page cache to the socket, as nginx would; Python only writes the header. Run as
`python -m tests.bench._static_hub <cache>`, it prints its port.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from llmpt.core.repo import RepoRef


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    cache: Path

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def _serve(self) -> None:
        repo_id, _, rest = self.path.lstrip("/").partition("/resolve/")
        revision, _, path = rest.partition("/")
        folder = self.cache / RepoRef("model", repo_id).folder
        ref = folder / "refs" / revision
        commit = ref.read_text() if ref.exists() else revision
        link = folder / "snapshots" / commit / path
        if not link.exists():
            self.send_error(404)
            return
        size = link.stat().st_size
        etag = link.readlink().name
        self.send_response(200)
        for name, value in (("X-Repo-Commit", commit), ("ETag", f'"{etag}"'), ("Content-Length", str(size))):
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.flush()
            with link.open("rb") as file:
                self.connection.sendfile(file)


class _Server(ThreadingHTTPServer):
    daemon_threads = True


def main(cache: Path) -> None:
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"cache": cache}))
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
