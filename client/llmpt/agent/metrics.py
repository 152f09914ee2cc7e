"""`GET /metrics` of the agent, on loopback alone, for a Prometheus of this machine: imported only when that is asked for.

The figures are those of `llmpt status`. No repo, file, machine or token is named: other users of this machine may read them.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from llmpt.core.browsers import SAFE_HEADERS, Caller, HostNames, refusal
from llmpt.link import versions

log = logging.getLogger("llmpt.agent")

LOOPBACK = "127.0.0.1"
TYPE = "text/plain; version=0.0.4; charset=utf-8"
REQUEST_S = 2.0  # for all of it: one client after the other
# By the name of the metric: its key in the status, what it is, whether it only grows.
_FIGURES = {
    "uptime_seconds": ("uptime_s", "Since the agent's start.", False),
    "uploaded_bytes": ("uploaded_bytes", "Bytes given by BitTorrent since the agent's start.", True),
    "downloaded_bytes": ("downloaded_bytes", "Bytes taken from the LAN since the agent's start.", True),
    "upload_bytes_per_second": ("upload_rate_bytes_s", "What is given now.", False),
    "download_bytes_per_second": ("download_rate_bytes_s", "What is taken now.", False),
    "peers": ("peers", "Peers that are connected.", False),
    "tracker_up": ("tracker_answers", "Whether the tracker answers.", False),
}


def written(status: Mapping[str, Any]) -> str:
    """Write the agent's status in the text format of Prometheus."""
    lines = list(_family("info", "The version of this agent.", {f'{{version="{versions.own_version()}"}}': 1}))
    for name, (key, about, only_grows) in _FIGURES.items():
        lines += _family(name, about, {"": float(status[key])}, only_grows=only_grows)
    ended = {f'{{outcome="{outcome}"}}': number for outcome, number in sorted(status["ended"].items())}
    lines += _family("requests", "Files that programs asked for, by what came of it.", ended, only_grows=True)
    running = sum(row["outcome"] == "running" for row in status["downloads"])
    lines += _family("requests_running", "Files that programs wait for.", {"": running})
    lines += _family("fetching", "Files that this machine fetches from the Hub for all.", {"": len(status["fetching"])})
    lines += _family("blobs", "Blobs that are seeded.", {"": len(status["seeding"])})
    lines += _family("blob_bytes", "Bytes of the blobs that are seeded.", {"": sum(row["size"] for row in status["seeding"])})
    lines += _family("troubles", "What does not work in the agent, again and again.", {"": len(status["troubles"])})
    return "\n".join(lines) + "\n"


@contextmanager
def served(port: int, status: Callable[[], Mapping[str, Any]]) -> Iterator[int]:
    """Answer there meanwhile; yields the port (0: a free one). Raises `OSError` when the port cannot be had."""

    class Handler(_Handler):
        read = staticmethod(status)

    with HTTPServer((LOOPBACK, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        log.info("metrics at http://%s:%d/metrics", LOOPBACK, server.server_port)
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    read: Callable[[], Mapping[str, Any]]

    def setup(self) -> None:
        """A client that trickles its request, or its reading, would hold up all others, and the agent's end."""
        super().setup()
        self._over = threading.Timer(REQUEST_S, self._hang_up)
        self._over.daemon = True
        self._over.start()

    def finish(self) -> None:
        self._over.cancel()
        with contextlib.suppress(OSError):
            super().finish()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        said = {name: self.headers.get(name, "") for name in ("Host", "Origin", "Referer", "Sec-Fetch-Site", "User-Agent")}
        if (why := refusal(Caller(*said.values()), HostNames())) is not None:
            self._answer(why.status, f"{why.message}\n")
        elif self.path != "/metrics":
            self._answer(404, "here is /metrics and nothing else\n")
        else:
            self._answer(200, written(self.read()))

    def _answer(self, status: int, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", TYPE if status == 200 else "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        with contextlib.suppress(OSError):  # it has gone, or was hung up on
            self.end_headers()
            self.wfile.write(body)

    def end_headers(self) -> None:
        """Send the head, with what each port that a browser reaches says to it."""
        for name, text in SAFE_HEADERS.items():
            self.send_header(name, text)
        super().end_headers()

    def version_string(self) -> str:
        """Say nothing of what answers."""
        return "llmpt"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        log.debug(format, *args)


def _family(name: str, about: str, values: Mapping[str, float], *, only_grows: bool = False) -> Iterator[str]:
    """Yield the lines of one metric; the values by their labels, as they are written."""
    full = f"llmpt_agent_{name}" + "_total" * only_grows
    yield f"# HELP {full} {about}"
    yield f"# TYPE {full} {'counter' if only_grows else 'gauge'}"
    for labels, value in values.items():
        yield f"{full}{labels} {value:g}" if value < 1e6 else f"{full}{labels} {value:.0f}"
