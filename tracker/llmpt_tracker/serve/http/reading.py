"""How far a request has come: its head, its body, and, where the body is large, a place to be read in."""

from __future__ import annotations

import enum
import time
from collections import Counter

from llmpt_tracker.serve.http.bounds import Memory, TimeLimits
from llmpt_tracker.serve.http.connection import CONTINUE, Connection, Stage


class Progress(enum.Enum):
    """What a request is waiting for."""

    MORE = "its client"
    PLACE = "others, whose bodies are large, too"
    NOTHING = "it is whole"


class Reading:
    """Reads requests out of the buffers of connections. Used by one thread."""

    def __init__(self, patience: TimeLimits, memory: Memory) -> None:
        self._patience, self._memory = patience, memory
        self._large_bodies = 0
        self._large: Counter[tuple[int, str]] = Counter()  # by the group's place in an origin, and its name
        self.has_room = False  # a place was given back since this was last set to False

    def advance(self, connection: Connection) -> Progress:
        """Take what is in the buffer. Raises `BadRequest`."""
        if connection.stage in (Stage.IDLE, Stage.HEAD):
            if not connection.take_head(self._memory.body_bytes):
                if connection.stage is Stage.IDLE and connection.buffer:
                    connection.stage = Stage.HEAD
                    connection.deadline = time.monotonic() + self._patience.head_s
                return Progress.MORE
            connection.deadline = time.monotonic() + self._patience.place_s
            connection.stage = Stage.PLACE
        if connection.stage is Stage.PLACE:
            if not self._take_place(connection):
                return Progress.PLACE
            self._begin_body(connection)
        if not connection.take_body():
            return Progress.MORE
        self.let_go(connection)
        connection.stage = Stage.READY
        return Progress.NOTHING

    def let_go(self, connection: Connection) -> None:
        """Give back the place of a request that is whole, or whose client has gone."""
        if connection.has_place:
            connection.has_place = False
            self.has_room = True
            self._large_bodies -= 1
            self._large -= Counter(enumerate(connection.guest.origin))

    def _take_place(self, connection: Connection) -> bool:
        frame, groups, memory = connection.frame, tuple(enumerate(connection.guest.origin)), self._memory
        if connection.guest.is_own or (frame and frame.size is not None and frame.size <= memory.small_bytes):
            return True
        bounds = (memory.of_address, memory.of_address, memory.of_site)
        if self._large_bodies >= memory.large_bodies:
            return False
        if any(self._large[group] >= most for group, most in zip(groups, bounds, strict=True)):
            return False
        self._large_bodies += 1
        self._large.update(groups)
        connection.has_place = True
        return True

    def _begin_body(self, connection: Connection) -> None:
        connection.stage, connection.mark = Stage.BODY, 0
        connection.deadline = time.monotonic() + self._patience.body_step_s
        if connection.frame and connection.frame.expects and not connection.buffer:
            connection.outbox.sendall(CONTINUE)
            connection.outbox.flush()
