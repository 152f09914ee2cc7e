"""The composition root: builds every part of the seeder once, runs them, and takes them down in order."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from queue import SimpleQueue
from types import FrameType

from llmpt.core.errors import SettingError
from llmpt.host.listening import raise_descriptor_limit
from llmpt.host.routes import HostNetwork, address_towards
from llmpt.hub.visibility import ask_hub
from llmpt.swarm import Engine, EngineSettings
from llmpt.tracker.client import TrackerClient
from llmpt_seeder.alive import SignsOfLife
from llmpt_seeder.back_off import BackOff
from llmpt_seeder.blobs import BlobServer, FileSource
from llmpt_seeder.cache.scanner import CacheMissing
from llmpt_seeder.hashing.readers import HashingPool
from llmpt_seeder.hub.listings import HubListings
from llmpt_seeder.hub.tree import fetch_tree
from llmpt_seeder.publishing.tracker_link import TrackerLink
from llmpt_seeder.service import Service
from llmpt_seeder.settings import SeederSettings
from llmpt_seeder.sharing import Sharing
from llmpt_seeder.state import SeederState
from llmpt_seeder.upstream import (
    Fetcher,
    FetchProcess,
    Growths,
    LeaseReports,
    Lookup,
    Mirroring,
    Shelf,
    UpstreamHub,
    Want,
    token_rule,
)

log = logging.getLogger("llmpt.seeder")

HEARTBEAT_TIMEOUT_S = 5.0
END_TIMEOUT_S = 8.0
DESCRIPTORS = 4096  # two for each client of the blob server, one for each peer, and a few


def run(settings: SeederSettings) -> int:
    """Seed until SIGTERM, SIGINT or SIGHUP; return the exit code (1 when a part of us failed).

    Raises `LlmptError` when the cache, the data folder or the peer port cannot be used.
    """
    if settings.tracker is None or settings.hub is None:
        raise SettingError("LLMPT_TRACKER and HF_ENDPOINT must be addresses, such as http://server:8000")
    if not settings.cache.is_dir():
        raise CacheMissing(f"no Hub cache at {settings.cache}: set HF_HUB_CACHE to the folder that holds models--…, or make it")
    raise_descriptor_limit(DESCRIPTORS)
    client = TrackerClient(settings.tracker)  # refuses a bad address before anything runs
    stop, wake = threading.Event(), threading.Event()
    ends: SimpleQueue[str] = SimpleQueue()  # its `put` may be called in a signal handler, an Event's `set` may not

    with ExitStack() as stack:
        state = stack.enter_context(SeederState(settings.database))
        life = SignsOfLife(settings.alive_file, clock=time.time)
        stack.callback(life.remove)
        hasher = stack.enter_context(HashingPool(on_done=wake.set))
        engine = stack.enter_context(Engine(_engine_settings(settings, client), user_agent=f"llmpt-seeder/{version()}"))
        back_off = BackOff(time.time)
        ask = partial(ask_hub, settings.hub)
        sharing = Sharing(settings.repos, memory=state, ask=ask, clock=time.time, back_off=back_off)
        listings = HubListings(
            memory=state,
            fetch=partial(fetch_tree, settings.hub, stopped=stop.is_set),
            back_off=back_off,
            clock=time.time,
            on_news=wake.set,
            stop=stop,
        )
        link = TrackerLink(
            seeder_id=state.seeder_id,
            connect=lambda token: TrackerClient(client.url, token=token, timeout_s=HEARTBEAT_TIMEOUT_S),
            find_token=lambda: find_token(settings),
            where_token=f"{settings.token_file} or LLMPT_TOKEN",
            report=lambda: {"version": version(), "upstream": settings.upstream, **blobs.report(), **service.report()},
            on_news=wake.set,
            beat=life.beat,
            stop=stop,
        )
        shelf = Shelf(
            settings.mirror_cache,
            quota_bytes=settings.mirror_quota_bytes,
            memory=state,
            clock=time.time,
            uploaded=engine.uploaded,
        )
        service = Service(
            caches=[settings.cache, shelf.root],
            min_blob_bytes=settings.min_blob_bytes,
            scan_interval_s=settings.scan_interval_s,
            state=state,
            engine=engine,
            hasher=hasher,
            sharing=sharing,
            listings=listings,
            link=link,
            clock=time.time,
            beat=lambda: life.beat("work"),
            stop=stop,
            wake=wake,
        )
        growths = Growths()
        mirroring = _mirroring(stack, settings, shelf, growths, service, listings, sharing, link, state, life, stop)
        blobs = stack.enter_context(
            BlobServer(
                [FileSource(shelf.noting(service.blob)), growths],
                listen=settings.bind,
                port=settings.blob_port,
                peer_cidrs=settings.peer_cidrs,
                network=HostNetwork.read(),
                upload_limit=settings.upload_limit,
                on_knock=mirroring.knock if mirroring else lambda: None,
            )
        )
        _on_signals(ends)
        parts = [("heartbeat", link.run), ("work", service.run), ("listings", listings.run)]
        if mirroring is not None:
            parts.append(("upstream", mirroring.run))
        threads = [threading.Thread(target=_until_end, args=(ends, name, part), name=name, daemon=True) for name, part in parts]
        for thread in threads:
            thread.start()
        ports = (engine.port, blobs.port)
        log.info(
            "seeding %s on port %d, HTTP on port %d, tracker %s, seeder %s", settings.cache, *ports, client.url, state.seeder_id
        )
        reason = ends.get()
        log.info("ending: %s", reason)
        stop.set()
        wake.set()
        link.hurry()
        listings.hurry()
        if mirroring is not None:
            mirroring.hurry()
        for thread in threads:
            thread.join(END_TIMEOUT_S)
    return 0 if reason.startswith("SIG") else 1


def find_token(settings: SeederSettings) -> str | None:
    """Return the token to publish with: LLMPT_TOKEN, else the one that the tracker left in the data folder; None so far."""
    if settings.token:
        return settings.token
    try:
        return settings.token_file.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _mirroring(
    stack: ExitStack,
    settings: SeederSettings,
    shelf: Shelf,
    growths: Growths,
    service: Service,
    listings: HubListings,
    sharing: Sharing,
    link: TrackerLink,
    state: SeederState,
    life: SignsOfLife,
    stop: threading.Event,
) -> Mirroring | None:
    """Build what fetches from upstream; None where the operator wants nothing fetched."""
    if settings.upstream is None:
        return None
    shelf.prepare()
    endpoint, environ = settings.upstream, dict(os.environ)
    hub = UpstreamHub(endpoint, token=token_rule(settings.repos, settings.hub_token), stopped=stop.is_set)

    def connect() -> TrackerClient:
        return TrackerClient(settings.tracker or "", token=find_token(settings), timeout_s=HEARTBEAT_TIMEOUT_S)

    def fetched(want: Want) -> None:
        if want.state == "done":
            service.look_at(shelf.root)
        mirroring.hurry()

    mirroring = Mirroring(
        connect=connect,
        lookup=Lookup(
            hub,
            sharing=sharing,
            listings=listings,
            memory=state,
            publish=link.publish,
            instance=lambda: link.welcome.instance_id if link.welcome else "",
        ),
        fetcher=Fetcher(
            shelf=shelf,
            growths=growths,
            process=stack.enter_context(FetchProcess(endpoint=endpoint, cache=shelf.root, environ=environ)),
            token=lambda place: hub.token(place.repo),
            on_fetched=fetched,
            stop=stop,
        ),
        growths=growths,
        shelf=shelf,
        leases=LeaseReports(
            lambda poll: connect().leases(poll),
            published=lambda etag: service.blob(etag) is not None,
            min_blob_bytes=settings.min_blob_bytes,
        ),
        has=lambda etag: service.blob(etag) is not None,
        beat=lambda: life.beat("upstream"),
        stop=stop,
    )
    return mirroring


def version() -> str:
    """Return the version of the installed distribution."""
    return importlib.metadata.version("llmpt")


def _engine_settings(settings: SeederSettings, tracker: TrackerClient) -> EngineSettings:
    return EngineSettings(
        listen=settings.bind,
        port=settings.peer_port,
        peer_cidrs=settings.peer_cidrs,
        announce_address=address_towards(tracker.host, tracker.port),
        upload_limit=settings.upload_limit,
        downloads=False,
    )


def _on_signals(ends: SimpleQueue[str]) -> None:
    def handler(number: int, _frame: FrameType | None) -> None:
        ends.put(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handler)


def _until_end(ends: SimpleQueue[str], name: str, part: Callable[[], None]) -> None:
    """Run one of our loops; when it ends for whatever reason, the seeder ends."""
    try:
        part()
    except Exception:
        log.exception("the %s loop failed", name)
    ends.put(f"the {name} loop ended")
