"""The agent put together: lock, engine, inventory, directory, leases, transfers, socket, in that order, and back again.

`run` is the foreground process (`llmpt agent run`); `background` starts one that outlives its starter.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from llmpt.agent.directory import Directory
from llmpt.agent.host import anchors, memory, places
from llmpt.agent.host.lifetime import JOB, Package, UserProcesses
from llmpt.agent.host.listening import Listening
from llmpt.agent.seeding.announce_keys import AnnounceKeys
from llmpt.agent.seeding.offers import Offers
from llmpt.agent.server import Server, Services
from llmpt.agent.sharing import share_token
from llmpt.core.errors import LlmptError, SettingError
from llmpt.core.leases import LeaseAnswer, Poll
from llmpt.disk.database import opened
from llmpt.disk.inventory import Inventory
from llmpt.host import loops
from llmpt.host.logs import log_to_stderr
from llmpt.host.loops import Health, Rhythm, Trouble
from llmpt.identity.gate import joined
from llmpt.link import answered, lock, paths, state
from llmpt.link.silence import TrackerSilence
from llmpt.settings import ClientSettings

if TYPE_CHECKING:  # they load libtorrent, or the like
    from llmpt.agent.report import Report
    from llmpt.agent.seeding.seeds import Seeds
    from llmpt.agent.sharing.right import Sharing
    from llmpt.agent.sharing.sample import Doubt
    from llmpt.agent.transfer.shared_fetch import ForAll
    from llmpt.swarm import Engine

log = logging.getLogger("llmpt.agent")

LOOKING = Rhythm(interval_s=1.0)
SWEEPING = Rhythm(interval_s=10.0)
WATCHING = Rhythm(interval_s=5.0)
CHECKING = Rhythm(interval_s=3600.0)  # the tracker is asked; the Hub once a day
LEAVE_S = 5.0
TOKEN_WITHIN_S, CHECKED_WITHIN_S = 3.0, 120.0
RESTORED_S = 0.3  # in which few blobs are restored before the starter hears that the agent is ready


def run(
    settings: ClientSettings,
    environ: Mapping[str, str],
    *,
    starter: int | None = None,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Be the agent until SIGTERM, Ctrl-C, `llmpt agent stop`, or what `llmpt.agent.host.lifetime` tells of.

    `starter` is the process that an agent of LLMPT_AGENT=job belongs to (default: our parent); `ready` is called once the
    socket answers. Raises `SettingError` without a tracker, `AgentUnavailable` when another agent runs already,
    `StateUnavailable` when its state cannot be used, `SwarmError` when libtorrent is missing or cannot listen.
    """
    if settings.tracker is None:
        raise SettingError("no tracker: set LLMPT_TRACKER to the server's address, e.g. http://server:8000")
    from llmpt.agent.report import Report
    from llmpt.agent.seeding.seeds import Seeds
    from llmpt.agent.sharing.complaints import Complaints
    from llmpt.agent.sharing.right import Sharing
    from llmpt.agent.sharing.sample import Sample
    from llmpt.agent.sharing.still_public import StillPublic
    from llmpt.agent.transfer import door
    from llmpt.agent.transfer.jobs import Jobs
    from llmpt.agent.transfer.partials import Partials
    from llmpt.agent.transfer.parts import JobParts
    from llmpt.agent.transfer.timings import JobTimings
    from llmpt.swarm import Engine, EngineSettings
    from llmpt.tracker.catalogue import Catalogue

    log_to_stderr(settings.log, text="%(asctime)s %(levelname)s %(message)s")
    memory.share_one_arena()
    stopping, health = threading.Event(), Health()
    client = joined(settings.tracker, settings.ca, environ, token=settings.token).patient()
    listening = Listening(settings, tracker=(client.host, client.port))
    users = UserProcesses(os.getppid() if starter is None else starter) if settings.agent == JOB else None
    package = Package()
    with ExitStack() as stack:
        database = places.database_path()
        with places.starting(database.parent):
            stack.enter_context(lock.held(environ))
            state.note(database.parent, paths.runtime_dir(environ))
        stack.enter_context(places.in_use(database.parent))
        inventory, trouble = opened(lambda way: Inventory(database, way), database)
        stack.enter_context(inventory)
        if trouble is not None:
            health.is_bad(Trouble("state", trouble, time.time()))
        engine_settings = EngineSettings(
            listen=listening.hosts,
            port=settings.peer_port,
            peer_cidrs=settings.peer_cidrs,
            announce_address=listening.announced,
            upload_limit=settings.upload_limit,
            download_limit=settings.download_limit,
            shares=settings.share,
            or_another_port=True,
        )
        with anchors.shown(client.trust, os.environ):
            engine = stack.enter_context(Engine(engine_settings, user_agent="llmpt-agent", health=health))
        seeds = Seeds(engine, inventory)
        silent_for_s = TrackerSilence(settings.tracker, environ).left_s()
        directory = Directory(client, peer_port=engine.port, silent_for_s=silent_for_s)
        directory.on_boot = _announce_anew(engine)
        partials = Partials(inventory)
        sharing = (
            Sharing(settings.tracker, share_token.token_path(settings.tracker), client=client.with_token)
            if settings.share
            else None
        )
        parts = JobParts(
            engine,
            directory,
            seeds,
            for_all=_for_all(sharing, directory, inventory, settings) if sharing is not None else None,
            on_wrong=Complaints(sharing).make if sharing is not None else lambda _torrent, _reason: None,
            timings=JobTimings(stall_s=settings.stall_timeout_s),
            doors=paths.runtime_dir(environ) / "files",
        )
        door.clear(paths.runtime_dir(environ) / "files")
        jobs = Jobs(parts, partials)
        threading.excepthook = _note_bug
        seeds.will_restore()
        report = Report(engine, directory, seeds, jobs, listening, sharing, settings.agent, health)
        services = Services(
            jobs=jobs,
            landed=seeds.landed,
            offers=Offers(directory, seeds),
            status=report.as_json,
            used_by=users.join if users is not None else lambda _pid: None,
            stop=stopping.set,
            min_blob_bytes=lambda: directory.min_blob_bytes,
        )
        server = Server(paths.socket_path(environ), services, tracker=settings.tracker)
        stack.enter_context(server)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        if settings.metrics_port:
            _serve_metrics(stack, settings.metrics_port, report, health)
        log.info("agent %d ready at %s, peers on port %d", os.getpid(), paths.socket_path(environ), engine.port)
        restoring = _restore(seeds, stopping, health)
        restoring.join(RESTORED_S)
        ready()
        if parts.for_all is not None:
            parts.for_all.leases.start(stop=stopping, health=health)

        keys = AnnounceKeys(engine, directory)

        def watch() -> None:
            directory.watch()
            keys.look()

        loops.start("tracker-watch", watch, WATCHING, stop=stopping, health=health)
        if sharing is not None:
            _in_a_moment("share-token", sharing.prepare, within_s=TOKEN_WITHIN_S, stopping=stopping)

        def sweep() -> None:
            seeds.sweep()
            partials.sweep()
            if listening.changed():
                engine.listen_on(listening.hosts, listening.announced)

        still_public = StillPublic(
            seeds, inventory, where=Catalogue(client).where, tracker=settings.tracker, hub=environ.get("HF_ENDPOINT", "")
        )
        check = partial(loops.loop, "still-public", still_public.check, CHECKING, stop=stopping, health=health)
        _in_a_moment("still-public", check, within_s=CHECKED_WITHIN_S, stopping=stopping)

        if (noted := answered.folder(environ)) is not None:
            sample = Sample(noted, manifest=Catalogue(client).manifest, tell=partial(_doubt, sharing), health=health)
            hold = partial(loops.loop, "sample", sample.check, CHECKING, stop=stopping, health=health)
            _in_a_moment("sample", hold, within_s=CHECKED_WITHIN_S, stopping=stopping)

        def look_for_the_end() -> None:
            if reason := _over(server, package, users):
                log.info("%s; ending", reason)
                stopping.set()

        sweeping = loops.start("sweep", sweep, SWEEPING, stop=stopping, health=health)
        loops.loop("lifetime", look_for_the_end, LOOKING, stop=stopping, health=health)
        sweeping.join(LEAVE_S)
        restoring.join(LEAVE_S)


