"""What the announcer does again and again, as tasks of its event loop: the boundary of `llmpt.host.loops`, without threads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from llmpt.host.loops import Boundary, Health, Rhythm


async def loop(name: str, step: Callable[[], Awaitable[None] | None], rhythm: Rhythm, *, health: Health) -> None:
    """Do `step` at once, and again and again until this task is cancelled. A step that raises is logged, and tried again."""
    boundary = Boundary(name, rhythm, health)
    while True:
        try:
            if (going_on := step()) is not None:
                await going_on
        except Exception as error:  # noqa: BLE001  (the one boundary of all that the announcer does again and again)
            pause_s = boundary.failed(error)
        else:
            boundary.succeeded()
            pause_s = rhythm.interval_s
        await asyncio.sleep(pause_s)
