"""The control socket: how the parent and the application talk to the announcer (AF_UNIX stream, one JSON object per line).

`{"op": …}` is answered by `{"ok": true, …}` or `{"ok": false, "error": sentence}`; a connection may be kept. Only processes of
the same user reach it: it lies in a private folder. Info-hashes are 40 hex digits.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from llmpt.core.documents import read_json
from llmpt.core.errors import InvalidInput, LlmptError
from llmpt.core.metainfo import truncated_hex
from llmpt.core.networks import parse_address
from llmpt_tracker.announcer.control import sharing
from llmpt_tracker.announcer.peers import selection
from llmpt_tracker.announcer.peers.visibility import HERE
from llmpt_tracker.announcer.tracker import Tracker
from llmpt_tracker.control.messages import AnnouncerStatus, BlobAddress, SeederReport, Swarm, Traffic
from llmpt_tracker.read_keys import KeyOwner

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 16 << 20  # 300,000 hashes
MAX_SENTENCE = 300

Reply = dict[str, Any]


class ControlServer:
    """Answers the operations; `open_port` opens the ports and returns that of TCP; `ports` says it and that of UDP."""

    def __init__(
        self, tracker: Tracker, *, open_port: Callable[[], int], ports: Callable[[], tuple[int | None, int | None]]
    ) -> None:
        self._tracker, self._open_port, self._ports = tracker, open_port, ports
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def start(self, path: Path) -> None:
        """Listen at `path`."""
        self._server = await asyncio.start_unix_server(self._serve, path, limit=MAX_LINE_BYTES)

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
            for writer in self._connections.values():
                writer.close()
            if self._connections:
                await asyncio.wait(self._connections, timeout=1)
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine that runs is run by a task
        self._connections[task] = writer
        try:
            while line := await _line(reader):
                writer.write(await self.answer(line) + b"\n")
                await writer.drain()
                if not line.endswith(b"\n"):
                    break
        except ConnectionError:
            pass
        finally:
            del self._connections[task]
            writer.close()

    async def answer(self, line: bytes) -> bytes:
        """Carry out one operation, and return the line that answers it; what is wrong is in there, a bug of ours, too."""
        try:
            return json.dumps(await _answered(self._carry_out(line))).encode()
        except Exception as error:
            log.exception("a bug of llmpt in answering %.80r", line)
            return json.dumps(_refusal(f"something went wrong in the announcer ({type(error).__name__})")).encode()

    async def decide(self, request: Reply) -> Reply:
        """Carry out what another replica asks this one, which decides for all; what is wrong is in the answer."""
        return await _answered(self._decide(request))

    async def _decide(self, request: Reply) -> Reply:
        if request.get("op") not in _DECIDED:
            raise InvalidInput(f"unknown op: {request.get('op')!r:.80}")
        return {"ok": True} | _OPERATIONS[request["op"]](self._tracker, request)

    async def _carry_out(self, line: bytes) -> Reply:
        tracker = self._tracker
        if len(line) > MAX_LINE_BYTES:
            raise InvalidInput(f"a request has at most {MAX_LINE_BYTES} bytes")
        request = read_json(line, most_bytes=MAX_LINE_BYTES)
        if not isinstance(request, dict):
            raise InvalidInput("a request is a JSON object")
        op = str(request.get("op"))
        if op == "open":
            await tracker.others.know()
            port = self._open_port()
            return {"ok": True, "announce_port": port, "udp_port": self._ports()[1], "boot_id": tracker.boot_id}
        if op == "status":
            return {"ok": True, **self._status().as_json()}
        if op == "reach":
            return {"ok": True, "reachable": await tracker.reach(request["address"], _port(request["port"]))}
        operation = _OPERATIONS.get(op)
        if operation is None:
            raise InvalidInput(f"unknown op: {request.get('op')!r:.80}")
        if op in _DECIDED and (decided := await tracker.others.ask(request)) is not None:
            return decided
        done = {"ok": True} | operation(tracker, request)
        if op in _TOLD:
            await tracker.others.told()
        return done

    def _status(self) -> AnnouncerStatus:
        tracker, port = self._tracker, self._ports()[0]
        troubles = tuple(f"{trouble.name}: {trouble.error}" for trouble in tracker.health.troubles())
        swarms, peers = len(tracker.store), tracker.store.peer_count
        now = tracker.clock()
        age_s = None if port is None else round(now - tracker.started_at, 3)
        limits = tracker.reached.sentences(now)
        roles = {role.name.lower(): count for role, count in tracker.store.roles.items()}
        about = (troubles, age_s, limits, tracker.counts, roles, tracker.others.reaches)
        return AnnouncerStatus(tracker.boot_id, port is not None, port or 0, swarms, peers, *about)


async def _answered(carrying_out: Awaitable[Reply]) -> Reply:
    """Return what comes of it; where it cannot be done, the sentence that says why."""
    try:
        return await carrying_out
    except (LlmptError, ValueError) as error:
        return _refusal(str(error))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        return _refusal(f"malformed request: {error!r:.200}")


async def _line(reader: asyncio.StreamReader) -> bytes:
    """Read one line; of one that is too long, more bytes than a request may have: what follows is not looked for."""
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await reader.readexactly(max(error.consumed, MAX_LINE_BYTES + 1))


def _refusal(reason: str) -> Reply:
    return {"ok": False, "error": reason}


def _port(number: object) -> int:
    if not isinstance(number, int) or not 0 < number < 65536:
        raise InvalidInput("a port is a number from 1 to 65535")
    return number


def _register(tracker: Tracker, request: Reply) -> Reply:
    completed = {truncated_hex(text): int(count) for text, count in request.get("completed", {}).items()}
    hashes = [truncated_hex(text) for text in request["hashes"]]
    tracker.store.register(hashes, completed=completed)
    if "completed" not in request:  # news, and not what every replica reads in the catalogue
        tracker.others.listed(hashes)
    return {}


def _completed(tracker: Tracker, _request: Reply) -> Reply:
    return {"completed": {info_hash.hex(): count for info_hash, count in tracker.store.newly_completed().items()}}


def _traffic(tracker: Tracker, _request: Reply) -> Reply:
    fetched = tracker.leases.take_fetched()
    return Traffic(tracker.arrivals.take(), fetched.total, fetched.mirrored).as_json()


def _unregister(tracker: Tracker, request: Reply) -> Reply:
    hashes = [truncated_hex(text) for text in request["hashes"]]
    tracker.store.unregister(hashes)
    tracker.others.unlisted(hashes)
    return {}


def _swarms(tracker: Tracker, request: Reply) -> Reply:
    limit = int(request.get("peers", 0))
    asker = tracker.asker(request["asker"]) if limit > 0 else None
    at = tracker.moment()
    answer: dict[str, Reply] = {}
    for text in request["hashes"]:
        info_hash = truncated_hex(text)
        counts = at.counts(info_hash)
        found = [] if asker is None else selection.listed(at, info_hash, limit, asker=asker)
        answer[text] = Swarm(counts.seeders, counts.leechers + counts.paused, counts.completed, tuple(found)).as_json()
    return {"swarms": answer, "boot_id": tracker.boot_id}


def _kept(tracker: Tracker, request: Reply) -> Reply:
    """Tell which of the torrents machines of the LAN seed, beside our seeders."""
    at = tracker.moment()
    return {"kept": [text for text in request["hashes"] if at.is_kept_by_machines(truncated_hex(text))]}


def _heartbeat(tracker: Tracker, request: Reply) -> Reply:
    seeder, key, report = request["seeder"], request["key"], request["report"]
    if not (isinstance(seeder, str) and isinstance(key, str) and key and isinstance(report, dict)):
        raise InvalidInput("a heartbeat has a seeder, its key and a report")
    address = parse_address(request["address"]) if request.get("address") else None
    tracker.seeders.beat(seeder, key=key, report=report, now=tracker.clock(), address=address)
    tracker.others.beat(seeder, key=key, report=report, address=address)
    return {"boot_id": tracker.boot_id}


def _seeders(tracker: Tracker, _request: Reply) -> Reply:
    now = tracker.clock()
    reports = [SeederReport(beat.seeder, round(now - beat.at_s, 3), beat.report) for beat in tracker.seeders.all()]
    return {"seeders": [report.as_json() for report in reports]}


def _blob_servers(tracker: Tracker, request: Reply) -> Reply:
    """List where the seeders that are alive serve blobs; `shown`: to the asker, null where it reached the tracker itself."""
    asker = tracker.asker(request["asker"])
    servers = []
    for beat in tracker.seeders.alive(tracker.clock()):
        port = beat.report.get("blob_port")
        if beat.address is not None and isinstance(port, int):
            shown = tracker.visibility.shown_server(beat.address, asker)
            its = (beat.seeder, beat.report.get("token_id"), bool(beat.report.get("for_all")), bool(beat.report.get("blob_tls")))
            servers.append(BlobAddress(str(beat.address), port, None if shown is HERE else str(shown), *its).as_json())
    return {"servers": servers}


def _readers(tracker: Tracker, request: Reply) -> Reply:
    tracker.readers.learn((KeyOwner(int(one[0]), int(one[1])) for one in request["valid"]), as_of=float(request["as_of"]))
    return {}


def _limit(tracker: Tracker, request: Reply) -> Reply:
    tracker.reached.note(str(request["sentence"])[:MAX_SENTENCE], times=int(request["times"]), now=tracker.clock())
    return {}


_OPERATIONS: dict[str, Callable[[Tracker, Reply], Reply]] = {
    "register": _register,
    "unregister": _unregister,
    "completed": _completed,
    "traffic": _traffic,
    "swarms": _swarms,
    "kept": _kept,
    "heartbeat": _heartbeat,
    "seeders": _seeders,
    "blob_servers": _blob_servers,
    "leases": sharing.poll,
    "fetches": sharing.fetches,
    "take": sharing.take,
    "limit": _limit,
    "readers": _readers,
}
_DECIDED = ("leases", "fetches", "take")  # by one replica for all
_TOLD = ("register", "unregister")  # before they are answered
OPERATIONS = ("open", "reach", "status", *_OPERATIONS)  # docs/protocols/control-socket.md
