"""A download for all: the agent is told once, when it begins, and what it does not watch is an ordinary one."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.blob import Etag
from llmpt.hook.for_all import WatchedDownload, WatchState
from llmpt.hook.rate import MEASURED_BYTES, Rate
from llmpt.link.requests import FetchBegun

ETAG, STEM = Etag("a" * 64), Path("/cache/blob")


class Agent:
    def __init__(self, *, watches: bool) -> None:
        self.watches = watches
        self.told: list[FetchBegun] = []

    def fetching(self, message: FetchBegun, *, until: ExitStack) -> bool:
        self.told.append(message)
        return self.watches


def for_all(agent: Agent) -> WatchedDownload:
    client: Any = agent
    return WatchedDownload(client, ExitStack())


def test_the_agent_is_told_once_and_only_if_it_has_asked() -> None:
    agent = Agent(watches=True)
    ours = for_all(agent)
    ours.begin("http://t", ETAG, STEM)
    assert (ours.watch, agent.told) == (WatchState.NONE, [])
    ours.ask()
    assert not ours.is_on
    ours.begin("http://t", ETAG, STEM)
    ours.begin("http://t", ETAG, STEM)
    assert ours.is_on
    assert agent.told == [FetchBegun("http://t", ETAG, STEM)]


@pytest.mark.parametrize(("watches", "stem"), [(False, STEM), (True, None)])
def test_what_is_not_watched_is_an_ordinary_download(watches: bool, stem: Path | None) -> None:
    ours = for_all(Agent(watches=watches))
    ours.ask()
    ours.begin("http://t", ETAG, stem)
    assert ours.watch is WatchState.NONE


def test_each_file_of_some_size_counts_as_much_as_all_before_it() -> None:
    rate = Rate()
    rate.note(MEASURED_BYTES - 1, 1.0)
    assert rate.bytes_s == 0
    rate.note(MEASURED_BYTES, 1.0)
    assert rate.bytes_s == MEASURED_BYTES
    rate.note(3 * MEASURED_BYTES, 1.0)
    assert rate.bytes_s == 2 * MEASURED_BYTES
    rate.note(MEASURED_BYTES, 0.0)
    assert rate.bytes_s > 100 * MEASURED_BYTES
