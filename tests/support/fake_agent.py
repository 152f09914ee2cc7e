"""An agent that speaks the socket's protocol and serves content from memory, as told: well, badly, or not at all."""

from __future__ import annotations

import hashlib
import os
import select
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from llmpt.disk.growth import Growth
from llmpt.link import paths, protocol
from llmpt.link.protocol import LineReader

Say = Callable[..., None]


class FakeAgent:
    """Listens under `runtime` (an XDG_RUNTIME_DIR). `behaviour` names one of the methods below; it may be changed at any time.

    `fetches`, `fetching` and `landed` are what it was asked. It serves what `contents` holds by etag and refuses everything else.
    """

    def __init__(self, runtime: Path, contents: Mapping[str, bytes], *, behaviour: str = "serve") -> None:
        self.contents = dict(contents)
        self.behaviour = behaviour
        self.fetches: list[dict[str, Any]] = []
        self.landed: list[dict[str, Any]] = []
        self.fetching: list[dict[str, Any]] = []
        self.seen: set[int] = set()
        self.watched_at_landing: list[int] = []
        self._watching = 0
        self.cancelled = 0
        self._path = paths.socket_path({"XDG_RUNTIME_DIR": str(runtime)})
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> FakeAgent:
        self._listener.bind(str(self._path))
        self._listener.listen(64)
        self._listener.settimeout(0.05)
        self._spawn(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join(timeout=10)
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _spawn(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            self._spawn(self._converse, connection)

    def _converse(self, connection: socket.socket) -> None:
        def say(event: str, **more: Any) -> None:
            connection.sendall(protocol.encode({"event": event, **more}))

        with connection:
            try:
                message = LineReader(connection).read(timeout_s=5)
                if message is None:
                    return
                if message["op"] == "fetch":
                    self.fetches.append(message)
                    self._fetch(message, say, connection)
                elif message["op"] == "fetching":
                    self.fetching.append(message)
                    self._watching += 1
                    self._watch(message, say, connection)
                    self._watching -= 1
                elif message["op"] == "landed":
                    self.landed.append(message)
                    self.watched_at_landing.append(self._watching)
                    say("ok")
                else:
                    say("status", fetches=len(self.fetches))
            except (BrokenPipeError, ConnectionResetError):
                self.cancelled += 1

    def _watch(self, message: dict[str, Any], say: Say, connection: socket.socket) -> None:
        """Look at the library's own file, as an agent would, until the hook hangs up."""
        own = frozenset(Path(fetch["path"]).name for fetch in self.fetches)
        goes_on = next(iter(own)) if self.behaviour == "give_up_for_all" else ""
        growth = Growth(Path(message["stem"]), len(self.contents[message["etag"]]), not_these=own, goes_on=goes_on)
        say("ok")
        while not select.select([connection], [], [], 0.02)[0]:
            growth.look()
            self.seen.add(growth.done_bytes)
        assert connection.recv(1) == b""

    @staticmethod
    def _give_up(path: Path, content: bytes, say: Say, *, right: bool, fetch: bool) -> None:
        """Three fifths of the file have come, not all from its start, and no more will."""
        have = [[0, len(content) // 2], [len(content) * 4 // 5, len(content) * 9 // 10]]
        with path.open("r+b") as file:
            for start, stop in have:
                file.seek(start)
                file.write(content[start:stop] if right else b"?" * (stop - start))
                say("progress", bytes=stop, rate_bytes_s=1000, peers=2)
        say("failed", reason="every peer has gone", have=have, fetch=fetch)

    def _fetch(self, message: dict[str, Any], say: Say, connection: socket.socket) -> None:
        behaviour = self.behaviour
        content = self.contents.get(message["etag"])
        if content is None or behaviour == "refuse":
            return say("refused", reason="nobody has it")
        if behaviour == "nonsense":
            return connection.sendall(b"\x00 not a line of ours\n")
        if behaviour.startswith("wait"):  # for another machine, which has half of it at last
            for waited in (len(content) // 8, len(content) // 4):
                say("progress", bytes=waited, rate_bytes_s=1000, peers=0, waiting=True)
        if behaviour == "wait_then_fetch":
            return say("refused", reason="this machine fetches it for all", fetch=True)
        path = Path(message["path"])
        found = path.stat()
        assert (found.st_dev, found.st_ino) == (message["dev"], message["ino"])
        if behaviour in ("give_up", "give_up_for_all", "lie_about_have"):
            return self._give_up(path, content, say, right=behaviour != "lie_about_have", fetch=behaviour == "give_up_for_all")
        half = len(content) // 2
        broken = behaviour in ("fail_midway", "hang", "hang_up")
        with path.open("r+b") as file:
            for start, stop in [(0, half)] if broken else [(0, half), (half, len(content))]:
                file.seek(start)
                file.write(content[start:stop])
                say("progress", bytes=stop, rate_bytes_s=1000, peers=2)
            if not behaviour.startswith("wait"):
                say("progress", bytes=half // 2, rate_bytes_s=1000, peers=2)  # a piece failed its hash
        if behaviour == "fail_midway":
            return say("failed", reason="every peer has gone")
        if behaviour == "hang":
            self._closing.wait(60)
        if behaviour in ("hang", "hang_up"):
            return None
        assert hashlib.sha256(path.read_bytes()).hexdigest() == message["etag"] or len(message["etag"]) == 40
        moved = behaviour in ("serve", "wait_then_serve") and not message["replace"]
        if moved:
            path.replace(message["destination"])
        if behaviour == "lie_about_content":
            os.truncate(path, len(content) - 1)
        return say(
            "done",
            moved=moved or behaviour == "lie_about_moved",
            bytes_from_lan=len(content),
            peers=2,
            seconds=0.1,
        )
