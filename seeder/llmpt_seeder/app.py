"""The composition root: builds every part of the seeder once, runs them, and takes them down in order."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import FrameType

from llmpt.core.blob import Etag
from llmpt.core.breaker import Breaker
from llmpt.core.errors import SettingError
from llmpt.core.hub_target import hub_name
from llmpt.core.mirrors import OPEN, asker_name
from llmpt.core.networks import parse_address
from llmpt.host.data_folder import make_private
from llmpt.host.listening import raise_descriptor_limit
from llmpt.host.loops import Rhythm
from llmpt.host.routes import HostNetwork, address_towards
from llmpt.hub.visibility import HUB_PAUSES, ask_hub
from llmpt.net.authorities import Trust
from llmpt.swarm import Engine, EngineSettings
from llmpt.tracker.client import TrackerClient
from llmpt_seeder.blobs import BlobServer, Doors, FileSource, Notices
from llmpt_seeder.cache.caches import Caches
from llmpt_seeder.errors import CacheMissing
from llmpt_seeder.hashing.readers import HashingPool
from llmpt_seeder.hashing.verification import Verification
from llmpt_seeder.hub.listings import HubListings
from llmpt_seeder.hub.tree import fetch_tree
from llmpt_seeder.life import HEARTBEAT, LISTINGS, UPSTREAM, VISIBILITY, WORK, Life
from llmpt_seeder.publishing.publisher import Publisher
from llmpt_seeder.publishing.publishing import Publishing
from llmpt_seeder.publishing.signatures import Signatures
from llmpt_seeder.publishing.token_file import TokenFile
from llmpt_seeder.publishing.tracker_link import Identity, TrackerLink
from llmpt_seeder.publishing.visibility import Visibilities
from llmpt_seeder.seeding import Seeding
from llmpt_seeder.service import Service
from llmpt_seeder.settings import SeederSettings
from llmpt_seeder.sharing import Sharing
from llmpt_seeder.state import SeederState, open_state
from llmpt_seeder.upstream import (
    BlobState,
    Fetcher,
    FetchProcess,
    LeaseReports,
    Lookup,
    Mirroring,
    MirrorQueue,
    Shelf,
    Stock,
    UpstreamHub,
    WantedBlob,
    token_rule,
)

log = logging.getLogger("llmpt.seeder")

TRACKER_TIMEOUT_S = 5.0
END_TIMEOUT_S = 8.0
DESCRIPTORS = 8192  # two for each client of the blob server, one for each peer, and a few
TELL_LEASES = Rhythm(interval_s=0.25)
NOTE_RECEIVERS = Rhythm(interval_s=10)


def run(settings: SeederSettings) -> int:
    """Seed until SIGTERM, SIGINT or SIGHUP; return the exit code.

    Raises `LlmptError` when the cache, the data folder or the peer port cannot be used.
    """
    if settings.tracker is None or settings.hub is None:
        raise SettingError("LLMPT_TRACKER and HF_ENDPOINT must be addresses, such as http://server:8000")
    if not _may_be_there(settings.cache):
        raise CacheMissing(f"no Hub cache at {settings.cache}: set HF_HUB_CACHE to the folder that holds models--…, or make it")
    raise_descriptor_limit(DESCRIPTORS)
    with suppress(OSError):  # the state says what it cannot do
        make_private(settings.data)
    # A bad address or certificate ends it before anything runs.
    tracker = TrackerClient(settings.tracker, trust=Trust(settings.ca))
    doors = Doors.of(settings)
    ends: SimpleQueue[str] = SimpleQueue()  # its `put` may be called in a signal handler, an Event's `set` may not

    with ExitStack() as stack:
        core = _core(settings, tracker, stack)
        mirroring = _mirroring(settings, tracker, core, stack)
        blobs = stack.enter_context(_blob_server(settings, doors, core, mirroring))
        core.reports.append(blobs.report)
        _on_signals(ends)

        loops = [
            core.life.start(HEARTBEAT, core.link.heartbeat, wait=core.link.wait),
            core.life.start(WORK, core.service.step, wait=core.service.wait),
            core.life.start(LISTINGS, core.listings.step, wait=core.listings.wait),
            core.life.start(VISIBILITY, core.visibilities.step, wait=core.visibilities.wait),
        ]
        if mirroring is not None:
            loops.append(core.life.start(UPSTREAM, mirroring.step, wait=mirroring.wait))
        where, ports = settings.cache, (core.engine.port, blobs.port)
        log.info(
            "seeding %s on port %d, HTTP on port %d, tracker %s, seeder %s", where, *ports, tracker.url, core.state.seeder_id
        )

        log.info("ending: %s", ends.get())
        core.life.stop.set()
        core.service.hurry()
        core.link.hurry()
        core.listings.hurry()
        core.visibilities.hurry()
        if mirroring is not None:
            mirroring.hurry()
        for loop in loops:
            loop.join(END_TIMEOUT_S)
    return 0


def _may_be_there(cache: Path) -> bool:
    """Say whether the cache is there, or cannot be looked at for now: a mount that fails may be back."""
    try:
        return cache.is_dir()
    except OSError as error:
        log.error("the Hub cache at %s cannot be looked at: %s; it is looked at again and again", cache, error.strerror)
        return True


@dataclass(frozen=True, slots=True)
class _Core:
    """What reads the caches, publishes and seeds; `reports` are asked for what a heartbeat says, `shelf` is the second cache,
    `token` finds the token to publish with."""

    life: Life
    token: Callable[[], str | None]
    state: SeederState
    engine: Engine
    sharing: Sharing
    listings: HubListings
    link: TrackerLink
    shelf: Shelf
    publishing: Publishing
    service: Service
    reports: list[Callable[[], Mapping[str, object]]]
    signatures: Signatures
    visibilities: Visibilities

    def asked_by(self, etag: Etag, address: str) -> None:
        """Note that a client gets a blob, which is kept for longer when several do."""
        if (welcome := self.link.welcome) is not None:
            self.shelf.asked_by(etag, asker_name(welcome.instance_id, parse_address(address)))


def _core(settings: SeederSettings, tracker: TrackerClient, stack: ExitStack) -> _Core:
    wake, life = threading.Event(), Life(settings.alive_file)
    state = stack.enter_context(open_state(settings.database))
    stack.callback(life.remove)
    hasher = stack.enter_context(HashingPool(on_done=wake.set))
    engine_settings, name = _engine_settings(settings, tracker), f"llmpt-seeder/{version()}"
    engine = stack.enter_context(Engine(engine_settings, user_agent=name, health=life.health))

    hub, endpoint = Breaker(HUB_PAUSES), settings.hub or ""
    sharing = Sharing(settings.repos, memory=state, ask=partial(ask_hub, endpoint), clock=life.clock, hub=hub)
    fetch = partial(fetch_tree, endpoint, stopped=life.stop.is_set)
    listings = HubListings(memory=state, fetch=fetch, hub=hub, clock=life.clock, on_news=wake.set, stop=life.stop)

    file = TokenFile(settings.token_file)
    token = (lambda: settings.token) if settings.token else file.read
    reports: list[Callable[[], Mapping[str, object]]] = [lambda: {"version": version(), "upstream": settings.upstream}]
    signatures = Signatures(state)
    link = TrackerLink(
        Identity(state.seeder_id, token, f"{settings.token_file} or LLMPT_TOKEN", file.refused, signatures.learn),
        lambda token: tracker.with_token(token, timeout_s=TRACKER_TIMEOUT_S),
        report=lambda: together([report() for report in reports]),
        on_news=wake.set,
        stop=life.stop,
    )

    quota, uploaded = settings.mirror_quota_bytes, engine.uploaded
    shelf = Shelf(
        settings.mirror_cache, quota_bytes=quota, memory=state, clock=life.clock, uploaded=uploaded, let_go=engine.let_go
    )
    caches = Caches([settings.cache, shelf.root], sharing=sharing, life=life, interval_s=settings.scan_interval_s)
    verification = Verification(hasher, state, clock=time.monotonic)
    publisher = Publisher(state, post=life.while_doing(WORK, link.publish), clock=time.monotonic)  # a long listing has many parts
    publishing = Publishing(link, listings, verification, publisher, min_blob_bytes=settings.min_blob_bytes, life=life)
    tell = partial(link.say_repos, hub=_hub_of(settings))
    visibilities = Visibilities(sharing, shared=caches.shared, tell=tell, met=link.met, clock=life.clock)
    service = Service(caches, verification, publishing, Seeding(engine, state), wake=wake, life=life)
    reports.append(service.report)
    return _Core(
        life, token, state, engine, sharing, listings, link, shelf, publishing, service, reports, signatures, visibilities
    )


def _hub_of(settings: SeederSettings) -> str:
    """Return the Hub for whose repos the LAN may answer; empty where there are two, whose repos of one name would be mixed up."""
    hub, upstream = hub_name(settings.hub or ""), hub_name(settings.upstream or settings.hub or "")
    if hub == upstream:
        return hub
    log.warning("LLMPT_UPSTREAM is %s, and HF_ENDPOINT %s: questions about repos go to the Hub, on all machines", upstream, hub)
    return ""


def _mirroring(settings: SeederSettings, tracker: TrackerClient, core: _Core, stack: ExitStack) -> Mirroring | None:
    """Build what fetches from upstream; None where the operator wants nothing fetched."""
    if settings.upstream is None:
        return None
    core.shelf.prepare()
    life, endpoint = core.life, settings.upstream
    stock = Stock(core.shelf, has=lambda etag: core.service.blob(etag) is not None)
    hub = UpstreamHub(endpoint, token=token_rule(settings.repos, settings.hub_token), stopped=life.stop.is_set)
    process = stack.enter_context(FetchProcess(endpoint=endpoint, cache=core.shelf.root, environ=dict(os.environ)))

    def connect() -> TrackerClient:
        return tracker.with_token(core.token(), timeout_s=TRACKER_TIMEOUT_S)

    def fetched(blob: WantedBlob) -> None:
        if blob.state is BlobState.DONE:
            core.service.look_at(core.shelf.root, blob.place.repo)
        mirroring.hurry()

    lookup = Lookup(
        hub,
        sharing=core.sharing,
        listings=core.listings,
        visibilities=core.visibilities,
        publish=core.link.publish,
        instance=lambda: core.link.welcome.instance_id if core.link.welcome else "",
    )
    queue = MirrorQueue(connect, read=lambda: connect().mirrors_in_order(OPEN))
    fetcher = Fetcher(core.shelf, process, token=lambda place: hub.token(place.repo), on_fetched=fetched, life=life)
    mirroring = stack.enter_context(Mirroring(queue, lookup, fetcher, stock, life=life))
    leases = LeaseReports(
        lambda poll: connect().leases(poll), published=stock.has, min_blob_bytes=lambda: core.publishing.min_blob_bytes
    )

    def note_receivers() -> None:
        for etag, receivers in core.engine.receivers(core.shelf.etags()).items():
            for receiver in receivers:
                core.asked_by(etag, receiver.address)

    life.start("receivers", note_receivers, NOTE_RECEIVERS)
    life.start("leases", lambda: leases.tell(fetcher.wanted()), TELL_LEASES)
    return mirroring


def _blob_server(settings: SeederSettings, doors: Doors, core: _Core, mirroring: Mirroring | None) -> BlobServer:
    return BlobServer(
        [FileSource(core.shelf.noting(core.service.blob), has_looked=core.service.has_looked), core.shelf.growing],
        doors,
        upload_limit=settings.upload_limit,
        notices=Notices(mirroring.knock if mirroring else lambda: None, core.asked_by, core.signatures.may_get),
        health=core.life.health,
    )


def together(reports: Iterable[Mapping[str, object]]) -> dict[str, object]:
    """Put what several parts say of themselves into one report: lists of the same name one behind the other."""
    said: dict[str, object] = {}
    for name, value in (item for report in reports for item in report.items()):
        before = said.get(name)
        said[name] = [*before, *value] if isinstance(before, list) and isinstance(value, list) else value
    return said


def version() -> str:
    """Return the version of the installed distribution."""
    return importlib.metadata.version("llmpt")


def _engine_settings(settings: SeederSettings, tracker: TrackerClient) -> EngineSettings:
    network = HostNetwork.read()
    return EngineSettings(
        listen=settings.bind,
        port=settings.peer_port,
        peer_cidrs=settings.peer_cidrs,
        announce_address=address_towards(tracker.host, tracker.port),
        upload_limit=settings.upload_limit,
        downloads=False,
        gateways=network.gateways if network.in_container else frozenset(),
    )


def _on_signals(ends: SimpleQueue[str]) -> None:
    def handler(number: int, _frame: FrameType | None) -> None:
        ends.put(signal.Signals(number).name)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, handler)
