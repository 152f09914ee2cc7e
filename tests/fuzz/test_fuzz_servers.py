"""The ports and sockets of each role, as real processes or real sockets: no 5xx, none that ends, none that goes on growing."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest

from llmpt.core.blob import Etag
from llmpt.core.metainfo import Metainfo
from llmpt.core.networks import CidrSet
from llmpt.swarm import Engine, EngineSettings, SeededBlob
from llmpt_seeder.blobs import BlobServer, Doors, FileSource
from llmpt_tracker.openapi.document import document
from tests.contract.blob_server.world import CONTENT, Shelf
from tests.fuzz.mutation import GROWTH_BYTES, JUNK, Fuzz, memory_of
from tests.fuzz.test_fuzz_parsers import HEADS, POLL
from tests.support.announcer import AnnouncerProcess, ControlClient
from tests.support.rogue_tracker import COMMIT, FILE, REPO
from tests.support.tracker import TrackerProcess
from tests.unit.client.agent.test_server import REQUEST, World

BODIES = (
    {**REPO, "commit": COMMIT, "refs": ["main"], "complete": False, "files": [{**FILE, "lfs": True}], "torrents": []},
    POLL,
    {"etags": ["e" * 64], "metainfo_of": ["e" * 64]},
    {"name": "ann", "code": "x"},
    {"etag": "e" * 64, "info_hash": "a" * 64, "reason": "no"},
    {**REPO, "revision": "main", "include": ["*"]},
    {"paths": ["config.json"], "expand": False},
)
WORDS = (
    "org/name",
    "model",
    "main",
    COMMIT,
    "e" * 64,
    "config.json",
    "1",
    "..",
    "%00",
    "%2e%2e%2f",
    "refs%2Fpr%2F1",
    "a" * 3000,
    "%ff",
    "*",
    "'",
)


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackerProcess]:
    with TrackerProcess(tmp_path_factory.mktemp("tracker") / "data") as made:
        yield made


def routes() -> list[tuple[str, str]]:
    return [
        (method.upper(), path) for path, methods in document()["paths"].items() for method in methods if method != "parameters"
    ]


def said_to(port: int, data: bytes, *, wait_s: float = 0.5) -> bytes:
    """Send raw bytes, and return what comes until the other side closes, or says nothing."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait_s) as sock:
        heard = b""
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while len(heard) < 1 << 20 and (part := sock.recv(65536)):
                heard += part
        except OSError:
            pass
        return heard


def statuses(heard: bytes) -> list[int]:
    """Return the statuses in what was heard; a 503 that says when to come back is told as 429: it is an answer."""
    if b"\r\nretry-after:" in heard.lower():
        heard = heard.replace(b" 503 ", b" 429 ")
    return [
        int(part[9:12]) for part in heard.split(b"\r\n") if part.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")) and part[9:12].isdigit()
    ]


def grown(before: int, *pids: int) -> None:
    now = memory_of(*pids)
    assert now - before < 2 * GROWTH_BYTES, f"{(now - before) >> 20} MiB more"


def target_of(fuzz: Fuzz, path: str) -> str:
    chance, parts = fuzz.random, []
    for part in path.split("/"):
        parts.append(chance.choice(WORDS) if "{" in part else part)
    made = "/".join(parts)
    if chance.random() < 0.4:
        query = "&".join(
            f"{chance.choice(('q', 'limit', 'cursor', 'repo_id', 'repo_type', 'revision', 'path', 'etag', 'include', 'state', 'order', 'port'))}="
            + quote(str(chance.choice(JUNK))[:300], safe="", errors="replace")
            for _ in range(chance.randrange(1, 4))
        )
        made += f"?{query}"
    return made


def test_the_routes_of_a_tracker(fuzz: Fuzz, tracker: TrackerProcess) -> None:
    assert tracker.pid
    before, every = memory_of(tracker.pid), routes()
    for _ in fuzz:
        method, path = fuzz.random.choice(every)
        target, body = target_of(fuzz, path), None
        headers = {"Authorization": f"Bearer {tracker.token}"} if fuzz.random.random() < 0.7 else {}
        if method in ("POST", "PUT"):
            body = json.dumps(fuzz.document(BODIES)).encode()
            body = body if fuzz.random.random() < 0.7 else fuzz.bytes([body])
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", tracker.http_port, timeout=20)
        try:
            connection.request(method, target, body=body, headers=headers)
            answer = connection.getresponse()
            answer.read()
        finally:
            connection.close()
        is_later = answer.status == 503 and answer.headers.get("Retry-After") is not None
        assert answer.status < 500 or is_later, (method, target, body, answer.status)
    grown(before, tracker.pid)


def test_the_ports_of_a_tracker(fuzz: Fuzz, tracker: TrackerProcess) -> None:
    before = memory_of(tracker.pid)
    right = [
        *(head + b"\r\n\r\n" for head in HEADS),
        b"POST /api/v1/lookup HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"etags\": [1]}",
        b"POST /api/v1/leases HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n0\r\n\r\n",
        b"GET /org/name/resolve/main/config.json HTTP/1.1\r\nHost: x\r\nRange: bytes=0-\r\n\r\n",
    ]  # fmt: skip
    for number in fuzz:
        port = tracker.announce_port if number % 2 else tracker.http_port
        data = fuzz.bytes(right)
        assert [one for one in statuses(said_to(port, data, wait_s=0.2)) if one >= 500 and one not in (501, 505)] == [], data
    for port, path in ((tracker.http_port, "/healthz"), (tracker.announce_port, "/scrape")):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", path)
        assert connection.getresponse().status < 500
        connection.close()
    grown(before, tracker.pid)


