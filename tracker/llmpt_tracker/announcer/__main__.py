"""Start the announcer: `python -m llmpt_tracker.announcer`, with LLMPT_CONTROL_SOCKET naming its control socket.

It serves the control socket at once, and the announce port only when it is told to `open`: by then the whole list of torrents
has been loaded into it. SIGTERM ends it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from hashlib import sha256

from llmpt.core.breaker import Pauses
from llmpt.core.errors import LlmptError
from llmpt.core.networks import parse_address
from llmpt.host.listening import raise_descriptor_limit
from llmpt.host.logs import log_to_stderr
from llmpt.host.loops import Rhythm
from llmpt.host.routes import HostNetwork
from llmpt.host.visitors import VisitorLimits
from llmpt_tracker.announcer import loops
from llmpt_tracker.announcer.control.requests import ControlServer
from llmpt_tracker.announcer.http.server import FrontEnd
from llmpt_tracker.announcer.peers.memory_store import MemoryStore
from llmpt_tracker.announcer.peers.seeders import Seeders
from llmpt_tracker.announcer.peers.subnets import Subnets
from llmpt_tracker.announcer.peers.visibility import Visibility, is_own_address
from llmpt_tracker.announcer.readers import Readers
from llmpt_tracker.announcer.replicas.link import Link
from llmpt_tracker.announcer.tracker import Tracker
from llmpt_tracker.announcer.udp.server import DatagramFrontEnd
from llmpt_tracker.read_keys import ReadKeys
from llmpt_tracker.settings import CONTROL_SOCKET, TrackerSettings

log = logging.getLogger("llmpt_tracker.announcer")

SEEDERS_ASKED = Rhythm(interval_s=5.0, pauses=Pauses(first_s=1.0, longest_s=10.0))
EVERY_SECOND = Rhythm(interval_s=1.0, pauses=Pauses(first_s=1.0, longest_s=10.0))


def main() -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    settings = TrackerSettings.read()  # which the parent has read before
    log_to_stderr(settings.log)
    try:
        if settings.control_socket is None:
            raise LlmptError(f"{CONTROL_SOCKET} is not set: `llmpt-tracker serve` starts the announcer")
        asyncio.run(serve(settings, VisitorLimits().within(raise_descriptor_limit())))
    except LlmptError as error:
        log.error("%s", error)
        return 1
    return 0


async def serve(settings: TrackerSettings, limits: VisitorLimits) -> None:
    """Serve the control socket, and announces from `open` on, until SIGTERM or SIGINT."""
    tracker = _tracker(settings)
    link = Link(settings.valkey_url, tracker, key=_key_id(settings)) if settings.valkey_url else None
    front, datagrams = FrontEnd(tracker, limits), DatagramFrontEnd(tracker)

    def open_port() -> int:
        port = front.open(settings.bind, settings.announce_port)
        if settings.udp_announce_port != 0:
            datagrams.open(settings.bind, settings.udp_announce_port or port, is_any=settings.announce_port == 0)
        tracker.open()
        log.info("announces are answered on port %d, boot id %s", port, tracker.boot_id)
        return port

    control = ControlServer(tracker, open_port=open_port, ports=lambda: (front.port, datagrams.port))
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    assert settings.control_socket is not None  # noqa: S101 - main has looked
    await control.start(settings.control_socket)
    working = [
        asyncio.create_task(loops.loop("dropping silent peers", tracker.sweep, EVERY_SECOND, health=tracker.health)),
        asyncio.create_task(loops.loop("ending slow connections", front.reap, EVERY_SECOND, health=tracker.health)),
        asyncio.create_task(loops.loop("counting datagrams anew", datagrams.tick, EVERY_SECOND, health=tracker.health)),
        asyncio.create_task(loops.loop("asking seeders", tracker.look_after_seeders, SEEDERS_ASKED, health=tracker.health)),
        asyncio.create_task(tracker.prober.run(tracker.health)),
    ]
    if link is not None:
        working.append(asyncio.create_task(link.run(control.decide)))
    try:
        await stopped.wait()
    finally:
        for task in working:
            task.cancel()
        await control.close()
        front.close()
        datagrams.close()


def _key_id(settings: TrackerSettings) -> str:
    try:
        return sha256(b"llmpt replicas\0" + settings.key_file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _tracker(settings: TrackerSettings) -> Tracker:
    seeders = Seeders()
    visibility = Visibility(
        allowed=settings.peer_cidrs,
        seeders=seeders,
        host=HostNetwork.read(),
        advertise=parse_address(settings.advertise_host) if settings.advertise_host else None,
        owns=is_own_address,
        subnets=Subnets(settings.subnets),
    )
    tracker = Tracker(
        MemoryStore(),
        seeders=seeders,
        visibility=visibility,
        trusted_proxies=settings.trusted_proxies,
        hosts=settings.hosts,
    )
    tracker.readers = Readers(ReadKeys.of(settings))
    return tracker


if __name__ == "__main__":
    sys.exit(main())
