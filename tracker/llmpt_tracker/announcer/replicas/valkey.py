"""Valkey (or Redis) by the few verbs that replicas need, each within a bounded time.

Whatever goes wrong is `ValkeyUnavailable`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from llmpt.core.errors import SettingError
from llmpt_tracker.errors import ValkeyUnavailable

if TYPE_CHECKING:
    from redis.asyncio.client import PubSub

TIMEOUT_S = 2.0  # longer than any of our calls blocks
CONNECT_TIMEOUT_S = 1.0
MOST_BYTES = 16 << 20  # of what another replica says at once


class Valkey:
    """The server at a URL, `valkey://[user:password@]host[:port][/number]`; `valkeys://` speaks TLS; `redis://`, `unix://` too.

    Raises `SettingError` where the library is not installed, or the URL is none.
    """

    def __init__(self, url: str) -> None:
        try:
            from redis.asyncio import Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError:
            raise SettingError("LLMPT_VALKEY_URL needs a library: pip install 'llmpt[valkey]'") from None
        address = url.replace("valkey", "redis", 1) if url.startswith(("valkey://", "valkeys://")) else url
        try:
            self._client = Redis.from_url(
                address,
                decode_responses=True,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),  # the loops that ask try again
            )
        except ValueError as error:
            raise SettingError(f"LLMPT_VALKEY_URL: {error}") from None

    async def add(self, stream: str, fields: dict[Any, Any], *, oldest_ms: int) -> None:
        """Append an entry to a stream, and let go of those from before."""
        await _bounded(self._client.xadd(stream, fields, minid=oldest_ms, approximate=True))

    async def read(self, stream: str, after: str, *, count: int, block_ms: int | None) -> list[tuple[str, dict[str, str]]]:
        """Return up to `count` entries after that one; wait for the first, if it is said for how long."""
        found = await _bounded(self._client.xread({stream: after}, count=count, block=block_ms))
        if isinstance(found, dict):  # RESP 3
            return [entry for lists in found.values() for entries in lists for entry in entries]
        return [entry for _, entries in found for entry in entries]

    async def time(self) -> float:
        """Return its clock: seconds since 1970."""
        seconds, micros = await _bounded(self._client.time())
        return float(seconds) + float(micros) / 1e6

    async def settle(self, name: str, value: str, *, for_s: float) -> str:
        """Return what a key holds, for so long from now on: `value`, if there was none."""
        await _bounded(self._client.set(name, value, nx=True, px=round(1000 * for_s)))
        held = await _bounded(self._client.get(name))
        await _bounded(self._client.pexpire(name, round(1000 * for_s)))
        return str(held or value)

    async def hold(self, name: str, holder: str, *, for_s: float) -> str:
        """Return the holder of a lock, which is this one, for so long from now on, if it was or there was none."""
        found = await _bounded(self._client.eval(_HOLD, 1, name, holder, str(round(1000 * for_s))))
        return str(found)

    async def holder(self, name: str) -> str:
        """Return the holder of a lock; empty: none."""
        return str(await _bounded(self._client.get(name)) or "")

    async def publish(self, channel: str, text: str) -> int:
        """Send to a channel; return how many listen there."""
        heard = await _bounded(self._client.publish(channel, text))
        return int(heard)

    @asynccontextmanager
    async def channel(self, name: str) -> AsyncIterator[Channel]:
        """Listen to a channel."""
        listener = self._client.pubsub(ignore_subscribe_messages=True)
        try:
            await _bounded(listener.subscribe(name))
            yield Channel(listener)
        finally:
            await listener.aclose()  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()


class Channel:
    """A channel that is listened to."""

    def __init__(self, listener: PubSub) -> None:
        self._listener = listener

    async def next(self) -> str | None:
        """Return the next message; None: none in a second. Raises `ValkeyUnavailable`."""
        message = await _bounded(self._listener.get_message(timeout=1.0))
        return None if message is None else str(message["data"])


async def _bounded(call: Any) -> Any:
    """Await a call of the library, whose types leave open whether it has to be; translate what it raises."""
    from redis.exceptions import RedisError

    try:
        return await call
    except (RedisError, OSError, asyncio.TimeoutError) as error:
        raise ValkeyUnavailable(f"Valkey does not answer: {error or type(error).__name__}") from None


_HOLD = """
local holder = redis.call('get', KEYS[1])
if not holder or holder == ARGV[1] then
  redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2])
  return ARGV[1]
end
return holder
"""