def _serve_metrics(stack: ExitStack, port: int, report: Report, health: Health) -> None:
    """Answer Prometheus until the end. A port that is taken stops no agent."""
    from llmpt.agent import metrics

    try:
        stack.enter_context(metrics.served(port, report.as_json))
    except OSError as error:
        words = f"port {port} on loopback: {error.strerror or error} (LLMPT_AGENT_METRICS_PORT)"
        log.warning("no metrics: %s", words)
        health.is_bad(Trouble("metrics", words, time.time()))


def _in_a_moment(name: str, step: Callable[[], object], *, within_s: float, stopping: threading.Event) -> None:
    """Do a step on a thread of this name, at some moment within `within_s`: machines that start together take turns, and what is
    looked up for a program goes before."""

    def wait_and_do() -> None:
        if not stopping.wait(random.uniform(0, within_s)):  # noqa: S311  (no secret)
            step()

    threading.Thread(target=wait_and_do, name=name, daemon=True).start()


def _for_all(sharing: Sharing, directory: Directory, inventory: Inventory, settings: ClientSettings) -> ForAll:
    """What it takes to fetch a blob once for the whole LAN."""
    from llmpt.agent.sharing.leases import Leases
    from llmpt.agent.sharing.permission import Permission, Publicity
    from llmpt.agent.sharing.publishing import Publishing
    from llmpt.agent.transfer.hub_rate import HubRate
    from llmpt.agent.transfer.shared_fetch import ForAll

    def ask(poll: Poll) -> LeaseAnswer:
        answer = sharing.call(lambda client: client.leases(poll))
        directory.heard(answer.boot_id)
        return answer

    hub_rate = HubRate(inventory)
    leases = Leases(ask, stall_timeout_s=settings.stall_timeout_s, hub_rate_bytes_s=lambda: hub_rate.bytes_s)

    def min_blob_bytes() -> int:
        return settings.min_blob_bytes if directory.min_blob_bytes is None else directory.min_blob_bytes

    permission = Permission(sharing, Publicity(inventory), tracker=settings.tracker or "", min_blob_bytes=min_blob_bytes)
    return ForAll(leases, permission, Publishing(sharing), hub_rate=hub_rate)


