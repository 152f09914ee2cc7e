"""What the application asks the announcer, over its control socket.

One JSON object a line each way. Connections are kept and shared by threads; one that turns out to be dead is replaced once
(every request can be repeated without harm). Whatever goes wrong becomes `AnnouncerUnavailable`.
"""

from __future__ import annotations

import json
import socket
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from llmpt_tracker.errors import AnnouncerUnavailable

TIMEOUT_S = 2.0
KEPT_CONNECTIONS = 16


@dataclass(frozen=True, slots=True)
class AnnouncerStatus:
    """How the announcer is: `open` once it answers announces; a new `boot_id` after each start."""

    boot_id: str
    open: bool
    announce_port: int
    swarms: int
    peers: int


@dataclass(frozen=True, slots=True)
class SwarmPeer:
    """A peer of a swarm; no address means: the very address at which you reach this tracker."""

    address: str | None
    port: int


@dataclass(frozen=True, slots=True)
class Swarm:
    """The live counts of a swarm, and some of its peers when they were asked for."""

    seeders: int = 0
    leechers: int = 0
    completed: int = 0
    peers: tuple[SwarmPeer, ...] = ()


@dataclass(frozen=True, slots=True)
class SeederReport:
    """What a seeder last said of itself, `age_s` seconds ago."""

    id: str
    age_s: float
    report: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fetch:
    """A file that `fetcher` fetches from the Hub; `waiting` others wait for it. Sizes in bytes; `repo` is `type/id`."""

    etag: str
    size: int
    repo: str
    fetcher: str
    bytes: int
    rate_bytes_s: int
    waiting: int


@dataclass(frozen=True, slots=True)
class LeaseReply:
    """What a machine is told: `leases` as the API shows them, and when to ask again."""

    leases: Sequence[Mapping[str, Any]]
    poll_s: float
    boot_id: str


@dataclass(frozen=True, slots=True)
class BlobServer:
    """Where a seeder that is alive serves blobs: `address` and `port` as the tracker reaches it, and the address `shown` to
    whoever asked, None: the very one at which that one reaches the tracker."""

    address: str
    port: int
    shown: str | None


class Announcer(Protocol):
    """The announcer, as the application sees it. Every method raises `AnnouncerUnavailable`."""

    def status(self) -> AnnouncerStatus:
        """Say how the announcer is."""

    def register(self, swarms: Iterable[bytes]) -> None:
        """Let these truncated info-hashes (20 bytes each) announce from now on."""

    def unregister(self, swarms: Iterable[bytes]) -> None:
        """Let these announce no more, and forget their peers."""

    def swarms(self, swarms: Sequence[str], *, peers: int, asker: str) -> tuple[dict[str, Swarm], str]:
        """Return the swarms by truncated info-hash in hex, with up to `peers` peers each as `asker` may see them, and the
        boot id."""

    def reach(self, address: str, port: int) -> bool | None:
        """Try a port of whoever asks from `address`; None when nobody can say whether others can connect to it."""

    def heartbeat(self, seeder_id: str, *, key: str, report: Mapping[str, Any], address: str) -> str:
        """Note that a seeder lives, at `address`, and announces behind `key`; return the boot id."""

    def seeders(self) -> list[SeederReport]:
        """Return the seeders that were heard of since the announcer started."""

    def blob_servers(self, *, asker: str) -> list[BlobServer]:
        """Return where the seeders that are alive serve blobs, as `asker` may see them."""

    def leases(self, poll: Mapping[str, Any], *, swarms: Mapping[str, str]) -> LeaseReply:
        """Answer the poll of a machine; `swarms` are the torrents (40 hex digits) of those etags that have one."""

    def fetches(self, limit: int) -> list[Fetch]:
        """Return what is being fetched from the Hub, the oldest first."""

    def take(self, name: str, *, per_s: float, burst: float) -> float:
        """Count one deed of somebody who may do `per_s` of them, `burst` at once; return 0, or for how many seconds to wait."""


