"""What the application asks the announcer, over its control socket: one JSON object a line each way.

Whatever goes wrong becomes `AnnouncerUnavailable`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from llmpt.core.documents import read_json
from llmpt.core.leases import LeaseAnswer, Poll
from llmpt_tracker.control.connections import ControlConnections
from llmpt_tracker.control.messages import AnnouncerStatus, BlobAddress, HeldLease, Owner, SeederReport, Swarm, Traffic
from llmpt_tracker.errors import AnnouncerUnavailable

T = TypeVar("T")

TIMEOUT_S = 2.0
MAX_REPLY_BYTES = 64 << 20


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
        """Try a port of the asker at `address`; None when it cannot be said whether others can connect to it."""

    def heartbeat(self, seeder_id: str, *, key: str, report: Mapping[str, Any], address: str) -> str:
        """Note that a seeder lives, at `address`, and announces behind `key`; return the boot id."""

    def seeders(self) -> list[SeederReport]:
        """Return the seeders that were heard of since the announcer started."""

    def blob_servers(self, *, asker: str) -> list[BlobAddress]:
        """Return where the seeders that are alive serve blobs, as `asker` may see them."""

    def leases(self, poll: Poll, *, owner: Owner, swarms: Mapping[str, bytes]) -> LeaseAnswer:
        """Answer the poll of a machine of `owner`'s; `swarms` are the truncated info-hashes of those etags that have one."""

    def fetches(self, limit: int) -> list[HeldLease]:
        """Return what is being fetched from the Hub, the oldest first."""

    def take(self, name: str, *, per_s: float, burst: float) -> float:
        """Count one deed of an asker that may do `per_s` of them, `burst` at once; return 0, or for how many seconds to wait."""

    def note_limit(self, sentence: str, *, times: int) -> None:
        """Note that a limit of the application was reached so many times: `status` tells of it for a while."""


class AnnouncerClient:
    """The announcer behind a UNIX socket. Threads may share it."""

    def __init__(self, path: Path, *, timeout_s: float = TIMEOUT_S) -> None:
        self._connections = ControlConnections(path, timeout_s=timeout_s)

    def open(self) -> int:
        """Make the announcer listen; return its port. Raises `AnnouncerUnavailable` saying why it cannot."""
        return self._ask("open", lambda reply: int(reply["announce_port"]))

    def load(self, swarms: Mapping[bytes, int]) -> None:
        """Let these truncated info-hashes announce; each was downloaded so often before."""
        completed = {swarm.hex(): count for swarm, count in swarms.items() if count}
        self._ask("register", _nothing, hashes=[swarm.hex() for swarm in swarms], completed=completed)

    def newly_completed(self) -> dict[bytes, int]:
        """Return how often those swarms were downloaded of which that has changed since this was asked last."""
        return self._ask(
            "completed", lambda reply: {bytes.fromhex(name): int(count) for name, count in reply["completed"].items()}
        )

    def traffic(self) -> Traffic:
        """Return what came to machines since this was asked last."""
        return self._ask("traffic", Traffic.parse)

    def kept(self, swarms: Iterable[bytes]) -> frozenset[bytes]:
        """Return those of these swarms that machines of the LAN seed, beside our seeders."""
        hashes = [swarm.hex() for swarm in swarms]
        return self._ask("kept", lambda reply: frozenset(bytes.fromhex(name) for name in reply["kept"]), hashes=hashes)

    def status(self) -> AnnouncerStatus:
        return self._ask("status", AnnouncerStatus.parse)

    def register(self, swarms: Iterable[bytes]) -> None:
        self._ask("register", _nothing, hashes=[swarm.hex() for swarm in swarms])

    def unregister(self, swarms: Iterable[bytes]) -> None:
        self._ask("unregister", _nothing, hashes=[swarm.hex() for swarm in swarms])

    def swarms(self, swarms: Sequence[str], *, peers: int, asker: str) -> tuple[dict[str, Swarm], str]:
        return self._ask(
            "swarms",
            lambda reply: ({name: Swarm.parse(one) for name, one in reply["swarms"].items()}, str(reply["boot_id"])),
            hashes=list(swarms),
            peers=peers,
            asker=asker,
        )

    def reach(self, address: str, port: int) -> bool | None:
        found = self._ask("reach", lambda reply: reply.get("reachable"), address=address, port=port)
        return found if isinstance(found, bool) else None

    def heartbeat(self, seeder_id: str, *, key: str, report: Mapping[str, Any], address: str) -> str:
        return self._ask(
            "heartbeat", lambda reply: str(reply["boot_id"]), seeder=seeder_id, key=key, report=report, address=address
        )

    def seeders(self) -> list[SeederReport]:
        return self._ask("seeders", lambda reply: [SeederReport.parse(one) for one in reply["seeders"]])

    def blob_servers(self, *, asker: str) -> list[BlobAddress]:
        return self._ask("blob_servers", lambda reply: [BlobAddress.parse(one) for one in reply["servers"]], asker=asker)

    def leases(self, poll: Poll, *, owner: Owner, swarms: Mapping[str, bytes]) -> LeaseAnswer:
        named = {etag: swarm.hex() for etag, swarm in swarms.items()}
        return self._ask("leases", LeaseAnswer.parse, poll=poll.as_json(), owner=owner.as_json(), swarms=named)

    def fetches(self, limit: int) -> list[HeldLease]:
        return self._ask("fetches", lambda reply: [HeldLease.parse(one) for one in reply["fetches"]], limit=limit)

    def take(self, name: str, *, per_s: float, burst: float) -> float:
        return self._ask("take", lambda reply: float(reply["wait_s"]), name=name, per_s=per_s, burst=burst)

    def note_limit(self, sentence: str, *, times: int) -> None:
        self._ask("limit", _nothing, sentence=sentence, times=times)

    def tell_readers(self, valid: Iterable[tuple[int, int]], *, as_of: float) -> None:
        """Tell which tokens may read, each by its number and its age (seconds since 1970), as it was at that moment."""
        self._ask("readers", _nothing, valid=[list(one) for one in valid], as_of=as_of)

    def close(self) -> None:
        """Close the connections that are kept."""
        self._connections.close()

    def _ask(self, op: str, parse: Callable[[Mapping[str, Any]], T], **arguments: Any) -> T:
        line = json.dumps({"op": op, **arguments}, separators=(",", ":")).encode() + b"\n"
        try:
            reply = read_json(self._connections.exchange(line), most_bytes=MAX_REPLY_BYTES)
        except (OSError, EOFError, ValueError) as error:
            raise AnnouncerUnavailable(f"the announcer does not answer ({op}: {error})") from None
        if not isinstance(reply, dict) or reply.get("ok") is not True:
            raise AnnouncerUnavailable(str(reply.get("error")) if isinstance(reply, dict) else "no object")
        try:
            return parse(reply)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise AnnouncerUnavailable(f"the announcer's answer makes no sense: {reply!r:.200}") from None


def _nothing(_reply: Mapping[str, Any]) -> None:
    """What is answered to those operations of which it is enough that they were done."""
