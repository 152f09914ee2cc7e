"""What a client, an agent and a seeder are answered: by a tracker, a Hub, the LAN's mDNS."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from llmpt.core.errors import LlmptError, TrackerError
from llmpt.core.networks import CidrSet
from llmpt.core.repo import RepoRef
from llmpt.hub.asking import HubNo, HubUnreachable
from llmpt.hub.measuring import rate_of
from llmpt.hub.visibility import ask_hub
from llmpt.tracker import discovery
from llmpt.tracker.blobs import BlobHttp, BlobTimings
from llmpt.tracker.client import TrackerClient
from llmpt_seeder.hub.tree import fetch_tree
from tests.fuzz.mutation import Fuzz
from tests.hostile.test_tracker_answers import QUESTIONS
from tests.support.rogue_tracker import BLOB, COMMIT, RIGHT, RogueTracker

TREE = [
    {"type": "file", "path": "config.json", "oid": "a" * 40, "size": 2},
    {"type": "file", "path": "model.bin", "oid": "b" * 40, "size": 9, "lfs": {"oid": "e" * 64, "size": 9, "pointerSize": 130}},
    {"type": "directory", "path": "sub", "oid": "c" * 40, "size": 0},
]
INFO = {"id": "org/name", "private": False, "gated": False, "disabled": False, "sha": COMMIT}


@contextmanager
def answering(answer: Callable[[], bytes]) -> Iterator[str]:
    """A server that answers every question with raw bytes, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.02)
        over = threading.Event()

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = listening.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(1)
                    try:
                        connection.recv(65536)
                        connection.sendall(answer())
                        connection.shutdown(socket.SHUT_WR)
                        connection.recv(1)
                    except OSError:
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


def whole(body: bytes, *headers: str) -> bytes:
    head = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def test_the_documents_of_a_tracker(fuzz: Fuzz) -> None:
    with RogueTracker() as tracker:
        client = TrackerClient(tracker.url)
        for number in fuzz:
            path, ask = list(QUESTIONS.values())[number % len(QUESTIONS)]
            tracker.says(path, json.dumps(fuzz.document([RIGHT[path]])).encode())
            fuzz.refuses(lambda ask=ask: ask(client), TrackerError)  # type: ignore[misc]
            fuzz.refuses(lambda: client.get_torrents())
            tracker.says(path, RIGHT[path])
            tracker.asked.clear()
            tracker.bodies.clear()


def test_the_bytes_of_a_tracker(fuzz: Fuzz) -> None:
    right = [whole(json.dumps(answer).encode()) for answer in RIGHT.values()]
    right.append(b'HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n')
    said = b""
    with answering(lambda: said) as url:
        client = TrackerClient(url, timeout_s=0.3)
        for number in fuzz:
            said = fuzz.bytes(right)
            _, ask = list(QUESTIONS.values())[number % len(QUESTIONS)]
            fuzz.refuses(lambda ask=ask: ask(client), TrackerError)  # type: ignore[misc]


def test_a_blob_over_http(fuzz: Fuzz, tmp_path_factory: pytest.TempPathFactory) -> None:
    right = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + bytes(70_000),
        b"HTTP/1.1 206 Partial\r\nContent-Length: 69990\r\nContent-Range: bytes 10-69999/70000\r\n\r\n" + bytes(69_990),
        b"HTTP/1.1 307 There\r\nLocation: /blobs/" + b"e" * 64 + b"\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    ]  # fmt: skip
    timings = BlobTimings(answer_s=0.3, pause_s=0.001)
    said = b""
    with answering(lambda: said) as url, (tmp_path_factory.mktemp("blob") / "file").open("w+b") as file:
        for _ in fuzz:
            said = fuzz.bytes(right)
            file.truncate(0)
            blobs = BlobHttp(url, stall_timeout_s=0.1, timings=timings)
            fuzz.refuses(lambda blobs=blobs: blobs.locate(BLOB.etag), TrackerError)  # type: ignore[misc]
            fuzz.refuses(
                lambda blobs=blobs: blobs.fetch(BLOB.etag, BLOB.size, file.fileno(), on_progress=lambda _: None),  # type: ignore[misc]
                LlmptError,
            )


def test_a_hub(fuzz: Fuzz, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    repo, said = RepoRef("model", "org/name"), b""
    with answering(lambda: said) as url:
        for number in fuzz:
            documents = whole(json.dumps(fuzz.document([TREE, INFO, TREE])).encode())
            link = whole(json.dumps(TREE).encode(), f'Link: <{url}/api/models/x?cursor={number}>; rel="next"')
            said = (
                documents
                if number % 3
                else fuzz.bytes([whole(json.dumps(TREE).encode()), whole(json.dumps(INFO).encode()), link])
            )
            left = [3]
            fuzz.refuses(
                lambda left=left: fetch_tree(url, repo, COMMIT, stopped=lambda: left.append(0) is None and len(left) > 5),  # type: ignore[misc]
                HubNo,
                HubUnreachable,
            )
            fuzz.refuses(lambda: ask_hub(url, repo), HubUnreachable)
            if number % 7 == 0:
                fuzz.refuses(lambda: rate_of(f"{url}/x", part_s=0.1), HubUnreachable)


def test_announcements_by_mdns(fuzz: Fuzz) -> None:
    zeroconf = pytest.importorskip("zeroconf")
    everywhere = CidrSet.parse("0.0.0.0/0,::/0")
    info = zeroconf.ServiceInfo(
        discovery.SERVICE,
        f"server.{discovery.SERVICE}",
        port=8000,
        properties={"version": "1"},
        server="server.local.",
        parsed_addresses=["10.0.0.1"],
    )
    out = zeroconf.DNSOutgoing(0x8400)
    for record in (info.dns_pointer(), info.dns_service(), info.dns_text(), *info.dns_addresses()):
        out.add_answer_at_time(record, 0)
    right = list(out.packets())
    for _ in fuzz:
        packet = fuzz.bytes(right)
        name = fuzz.text(["server", "a b"]) + "." + discovery.SERVICE
        fuzz.refuses(lambda packet=packet: zeroconf.DNSIncoming(packet).answers())  # type: ignore[misc]

        def read(name: str = name) -> None:
            chance = fuzz.random
            addresses = [chance.randbytes(chance.choice((4, 16))) for _ in range(chance.randrange(3))]
            version = chance.choice((None, b"", b"\xff\x1b[2J", b"1" * 200))
            heard = zeroconf.ServiceInfo(
                discovery.SERVICE, name, port=chance.choice((0, 22, 8000)), addresses=addresses, properties={"version": version}
            )
            found = discovery._read(heard, everywhere)
            if found is not None:
                assert found.name.isprintable()
                assert found.version.isprintable()
                assert len(found.name) <= 64

        fuzz.refuses(read, zeroconf.BadTypeInNameException, UnicodeError)
