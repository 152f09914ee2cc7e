"""What the announcer does again and again: nothing that a step does ends it, and what fails is said."""

from __future__ import annotations

import asyncio

from llmpt.core.breaker import Pauses
from llmpt.host.loops import Health, Rhythm
from llmpt_tracker.announcer.loops import loop

AT_ONCE = Rhythm(interval_s=0, pauses=Pauses(first_s=0, longest_s=0), bad_failures=2)


def test_a_step_that_raises_is_done_again_and_is_a_trouble_until_it_succeeds() -> None:
    health = Health()
    seen: list[list[str]] = []

    def step() -> None:
        seen.append([f"{trouble.name}: {trouble.error}" for trouble in health.troubles()])
        if len(seen) <= 2:
            raise ZeroDivisionError("a bug")

    async def scenario() -> None:
        task = asyncio.create_task(loop("sweeping", step, AT_ONCE, health=health))
        while len(seen) < 4:
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(asyncio.wait_for(scenario(), 10))
    assert seen[:4] == [[], [], ["sweeping: a bug"], []]


def test_a_step_may_wait() -> None:
    done = []

    async def step() -> None:
        await asyncio.sleep(0)
        done.append(1)

    async def scenario() -> None:
        task = asyncio.create_task(loop("waiting", step, AT_ONCE, health=Health()))
        while len(done) < 3:
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(asyncio.wait_for(scenario(), 10))
