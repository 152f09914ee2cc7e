"""Leases over the real tracker: tokens, polls of machines, and what is told of whom."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llmpt.core.errors import TrackerRefused
from llmpt.core.leases import Ended, FetchProgress, LeaseAnswer, LeaseOutcome, Poll, Want
from llmpt.core.metainfo import Metainfo
from llmpt.core.repo import RepoRef
from llmpt.tracker.client import TrackerClient
from tests.integration.test_tracker import announce
from tests.support.tracker import TrackerProcess
from tests.support.waiting import eventually
from tests.unit.tracker.bodies import packed, torrent

A, B, C = torrent("lease a"), torrent("lease b"), torrent("lease c")


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackerProcess]:
    settings = {"LLMPT_SHARING": "invited"}
    with TrackerProcess(tmp_path_factory.mktemp("sharing") / "data", settings=settings) as process:
        yield process


def invite(tracker: TrackerProcess, *options: str) -> str:
    command = [sys.executable, "-m", "llmpt_tracker", "invite", *options]
    done = subprocess.run(command, env=tracker.environ, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


class Machine:
    """A machine of the LAN that shares."""

    def __init__(self, tracker: TrackerProcess, name: str, code: str) -> None:
        token = TrackerClient(tracker.url).share_token(name, code)
        self.name, self.client = name, TrackerClient(tracker.url, token=token)

    def says(self, *wanted: Metainfo, **more: Any) -> list[tuple[str, str | None, int]]:
        wants = tuple(Want(one.etag, one.size, RepoRef("model", "org/name")) for one in wanted)
        said = Poll(self.name, 2.0, wants, **more)
        answer = eventually(lambda: self._ask(said), what="an answer: it may be asked too often")
        return [(one.role.value, one.fetcher, one.bytes) for one in answer.grants]

    def _ask(self, said: Poll) -> LeaseAnswer | None:
        try:
            return self.client.leases(said)
        except TrackerRefused as error:
            if error.status != 429:
                raise
            return None


@pytest.fixture(scope="module")
def machines(tracker: TrackerProcess) -> tuple[Machine, Machine]:
    code = invite(tracker, "--uses", "2", "--days", "1")
    return Machine(tracker, "desk-1", code), Machine(tracker, "desk-2", code)


def test_who_has_no_code_gets_no_token(tracker: TrackerProcess, machines: tuple[Machine, Machine]) -> None:
    for code, answer in ((None, "code_needed"), ("aaaaa-bbbbb", "code_wrong")):
        with pytest.raises(TrackerRefused) as refused:
            TrackerClient(tracker.url).share_token("desk-3", code)
        assert (refused.value.status, refused.value.code) == (403, answer)


def test_one_fetches_while_the_other_waits_until_it_is_here(
    tracker: TrackerProcess, machines: tuple[Machine, Machine], tmp_path: Path
) -> None:
    first, second = machines
    eventually(lambda: first.says(A) == [("fetch", "desk-1", 0)], what="the first lease of a new tracker")
    assert second.says(A) == [("wait", "another machine", 0)]
    first.says(fetching=(FetchProgress(A.etag, 1_000_000, 500_000),))
    assert second.says(A) == [("wait", "another machine", 1_000_000)]
    first.client.publish({"torrents": packed(A)})
    first.says(ended=(Ended(A.etag, LeaseOutcome.PUBLISHED),))
    assert second.says(A) == [("wait", "another machine", A.size)]  # nobody seeds it yet
    announce(tracker, A)
    assert second.says(A) == [("here", None, 0)]
    lookup = second.client.lookup(A.etag)
    assert lookup.peers == (("127.0.0.1", 6881),)


def test_a_machine_that_is_silent_passes_its_lease_on(machines: tuple[Machine, Machine]) -> None:
    first, second = machines
    eventually(lambda: first.says(B) == [("fetch", "desk-1", 0)], what="the first lease of a new tracker")
    assert second.says(B)[0][0] == "wait"
    found = eventually(
        lambda: [said for said in second.says(B) if said[0] == "fetch"], timeout_s=20, what="the lease of the silent machine"
    )
    assert found == [("fetch", "desk-2", 0)]


def test_a_wrong_torrent_is_dropped_and_its_swarm_with_it(tracker: TrackerProcess, machines: tuple[Machine, Machine]) -> None:
    first, second = machines
    first.client.publish({"torrents": packed(C)})
    assert b"failure reason" not in announce(tracker, C)
    second.client.report(C.etag, str(C.info_hash), "another content")
    assert b"unregistered torrent" in announce(tracker, C)[b"failure reason"]
    with pytest.raises(TrackerRefused, match="dropped"):
        first.client.publish({"torrents": packed(C)})
