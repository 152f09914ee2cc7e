"""What the hook and the machine's agent say to each other, and where they meet.

They meet at a Unix socket in a folder that only its user can enter. Each message is one line of JSON that carries the
version of this protocol (`v`) and that of the speaker's llmpt (`version`). The hook sends one request per connection::

    hello    → hello
    retire   → retiring | refused                      (refused while something is under way)
    fetch    → progress* → done | refused | failed     (the hook closes the connection to cancel)
    fetching → ok                                      (the connection stays open as long as the library downloads)
    landed   → ok
    seed     → progress* → ok | refused
    unseed   → ok
    status   → status
    stop     → stopping

`progress` may say 0 bytes: the agent is at work, and nothing flows yet; with `waiting` another machine fetches the file, and
the bytes are what is to be shown of that. `refused`: nothing was transferred; with `fetch` this machine fetches the file for
all, so that the hook says `fetching`, and `landed` with `fetched` when it has it. `failed`: the file is not whole; `have` lists
the byte ranges `[start, stop)` of it that are at `path` and verified, so that the hook need only fetch the rest, with `fetch`
for all. Either way it takes the ordinary path. `done` with `moved`: the agent has renamed the file to its destination; without:
its verified bytes lie at `path`, and the hook moves it. `bytes_by_http` of its `bytes_from_lan` came from a seeder's HTTP, the
others by BitTorrent. `ending`, to any of these: the agent was ending when it was asked and has done nothing; the hook
turns to its successor, as when an older agent closes the connection without a word.

Programs of several environments, with several versions of llmpt, share one agent. `hello`, `retire`, `status` and `stop`
are the same in every version of the protocol, so that a newer hook can have an older agent make room for its own.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from typing import Any

from llmpt.core.errors import InvalidInput
from llmpt.link import versions
from llmpt.link.fields import Message

PROTOCOL_VERSION = 1
MAX_LINE_BYTES = 1 << 20


def encode(message: Mapping[str, Any]) -> bytes:
    """Write a message as one line, with the protocol's version and our own."""
    return (
        json.dumps({"v": PROTOCOL_VERSION, "version": versions.own_version(), **message}, separators=(",", ":")).encode() + b"\n"
    )


def decode(line: bytes) -> Message:
    """Read one line; raise `InvalidInput` when it is no message."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise InvalidInput("not a line of JSON") from None
    if not isinstance(message, dict):
        raise InvalidInput("not a JSON object")
    return message


def check_version(message: Mapping[str, Any]) -> None:
    """Raise `InvalidInput`, saying what to update, when `message` is of another version of this protocol."""
    spoken = message.get("v")
    if spoken == PROTOCOL_VERSION and not isinstance(spoken, bool):
        return
    theirs, ours = f"llmpt {message.get('version') or 'of unknown version'!s:.40}", f"llmpt {versions.own_version()}"
    newer = isinstance(spoken, int) and spoken > PROTOCOL_VERSION
    old, new = (ours, theirs) if newer else (theirs, ours)
    raise InvalidInput(
        f"{old} is too old for {new} on this machine (version {spoken!r:.20} of the agent's protocol, where "
        f"{PROTOCOL_VERSION} is spoken): update {old}"
    )


class LineReader:
    """Reads messages from a connected socket, with a limit for the length of a line."""

    def __init__(self, connection: socket.socket, *, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._connection = connection
        self._max_line_bytes = max_line_bytes
        self._buffer = bytearray()

    def read(self, *, timeout_s: float | None = None, any_version: bool = False) -> Message | None:
        """Return the next message; None when the other side has closed.

        Raises `TimeoutError` after `timeout_s` seconds without a whole line, `InvalidInput` for a line that is none, is
        too long, or (without `any_version`) of another version of the protocol, `OSError` when the connection breaks.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > self._max_line_bytes:
                raise InvalidInput(f"a line of more than {self._max_line_bytes} bytes")
            remaining = None if deadline is None else deadline - time.monotonic()
            if remaining is not None and remaining <= 0:
                raise TimeoutError("no whole line in time")
            self._connection.settimeout(remaining)
            data = self._connection.recv(65536)
            if not data:
                return None
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        message = decode(line)
        if not any_version:
            check_version(message)
        return message
