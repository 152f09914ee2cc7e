"""A machine of the LAN takes all the connections that it can get, on each port; another machine is served all the same."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.announcer import AnnouncerProcess
from tests.support.hostile import ATTACKER, OTHER, ask, connect, crowd, get

HASH = "h" * 20
ANNOUNCE = get(f"/announce?info_hash={HASH}&peer_id={'p' * 20}&port=6881&left=1")
HEAD = b"GET /announce?info_hash=" + b"h" * 100  # and no end
PROMPT_S = 2.5  # a bound that a slow machine keeps
MANY = 1500


pytestmark = pytest.mark.alone  # how soon another machine is answered


@pytest.fixture(scope="module")
def announcer() -> Iterator[AnnouncerProcess]:
    with AnnouncerProcess() as process:
        process.control.do("register", hashes=[HASH.encode().hex()])
        process.open()
        yield process


def assert_prompt(announcer: AnnouncerProcess, source: str = OTHER) -> None:
    began = time.monotonic()
    assert b"d8:complete" in ask(announcer.port, ANNOUNCE, source)
    assert announcer.control.do("swarms", hashes=[HASH.encode().hex()])
    assert time.monotonic() - began < PROMPT_S


@pytest.mark.parametrize("said", [b"", HEAD, ANNOUNCE[:-2]])
def test_half_open_requests_of_one_machine_take_no_place_of_anothers(announcer: AnnouncerProcess, said: bytes) -> None:
    with crowd(announcer.port, MANY, said):
        assert_prompt(announcer)
        assert_prompt(announcer, ATTACKER)  # an honest program of the same machine
        assert announcer.descriptor_count() < 400


def test_who_reads_no_answers_costs_one_turn(announcer: AnnouncerProcess) -> None:
    kept = ANNOUNCE.replace(b"close", b"keep-alive")
    with crowd(announcer.port, 100, receive_bytes=4096) as held:
        for sock in held:
            sock.settimeout(0.01)
            try:
                sock.sendall(kept * 2000)
            except OSError:
                pass
        assert_prompt(announcer)


def test_machines_that_are_refused_have_no_more_places_than_one() -> None:
    with AnnouncerProcess({"LLMPT_PEER_CIDRS": f"{OTHER}/32"}) as strict:
        strict.control.do("register", hashes=[HASH.encode().hex()])
        strict.open()
        with crowd(strict.port, 300, source="127.0.0.66"), crowd(strict.port, 300, source="127.0.0.67"):
            assert_prompt(strict)
            assert strict.descriptor_count() < 400


def test_a_flood_of_whole_requests_leaves_others_their_turn(announcer: AnnouncerProcess) -> None:
    kept = ANNOUNCE.replace(b"close", b"keep-alive") * 100
    with crowd(announcer.port, 100) as held:
        for _ in range(5):
            for sock in held:
                sock.setblocking(False)
                try:
                    sock.send(kept)
                    sock.recv(1 << 16)
                except OSError:
                    pass
            assert_prompt(announcer)


def test_many_agents_behind_one_address_are_served(announcer: AnnouncerProcess) -> None:
    agents = [connect(announcer.port, "127.0.0.8") for _ in range(200)]
    for sock in agents:
        sock.sendall(ANNOUNCE)
    for sock in agents:
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 ")
        sock.close()
