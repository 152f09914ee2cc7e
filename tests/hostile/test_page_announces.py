"""A web page against the announcer: what its visitor's browser asks for it is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.announcer import AnnouncerProcess
from tests.support.hostile import ask

HASH = "h" * 20
QUERY = f"info_hash={HASH}&peer_id={'p' * 20}&port=6881&left=0"
BROWSER = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/130.0"


@pytest.fixture(scope="module")
def announcer() -> Iterator[AnnouncerProcess]:
    with AnnouncerProcess() as process:
        process.control.do("register", hashes=[HASH.encode().hex()])
        process.open()
        yield process


def request(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", *fields, "Connection: close", "", ""]).encode()


@pytest.mark.parametrize("path", ["/announce", "/scrape", "/announce/0123456789abcdef"])
@pytest.mark.parametrize(
    "fields",
    [
        ("Host: 127.0.0.1:6969", BROWSER),
        ("Host: 127.0.0.1:6969", BROWSER, "Referer: http://elsewhere.example/"),
        ("Host: 127.0.0.1:6969", "Origin: null"),
        ("Host: 127.0.0.1:6969", "Origin: https://elsewhere.example"),
        ("Host: 127.0.0.1:6969", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"),
        ("Host: rebound.example:6969",),
        ("Host: rebound.example:6969", BROWSER, "Sec-Fetch-Site: same-origin"),
    ],
)
def test_a_page_enters_nobody_as_a_peer(announcer: AnnouncerProcess, path: str, fields: tuple[str, ...]) -> None:
    answer = ask(announcer.port, request(f"{path}?{QUERY}", *fields))
    assert answer.split(b" ", 2)[1] in (b"403", b"421"), answer
    assert b"\r\nContent-Security-Policy: " in answer
    assert announcer.control.do("status")["peers"] == 0


@pytest.mark.parametrize("host", ["127.0.0.1:6969", "[::1]:6969", "server:6969", "server.local:6969", "server.lan"])
def test_clients_are_answered_under_each_name_that_no_stranger_can_own(announcer: AnnouncerProcess, host: str) -> None:
    answer = ask(announcer.port, request(f"/scrape?info_hash={HASH}", f"Host: {host}", "User-Agent: llmpt/1 libtorrent/2.1"))
    assert answer.startswith(b"HTTP/1.1 200 ")
