"""One machine that does harm: connections without end, and what it says on each. A process of its own, until SIGTERM.

It reads one JSON object, the fields of `Attack`. When it ends it prints how much it did, as JSON.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[2]
_READ_BYTES = 1 << 20
_STAR = re.compile(r"\*")
_OPENED_AT_ONCE = 64
_SEND_BUFFER_BYTES = 32 << 10  # the three machines have one kernel: more of it would take the server's memory for TCP
_IPV6_FREEBIND = 78  # which Python does not name
_WOULD_BLOCK = (errno.EAGAIN, errno.EINPROGRESS, errno.EINTR)
_IN, _OUT, _EDGES = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP | select.EPOLLERR


@dataclass
class Attack:
    """What it does.

    targets: host and port of each
    connections: held at once; one that ends is replaced
    says: what a connection begins with, one of these; `{n}` is a number that was not used before, `{r}` 40 random hex digits
    again: says one of them again for each that was sent, without waiting for answers
    reads: takes the answers
    hangs_up: closes as soon as all is said
    drip_s: says one byte more in so many seconds
    window_bytes: of its receive buffer; 0: the system's
    source: has an address for each connection, this one with 16 random bits for each `*`
    body_bytes: so much of a body follows
    """

    targets: list[tuple[str, int]]
    connections: int = 200
    says: list[str] = field(default_factory=list)
    again: bool = False
    reads: bool = True
    hangs_up: bool = False
    drip_s: float = 0.0
    window_bytes: int = 0
    source: str = ""
    body_bytes: int = 0


@contextmanager
def attacking(attack: Attack, *, inside: Callable[[], AbstractContextManager[object]] = nullcontext) -> Iterator[dict[str, int]]:
    """Let another process, started `inside` a machine, do this; what is yielded holds, in the end, how much it did."""
    did: dict[str, int] = {}
    command = ["nice", "-n", "19", sys.executable, "-m", "tests.bench._attacker"]
    with inside():
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    process.stdin.write(json.dumps(asdict(attack)))
    process.stdin.close()
    process.stdin = None
    try:
        yield did
    finally:
        process.terminate()
        did.update(json.loads(process.communicate(timeout=60)[0]))


class _One:
    __slots__ = ("fd", "is_open", "left", "sock")

    def __init__(self, sock: socket.socket, left: bytes) -> None:
        self.sock, self.fd, self.left, self.is_open = sock, sock.fileno(), left, False


class _Attacker:
    def __init__(self, attack: Attack) -> None:
        self._attack = attack
        self._poll = select.epoll()
        self._held: dict[int, _One] = {}
        self._numbers = itertools.count()
        self._targets = itertools.cycle(attack.targets)
        self._body = b" " * attack.body_bytes
        self._texts = [(text.encode("latin-1"), "{n}" in text or "{r}" in text) for text in attack.says]
        self.did = {"connections": 0, "refused": 0, "said": 0, "sent_bytes": 0, "received_bytes": 0}
        self.is_over = False

    def run(self) -> None:
        dripped = time.monotonic()
        while not self.is_over:
            room = self._attack.connections - len(self._held)
            for _ in range(min(room, _OPENED_AT_ONCE)):
                if not self._open():
                    break
            for fd, events in self._poll.poll(0 if room > 0 else 0.2, 512):
                if one := self._held.get(fd):
                    self._serve(one, events)
            if self._attack.drip_s and time.monotonic() - dripped > self._attack.drip_s:
                dripped = time.monotonic()
                self._drip()

    def _open(self) -> bool:
        host, port = next(self._targets)
        try:
            sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        except OSError:
            return False
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            if self._attack.window_bytes:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._attack.window_bytes)
            if self._attack.source:
                if sock.family is socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)  # else only addresses of a device can be had
                sock.bind((_STAR.sub(lambda _: f"{random.getrandbits(16):x}", self._attack.source), 0))
            failed = sock.connect_ex((host, port))
        except OSError:
            failed = errno.EADDRNOTAVAIL
        if failed and failed not in _WOULD_BLOCK:
            self.did["refused"] += 1
            sock.close()
            return False
        one = _One(sock, self._text())
        self._held[one.fd] = one
        self._poll.register(one.fd, _OUT | _EDGES)
        return True

    def _text(self) -> bytes:
        if not self._texts:
            return b""
        text, varies = random.choice(self._texts)
        if varies:
            text = text.replace(b"{n}", b"%d" % next(self._numbers)).replace(b"{r}", os.urandom(20).hex().encode())
        return text + self._body

    def _serve(self, one: _One, events: int) -> None:
        try:
            if events & _OUT:
                self._say(one)
            if events & _IN:
                came = len(one.sock.recv(_READ_BYTES))
                self.did["received_bytes"] += came
                if not came:
                    self._close(one)
                    return
            if events & _EDGES and not events & (_IN | _OUT):
                self._close(one)
        except OSError as error:
            if error.errno not in _WOULD_BLOCK:
                self._close(one)

    def _say(self, one: _One) -> None:
        if not one.is_open:
            self.did["connections"] += 1
            one.is_open = True
        if one.left:
            count = one.sock.send(one.left)
            self.did["sent_bytes"] += count
            one.left = one.left[count:]
        if one.left:
            return
        self.did["said"] += 1
        if self._attack.hangs_up:
            self._close(one)
        elif self._attack.again:
            one.left = self._text()
            self._poll.modify(one.fd, _OUT | _EDGES | (_IN if self._attack.reads else 0))
        else:
            self._poll.modify(one.fd, _EDGES | (_IN if self._attack.reads else 0))

    def _drip(self) -> None:
        for one in list(self._held.values()):
            if one.is_open:
                try:
                    self.did["sent_bytes"] += one.sock.send(b"x")
                except OSError as error:
                    if error.errno not in _WOULD_BLOCK:
                        self._close(one)

    def _close(self, one: _One) -> None:
        if self._held.pop(one.fd, None) is not None:
            one.sock.close()


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    attacker = _Attacker(Attack(**json.load(sys.stdin)))

    def end(_number: int, _frame: FrameType | None) -> None:
        attacker.is_over = True

    signal.signal(signal.SIGTERM, end)
    attacker.run()
    print(json.dumps(attacker.did), flush=True)


if __name__ == "__main__":
    main()
