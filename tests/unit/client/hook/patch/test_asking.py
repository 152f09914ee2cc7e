"""What the hook asks of the agent and tells it, and what it leaves to the library."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.blob import Etag
from llmpt.core.repo import RepoPath
from llmpt.hook import call, patch
from llmpt.hook.call import Call
from llmpt.link.answers import Progress, Refused
from llmpt.link.client import FetchResult
from llmpt.link.requests import FetchRequest
from tests.unit.client.hook.patch.world import ETAG, SIZE, Agent, Download


def test_a_file_of_the_lan_is_not_fetched(download: Download, library: Any, agent: Agent) -> None:
    path = download()
    assert path.stat().st_size == SIZE
    assert [(asked.etag, asked.revision, asked.filename) for asked in agent.fetches] == [(Etag(ETAG), "main", RepoPath("w.bin"))]
    assert not library.fetched
    assert not agent.told, "the agent put it there itself"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("etag", "size"),
    [(ETAG, 0), (ETAG, None), (ETAG, (1 << 20) - 1), ("A" * 64, SIZE), ("W/abc", SIZE), ("a" * 32, SIZE), ("../x", SIZE)],
)
def test_the_agent_is_not_asked_for_what_has_no_swarm(
    download: Download, library: Any, agent: Agent, etag: str, size: int | None
) -> None:
    library.metadata = ("http://hub/f", etag.replace("/", "_"), "c" * 40, size, None, None)
    download()
    assert not agent.fetches
    assert len(library.fetched) == 1


def test_a_file_whose_size_or_etag_is_told_in_two_ways_is_left_to_the_library(
    download: Download, library: Any, agent: Agent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for expected_size, etag in [(SIZE + 1, ETAG), (SIZE, "b" * 64)]:
        token = call.current.set(Call("model", "org/m", "main", "w.bin", etag=Etag(ETAG), size=SIZE))
        library._download_to_tmp_and_move(
            tmp_path / "x.incomplete", tmp_path / "x", "url", {}, expected_size, "w.bin", True, etag=etag
        )
        call.current.reset(token)
    assert not agent.fetches
    assert len(library.fetched) == 2


def test_a_call_that_the_hook_does_not_understand_is_the_librarys(download: Download, library: Any, agent: Agent) -> None:
    with pytest.raises(TypeError):
        library._download_to_tmp_and_move("too few")
    assert not agent.fetches


def test_what_is_refused_leaves_nothing_for_the_library_to_find(download: Download, library: Any, agent: Agent) -> None:
    agent.answer = agent.refuse
    assert download().read_bytes() == b"from the hub"
    assert library.fetched == [[]]


def for_all(request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
    on_progress(Progress(request.size // 4, 1, 0, waiting=True))
    return Refused("this machine fetches it for all", fetch=True)


def test_what_is_fetched_for_all_is_watched_from_before_the_library_begins_until_the_agent_knows_where_it_lies(
    download: Download, library: Any, agent: Agent
) -> None:
    agent.answer, seen = for_all, []
    library.fetched = Noting(lambda: seen.append(list(agent.watching)))
    path = download()
    (request,) = agent.fetches
    assert request.stem == path
    assert seen == [[path]]
    assert agent.fetched == [(Etag(ETAG), path, [path])]
    assert agent.watching == []


def test_a_fetch_for_all_that_fails_ends_the_watch_and_is_not_reported(download: Download, library: Any, agent: Agent) -> None:
    agent.answer, library.answer = for_all, OSError("429, too many requests")
    with pytest.raises(OSError, match="429"):
        download()
    assert agent.watching == []
    assert agent.fetched == []


def test_a_fetch_that_the_agent_does_not_watch_is_an_ordinary_one(download: Download, library: Any, agent: Agent) -> None:
    agent.answer, agent.watches = for_all, False
    assert download().read_bytes() == b"from the hub"
    assert agent.told == []


def test_waiting_shows_a_bar_and_is_no_transfer_that_broke_off(
    download: Download, agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    agent.answer = for_all
    download()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize(
    ("headers", "anonymous"), [({}, True), ({"user-agent": "x"}, True), ({"authorization": "Bearer hf_x"}, False), (None, False)]
)
def test_the_agent_is_told_whether_the_hub_was_shown_a_token_and_which_hub_it_was(
    download: Download,
    agent: Agent,
    headers: dict[str, str] | None,
    anonymous: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    download(headers=headers and dict(headers)).unlink()
    download(headers=headers, endpoint="http://mirror:8000")
    assert [request.anonymous for request in agent.fetches] == [anonymous, anonymous]
    assert [request.endpoint for request in agent.fetches] == ["https://hub.example", "http://mirror:8000"]


@pytest.mark.parametrize(("least", "is_asked"), [(SIZE, True), (SIZE + 1, False)])
def test_the_size_from_which_on_files_have_a_swarm_is_the_trackers(
    download: Download, agent: Agent, least: int, is_asked: bool
) -> None:
    agent.min_blob_bytes = least
    download()
    assert bool(agent.fetches) is is_asked


def test_the_librarys_step_is_small_while_the_hook_is_in_place(download: Download, library: Any) -> None:
    before = 10 * 1024 * 1024
    assert before > library.DOWNLOAD_CHUNK_SIZE
    patch.disable()
    assert before == library.DOWNLOAD_CHUNK_SIZE


class Noting(list[Any]):
    """A list that calls back when it grows."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self._then = then

    def append(self, item: Any) -> None:
        super().append(item)
        self._then()


def test_the_agent_is_told_how_fast_the_ordinary_path_has_been(download: Download, library: Any, agent: Agent) -> None:
    agent.answer = agent.refuse
    download().unlink()
    download()
    assert agent.fetches[0].ordinary_rate_bytes_s == 0
    assert agent.fetches[1].ordinary_rate_bytes_s > 0