class AnnouncerClient:
    """The announcer behind a UNIX socket."""

    def __init__(self, path: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self.path, self.timeout_s = path, timeout_s
        self._idle: deque[_Connection] = deque(maxlen=KEPT_CONNECTIONS)

    def open(self) -> int:
        """Make the announcer listen; return its port. Raises `AnnouncerUnavailable` saying why it cannot."""
        return int(self._ask({"op": "open"})["announce_port"])

    def load(self, swarms: Mapping[bytes, int]) -> None:
        """Let these truncated info-hashes announce; each was downloaded so often before."""
        completed = {swarm.hex(): count for swarm, count in swarms.items() if count}
        self._ask({"op": "register", "hashes": [swarm.hex() for swarm in swarms], "completed": completed})

    def newly_completed(self) -> dict[bytes, int]:
        """Return how often those swarms were downloaded of which that has changed since this was asked last."""
        reply = self._ask({"op": "completed"})
        try:
            return {bytes.fromhex(name): int(count) for name, count in reply["completed"].items()}
        except (AttributeError, KeyError, TypeError, ValueError):
            raise _senseless(reply) from None

    def status(self) -> AnnouncerStatus:
        reply = self._ask({"op": "status"})
        try:
            return AnnouncerStatus(
                boot_id=str(reply["boot_id"]),
                open=bool(reply["open"]),
                announce_port=int(reply["announce_port"] or 0),
                swarms=int(reply["swarms"]),
                peers=int(reply["peers"]),
            )
        except (KeyError, TypeError, ValueError):
            raise _senseless(reply) from None

    def register(self, swarms: Iterable[bytes]) -> None:
        self._ask({"op": "register", "hashes": [swarm.hex() for swarm in swarms]})

    def unregister(self, swarms: Iterable[bytes]) -> None:
        self._ask({"op": "unregister", "hashes": [swarm.hex() for swarm in swarms]})

    def swarms(self, swarms: Sequence[str], *, peers: int, asker: str) -> tuple[dict[str, Swarm], str]:
        reply = self._ask({"op": "swarms", "hashes": list(swarms), "peers": peers, "asker": asker})
        try:
            return {name: _swarm(entry) for name, entry in reply["swarms"].items()}, str(reply["boot_id"])
        except (AttributeError, KeyError, TypeError, ValueError):
            raise _senseless(reply) from None

    def reach(self, address: str, port: int) -> bool | None:
        found = self._ask({"op": "reach", "address": address, "port": port}).get("reachable")
        return found if isinstance(found, bool) else None

    def heartbeat(self, seeder_id: str, *, key: str, report: Mapping[str, Any], address: str) -> str:
        beat = {"op": "heartbeat", "seeder": seeder_id, "key": key, "report": report, "address": address}
        return str(self._ask(beat)["boot_id"])

    def seeders(self) -> list[SeederReport]:
        reply = self._ask({"op": "seeders"})
        try:
            return [SeederReport(str(one["id"]), float(one["age_s"]), dict(one["report"])) for one in reply["seeders"]]
        except (KeyError, TypeError, ValueError):
            raise _senseless(reply) from None

    def blob_servers(self, *, asker: str) -> list[BlobServer]:
        reply = self._ask({"op": "blob_servers", "asker": asker})
        try:
            return [BlobServer(str(one["address"]), int(one["port"]), one["shown"]) for one in reply["servers"]]
        except (KeyError, TypeError, ValueError):
            raise _senseless(reply) from None

    def leases(self, poll: Mapping[str, Any], *, swarms: Mapping[str, str]) -> LeaseReply:
        reply = self._ask({"op": "leases", "poll": poll, "swarms": swarms})
        try:
            return LeaseReply([dict(one) for one in reply["leases"]], float(reply["poll_s"]), str(reply["boot_id"]))
        except (KeyError, TypeError, ValueError):
            raise _senseless(reply) from None

    def fetches(self, limit: int) -> list[Fetch]:
        reply = self._ask({"op": "fetches", "limit": limit})
        try:
            return [Fetch(**one) for one in reply["fetches"]]
        except (KeyError, TypeError):
            raise _senseless(reply) from None

    def take(self, name: str, *, per_s: float, burst: float) -> float:
        reply = self._ask({"op": "take", "name": name, "per_s": per_s, "burst": burst})
        try:
            return float(reply["wait_s"])
        except (KeyError, TypeError, ValueError):
            raise _senseless(reply) from None

    def close(self) -> None:
        """Close the connections that are kept."""
        while self._idle:
            self._idle.pop().close()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        line = json.dumps(request, separators=(",", ":")).encode() + b"\n"
        try:
            reply = self._exchange(line)
        except (OSError, EOFError, ValueError) as error:
            raise AnnouncerUnavailable(f"the announcer does not answer ({request['op']}: {error})") from None
        if not isinstance(reply, dict) or reply.get("ok") is not True:
            raise AnnouncerUnavailable(str(reply.get("error")) if isinstance(reply, dict) else "no object")
        return reply

    def _exchange(self, line: bytes) -> Any:
        try:
            kept = self._idle.pop()
        except IndexError:
            kept = None
        if kept is not None:
            try:
                return self._use(kept, line)
            except TimeoutError:
                raise  # alive but too slow: asking again would only take as long
            except (OSError, EOFError):
                pass  # it was closed behind our back; a new connection decides
        return self._use(_Connection(self.path, self.timeout_s), line)

    def _use(self, connection: _Connection, line: bytes) -> Any:
        try:
            reply = json.loads(connection.exchange(line))
        except BaseException:
            connection.close()
            raise
        if len(self._idle) < KEPT_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.close()
        return reply


class _Connection:
    def __init__(self, path: Path, timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(timeout_s)
            self._socket.connect(str(path))
        except BaseException:
            self._socket.close()
            raise
        self._lines = self._socket.makefile("rb")

    def exchange(self, line: bytes) -> bytes:
        self._socket.sendall(line)
        reply = self._lines.readline()
        if not reply.endswith(b"\n"):
            raise EOFError("closed in the middle of an answer")
        return reply

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def _swarm(entry: Mapping[str, Any]) -> Swarm:
    peers = tuple(SwarmPeer(peer["address"], int(peer["port"])) for peer in entry.get("peers", ()))
    return Swarm(int(entry["seeders"]), int(entry["leechers"]), int(entry["completed"]), peers)


def _senseless(reply: object) -> AnnouncerUnavailable:
    return AnnouncerUnavailable(f"the announcer's answer makes no sense: {reply!r:.200}")
