"""How fast the Hub is here is remembered across programs and restarts, and measured where it must be known."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmpt.agent.transfer.hub_rate import KEPT_S, HubRate
from llmpt.agent.transfer.sight import Measuring
from llmpt.core.blob import Etag
from llmpt.core.files import FileId
from llmpt.core.repo import RepoPath, RepoRef
from llmpt.disk.inventory import Inventory
from llmpt.hub.asking import HubUnreachable
from llmpt.hub.measuring import rate_of
from llmpt.link.requests import FetchRequest
from tests.support.waiting import eventually

MB = 1_000_000


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[Inventory]:
    with Inventory(tmp_path / "agent.db") as one:
        yield one


def request(endpoint: str) -> FetchRequest:
    return FetchRequest(
        tracker="http://tracker:8000",
        etag=Etag("e" * 64),
        size=9,
        repo=RepoRef("model", "org/name"),
        revision="c" * 40,
        filename=RepoPath("sub/model.bin"),
        path=Path("/x"),
        file=FileId(1, 2),
        destination=Path("/y"),
        replace=False,
        endpoint=endpoint,
    )


def test_what_a_library_has_fetched_is_remembered_by_the_next_agent(inventory: Inventory) -> None:
    now = [1000.0]
    HubRate(inventory, clock=lambda: now[0]).note(30 * MB, 3)
    assert HubRate(inventory, clock=lambda: now[0]).bytes_s == 10 * MB
    now[0] += KEPT_S + 1
    assert HubRate(inventory, clock=lambda: now[0]).bytes_s == 0, "the machine may have moved"
    now[0] = 0
    assert HubRate(inventory, clock=lambda: now[0]).bytes_s == 0, "a time from the future is old"


def test_small_files_say_nothing_and_new_ones_count_as_much_as_all_before() -> None:
    rate = HubRate()
    rate.note(MB // 2, 0.001)
    assert rate.bytes_s == 0
    rate.note(10 * MB, 1)
    rate.note(20 * MB, 1)
    assert rate.bytes_s == 15 * MB


def test_a_program_that_says_the_same_with_each_file_counts_once() -> None:
    rate = HubRate()
    rate.note(10 * MB, 1)
    for _ in range(3):
        rate.heard(20 * MB)
    rate.heard(0)
    assert rate.bytes_s == 15 * MB


def test_it_is_measured_once_at_a_time_and_not_again_at_once_when_that_was_in_vain() -> None:
    asked, go_on, now = [], threading.Event(), [0.0]

    def measure(wanted: FetchRequest) -> int:
        asked.append(wanted)
        go_on.wait(10)
        if len(asked) == 1:
            raise HubUnreachable("no route")
        return 7

    rate = HubRate(measure=measure, clock=lambda: now[0])
    assert rate.measuring.value == "untried"
    for _ in range(3):
        rate.measure(request("http://hub"))
    assert rate.measuring.value == "under way"
    go_on.set()
    eventually(lambda: rate.measuring is Measuring.IN_VAIN, what="the end of measuring")
    assert len(asked) == 1
    now[0] = 700
    assert rate.measuring.value == "untried"
    rate.measure(request("http://hub"))
    eventually(lambda: rate.bytes_s == 7, what="the rate")


def test_where_no_hub_is_known_nothing_is_measured() -> None:
    rate = HubRate()
    rate.measure(request("http://tracker:8000"))
    eventually(lambda: rate.measuring is Measuring.IN_VAIN, what="the end of measuring")


def test_a_part_of_the_file_is_fetched_from_where_the_hub_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for answer in (
                b"HTTP/1.1 206 Partial Content\r\nContent-Length: 9000\r\n\r\n" + bytes(9000),
                b"HTTP/1.1 404 No\r\n\r\n",
            ):
                connection, _ = listening.accept()
                with connection:
                    asked.append(connection.recv(65536))
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        route = RepoRef("dataset", "org/name").file_route("refs/pr/1", "sub/a b.bin")
        url = f"http://127.0.0.1:{listening.getsockname()[1]}{route}"
        assert rate_of(url, part_bytes=9000) > 9000
        with pytest.raises(HubUnreachable):
            rate_of(url)
    assert asked[0].startswith(b"GET /datasets/org/name/resolve/refs%2Fpr%2F1/sub/a%20b.bin HTTP/1.1\r\n")
    assert b"Range: bytes=0-8999\r\n" in asked[0]