def test_the_control_socket_of_an_announcer(fuzz: Fuzz) -> None:
    with AnnouncerProcess() as announcer:
        control = ControlClient(announcer.control_path)
        asked = [
            {"op": op, "hashes": ["a" * 40], "completed": {"a" * 40: 3}, "peers": 5, "asker": "10.0.0.1", "address": "10.0.0.1", "port": 6881,
             "seeder": "s", "key": "k" * 16, "report": {"port": 1}, "limit": 5, "poll": POLL, "owner": {"id": 1, "name": "ann"},
             "swarms": {"e" * 64: "a" * 40}, "name": "x", "per_s": 1.0, "burst": 5, "sentence": "x", "times": 1}
            for op in ("register", "unregister", "swarms", "heartbeat", "seeders", "blob_servers", "leases", "fetches", "take", "limit",
                       "completed", "kept", "status")
        ]  # fmt: skip
        for _ in fuzz:
            message = fuzz.document(asked)
            op = message.pop("op", "status") if isinstance(message, dict) else "status"
            arguments = {str(name): value for name, value in message.items()} if isinstance(message, dict) else {"x": message}
            reply = control.ask(op if isinstance(op, str) else "status", **arguments)
            assert "went wrong" not in str(reply.get("error", "")), (message, reply)
        assert control.ask("status")["ok"]
        control.close()


def test_a_blob_server(fuzz: Fuzz, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    etag = shelf.put(CONTENT[:50_000]).etag
    right: Sequence[bytes] = [
        f"GET /blobs/{etag} HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes=0-9\r\n\r\n".encode(),
        f'HEAD /blobs/{etag} HTTP/1.1\r\nHost: 127.0.0.1\r\nIf-None-Match: "{etag}"\r\n\r\n'.encode(),
        f"GET /blobs/{etag} HTTP/1.0\r\nRange: bytes=-5\r\nIf-Range: x\r\n\r\n".encode(),
    ]
    threads = threading.active_count()
    with BlobServer((FileSource(shelf.files.get),), Doors(("127.0.0.1",), 0, CidrSet.parse("127.0.0.0/8"))) as server:
        for _ in fuzz:
            data = fuzz.bytes(right)
            assert [one for one in statuses(said_to(server.port, data, wait_s=0.2)) if one >= 500] == [], data
        assert statuses(said_to(server.port, f"GET /blobs/{etag} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode(), wait_s=5))[
            :1
        ] == [200]
    assert threading.active_count() <= threads + 1


def test_the_socket_of_an_agent(fuzz: Fuzz, caplog: pytest.LogCaptureFixture) -> None:
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    asked = [{"v": 1, "version": "1", **REQUEST.as_json()}, {"op": "hello"}, {"op": "status"}, {"v": 1, "op": "unseed", "etags": ["e" * 64]},
             {"v": 1, "op": "fetching", "tracker": "x", "etag": "e" * 64, "stem": "/s"}, {"v": 1, "op": "landed", "tracker": "x", "etag": "e" * 64, "path": "/p"}]  # fmt: skip
    world = World(folder / "s")
    world.go_on.set()
    world.watch_over.set()
    with world.server:
        for number in fuzz:
            line = json.dumps(fuzz.document(asked)).encode() + b"\n"
            line = line if number % 3 else fuzz.bytes([line])
            if b'"stop"' in line or b'"retire"' in line or b"unseed" in line:
                continue  # the world has no such part
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.settimeout(10)
                sock.connect(str(folder / "s"))
                try:
                    sock.sendall(line)
                    sock.shutdown(socket.SHUT_WR)
                    heard = sock.recv(65536)
                except (BrokenPipeError, ConnectionResetError):
                    continue
            assert b"a bug of llmpt" not in heard, line
    (folder / "s").unlink(missing_ok=True)
    folder.rmdir()


def test_peers_of_a_swarm(fuzz: Fuzz, tmp_path: Path) -> None:
    content = CONTENT[:200_000]
    leaves = b"".join(hashlib.sha256(content[at : at + (16 << 10)]).digest() for at in range(0, len(content), 16 << 10))
    metainfo = Metainfo.from_leaves(Etag(hashlib.sha256(content).hexdigest()), len(content), leaves)
    (tmp_path / "blob").write_bytes(content)
    shake = b"\x13BitTorrent protocol" + b"\0\0\0\0\0\x10\0\x15" + metainfo.info_hash.truncated + b"-XX0001-abcdefghijkl"
    messages = [b"\0\0\0\x01\x02", b"\0\0\0\x0d\x06" + b"\0" * 8 + b"\0\0\x40\0", b"\0\0\0\x05\x04\0\0\0\1", b"\0\0\0\x1a\x14\0d1:md11:ut_metadatai1eee",
                b"\0\0\0\x03\x09\x1a\xe1", b"\0\0\0\x31\x15" + metainfo.root + b"\0" * 16, b"\xff\xff\xff\xff", b"\0\0\0\0"]  # fmt: skip
    settings = EngineSettings(("127.0.0.1",), 0, CidrSet.parse("127.0.0.0/8"), downloads=False)
    with Engine(settings, user_agent="fuzz") as engine:
        engine.seed(SeededBlob(metainfo.etag, metainfo.size, metainfo.root, tmp_path / "blob"))
        for _ in fuzz:
            sent = fuzz.bytes([shake]) + b"".join(fuzz.bytes(messages) for _ in range(fuzz.random.randrange(6)))
            try:
                with socket.create_connection(("127.0.0.1", engine.port), timeout=0.2) as sock:
                    sock.sendall(sent)
                    sock.shutdown(socket.SHUT_WR)
                    sock.recv(4096)
            except OSError:
                continue
        with socket.create_connection(("127.0.0.1", engine.port), timeout=5):
            pass
