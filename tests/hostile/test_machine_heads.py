"""A machine that writes its requests so that two readers see two different ones, or speaks another protocol, at every port."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.lan import Lan

REPO = "acme/model"
JSON = "Content-Type: application/json\r\n"
HIDDEN = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKS = f"POST /api/v1/lookup HTTP/1.1\r\nHost: localhost\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n"
POST, GET = "POST /api/v1/lookup HTTP/1.1\r\nHost: localhost\r\n", "GET / HTTP/1.1\r\n"
REFUSED = {
    "two lengths": f"{POST}{JSON}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}{HIDDEN}",
    "a length and chunks": f"{POST}{JSON}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "chunks twice": f"{POST}{JSON}Transfer-Encoding: xchunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "a chunk with an extension without end": f"{CHUNKS}2;{'a' * 9000}\r\n{{}}\r\n0\r\n\r\n{HIDDEN}",
    "a chunk with a bare line feed": f"{CHUNKS}2;a=\nb\r\n{{}}\r\n0\r\n\r\n{HIDDEN}",
    "a chunk of another notation": f"{CHUNKS}0x2\r\n{{}}\r\n0\r\n\r\n{HIDDEN}",
    "a length with a sign": f"{POST}{JSON}Content-Length: +2\r\n\r\n{{}}{HIDDEN}",
    "two hosts": f"{GET}Host: localhost\r\nHost: evil.example\r\n\r\n{HIDDEN}",
    "a host behind a name": f"{GET}Host: localhost@evil.example\r\n\r\n",
    "a host with a dot behind it": f"{GET}Host: evil.example.\r\n\r\n",
    "a zero byte": f"GET /\0 HTTP/1.1\r\nHost: localhost\r\nX-A: \0\r\n\r\n{HIDDEN}",
    "a method without end": f"{'A' * 300} / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "five thousand lines": f"{GET}Host: localhost\r\n" + "A: b\r\n" * 5000 + "\r\n",
    "HTTP/0.9": "GET /\r\n\r\n",
    "HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a proxy's method": "CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an echo of what it sent": "TRACE / HTTP/1.1\r\nHost: localhost\r\nX-Secret: hidden\r\n\r\n",
}


@pytest.fixture(scope="module")
def lan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("lan") / "lan") as lan:
        lan.hub.add(REPO, {"model.bin": os.urandom(1 << 20)})
        lan.mirror(REPO)
        lan.seeded(REPO)
        yield lan


@pytest.fixture(scope="module")
def ports(lan: Lan) -> dict[str, int]:
    """The ports that answer HTTP."""
    found = answer(lan.tracker.http_port, f"GET {path_of(lan)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    place = re.search(rb"Location: ([^\r]*)", found)
    assert place, found
    return {"8000": lan.tracker.http_port, "6969": lan.tracker.announce_port, "8001": urlsplit(place[1].decode()).port or 0}


def path_of(lan: Lan) -> str:
    return f"/blobs/{lan.hub.file(REPO, 'model.bin').etag}"


def answer(port: int, text: str) -> bytes:
    """Say this, and nothing more; return all that is answered until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        try:
            sock.sendall(text.encode("latin-1"))
            if "Connection: close" not in text:  # who asked, and leaves, is told nothing
                sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has heard enough
        found = b""
        try:
            while data := sock.recv(1 << 16):
                found += data
        except ConnectionError:
            pass
        return found


@pytest.mark.parametrize("port", ["8000", "6969", "8001"])
@pytest.mark.parametrize("name", REFUSED)
def test_no_request_is_read_in_two_ways(ports: dict[str, int], port: str, name: str) -> None:
    said = answer(ports[port], REFUSED[name])
    statuses = [int(one) for one in re.findall(rb"HTTP/1\.1 (\d{3}) ", said)]
    assert len(statuses) == 1, "what is hidden behind it is no request"
    assert 400 <= statuses[0] < 500 or (statuses[0], port, name) == (501, "8000", "chunks twice")
    assert b"hidden" not in said


@pytest.mark.parametrize(
    "name", ["a%0d%0aX-Evil:%201.bin", "a%22;%20filename=%22evil.exe", "..%2f..%2fevil", "ev%00il", "%1b[31m"]
)
def test_no_name_of_a_file_adds_to_the_head_of_an_answer(lan: Lan, ports: dict[str, int], name: str) -> None:
    for port in ("8000", "8001"):
        text = f"HEAD {path_of(lan)}?name={name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        lines = answer(ports[port], text).split(b"\r\n")
        assert lines[0].split()[1] in (b"200", b"302")
        assert not [line for line in lines if line.startswith((b"X-Evil", b"\n"))]
        named = [line for line in lines if line.startswith(b"Content-Disposition: ")]
        assert all(line.count(b'"') == 2 and line.isascii() and line.decode().isprintable() for line in named)


def test_what_a_request_calls_itself_reaches_no_log_but_as_a_short_word(lan: Lan, ports: dict[str, int]) -> None:
    for name in ("\x1b[31mwicked", "wicked\tFAKE", "wicked" * 5000, '","wicked":"'):
        for port in ("8000", "8001"):
            answer(
                ports[port],
                f"GET {path_of(lan)} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {name}\r\nConnection: close\r\n\r\n",
            )
    logs: list[Path] = [lan.tracker.log, lan.seeder.log]
    assert not [path for path in logs if b"wicked" in path.read_bytes()]
