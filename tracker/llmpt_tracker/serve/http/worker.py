"""gunicorn's worker around the event loop: gunicorn keeps the processes, reads heads, and makes WSGI of them."""

from __future__ import annotations

import contextvars
import logging
import os
import re
import ssl
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any

from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from gunicorn.http.parser import RequestParser  # type: ignore[import-untyped]
from gunicorn.http.wsgi import create  # type: ignore[import-untyped]
from gunicorn.workers.base import Worker  # type: ignore[import-untyped]

from llmpt.core.metainfo import MAX_PUBLISH_BYTES
from llmpt.core.networks import behind_proxies, parse_address
from llmpt.host.certificate import Certificate
from llmpt.host.routes import HostNetwork
from llmpt_tracker.serve.http.bounds import ConnectionBounds, Memory, ServingLimits, TimeLimits
from llmpt_tracker.serve.http.connection import Connection
from llmpt_tracker.serve.http.loop import EventLoop
from llmpt_tracker.serve.http.places import OUTSIDE, Guest
from llmpt_tracker.serve.http.refusals import refusal
from llmpt_tracker.serve.http.turns import OWN
from llmpt_tracker.serve.http.ways import Ways
from llmpt_tracker.settings import TrackerSettings
from llmpt_tracker.views.clients import ASIDE

log = logging.getLogger(__name__)

KNOWN_ADDRESSES = 8192
HELD_BYTES = 1 << 20  # of an answer that comes piece by piece
_OWN = re.compile(rb"[A-Z]{3,7} (/healthz|/api/v1/(seeders/|publish|mirrors))")
SWITCH_INTERVAL_S = 0.001  # the loop's thread waits so long, not five times that, for the interpreter each time


class LoopWorker(Worker):  # type: ignore[misc]
    """Serves the application in one process."""

    _loop: EventLoop | None = None

    def run(self) -> None:
        """Serve until gunicorn says that it is enough."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        pool = ThreadPoolExecutor(max_workers=self.cfg.threads, thread_name_prefix="answering")
        self._loop = loop = EventLoop(
            [one.sock for one in self.sockets], partial(_serve, self), pool, ways=_ways(self), limits=_limits(self.cfg)
        )
        while self.alive:
            self.notify()
            loop.run_once()
            if self.ppid != os.getppid():
                log.info("the parent has ended, and so does this process")
                break
        loop.stop_accepting()
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while loop.is_busy and time.monotonic() < deadline:
            self.notify()
            loop.run_once(0.1)
        loop.close()
        pool.shutdown(wait=False, cancel_futures=True)

    def aside(self, connection: Connection) -> Any:
        """Return a context in which others have the turn of this request."""
        return nullcontext() if self._loop is None else self._loop.aside(connection)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """End, after what is being answered."""
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call(lambda: None)


_STATUS = {"LimitRequestLine": 414, "LimitRequestHeaders": 431, "UnsupportedTransferCoding": 501, "ExpectationFailed": 417}


def _limits(cfg: Any) -> ServingLimits:
    return ServingLimits(
        patience=TimeLimits(idle_s=cfg.keepalive),
        memory=Memory(body_bytes=MAX_PUBLISH_BYTES),
        bounds=ConnectionBounds.within(cfg.worker_connections),
    )


def _ways(worker: LoopWorker) -> Ways:
    settings, network = TrackerSettings.read(), HostNetwork.read()

    @lru_cache(maxsize=KNOWN_ADDRESSES)
    def guest(text: str) -> Guest:
        address = parse_address(text)
        if address in settings.trusted_proxies:
            return Guest.of(address, is_many=True)
        if address.is_loopback or network.is_neighbour(address):
            return Guest.of(address, is_own=True)
        return Guest.of(address) if address in settings.peer_cidrs else OUTSIDE

    def machine(known: Guest, head: bytes) -> str:
        if known.is_own and _OWN.match(head):
            return OWN
        if not known.is_many:
            return known.address
        lines = head.decode("latin-1").split("\r\n")
        said = (line.partition(":")[2] for line in lines if line[:16].lower() == "x-forwarded-for:")
        return str(behind_proxies(parse_address(known.address), ",".join(said), settings.trusted_proxies))

    def on_limit(sentence: str) -> None:
        worker.wsgi.extensions["llmpt"].limits.reached(sentence)

    certificate = Certificate(settings.tls_cert, settings.tls_key) if settings.tls_cert is not None else None
    return Ways(guest, machine, certificate.wrap if certificate is not None else None, on_limit)


def _serve(worker: LoopWorker, connection: Connection) -> bool:
    """Answer a whole request; return whether another may follow."""
    try:
        request = next(RequestParser(worker.cfg, connection.request(), connection.client))
        request._expected_100_continue = False  # the loop has said so
        response, environ = create(request, connection.outbox, connection.client, connection.server, worker.cfg)
    except ParseException as error:
        connection.outbox.sendall(refusal(_STATUS.get(type(error).__name__, 400), f"no request that is answered here: {error}"))
        return False
    environ["wsgi.multithread"] = True
    if isinstance(connection.sock, ssl.SSLSocket):
        environ["wsgi.url_scheme"] = "https"
    environ[ASIDE] = partial(worker.aside, connection)
    if not worker.alive or connection.chunks is not None:
        response.force_close()  # behind a body in chunks nothing is read: two readers could see its end differently
    context = contextvars.copy_context()
    answer = context.run(worker.wsgi, environ, response.start_response)
    if not isinstance(answer, environ["wsgi.file_wrapper"]):
        return _Answer(connection, response, context, answer).go_on()
    try:
        response.write_file(answer)
        response.close()
    finally:
        answer.close()
    return not response.should_close()


class _Answer:
    """An answer that is written piece by piece, as fast as its client takes it."""

    def __init__(self, connection: Connection, response: Any, context: contextvars.Context, answer: Iterable[bytes]) -> None:
        self._connection, self._response, self._context, self._answer = connection, response, context, answer
        self._parts = iter(answer)

    def go_on(self) -> bool:
        """Write on, until that is all, or enough for now; return whether another request may follow."""
        outbox = self._connection.outbox
        try:
            while (part := self._context.run(next, self._parts, None)) is not None:
                self._response.write(part)
                if outbox.held_bytes > HELD_BYTES and not outbox.flush():
                    self._connection.rest = self
                    return True
            self._response.close()
        except BaseException:
            self.close()
            raise
        self.close()
        return not self._response.should_close()

    def close(self) -> None:
        """Let the application know that the answer is over."""
        if hasattr(self._answer, "close"):
            self._context.run(self._answer.close)
