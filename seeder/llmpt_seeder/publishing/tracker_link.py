"""The seeder's relation to its tracker: heartbeats on a thread of their own, the token, and what the tracker said last."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import tenacity

from llmpt.core.errors import TrackerError, TrackerRefused, TrackerUnavailable

log = logging.getLogger("llmpt.seeder")

HEARTBEAT_S = 10.0
SHORTEST_PAUSE_S = 0.5  # however much there is to tell
FIRST_RETRY_S = 1.0
PUBLISH_RETRY_S = 10.0


class Tracker(Protocol):
    """The calls of `llmpt.tracker.client.TrackerClient` that the seeder uses."""

    @property
    def url(self) -> str: ...

    @property
    def host(self) -> str: ...

    def publish(self, body: Mapping[str, object]) -> Mapping[str, object]: ...

    def heartbeat(self, seeder_id: str, report: Mapping[str, object]) -> Mapping[str, object]: ...


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the tracker answered to a heartbeat."""

    boot_id: str
    instance_id: str
    announce_url: str


class TrackerLink:
    """Speaks to the tracker. `connect` makes a client that uses a token; `find_token` reads it where it is now.

    `report` is asked for what each heartbeat says; `on_news` is called, on the heartbeat's thread, when `welcome` changed.
    """

    def __init__(
        self,
        *,
        seeder_id: str,
        connect: Callable[[str], Tracker],
        find_token: Callable[[], str | None],
        where_token: str,
        report: Callable[[], Mapping[str, object]],
        on_news: Callable[[], None],
        beat: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        self._seeder_id, self._connect, self._find_token, self._where_token = seeder_id, connect, find_token, where_token
        self._report, self._on_news, self._beat, self._stop = report, on_news, beat, stop
        self._due = threading.Event()
        self._client: Tracker | None = None
        self._token: str | None = None
        self._failures = 0
        self._said: str | None = None
        self.welcome: Welcome | None = None

    @property
    def is_up(self) -> bool:
        """Whether the last heartbeat was answered."""
        return self.welcome is not None and self._failures == 0

    def heartbeat(self) -> float:
        """Send one heartbeat; return the seconds until the next (sooner after a failure, so that we are back at once)."""
        if self._find_token() is None:
            self._failed(TrackerUnavailable(f"no token to publish with yet: it is expected in {self._where_token}"))
            return FIRST_RETRY_S  # a file of ours to look at, no call to anybody
        try:
            client = self._usable_client()
            welcome = _read_welcome(client, client.heartbeat(self._seeder_id, self._report()))
        except TrackerError as error:
            self._failed(error)
            return min(HEARTBEAT_S, FIRST_RETRY_S * float(1 << min(self._failures - 1, 10)))
        if self._failures or self.welcome is None:
            log.info("the tracker %s answers", client.url)
        news = welcome != self.welcome or self._failures > 0
        self._failures, self._said, self.welcome = 0, None, welcome
        if news:
            self._on_news()
        return HEARTBEAT_S

    def publish(self, body: Mapping[str, object]) -> Mapping[str, object]:
        """`POST /api/v1/publish`; raises `TrackerError`. A tracker that restarts is given a few seconds to be back."""
        patiently = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=3),
            stop=tenacity.stop_any(tenacity.stop_after_delay(PUBLISH_RETRY_S), tenacity.stop_when_event_set(self._stop)),
            sleep=tenacity.sleep_using_event(self._stop),
            reraise=True,
        )
        try:
            return patiently(lambda: self._usable_client().publish(body))
        except TrackerRefused as error:
            if error.status in (401, 403):
                self._failed(error)
            raise

    def run(self) -> None:
        """Send heartbeats until told to stop."""
        while not self._stop.is_set():
            self._beat("heartbeat")
            self._due.clear()
            delay_s = self.heartbeat()
            if not self._stop.wait(min(delay_s, SHORTEST_PAUSE_S)):
                self._due.wait(delay_s - SHORTEST_PAUSE_S)

    def hurry(self) -> None:
        """Send the next heartbeat now: there is something to tell, or to stop for."""
        self._due.set()

    def _usable_client(self) -> Tracker:
        token = self._find_token()
        if token is None:
            raise TrackerUnavailable(f"no token to publish with: it is expected in {self._where_token}")
        if self._client is None or token != self._token:
            self._client, self._token = self._connect(token), token
        return self._client

    def _failed(self, error: TrackerError) -> None:
        self._failures += 1
        message = str(error)
        if isinstance(error, TrackerRefused) and error.status == 401:
            message = f"the tracker does not accept our token ({message}): it is expected in {self._where_token}"
        if message != self._said:
            log.warning("%s; it is tried again, what is seeded stays seeded", message)
            self._said = message


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, TrackerUnavailable) or (
        isinstance(error, TrackerRefused) and (error.status >= 500 or error.status == 429)
    )


def _read_welcome(client: Tracker, reply: Mapping[str, object]) -> Welcome:
    boot_id, instance_id = reply.get("boot_id"), reply.get("instance_id")
    port, key = reply.get("announce_port"), reply.get("announce_key")
    if not (isinstance(boot_id, str) and isinstance(instance_id, str) and isinstance(port, int) and isinstance(key, str)):
        raise TrackerUnavailable(f"the answer of {client.url} to a heartbeat makes no sense")
    host = f"[{client.host}]" if ":" in client.host and not client.host.startswith("[") else client.host
    return Welcome(boot_id, instance_id, f"http://{host}:{port}/announce/{key}")