def _doubt(sharing: Sharing | None, doubt: Doubt) -> None:
    """Tell the tracker with this machine's token to share, if it has one."""
    if sharing is not None:
        sharing.call(doubt.tell)


def _over(server: Server, package: Package, users: UserProcesses | None) -> str:
    """Say why the agent is to end now; nothing when it goes on."""
    if not server.in_place():
        return "the socket's folder has gone"
    if package.gone() and server.retire():
        return "llmpt was uninstalled, or another version installed"
    if users is not None and users.over() and server.retire():
        return "the job is over"
    return ""


def _restore(seeds: Seeds, stopping: threading.Event, health: Health) -> threading.Thread:
    """Seed again what was seeded before, beside all else: it takes as long as there is, and questions are answered meanwhile."""

    def restore() -> None:
        try:
            seeds.restore(stop=stopping.is_set)
        except (LlmptError, OSError) as error:
            log.warning("what was seeded before is not seeded again: %s", error)
            health.is_bad(Trouble("restore", str(error), time.time()))

    thread = threading.Thread(target=restore, name="restore", daemon=True)
    thread.start()
    return thread


def _announce_anew(engine: Engine) -> Callable[[str], None]:
    def booted(announce_url: str) -> None:
        engine.set_announce_url(announce_url)
        engine.reannounce()

    return booted


def _note_bug(hook: threading.ExceptHookArgs) -> None:
    """Log what ended a thread."""
    log.error("a bug of llmpt", exc_info=(hook.exc_type, hook.exc_value or hook.exc_type(), hook.exc_traceback))
