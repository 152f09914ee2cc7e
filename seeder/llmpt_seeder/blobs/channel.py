"""The socket of one client, and how a file's bytes get onto it: by the kernel alone, or through TLS where that is spoken.

sendfile(2) on a socket with TLS around it would put the file itself onto the wire; so there the bytes are read and encrypted, a
piece at a time. All other calls of the socket are the same for both.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress

from llmpt.core.http_head import BadRequest
from llmpt.host.certificate import CLIENT_HELLO, Certificate
from llmpt_seeder.errors import Cut

READ_BYTES = 128 << 10  # a client that is slow holds so much memory, with TLS
_MORE = getattr(socket, "MSG_MORE", 0)  # the head leaves in one segment with the first bytes


class Channel:
    """One client's socket. Only `hang_up` may be called by another thread than the client's. Each method raises `OSError`.

    `stall_s`: a client may go so long without taking a byte.
    """

    def __init__(self, sock: socket.socket, *, stall_s: float) -> None:
        self._sock, self._stall_s = sock, stall_s
        self._is_over = False

    def prepare(self) -> None:
        """Set what holds for the whole of the connection."""
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stall = struct.pack("ll", int(self._stall_s), int(self._stall_s % 1 * 1e6))
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, stall)

    def await_hello(self, timeout_s: float) -> bool:
        """Wait for the first byte, and say whether one came. Raises `BadRequest` when it is none of TLS."""
        self._sock.settimeout(timeout_s)
        first = self._sock.recv(1, socket.MSG_PEEK)
        if first and first != CLIENT_HELLO:
            raise BadRequest(400, "TLS is spoken here: write https:// instead of http://")
        return bool(first)

    def secure(self, certificate: Certificate, *, within_s: float) -> None:
        """Speak TLS from now on."""
        wrapped = certificate.wrap(self._sock)
        self._sock = wrapped
        if self._is_over:  # it was hung up meanwhile, on the socket of before
            raise ConnectionAbortedError
        wrapped.settimeout(within_s)
        wrapped.do_handshake()

    def receive(self, most: int, *, within_s: float) -> bytes:
        """Return what has come; nothing when the client has closed its end."""
        self._sock.settimeout(within_s)
        return self._sock.recv(most)

    def send(self, data: bytes, *, more: bool = False) -> None:
        """Send all of it; `more`: a file's bytes follow at once."""
        if isinstance(self._sock, ssl.SSLSocket):
            self._sock.settimeout(self._stall_s)
            self._sock.sendall(data)
        else:
            self._sock.settimeout(None)  # the system itself ends what stalls
            self._sock.sendall(data, _MORE if more else 0)

    def send_file(self, descriptor: int, at: int, count: int, on_sent: Callable[[int], None]) -> int:
        """Send bytes of a file, after `send`; return how many, which is less after a signal. Raises `Cut`."""
        if isinstance(self._sock, ssl.SSLSocket):
            return self._encrypt_file(self._sock, descriptor, at, count, on_sent)
        sent = os.sendfile(self._sock.fileno(), descriptor, at, count)
        if not sent:
            raise Cut("the file is shorter than it was")
        on_sent(sent)
        if sent < count and not self.poll(select.POLLOUT, 0):  # else the call was interrupted by a signal
            raise self._stalled()
        return sent

    def poll(self, events: int, timeout_ms: int) -> bool:
        """Say whether one of the events is there within that time."""
        poll = select.poll()
        poll.register(self._sock, events)
        return bool(poll.poll(timeout_ms))

    def say_end(self) -> None:
        """Tell the client that nothing follows."""
        if isinstance(self._sock, ssl.SSLSocket):
            self._sock.settimeout(0)
            with suppress(OSError, ValueError):  # its own end is not waited for
                self._sock.unwrap()
        socket.socket.shutdown(self._sock, socket.SHUT_WR)

    def hang_up(self) -> None:
        """End the connection; what is being sent or waited for fails."""
        self._is_over = True
        with suppress(OSError):  # it has ended by itself
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)  # that of `ssl` would have the rest sent without TLS

    def reset(self) -> None:
        """Have `close` break it off, so that no client takes what it got for the whole."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        self._sock.close()

    def _encrypt_file(self, sock: ssl.SSLSocket, descriptor: int, at: int, count: int, on_sent: Callable[[int], None]) -> int:
        done = 0
        while done < count:
            rest = memoryview(os.pread(descriptor, min(READ_BYTES, count - done), at + done))
            if not rest:
                raise Cut("the file is shorter than it was")
            while rest:
                try:
                    sent = sock.send(rest)
                except TimeoutError:
                    raise self._stalled() from None
                on_sent(sent)
                done += sent
                rest = rest[sent:]
        return done

    def _stalled(self) -> Cut:
        return Cut(f"its client took nothing for {self._stall_s:.0f} s")
