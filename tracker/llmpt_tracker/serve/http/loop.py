"""The event loop: it takes connections, reads whole requests, has threads answer them, and sends the answers on.

A thread gets a request when all of it is there, and is free again when the answer is written: how fast a client sends and reads
is the loop's business alone.
"""

from __future__ import annotations

import logging
import random
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

from llmpt.core.http_head import BadRequest
from llmpt.host.visitors import in_turn
from llmpt_tracker.serve.http.bounds import ServingLimits
from llmpt_tracker.serve.http.connection import Connection, Stage
from llmpt_tracker.serve.http.crowd import FULL, HEAVY, NO_DESCRIPTOR, Crowd
from llmpt_tracker.serve.http.desk import Desk, Handler
from llmpt_tracker.serve.http.door import Door, Newcomer, turn_away
from llmpt_tracker.serve.http.places import OUTSIDE
from llmpt_tracker.serve.http.reading import Progress, Reading
from llmpt_tracker.serve.http.refusals import LIVENESS, liveness, refusal
from llmpt_tracker.serve.http.waker import Waker
from llmpt_tracker.serve.http.ways import Ways

log = logging.getLogger(__name__)

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
TICK_S = 1.0
READS_AT_ONCE = 2
ASKING_S = 0.015  # to those that send something, before others are looked at again
SENDING_S = 0.006  # to those that take bytes


