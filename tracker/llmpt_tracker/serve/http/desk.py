"""Where whole requests are answered: each in a thread, in its machine's turn."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from llmpt_tracker.serve.http.connection import Connection, Stage
from llmpt_tracker.serve.http.turns import OWN, Turns

log = logging.getLogger(__name__)

Handler = Callable[[Connection], bool]
PATIENT_S = 0.2  # a client that closes its end and waits for the answer is given it within so long
STUCK_S = 3.0  # without an end of any of the requests that are being answered
GIVING_S = 0.02  # turns at one go, most of them to requests that have lapsed; then others are looked at again


class Desk:
    """Has requests answered. Used by the event loop's thread; `call` has that thread call something.

    `handler` answers a request, in a thread of `pool`, and says whether another one may follow on its connection.
    `on_answered` gets the connection, and whether its client is still there. `on_lapsed` gets a connection whose request has
    waited `turn_s` in vain: that the client has gone does not always show, as when it had sent more than was read.
    """

    def __init__(
        self,
        pool: ThreadPoolExecutor,
        handler: Handler,
        call: Callable[[Callable[[], object]], None],
        on_answered: Callable[[Connection, bool], None],
        on_lapsed: Callable[[Connection], None],
        *,
        turn_s: float,
    ) -> None:
        self._pool, self._handler, self._call = pool, handler, call
        self._on_answered, self._on_lapsed, self._turn_s = on_answered, on_lapsed, turn_s
        self._turns: Turns[Connection] = Turns()
        self._got_on_at = 0.0

    @property
    def gets_on(self) -> bool:
        """Whether what is being answered comes to its end; requests that step aside do not count."""
        return self._turns.is_idle or time.monotonic() - self._got_on_at < STUCK_S

    def queue(self, connection: Connection) -> None:
        """Have a request answered in its turn, unless its client goes away before."""
        connection.stage, connection.queued_at = Stage.READY, time.monotonic()
        self._turns.add(connection.machine, connection)
        self._give_turns()

    @contextmanager
    def aside(self, connection: Connection) -> Iterator[None]:
        """Let others have the turn of a request that only waits; from the thread that answers it."""
        self._call(partial(self._end_turn, connection))
        try:
            yield
        finally:
            self._call(partial(self._turns.begin, connection.machine))

    def _give_turns(self) -> None:
        if self._turns.is_idle:
            self._got_on_at = time.monotonic()
        until = time.monotonic() + GIVING_S
        while (connection := self._turns.take()) is not None:
            waited_s = time.monotonic() - connection.queued_at
            if waited_s > self._turn_s and connection.rest is None and connection.machine != OWN:
                self._turns.end(connection.machine)
                self._on_lapsed(connection)
            elif waited_s > PATIENT_S and connection.is_deserted():
                self._turns.end(connection.machine)
                self._on_answered(connection, False)
            else:
                connection.stage = Stage.BUSY
                self._pool.submit(self._answer, connection)
            if time.monotonic() > until:
                self._call(self._give_turns)
                return

    def _end_turn(self, connection: Connection) -> None:
        self._turns.end(connection.machine)
        self._got_on_at = time.monotonic()
        self._give_turns()

    def _answer(self, connection: Connection) -> None:
        is_there = True
        try:
            rest, connection.rest = connection.rest, None
            connection.keeps = rest.go_on() if rest is not None else self._handler(connection)
            connection.outbox.flush()
        except OSError:
            is_there = False
        except BaseException:
            log.exception("a bug of llmpt in answering %s", connection.guest.address)
            is_there = False
        self._call(partial(self._answered, connection, is_there))

    def _answered(self, connection: Connection, is_there: bool) -> None:
        self._end_turn(connection)
        self._on_answered(connection, is_there)
