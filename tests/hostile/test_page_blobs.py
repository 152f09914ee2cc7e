"""A web page against the blob server: under a name that it has led here it reads nothing, and it knocks at no door."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from llmpt.core.browsers import SAFE_HEADERS, HostNames, Origins
from llmpt.core.networks import CidrSet
from llmpt_seeder.blobs import BlobServer, Doors, FileSource, Notices
from tests.contract.blob_server.world import CONTENT, Shelf
from tests.support.hostile import ask
from tests.support.waiting import eventually

BROWSER = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/130.0"
HERE = "Host: 127.0.0.1:8001"


class World(NamedTuple):
    """A blob server with a file, and the knocks that it has heard."""

    port: int
    path: str
    knocks: list[None]

    def asked(self, method: str, path: str, *fields: str) -> bytes:
        return ask(self.port, "\r\n".join([f"{method} {path} HTTP/1.1", *fields, "Connection: close", "", ""]).encode())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    shelf, before, knocks = Shelf(Path(tmp_path_factory.mktemp("shelf"))), threading.active_count(), list[None]()
    blob = shelf.put(CONTENT)
    doors = Doors(("127.0.0.1",), 0, CidrSet.parse("127.0.0.0/8"), names=HostNames.parse("hub.example.com"))
    notices = Notices(on_knock=lambda: knocks.append(None))
    with BlobServer([FileSource(shelf.files.get)], doors, notices=notices) as server:
        yield World(server.port, f"/blobs/{blob.etag}", knocks)
    eventually(lambda: threading.active_count() <= before, what="all threads to end")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (421, ("Host: rebound.example:8001",)),
        (421, ("Host: rebound.example:8001", BROWSER, "Sec-Fetch-Site: same-origin")),
        (421, (BROWSER,)),
        (403, (HERE, "Origin: null")),
        (403, (HERE, BROWSER, "Origin: https://elsewhere.example")),
    ],
)
def test_a_page_reads_no_file(world: World, method: str, status: int, fields: tuple[str, ...]) -> None:
    answer = world.asked(method, world.path, *fields)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert CONTENT not in answer


def test_a_page_reads_a_file_where_the_operator_named_origins_and_does_not_knock_there(tmp_path: Path) -> None:
    shelf, knocks = Shelf(tmp_path), list[None]()
    blob = shelf.put(CONTENT)
    doors = Doors(("127.0.0.1",), 0, CidrSet.parse("127.0.0.0/8"), origins=Origins.parse("https://page.lan"))
    with BlobServer([FileSource(shelf.files.get)], doors, notices=Notices(on_knock=lambda: knocks.append(None))) as server:
        world = World(server.port, f"/blobs/{blob.etag}", knocks)
        for origin in ("https://page.lan", "null"):
            answer = world.asked("GET", world.path, HERE, BROWSER, f"Origin: {origin}", "Sec-Fetch-Site: cross-site")
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert f"\r\nAccess-Control-Allow-Origin: {origin}\r\n".encode() in answer
            assert world.asked("POST", "/knock", HERE, BROWSER, f"Origin: {origin}").startswith(b"HTTP/1.1 403 ")
        answer = world.asked("GET", world.path, HERE, BROWSER, "Origin: https://elsewhere.example")
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert world.asked("GET", world.path, "Host: rebound.example:8001", "Origin: null").startswith(b"HTTP/1.1 421 ")
        assert b"Access-Control" not in world.asked("GET", world.path, HERE)
    assert knocks == []


@pytest.mark.parametrize(
    "fields",
    [
        (HERE, BROWSER),
        (HERE, BROWSER, "Referer: http://elsewhere.example/"),
        (HERE, "Origin: null"),
        (HERE, BROWSER, "Origin: https://elsewhere.example"),
        (HERE, "Sec-Fetch-Site: cross-site"),
        ("Host: rebound.example:8001",),
    ],
)
def test_a_page_does_not_knock(world: World, fields: tuple[str, ...]) -> None:
    assert world.asked("POST", "/knock", *fields).startswith((b"HTTP/1.1 403 ", b"HTTP/1.1 421 "))
    assert world.knocks == []


@pytest.mark.parametrize(
    "fields",
    [
        (HERE,),
        ("Host: hub.example.com:8001", "User-Agent: curl/8"),
        ("Host: server:8001", BROWSER),
        ("Host: server:8001", BROWSER, "Referer: http://server:8000/", "Sec-Fetch-Site: same-site"),
        ("Host: seeder.lan", "User-Agent: unknown/None; hf_hub/2.4.0; python/3.11"),
    ],
)
def test_programs_and_those_that_follow_a_link_get_their_file_which_no_page_may_embed(
    world: World, fields: tuple[str, ...]
) -> None:
    answer = world.asked("GET", world.path, *fields)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(CONTENT)
    for name, value in SAFE_HEADERS.items():
        assert f"\r\n{name}: {value}\r\n".encode() in answer
