"""The hook hurts nobody: an agent that lies, bugs of ours, another's wrappers."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmpt.hook import patch
from llmpt.hook.summary import Summary
from llmpt.link.answers import Done, Progress, Refused
from llmpt.link.client import FetchResult
from llmpt.link.requests import FetchRequest
from tests.unit.client.hook.patch.world import Agent, Download, install, serve_in_place


@pytest.mark.parametrize("lie", ["moved", "whole"])
def test_an_agent_that_lies_is_not_believed(download: Download, library: Any, agent: Agent, lie: str) -> None:
    def answer(request: FetchRequest, on_progress: Callable[[Progress], None]) -> FetchResult:
        if lie == "moved":
            os.truncate(request.path, request.size)
        return Done(moved=lie == "moved", bytes_from_lan=request.size, peers=1)

    agent.answer = answer
    path = download()
    assert path.read_bytes() == b"from the hub"
    assert list(path.parent.iterdir()) == [path]
    assert not agent.told


@pytest.mark.parametrize("where", ["fetch", "report", "count"])
def test_our_own_bugs_are_logged_and_hurt_nobody(
    download: Download, library: Any, agent: Agent, where: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*args: Any, **kwargs: Any) -> Any:
        raise ZeroDivisionError("ours")

    agent.answer = bug if where == "fetch" else (lambda *_: Refused("no"))
    monkeypatch.setattr(agent, "landed", bug)
    if where == "report":
        agent.answer = serve_in_place
    if where == "count":
        monkeypatch.setattr(Summary, "from_hub", bug)
    assert download().exists()
    assert "this is a bug of llmpt" in caplog.text


def test_each_decision_is_one_line_that_names_its_request(
    download: Download, library: Any, agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="llmpt")
    agent.answer = agent.refuse
    download(force_download=True)
    agent.answer = agent.break_off
    download(force_download=True)
    agent.answer = agent.serve
    download(force_download=False).unlink()
    download()
    lines = [(record.levelname, *record.getMessage().rpartition(" [")) for record in caplog.records if record.name == "llmpt"]
    assert len({asked for *_, asked in lines}) == len(lines), "each download has an id of its own"
    assert all(re.fullmatch(r"[0-9a-f]{16}\]", asked) for *_, asked in lines)
    assert [line[:2] for line in lines] == [
        ("DEBUG", "w.bin: not from the LAN (nobody has it)"),
        ("WARNING", "llmpt: w.bin: the LAN broke off (gone); fetching it the ordinary way"),
        ("INFO", "w.bin: 2097152 bytes from the LAN"),
    ]


def test_a_new_tracker_holds_from_the_next_file_on(download: Download, library: Any, agent: Agent, tmp_path: Path) -> None:
    download().unlink()
    install(library, agent, LLMPT_TRACKER="http://other:8000", XDG_CONFIG_HOME=str(tmp_path))
    download()
    assert [asked.tracker for asked in agent.fetches] == ["http://server:8000", "http://other:8000"]


def test_what_another_wrapped_stays_wrapped_and_passes_through(download: Download, library: Any, agent: Agent) -> None:
    ours = library._download_to_tmp_and_move

    def theirs(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs)

    library._download_to_tmp_and_move = theirs
    patch.disable()
    assert library._download_to_tmp_and_move is theirs
    assert download().read_bytes() == b"from the hub"
    assert not agent.fetches
