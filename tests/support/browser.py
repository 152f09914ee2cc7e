"""A real browser without a window, and a web server for the pages that it is led to."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def visit(url: str, folder: Path, *, names: str = "") -> str:
    """Have a browser load a page and run its scripts; return what it shows then, as HTML.

    `names` maps host names to addresses (`MAP evil.example 127.0.0.1`), as an evil name server would. `folder` is its profile.
    """
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={folder}"]
    command += ["--disable-background-networking", "--no-proxy-server", f"--host-resolver-rules={names}"]
    command += ["--timeout=3000", "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout


@contextmanager
def page_server(page: str, host: str = "127.0.0.1") -> Iterator[int]:
    """Serve one page, whatever is asked for; yield the port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer((host, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
