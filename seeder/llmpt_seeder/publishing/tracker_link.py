"""The seeder's relation to its tracker: heartbeats on a thread of their own, the token, and what the tracker said last."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import quote

from llmpt.core.breaker import Breaker, Pauses
from llmpt.core.errors import InvalidInput, TrackerError, TrackerRefused, TrackerUnavailable
from llmpt.core.fields import Fields
from llmpt.core.holdings import Holdings

log = logging.getLogger("llmpt.seeder")

PUBLISH_PAUSES = Pauses(first_s=0.5, longest_s=3.0)
SHORTEST_PAUSE_S = 0.5  # however much there is to tell


@dataclass(frozen=True, slots=True)
class LinkTimings:
    """When the tracker is told how the seeder is, and how long a failure is waited for.

    heartbeat_s: between two heartbeats
    pauses: after heartbeats that failed, so that the seeder is back soon
    no_token_s: until it is looked for a token again: a file of ours, no call to anything
    publish_retries_s: a tracker that restarts is given so long to take what is published
    clock: seconds of it measure the pauses
    """

    heartbeat_s: float = 10.0
    pauses: Pauses = Pauses(first_s=1.0, longest_s=10.0, jitter=0.2)
    no_token_s: float = 1.0
    publish_retries_s: float = 10.0
    clock: Callable[[], float] = time.monotonic


@dataclass(frozen=True, slots=True)
class Identity:
    """How the seeder is known to its tracker.

    seeder_id: its own name
    find_token: reads the token where it is now; None: there is none yet
    where_token: says in words where it is expected
    token_refused: is called when the tracker does not accept it
    blob_key: is called with the key that signs addresses of our blobs; an empty one: every machine may have them
    """

    seeder_id: str
    find_token: Callable[[], str | None]
    where_token: str
    token_refused: Callable[[], None] = lambda: None
    blob_key: Callable[[str], None] = lambda _key: None


class Tracker(Protocol):
    """The calls of `llmpt.tracker.client.TrackerClient` that the seeder uses."""

    @property
    def url(self) -> str: ...

    @property
    def host(self) -> str: ...

    def publish(self, body: Mapping[str, object]) -> Mapping[str, object]: ...

    def heartbeat(self, seeder_id: str, report: Mapping[str, object]) -> Mapping[str, object]: ...

    def holdings(self, seeder_id: str) -> Holdings: ...

    def say_repos(self, seeder_id: str, repos: Sequence[Mapping[str, object]], *, hub: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Welcome:
    """What the tracker answered to a heartbeat.

    boot_id: another one after each start of the announcer
    instance_id: another one for each database of a tracker
    announce_url: where the seeder announces
    min_blob_bytes: from which size on a file has a torrent; None: an older tracker does not say
    holdings: digest of what the catalogue has on our word; None: an older tracker does not say
    blob_key: with which it signs the addresses of our blobs; empty: every machine may have them
    """

    boot_id: str
    instance_id: str
    announce_url: str
    min_blob_bytes: int | None = None
    holdings: str | None = field(default=None, compare=False)  # another one is no news of the tracker itself
    blob_key: str = ""


class TrackerLink:
    """Speaks to the tracker. `connect` makes a client that uses a token; `report` is asked for what each heartbeat says;
    `on_news` is called, on the heartbeat's thread, when `welcome` changed."""

    def __init__(
        self,
        identity: Identity,
        connect: Callable[[str], Tracker],
        *,
        report: Callable[[], Mapping[str, object]],
        on_news: Callable[[], None],
        stop: threading.Event,
        timings: LinkTimings = LinkTimings(),
    ) -> None:
        self._identity, self._connect, self._report = identity, connect, report
        self._on_news, self._stop, self._timings = on_news, stop, timings
        self._due = threading.Event()
        self._client: Tracker | None = None
        self._token: str | None = None
        self._breaker = Breaker(timings.pauses, clock=timings.clock)
        self._said: str | None = None
        self.welcome: Welcome | None = None

    @property
    def is_up(self) -> bool:
        """Whether the last heartbeat was answered."""
        return self.welcome is not None and self._breaker.failures == 0

    def met(self) -> tuple[str, str] | None:
        """Name the tracker that is spoken to: its database and its life; None while there is none."""
        return None if self.welcome is None else (self.welcome.instance_id, self.welcome.boot_id)

    def heartbeat(self) -> float:
        """Send one heartbeat; return the seconds until the next (sooner after a failure, so that we are back at once)."""
        self._due.clear()
        if self._identity.find_token() is None:
            self._failed(TrackerUnavailable(f"no token to publish with yet: it is expected in {self._identity.where_token}"))
            return self._timings.no_token_s
        try:
            client = self._usable_client()
            welcome = _read_welcome(client, client.heartbeat(self._identity.seeder_id, self._report()))
        except TrackerError as error:
            return self._failed(error)
        self._identity.blob_key(welcome.blob_key)
        was_up = self.is_up
        if not was_up:
            log.info("the tracker %s answers", client.url)
        news = welcome != self.welcome or not was_up
        self._said, self.welcome = None, welcome
        self._breaker.succeeded()
        if news:
            self._on_news()
        return self._timings.heartbeat_s

    def wait(self, timeout_s: float) -> None:
        """Wait until there is something to tell, at most so long, and a moment at least."""
        if not self._stop.wait(min(timeout_s, SHORTEST_PAUSE_S)):
            self._due.wait(timeout_s - SHORTEST_PAUSE_S)

    def publish(self, body: Mapping[str, object]) -> Mapping[str, object]:
        """`POST /api/v1/publish`; raises `TrackerError`. A tracker that restarts is given a few seconds to be back."""
        deadline, tried = self._timings.clock() + self._timings.publish_retries_s, 0
        while True:
            tried += 1
            try:
                return self._usable_client().publish(body)
            except TrackerError as error:
                pause_s = PUBLISH_PAUSES.after(tried, random.random())  # noqa: S311  (a pause)
                if not _may_pass(error) or self._stop.is_set() or self._timings.clock() + pause_s > deadline:
                    if isinstance(error, TrackerRefused) and error.status in (401, 403):
                        self._failed(error)
                    raise
            self._stop.wait(pause_s)

    def holdings(self) -> Holdings:
        """Return all that the catalogue has on our word; raises `TrackerError`."""
        return self._usable_client().holdings(self._identity.seeder_id)

    def say_repos(self, repos: Sequence[Mapping[str, object]], *, hub: str) -> None:
        """Say who may read which repos of the Hub at `hub`; raises `TrackerError`."""
        self._usable_client().say_repos(self._identity.seeder_id, repos, hub=hub)

    def hurry(self) -> None:
        """Send the next heartbeat now: there is something to tell, or to stop for."""
        self._due.set()

    def _usable_client(self) -> Tracker:
        token = self._identity.find_token()
        if token is None:
            raise TrackerUnavailable(f"no token to publish with: it is expected in {self._identity.where_token}")
        if self._client is None or token != self._token:
            self._client, self._token = self._connect(token), token
        return self._client

    def _failed(self, error: TrackerError) -> float:
        """Note a failure, and say it once; return the seconds until the next try."""
        message = str(error)
        if isinstance(error, TrackerRefused) and error.status == 401:
            self._identity.token_refused()
            message = f"the tracker does not accept our token ({message}): it is expected in {self._identity.where_token}"
        if message != self._said:
            log.warning("%s; it is tried again, what is seeded stays seeded", message)
            self._said = message
        return self._breaker.failed(error)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, TrackerUnavailable) or (
        isinstance(error, TrackerRefused) and (error.status >= 500 or error.status == 429)
    )


def _read_welcome(client: Tracker, reply: object) -> Welcome:
    host = f"[{client.host}]" if ":" in client.host and not client.host.startswith("[") else client.host
    try:
        fields = Fields(reply, "the answer to a heartbeat")
        port, key = fields.count("announce_port", least=1, most=65535), fields.text("announce_key", longest=100)
        return Welcome(
            boot_id=fields.text("boot_id", longest=100),
            instance_id=fields.text("instance_id", longest=100),
            announce_url=f"http://{host}:{port}/announce/{quote(key, safe='')}",
            min_blob_bytes=fields.optional("min_blob_bytes", fields.count),
            holdings=fields.optional("holdings", fields.text),
            blob_key=fields.optional("blob_key", fields.text) or "",
        )
    except InvalidInput as error:
        raise TrackerUnavailable(f"the answer of {client.url} to a heartbeat makes no sense: {error}") from None
