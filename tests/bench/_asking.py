"""What many machines ask a tracker when they start together, asked as their agents ask, in one event loop.

Agents themselves cannot be run by the hundred on a machine that has a tracker to run, too: each is on its own clock, and gives up
for want of a processor that a real one has. So the questions are asked here: how the tracker is, how it sees us, a token to
share, the files of a commit in two look-ups, an announce of each file. A question is waited for as `TrackerClient` does it: for
as long as the tracker's event loop says that it lives, a minute at most.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from dataclasses import dataclass, field

from llmpt.core.metainfo import Metainfo
from llmpt.tracker.client import BUSY_S, NO_BLOB
from llmpt.tracker.wire import LIVENESS

FIRST_DOUBT_S, LONGEST_DOUBT_S = 1.0, 5.0
CONNECTED_S = 20.0  # the kernel connects at once, and this loop comes to see it when it can

Place = tuple[str, int]


@dataclass
class Asked:
    """What became of all questions: by kind and answer; the slowest of each kind, in seconds; machines that had every answer."""

    answers: Counter[str] = field(default_factory=Counter)
    slowest_s: dict[str, float] = field(default_factory=dict)
    served: int = 0


class Site:
    """The machines of a site; `addresses` are theirs."""

    def __init__(self, tracker: Place, announcer: Place, commit: dict[str, str], files: list[Metainfo]) -> None:
        self._tracker, self._announcer, self._commit, self._files = tracker, announcer, commit, files
        self.asked = Asked()

    async def start(self, addresses: list[str], *, within_s: float) -> None:
        """Start them all within so many seconds; return when each has asked all."""
        draw = random.Random(1)
        await asyncio.gather(*(self._machine(number, one, draw.uniform(0, within_s)) for number, one in enumerate(addresses)))

    async def _machine(self, number: int, address: str, after_s: float) -> None:
        await asyncio.sleep(after_s)
        parts = (self._meets(address), self._gets_a_token(address, number), self._looks_up(address, number))
        is_served = all(await asyncio.gather(*parts))
        self.asked.served += is_served

    async def _meets(self, address: str) -> bool:
        return all(
            [
                await self._ask("contact", address, "GET", f"/api/v1/torrents?etag={NO_BLOB}"),
                await self._ask("whoami", address, "GET", "/api/v1/whoami?port=7000"),
            ]
        )

    async def _gets_a_token(self, address: str, number: int) -> bool:
        return await self._ask("token", address, "POST", "/api/v1/tokens", {"name": f"machine-{number}"})

    async def _looks_up(self, address: str, number: int) -> bool:
        half, fine = len(self._files) // 2, True
        for at, but in ((0, 0), (half, half)):
            wanted = [self._files[at].etag.value]
            beside = {**self._commit, "but": [meta.etag.value for meta in self._files[:but]]}
            body = {"etags": wanted, "metainfo_of": wanted, "beside": beside}
            fine &= await self._ask("look-up", address, "POST", "/api/v1/lookup", body)
        about = f"peer_id=-LT2110-{number:012}&port=7000&uploaded=0&downloaded=0&left=1&event=started"
        for meta in self._files:
            swarm = "".join(f"%{byte:02x}" for byte in meta.info_hash.truncated)
            fine &= await self._ask("announce", address, "GET", f"/announce?info_hash={swarm}&{about}")
        return fine

    async def _ask(self, kind: str, address: str, method: str, target: str, body: object = None) -> bool:
        place = self._announcer if kind == "announce" else self._tracker
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(data)}\r\n\r\n"
        began = time.monotonic()
        try:
            answer = await self._patiently(place, address, head.encode() + data)
        except (OSError, asyncio.TimeoutError) as error:
            answer = f"{type(error).__name__} {error}".strip()
        self.asked.answers[f"{kind}: {answer}"] += 1
        self.asked.slowest_s[kind] = max(self.asked.slowest_s.get(kind, 0.0), time.monotonic() - began)
        return answer[:1] == "2"

    async def _patiently(self, place: Place, address: str, question: bytes) -> str:
        """Return the status of the answer, which is read to its end."""
        began, doubt_s = time.monotonic(), FIRST_DOUBT_S
        opening = asyncio.open_connection(*place, limit=1 << 24, local_addr=(address, 0))
        reader, writer = await asyncio.wait_for(opening, CONNECTED_S)
        try:
            writer.write(question)
            line = asyncio.ensure_future(reader.readline())
            while not (await asyncio.wait([line], timeout=doubt_s))[0]:
                said = await _life(self._tracker, address, doubt_s)
                self.asked.answers[f"livez: {said}"] += 1
                if said != "204" or time.monotonic() - began > BUSY_S:
                    line.cancel()
                    return "given up"
                doubt_s = min(2 * doubt_s, LONGEST_DOUBT_S)
            await reader.read()
            return (line.result().split() or [b"", b"nothing"])[1].decode()
        finally:
            writer.close()


async def _life(tracker: Place, address: str, within_s: float) -> str:
    """Return the status of the answer whether the tracker lives, or why there is none."""
    try:
        opening = asyncio.open_connection(*tracker, local_addr=(address, 0))
        reader, writer = await asyncio.wait_for(opening, CONNECTED_S)
        writer.write(f"GET {LIVENESS} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        line = await asyncio.wait_for(reader.readline(), within_s)
        writer.close()
    except (OSError, asyncio.TimeoutError) as error:
        return f"{type(error).__name__} {error}".strip()
    return (line.split() or [b"", b"nothing"])[1].decode()
