"""Ending connections without waiting for their clients.

After an answer that ends a connection, its client must be let read to the end: closing with bytes of it unread would reset the
connection. gunicorn waits for that, up to 2 s for each client, in the one thread of a worker that accepts all others; a client
that keeps its end open, or a laptop that has gone to sleep, would hold up the LAN. Here one thread waits for all of them.
"""

from __future__ import annotations

import contextlib
import queue
import selectors
import socket
import threading
import time

LINGER_S = 2.0
TICK_S = 0.05
MAX_UNREAD_BYTES = 65536


class Lingering:
    """Closes the connections that it is given, each when its client has, or after `linger_s`. Used by any thread."""

    def __init__(self, *, linger_s: float = LINGER_S) -> None:
        self._linger_s = linger_s
        self._given: queue.SimpleQueue[tuple[float, socket.socket]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._runs = False

    def close(self, sock: socket.socket) -> None:
        """Say the end, and close the connection as soon as its client has read it; returns at once."""
        try:
            sock.shutdown(socket.SHUT_WR)
            sock.setblocking(False)
            if _has_ended(sock):
                sock.close()
                return
        except OSError:
            sock.close()
            return
        self._given.put((time.monotonic() + self._linger_s, sock))
        with self._lock:
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="lingering", daemon=True).start()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            until: dict[socket.socket, float] = {}
            while True:
                with contextlib.suppress(queue.Empty):
                    while True:
                        deadline, sock = self._given.get_nowait()
                        until[sock] = deadline
                        selector.register(sock, selectors.EVENT_READ)
                with self._lock:
                    if not until and self._given.empty():
                        self._runs = False
                        return
                readable = {key.fd for key, _ in selector.select(TICK_S)}
                ended = [sock for sock in until if sock.fileno() in readable and _has_ended(sock)]
                now = time.monotonic()
                for sock in {*ended, *(one for one, deadline in until.items() if deadline <= now)}:
                    selector.unregister(sock)
                    del until[sock]
                    sock.close()


def _has_ended(sock: socket.socket) -> bool:
    """Read what a client sent behind its request, and say whether it has closed its end, or sent more than it may."""
    unread = 0
    try:
        while unread < MAX_UNREAD_BYTES:
            data = sock.recv(4096)
            if not data:
                return True
            unread += len(data)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