class EventLoop:
    """Serves the clients of some listening sockets; one thread calls `run_once` again and again.

    `handler` answers a whole request, in a thread of `pool`, and says whether another one may follow on its connection. When it
    has set `connection.rest`, that goes on with the answer as soon as the client has taken what there is.
    """

    def __init__(
        self,
        listening: Sequence[socket.socket],
        handler: Handler,
        pool: ThreadPoolExecutor,
        *,
        ways: Ways,
        limits: ServingLimits = ServingLimits(),
    ) -> None:
        self._patience, self._memory, self._ways = limits.patience, limits.memory, ways
        self._pool = pool
        self._reading = Reading(limits.patience, limits.memory)
        self.crowd = Crowd(limits.bounds)
        self._poller = selectors.DefaultSelector()
        self._waker = Waker()
        self._poller.register(self._waker.fileno(), READ, self._waker.drain)
        self._desk = Desk(pool, handler, self.call, self._answered, self._lapsed, turn_s=limits.patience.turn_s)
        self._waiting: list[Connection] = []  # for a place for a large body
        self._ticked = time.monotonic()
        self._is_ending = False
        self._door = Door(listening, self._poller, ways.guest, on_exhausted=self._no_descriptor)
        self._door.open()

    @property
    def is_busy(self) -> bool:
        """Say whether a request is being answered, or an answer is on its way."""
        return any(one.stage in (Stage.BUSY, Stage.READY, Stage.SENDING) for one in self.crowd)

    def call(self, what: Callable[[], object]) -> None:
        """Have the loop's thread call something soon; from any thread."""
        self._waker.put(what)

    def aside(self, connection: Connection) -> AbstractContextManager[None]:
        """Let others have the turn of a request that only waits; from the thread that answers it."""
        return self._desk.aside(connection)

    def run_once(self, timeout_s: float = TICK_S) -> None:
        """Wait for something to do, at most so long, and do it for a moment: for who asks before who only takes bytes, and first
        for those of a machine that has few."""
        asking: list[Connection] = []
        taking: list[Connection] = []
        for key, _ in self._poller.select(0 if self._door.newcomers else timeout_s):
            if not isinstance(key.data, Connection):
                key.data()
            else:
                (taking if key.data.stage is Stage.SENDING else asking).append(key.data)
        self._door.newcomers.let_in(self._begin)
        for ready, for_s in ((asking, ASKING_S), (taking, SENDING_S)):
            random.shuffle(ready)  # of one machine's, another one comes first each time
            for one in in_turn(ready, lambda one: one.guest.origin, for_s=for_s):
                if one.stage is not Stage.CLOSED:
                    self._go_on(one)
        if self._reading.has_room and self._waiting:
            self._reading.has_room = False
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                if one.stage is Stage.PLACE:
                    self._go_on(one)
        if time.monotonic() - self._ticked >= TICK_S:
            self._tick()

    def stop_accepting(self) -> None:
        """Take no new connections, and end those that are between two requests."""
        self._is_ending = True
        self._door.shut()
        for one in [one for one in self.crowd if one.stage in (Stage.HANDSHAKE, Stage.IDLE)]:
            self._close(one)

    def close(self) -> None:
        """End every connection that no thread has."""
        self._door.shut()
        for one in [one for one in self.crowd if one.stage is not Stage.BUSY]:
            self._close(one)

    # Connections

    def _begin(self, newcomer: Newcomer) -> None:
        sock, guest = newcomer.sock, newcomer.guest
        if not self.crowd.has_place(guest):
            self._tell(FULL)
            self._end_some(self.crowd.in_favour_of(guest))
            if not self.crowd.has_place(guest):
                turn_away(sock, in_words=self._ways.wrap is None)
                return
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except (OSError, ValueError):
            sock.close()
            return
        shakes_hands = self._ways.wrap is not None
        connection = Connection(
            sock, newcomer.client, newcomer.server, guest, stage=Stage.HANDSHAKE if shakes_hands else Stage.IDLE
        )
        self.crowd.enter(connection)
        connection.deadline = time.monotonic() + (self._patience.handshake_s if shakes_hands else self._patience.head_s)
        self._go_on(connection)

    def _no_descriptor(self) -> None:
        self._tell(NO_DESCRIPTOR)
        self._end_some(self.crowd.of_the_largest())

    def _end_some(self, found: Sequence[Connection]) -> None:
        for one in found:
            self._close(one)

    def _close(self, connection: Connection) -> None:
        if connection.stage is not Stage.CLOSED:
            self._watch(connection, 0)
            self._reading.let_go(connection)
            self.crowd.leave(connection)
            connection.close()

    def _watch(self, connection: Connection, events: int) -> None:
        if events == connection.events:
            return
        if not events:
            self._poller.unregister(connection.sock)
        elif connection.events:
            self._poller.modify(connection.sock, events, connection)
        else:
            self._poller.register(connection.sock, events, connection)
        connection.events = events

    # Requests and answers

    def _go_on(self, connection: Connection) -> None:
        """Do what can be done for a connection now; whatever goes wrong ends it, and it alone."""
        try:
            if connection.stage is Stage.HANDSHAKE:
                self._shake_hands(connection)
            elif connection.stage is Stage.SENDING:
                self._send(connection)
            elif connection.stage is Stage.ENDING:
                self._linger(connection)
            elif connection.stage in (Stage.BUSY, Stage.READY):
                self._watch(connection, 0)  # until it is answered
            else:
                self._read(connection)
        except BadRequest as error:
            self._end_with(connection, refusal(error.status, str(error)))
        except (OSError, ValueError):
            self._close(connection)
        except Exception:
            log.exception("a bug of llmpt in serving %s", connection.guest.address)
            self._close(connection)

    def _shake_hands(self, connection: Connection) -> None:
        if self._ways.wrap is not None and (wants := connection.shake_hands(self._ways.wrap)):
            self._watch(connection, wants)
            return
        connection.stage = Stage.IDLE
        connection.deadline = time.monotonic() + self._patience.head_s
        self._read(connection)

    def _read(self, connection: Connection) -> None:
        """Read some of a request, and no more: a client may send as fast as that is read, and others wait meanwhile."""
        reads = 0
        while True:
            progress = self._reading.advance(connection)
            if progress is Progress.NOTHING:
                connection.machine = self._ways.machine(connection.guest, connection.head)
                if connection.head.startswith(LIVENESS) and connection.guest is not OUTSIDE:
                    self._end_with(connection, liveness(gets_on=self._desk.gets_on))
                else:
                    self._desk.queue(connection)
                return
            if progress is Progress.PLACE:
                self._watch(connection, 0)
                self._waiting.append(connection)
                return
            reads += 1
            came = -1 if reads > READS_AT_ONCE else connection.receive()
            if came < 0:
                self._watch(connection, READ)
                return
            if not came:
                self._close(connection)
                return

    def _answered(self, connection: Connection, is_there: bool) -> None:
        connection.forget_request()
        connection.stage = Stage.SENDING
        connection.mark = connection.outbox.sent_bytes
        connection.deadline = time.monotonic() + self._patience.send_step_s
        if is_there:
            self._go_on(connection)
        else:
            self._close(connection)

    def _lapsed(self, connection: Connection) -> None:
        self._end_with(connection, refusal(503, "too many requests wait for their turn here; try again in a moment"))

    def _send(self, connection: Connection) -> None:
        if not connection.outbox.flush():
            self._watch(connection, WRITE)
        elif connection.rest is not None:
            self._watch(connection, 0)
            self._desk.queue(connection)
        elif connection.keeps and not self._is_ending:
            connection.stage = Stage.IDLE
            connection.deadline = time.monotonic() + self._patience.idle_s
            self._read(connection)
        else:
            connection.stage = Stage.ENDING
            connection.deadline = time.monotonic() + self._patience.linger_s
            connection.say_end()
            self._linger(connection)

    def _linger(self, connection: Connection) -> None:
        """Let the client read to the end: closing with its bytes unread would reset the connection."""
        if connection.has_read_on():
            self._close(connection)
        else:
            self._watch(connection, READ)

    def _end_with(self, connection: Connection, answer: bytes) -> None:
        """Give an answer of the loop's own, and end the connection."""
        self._reading.let_go(connection)
        connection.forget_request()
        connection.outbox.sendall(answer)
        connection.keeps, connection.stage = False, Stage.SENDING
        connection.mark = connection.outbox.sent_bytes
        connection.deadline = time.monotonic() + self._patience.head_s
        self._go_on(connection)

    def _tick(self) -> None:
        now = self._ticked = time.monotonic()
        if not self._is_ending:
            self._door.open()
        for one in [one for one in self.crowd if one.deadline <= now]:
            self._out_of_time(one, now)
        if heavy := self.crowd.heaviest(self._memory.held_bytes):
            self._tell(HEAVY)
            self._end_some(heavy)

    def _out_of_time(self, connection: Connection, now: float) -> None:
        stage, patience = connection.stage, self._patience
        if stage in (Stage.BUSY, Stage.READY):
            return
        if stage is Stage.BODY and connection.received - connection.mark >= patience.body_step_bytes:
            connection.mark, connection.deadline = connection.received, now + patience.body_step_s
        elif stage is Stage.SENDING and connection.outbox.sent_bytes - connection.mark >= patience.send_step_bytes:
            connection.mark, connection.deadline = connection.outbox.sent_bytes, now + patience.send_step_s
        elif stage is Stage.PLACE:
            self._end_with(connection, refusal(503, "too many large bodies are sent here now; try again in a moment"))
        elif stage in (Stage.HEAD, Stage.BODY):
            self._end_with(connection, refusal(408, "the request came too slowly"))
        else:
            self._close(connection)

    def _tell(self, sentence: str) -> None:
        self.crowd.tell(sentence, lambda: self._pool.submit(self._ways.on_limit, sentence))
