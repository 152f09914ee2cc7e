"""A way to a server that can be broken for a while: connections are passed on, refused, or answered with a status.

With `certificate` (a file with its key) it speaks TLS, as a proxy before the server would.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from pathlib import Path
from types import TracebackType


class Relay:
    """A context manager; `port` on loopback leads to `to`. `broken`: None, `refused`, or a status such as `500`.

    `asked`: how the first request of each connection begins, as in `POST /api/v1/lookup`.
    """

    def __init__(self, to: tuple[str, int], *, certificate: Path | None = None) -> None:
        self._to = to
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listening.getsockname()[1])
        self._broken: str | None = None
        self.asked: list[str] = []

    def __enter__(self) -> Relay:
        self._serve()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.breaks("refused")

    def breaks(self, how: str) -> None:
        """Break the way for what comes from now on."""
        self._broken = how
        if how == "refused":
            with contextlib.suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()

    def is_mended(self) -> None:
        """Pass on again."""
        if self._broken == "refused":
            self._listening = socket.create_server(("127.0.0.1", self.port), backlog=64)
            self._serve()
        self._broken = None

    def _serve(self) -> None:
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), self._tls.wrap_socket(client, server_side=True) if self._tls else client as client:
            if self._broken is not None:
                client.recv(65536)
                client.sendall(f"HTTP/1.1 {self._broken} Broken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                return
            with socket.create_connection(self._to, 10) as server:
                back = threading.Thread(target=_copy, args=(server, client), daemon=True)
                back.start()
                first = client.recv(65536)
                self.asked.append(" ".join(first.decode("latin-1").partition("?")[0].split()[:2]))
                server.sendall(first)
                _copy(client, server)
                back.join(30)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
