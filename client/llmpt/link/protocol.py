"""The lines on the agent's socket: how a message is written and read, and which version of the protocol it is of.

Each message is one line of JSON with the version of this protocol (`v`) and that of the speaker's llmpt (`version`). What can
be said stands in `requests` and `answers`, and on one page, with examples, in docs/protocols/agent-socket.md.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from typing import Any

from llmpt.core import request_id
from llmpt.core.documents import read_json
from llmpt.core.errors import InvalidInput
from llmpt.link import versions
from llmpt.link.fields import Message

PROTOCOL_VERSION = 1
MAX_LINE_BYTES = 1 << 20
MAX_ANSWER_BYTES = 1 << 26  # the status of an agent names all that it seeds


def encode(message: Mapping[str, Any]) -> bytes:
    """Write a message as one line, with the protocol's version and our own, and the id of the request that it is about."""
    said = {"v": PROTOCOL_VERSION, "version": versions.own_version(), **message}
    if asked := request_id.current():
        said["request"] = asked
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Message:
    """Read one line; raise `InvalidInput` when it is no message."""
    try:
        message = read_json(line, most_bytes=MAX_ANSWER_BYTES)
    except InvalidInput:
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
